"""The signing key: made once, read by the sequencer alone. Everybody else knows the public key."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from governance.services.ledger.records import LedgerError


class NoKey(LedgerError):
    """The signing key is missing or unreadable."""


def ensure_key() -> Path:
    """Create the Ed25519 key of the sequencer where there is none (mode 0600) and return its path."""
    path = Path(settings.LEDGER_KEY_FILE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        # Written aside and linked into place: two starts at once end with one whole key, never half of one.
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(key.private_bytes_raw().hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink()
        path.with_suffix(".pub").write_text(signing_key().public_key().public_bytes_raw().hex() + "\n")
    return path


def signing_key() -> Ed25519PrivateKey:
    """Return the private key; raises NoKey. For the sequencer."""
    path = Path(settings.LEDGER_KEY_FILE)
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except (OSError, ValueError) as error:
        raise NoKey(
            f"The ledger's signing key {path} cannot be read ({error}). "
            "Create one with `python manage.py seal_ledger --ensure-key`, or restore it from your backup."
        ) from error


def public_key() -> bytes:
    """Return the 32 bytes of the public key; raises NoKey."""
    path = Path(settings.LEDGER_KEY_FILE).with_suffix(".pub")
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError):
        return signing_key().public_key().public_bytes_raw()
