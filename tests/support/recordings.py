"""Where recordings of provider traffic are, and which kind of provider made them."""

import os
from pathlib import Path

import pytest

from chatd.chattest.replay import Interaction, load_recording

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("CHATD_RECORDINGS") or ROOT.parent / "shared" / "recordings")
KINDS = {
    "anthropic": "anthropic",
    "azure-chat": "azure",
    "azure-responses": "azure",
    "bedrock": "bedrock",
    "google": "google",
    "openai-chat": "openai",
    "openai-compat": "openai-compat",
    "openai-responses": "openai",
    "openrouter": "openrouter",
    "vercel": "vercel",
}
"""The kind of provider of each folder."""


def files_of(*folders: str) -> list[Path]:
    """Return the recordings in these folders; none where there are no recordings."""
    return sorted(path for folder in folders for path in FOLDER.glob(f"{folder}/*.yaml"))


FILES = files_of(*KINDS)
ANTHROPIC_FILES = files_of("anthropic", "bedrock")
CHAT_FILES = files_of("azure-chat", "openai-chat", "openai-compat", "openrouter", "vercel")
GOOGLE_FILES = files_of("google")
RESPONSES_FILES = files_of("azure-responses", "openai-responses")
MISSING = pytest.mark.skip(reason=f"no recordings in {FOLDER}; set CHATD_RECORDINGS")


def streams() -> dict[str, Interaction]:
    """Return every recorded stream, by `<folder>/<file>-<number of the exchange>`."""
    return {
        f"{path.parent.name}/{path.stem}-{number}": interaction
        for path in FILES
        for number, interaction in enumerate(load_recording(path).interactions)
        if "stream" in interaction.content_type
    }
