"""Signed checkpoints in the C2SP forms `tlog-checkpoint` and `signed-note`, with Ed25519.

A note is the text "origin, size, base64(root)", each on a line, an empty line, and a signature line
"— name base64(key id || signature)". The key id is the first four bytes of SHA-256(name || 0x0A || 0x01 || key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ALGORITHM = b"\x01"


class BadNote(ValueError):
    """The note is malformed or its signature does not verify; the message says which."""


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4-byte key id of the signed-note format."""
    return hashlib.sha256(name.encode() + b"\n" + ALGORITHM + public).digest()[:4]


def text(origin: str, size: int, root: bytes) -> str:
    """Return the body of a checkpoint, ending in a newline."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign(body: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the signed note for `body`."""
    public = key.public_key().public_bytes_raw()
    signature = base64.b64encode(key_id(name, public) + key.sign(body.encode())).decode()
    return f"{body}\n— {name} {signature}\n"


def read(note: str) -> tuple[str, int, bytes]:
    """Return (origin, size, root) of a note without looking at who signed it; raises BadNote."""
    body, separator, _signatures = note.partition("\n\n")
    if not separator:
        raise BadNote("the note has no signature block")
    return _checkpoint(body.splitlines())


def verify(note: str, name: str, public: bytes) -> tuple[str, int, bytes]:
    """Return (origin, size, root) of a note signed by this key; raises BadNote."""
    body, separator, signatures = note.partition("\n\n")
    if not separator:
        raise BadNote("the note has no signature block")
    body += "\n"
    wanted = key_id(name, public)
    for line in signatures.splitlines():
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or parts[1] != name:
            continue
        try:
            blob = base64.b64decode(parts[2], validate=True)
        except binascii.Error as error:
            raise BadNote("the signature is not base64") from error
        if blob[:4] != wanted:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], body.encode())
        except InvalidSignature as error:
            raise BadNote("the signature does not verify") from error
        return _checkpoint(body.splitlines())
    raise BadNote(f"no signature by {name} with this key")


def _checkpoint(lines: list[str]) -> tuple[str, int, bytes]:
    if len(lines) < 3 or not (lines[1].isascii() and lines[1].isdigit()):
        raise BadNote("the body is not a checkpoint")
    try:
        return lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except ValueError as error:
        raise BadNote("the root is not base64") from error


def split(text: str) -> list[str]:
    """Return the signed notes that a text holds one after the other, such as the lines of an append-only file."""
    found: list[str] = []
    lines: list[str] = []
    signed = False
    for line in text.splitlines():
        is_signature = line.startswith("— ")
        if signed and not is_signature:
            found.append("\n".join(lines) + "\n")
            lines, signed = [], False
        if lines or line.strip():
            lines.append(line)
        signed = signed or is_signature
    return [*found, "\n".join(lines) + "\n"] if lines else found


def rotation(origin: str, old: bytes, new: bytes) -> bytes:
    """Return the statement that both keys sign when the key of a ledger changes hands."""
    return f"gatehouse ledger key rotation\n{origin}\n{old.hex()}\n{new.hex()}\n".encode()


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature verifies."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
