"""Says what a file really is from its first bytes, so that a renamed file is called by its own name."""

from __future__ import annotations

import re
from pathlib import Path

HEAD_BYTES = 8192

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PAR1", "a Parquet file"),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"PK\x07\x08", "a part of a split ZIP archive"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"BM\x00", "a bitmap image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or password-protected Office document"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a Windows program"),
    (0, b"\xca\xfe\xba\xbe", "a program"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"Obj\x01", "an Avro file"),
    (0, b"ORC", "an ORC file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"RIFF", "a sound, image or video file"),
    (0, b"OggS", "a sound file"),
    (0, b"ID3", "a sound file"),
    (0, b"{\\rtf", "a rich-text document"),
    (0, b"#!", "a script"),
)
# Protocols 2 to 5 begin with 0x80 and their number; protocol 0 is text that begins with an import or a container.
_PICKLE = re.compile(rb"\x80[\x02-\x05]|c[a-zA-Z_][\w.]*\n[a-zA-Z_][\w.]*\n|\((?:dp|lp|ip|i[a-z_][\w.]*\n)\d?")
_MARKUP = re.compile(
    rb"\s*(?:<\?xml|<!--|<!doctype\s+(?P<kind>html|svg)|<(?P<tag>html|svg|head|body|script|table)\b)", re.IGNORECASE
)


def head(path: str | Path) -> bytes:
    """The first bytes of a file, at most HEAD_BYTES."""
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def recognise(start: bytes) -> str | None:
    """A few words for what these first bytes are, or None when they may be text."""
    for offset, magic, name in _MAGIC:
        if start[offset : offset + len(magic)] == magic:
            return name
    if _PICKLE.match(start):
        return "a Python pickle, which can run code when opened"
    markup = _MARKUP.match(start.removeprefix(b"\xef\xbb\xbf"))
    if markup:
        kind = (markup["kind"] or markup["tag"] or b"").lower()
        if kind == b"svg" or b"<svg" in start.lower():
            return "an SVG image"
        return "a web page" if kind or b"<html" in start.lower() else "an XML document"
    if start[8:9] == b"{" and len(start) > 9 and int.from_bytes(start[:8], "little") < 100_000_000:
        return "a safetensors file"
    return None


def is_text(start: bytes) -> bool:
    """Whether these first bytes may be text: no other format that is known here, and no NUL outside UTF-16."""
    if recognise(start) is not None:
        return False
    return start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" not in start
