"""Where recordings of provider traffic are, and which kind of provider made them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("CHATD_RECORDINGS") or ROOT.parent / "shared" / "recordings")
KINDS = {
    "openai-chat": "openai",
    "openai-compat": "openai-compat",
    "azure-chat": "azure",
    "openrouter": "openrouter",
    "vercel": "vercel",
}
FILES = sorted(path for folder in KINDS for path in FOLDER.glob(f"{folder}/*.yaml"))
MISSING = pytest.mark.skip(reason=f"no recordings in {FOLDER}; set CHATD_RECORDINGS")
