"""The signing keys: made once, handed on by rotation, read by the sequencer alone.

Everybody else knows public keys: from the table SigningKey, and from the file beside the private key that ends in
`.pub`. The web process needs no private key and is best run as a user who cannot read it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from governance.models import SigningKey
from governance.proofs import notes
from governance.services.ledger.records import LedgerError


class NoKey(LedgerError):
    """The signing key is missing or unreadable."""


def ensure_key() -> Path:
    """Create the Ed25519 key of the sequencer where there is none (mode 0600) and return its path."""
    path = _path()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written aside and linked into place: two starts at once end with one whole key, never half of one.
        aside = _write(path.with_name(f".{path.name}.{secrets.token_hex(8)}"), Ed25519PrivateKey.generate())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink()
        _publish(path, signing_key())
    return path


def signing_key() -> Ed25519PrivateKey:
    """Return the private key in the file; raises NoKey. For the sequencer alone."""
    return _read(_path())


def public_key() -> bytes:
    """Return the 32 bytes of the public key that signs now; raises NoKey. Reads no private key."""
    newest = SigningKey.objects.order_by("-first_size").values_list("public", flat=True).first()
    if newest is not None:
        return bytes(newest)
    published = published_key()
    if published is None:
        raise NoKey(_advice(_public_path(), "neither it nor a row of the table of keys is there"))
    return published


def published_key() -> bytes | None:
    """Return the public key in the file beside the private key; None where this process cannot read it."""
    try:
        return bytes.fromhex(_public_path().read_text().strip())
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class Rotation:
    """What an entry says that hands the ledger from one key to the next; both have signed it."""

    old: bytes
    new: bytes
    signed_by_old: bytes
    signed_by_new: bytes

    @classmethod
    def of(cls, details: dict) -> Rotation:
        """Return the rotation that an entry's details hold; raises KeyError, TypeError or ValueError."""
        return cls(*(bytes.fromhex(details[name]) for name in ("old", "new", "signed_by_old", "signed_by_new")))

    def problem(self, origin: str, current: bytes) -> str:
        """Return why this does not hand the ledger on from the key `current`, or an empty string."""
        statement = notes.rotation(origin, self.old, self.new)
        if self.old != current:
            return "it takes over from a key that did not sign before it"
        if not notes.is_signed(self.old, statement, self.signed_by_old):
            return "the old key did not sign it"
        return "" if notes.is_signed(self.new, statement, self.signed_by_new) else "the new key did not sign it"


def current() -> Ed25519PrivateKey:
    """Return the private key with which to sign, inside the sequencer's lock; raises NoKey, LedgerError.

    A rotation that was stopped between its commit and the renaming of the files is finished here.
    """
    known = SigningKey.objects.order_by("-first_size").values_list("public", flat=True).first()
    if known is None:
        key = signing_key()
        SigningKey.objects.create(public=key.public_key().public_bytes_raw(), first_size=0)
        return key
    next_path = _next_path()
    if next_path.exists() and _public(_read(next_path)) == bytes(known):
        promote()
    key = signing_key()
    if _public(key) != bytes(known):
        raise LedgerError(
            f"The key in {_path()} is not the one that signed last (its public half begins {_public(key).hex()[:16]}, "
            f"the last one's {bytes(known).hex()[:16]}). Restore the last one from your backup; nothing is signed."
        )
    return key


def prepare() -> Ed25519PrivateKey:
    """Write a new private key beside the present one and return it; `promote` puts it into place."""
    path = _next_path()
    path.unlink(missing_ok=True)
    key = Ed25519PrivateKey.generate()
    _write(path, key)
    return key


def promote() -> None:
    """Put the prepared key in the place of the present one, which is kept under the beginning of its public half."""
    path = _path()
    old = _public(signing_key()).hex()[:16]
    kept = path.with_name(f"{path.name}.{old}")
    with contextlib.suppress(FileExistsError):
        os.link(path, kept)
    _next_path().replace(path)
    _publish(path, signing_key())


def _path() -> Path:
    return Path(settings.LEDGER_KEY_FILE)


def _public_path() -> Path:
    return _path().with_suffix(".pub")


def _next_path() -> Path:
    return _path().with_name(f"{_path().name}.next")


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except (OSError, ValueError) as error:
        raise NoKey(_advice(path, error)) from error


def _advice(path: Path, error: object) -> str:
    return (
        f"The ledger's signing key {path} cannot be read ({error}). "
        "Create one with `python manage.py seal_ledger --ensure-key`, or restore it from your backup."
    )


def _write(path: Path, key: Ed25519PrivateKey) -> Path:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def _publish(path: Path, key: Ed25519PrivateKey) -> None:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.pub")
    aside.write_text(_public(key).hex() + "\n")
    aside.chmod(0o644)
    aside.replace(_public_path())


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
