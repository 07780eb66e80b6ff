"""What a ZIP archive may be before it is opened: names that stay inside, honest sizes, no archive in the archive."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from projects.sources.reading.rows import Refused

MAX_DIRECTORY_BYTES = 64 * 1024 * 1024
# Deflate reaches 1032; prose reaches about 10 and machine-written tables about 60.
MAX_RATIO = 200
# Below this an archive may be as dense as it likes: a few repeated cells compress better than any attack needs to.
FREE_BYTES = 10 * 1024 * 1024
_NESTED = (".zip", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz", ".zst", ".jar", ".docx", ".xlsx")
_END = struct.Struct("<4s4H2LH")
_END64_PLACE = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")

_BOMB_ADVICE = "Make the archive anew from the original files, without other archives in it."


@contextmanager
def opened(path: str | Path, *, max_entries: int, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    """The archive, once its directory has been checked. ``max_bytes`` bounds the sum of the declared sizes.

    Raises Refused for what is broken, encrypted, too large, too dense, overlapping, nested, or named so that it would
    leave a folder, and for symbolic links.
    """
    entries, directory = _declared(path)
    if entries > max_entries or directory > MAX_DIRECTORY_BYTES:
        raise Refused(
            "too_many_entries",
            f"The archive lists {entries:,} files; at most {max_entries:,} are read.",
            "Split it into several archives, or put the texts into one CSV file.",
        )
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, struct.error, OSError, ValueError, NotImplementedError, UnicodeDecodeError):
        raise broken() from None
    with archive:
        _check(archive.infolist(), max_entries=max_entries, max_bytes=max_bytes)
        yield archive


def broken() -> Refused:
    """The refusal for an archive that cannot be read."""
    return Refused(
        "broken_archive",
        "The archive is damaged or was not uploaded completely.",
        "Make it again and check that it opens on your own machine.",
    )


def content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """At most ``limit`` bytes of an entry. Raises Refused when it is damaged or larger than it declares."""
    try:
        with archive.open(entry) as file:
            data = file.read(limit)
            if len(data) > entry.file_size:
                raise broken()
            return data
    except (zipfile.BadZipFile, struct.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError):
        raise broken() from None
    except Exception as error:
        # zlib, bz2 and lzma each raise an error type of their own for damaged data.
        if type(error).__module__ in ("zlib", "_lzma", "_bz2", "lzma"):
            raise broken() from None
        raise


def _declared(path: str | Path) -> tuple[int, int]:
    """Entries and bytes of the directory as the archive's end declares them, read before zipfile loads all of it."""
    size = Path(path).stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - _END.size - 65_535 - _END64_PLACE.size))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        if at < 0 or len(tail) - at < _END.size:
            raise broken()
        _, _, _, _, entries, directory, _, _ = _END.unpack_from(tail, at)
        if at >= _END64_PLACE.size and tail[at - _END64_PLACE.size :][:4] == b"PK\x06\x07":
            place = _END64_PLACE.unpack_from(tail, at - _END64_PLACE.size)[2]
            if place + _END64.size > size:
                raise broken()
            file.seek(place)
            record = file.read(_END64.size)
            if record[:4] != b"PK\x06\x06":
                raise broken()
            _, _, _, _, _, _, _, entries, directory, _ = _END64.unpack(record)
    return entries, directory


def _check(entries: list[zipfile.ZipInfo], *, max_entries: int, max_bytes: int) -> None:
    if len(entries) > max_entries:
        raise Refused(
            "too_many_entries",
            f"The archive holds {len(entries):,} files; at most {max_entries:,} are read.",
            "Split it into several archives.",
        )
    total = packed = 0
    names: set[str] = set()
    for entry in entries:
        _check_name(entry)
        if entry.filename in names:
            raise Refused(
                "duplicate_entry",
                f"The archive holds '{_shown(entry)}' twice.",
                "Make the archive again; each file may be in it once.",
            )
        names.add(entry.filename)
        total += entry.file_size
        packed += entry.compress_size
    if total > max_bytes:
        raise Refused(
            "archive_too_large",
            f"Unpacked, the archive would be {total // 1_000_000:,} MB; the limit is {max_bytes // 1_000_000:,} MB.",
            "Split it into several archives.",
        )
    if total > FREE_BYTES and total > MAX_RATIO * max(1, packed):
        raise Refused(
            "archive_bomb",
            f"The archive would grow from {packed:,} to {total:,} bytes, more than {MAX_RATIO} times.",
            _BOMB_ADVICE,
        )
    end = 0
    for entry in sorted(entries, key=lambda e: e.header_offset):
        if entry.header_offset < end:
            raise Refused("archive_bomb", "Files in the archive overlap one another.", _BOMB_ADVICE)
        end = entry.header_offset + 30 + entry.compress_size


def _check_name(entry: zipfile.ZipInfo) -> None:
    # ZipInfo cuts its name at a NUL; what was in the archive is in orig_filename.
    name = entry.orig_filename
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or "\x00" in name or ":" in parts[0] or "\\" in name:
        raise Refused(
            "unsafe_name",
            f"The archive holds a file called '{_shown(entry)}', a name that would leave its folder.",
            "Make the archive again from a folder, with plain relative names.",
        )
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Refused(
            "symbolic_link",
            f"'{_shown(entry)}' in the archive is a symbolic link.",
            "Put the file itself into the archive.",
        )
    if entry.flag_bits & 0x1:
        raise Refused(
            "encrypted",
            f"'{_shown(entry)}' in the archive is encrypted.",
            "Make the archive again without a password.",
        )
    if name.lower().endswith(_NESTED):
        raise Refused(
            "nested_archive",
            f"The archive holds another archive, '{_shown(entry)}'.",
            "Unpack the inner archive first and put its files in directly.",
        )


def _shown(entry: zipfile.ZipInfo) -> str:
    return entry.orig_filename.encode("ascii", "backslashreplace").decode().replace("\x00", "\\0")[:120]
