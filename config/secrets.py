"""Secrets of an installation that was given none: made once, kept in the data directory.

A production deployment sets CHATD_SECRET_KEY and CHATD_ENCRYPTION_KEYS (or their `_FILE` forms);
then nothing is written. Otherwise the first start creates `secrets.json`, readable by its owner
only, so that sessions and encrypted provider keys survive a restart.
"""

import json
import os
import secrets
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from config.env import Environment, EnvironmentError_


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationSecrets:
    """`encryption_keys`: base64 text of 32 bytes each; the first writes, all read."""

    secret_key: str
    encryption_keys: tuple[str, ...]

    def __repr__(self) -> str:
        return "InstallationSecrets(…)"


def load_secrets(env: Environment) -> InstallationSecrets:
    """Return the secrets of this installation, creating the missing ones on the first call.

    Raises EnvironmentError_ when the file of an earlier start cannot be used.
    """
    given = env.encryption_keys
    if env.secret_key and given is not None:
        return InstallationSecrets(secret_key=env.secret_key, encryption_keys=given)
    stored = _read_or_create(env.data_dir / "secrets.json")
    return InstallationSecrets(
        secret_key=env.secret_key or stored.secret_key,
        encryption_keys=stored.encryption_keys if given is None else given,
    )


def _read_or_create(path: Path) -> InstallationSecrets:
    if not path.exists():
        _create(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        secret_key, keys = str(raw["secret_key"]), tuple(map(str, raw["encryption_keys"]))
    except (ValueError, KeyError, TypeError):
        raise EnvironmentError_(
            f"{path} is damaged: restore it, or set CHATD_SECRET_KEY and CHATD_ENCRYPTION_KEYS."
        ) from None
    return InstallationSecrets(secret_key=secret_key, encryption_keys=keys)


def _create(path: Path) -> None:
    """Write new secrets under a temporary name and link them in; the first of two writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    body = json.dumps(
        {
            "secret_key": secrets.token_urlsafe(48),
            "encryption_keys": [b64encode(secrets.token_bytes(32)).decode()],
        }
    )
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(body)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
