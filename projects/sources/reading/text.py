"""Turns the bytes of an untrusted text file into blocks of whole lines and says where it is broken."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from projects.sources.reading import cells
from projects.sources.reading.rows import Limits, Refused, empty_file

BLOCK_BYTES = 1024 * 1024
_ADVICE = (
    "Save the file as UTF-8 and upload it again. In Excel: Save As, 'CSV UTF-8'. In LibreOffice: Save As, "
    "'Edit filter settings', Unicode (UTF-8). In a shell: iconv -f WINDOWS-1252 -t UTF-8 old.csv > new.csv"
)
# Bytes below a space other than tab, line feed and carriage return, and DEL: in ASCII text nothing else is noteworthy.
_CONTROLS = bytes(c for c in range(32) if c not in (9, 10, 13)) + b"\x7f"


class Block(NamedTuple):
    """Whole lines as text. ``suspicious`` says that control or reordering characters may be among them."""

    text: str
    suspicious: bool


def encoding(path: str | Path) -> str:
    """``utf-8``, ``utf-8-sig``, ``utf-16-le`` or ``utf-16-be``, from the byte order mark. Raises Refused for UTF-32."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise Refused("encoding", "The file is written in UTF-32.", _ADVICE)
    if start.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if start.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


def blocks(path: str | Path, limits: Limits) -> Iterator[Block]:
    """Yield the file as blocks of whole lines (line ends kept: LF, CRLF or CR), about one MiB each.

    Raises Refused for an empty file, for bytes that are not UTF-8 (or UTF-16 with a byte order mark), naming offset
    and line, and for a line of more than ``limits.max_record_bytes``.
    """
    kind = encoding(path)
    with open(path, "rb") as file:
        skip = {"utf-8": 0, "utf-8-sig": 3}.get(kind, 2)
        file.seek(skip)
        chunks = iter(lambda: file.read(BLOCK_BYTES), b"") if kind.startswith("utf-8") else _utf16(file, kind)
        pending: list[bytes] = []
        waiting = 0
        offset = skip
        lines = 1
        nothing = True
        for chunk in chunks:
            cut = _last_line_end(chunk)
            if cut == 0:
                pending.append(chunk)
                waiting += len(chunk)
                if waiting > limits.max_record_bytes:
                    raise Refused(
                        "line_too_long",
                        f"Line {lines:,} is longer than {limits.max_record_bytes // (1024 * 1024)} MB.",
                        "Check that the file has line ends and that its quotes are closed.",
                    )
                continue
            data = b"".join((*pending, chunk[:cut]))
            pending, waiting = [chunk[cut:]], len(chunk) - cut
            block = _decode(data, offset, lines)
            nothing = nothing and not block.text.strip()
            yield block
            offset += len(data)
            lines += _line_ends(data)
        data = b"".join(pending)
        if data:
            block = _decode(data, offset, lines)
            nothing = nothing and not block.text.strip()
            yield block
        if nothing:
            raise empty_file()


def chunks(path: str | Path) -> Iterator[bytes]:
    """Yield the file as UTF-8 without its byte order mark, in pieces that may end anywhere, for formats without lines.

    Raises Refused for an empty file and for bytes that are not UTF-8 (or UTF-16 with a byte order mark).
    """
    kind = encoding(path)
    with open(path, "rb") as file:
        skip = {"utf-8": 0, "utf-8-sig": 3}.get(kind, 2)
        file.seek(skip)
        if not kind.startswith("utf-8"):
            yield from _utf16(file, kind)
            return
        decoder = codecs.getincrementaldecoder("utf-8")()
        offset = skip
        lines = 1
        nothing = True
        while True:
            chunk = file.read(BLOCK_BYTES)
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                place = offset - held + error.start
                line = lines + _line_ends(chunk[: max(0, error.start - held)])
                raise _not_utf8(place, line, error.object[error.start]) from None
            if not chunk:
                break
            nothing = nothing and not chunk.strip()
            yield chunk
            offset += len(chunk)
            lines += _line_ends(chunk)
        if nothing:
            raise empty_file()


def _last_line_end(chunk: bytes) -> int:
    """Where the last whole line ends; a final CR is left waiting because an LF may follow in the next chunk."""
    end = chunk.rfind(b"\n") + 1
    return end or chunk.rfind(b"\r", 0, len(chunk) - 1) + 1


def _line_ends(data: bytes) -> int:
    returns = data.count(b"\r")
    return data.count(b"\n") + (returns - data.count(b"\r\n") if returns else 0)


def _decode(data: bytes, offset: int, lines: int) -> Block:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = lines + _line_ends(data[: error.start])
        raise _not_utf8(offset + error.start, line, data[error.start]) from None
    if text.isascii():
        return Block(text, len(data.translate(None, _CONTROLS)) != len(data))
    return Block(text, cells.NOTEWORTHY.search(text) is not None)


def _not_utf8(offset: int, line: int, byte: int) -> Refused:
    return Refused(
        "encoding",
        f"The file is not UTF-8: byte {offset:,} (line {line:,}) is 0x{byte:02X}, which UTF-8 does not have there.",
        _ADVICE,
    )


def _utf16(file: BinaryIO, kind: str) -> Iterator[bytes]:
    """UTF-16 as UTF-8 chunks, so that everything behind it sees one encoding only."""
    decoder = codecs.getincrementaldecoder(kind)()
    position = 2
    while True:
        chunk = file.read(BLOCK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise Refused(
                "encoding",
                f"The file begins as UTF-16 but is broken near byte {position + error.start:,}.",
                _ADVICE,
            ) from None
        if text:
            yield text.encode("utf-8")
        if not chunk:
            return
        position += len(chunk)
