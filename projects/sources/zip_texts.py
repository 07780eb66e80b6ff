"""A ZIP archive of .txt files, one text each, in folders that name their label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from zipfile import ZipFile, ZipInfo

from projects.sources.reading import archives, cells, signatures
from projects.sources.reading.rows import DEFAULTS, Batch, Batches, Options, Preview, Refused

NAME = "ZIP of texts"
SUFFIXES = (".zip",)
MEDIA = "application/zip"
UNIT = "file"

MAX_FILES = 500_000
MAX_BYTES = 4_000_000_000
_SPLITS = {"train", "training", "validation", "valid", "val", "dev", "test"}
_LITTER = {".ds_store", "thumbs.db", "desktop.ini"}


def sniff(path: str | Path) -> bool:
    """Whether the file is a ZIP archive, and not an Office document, which is one too."""
    start = signatures.head(path)
    if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return False
    return b"[Content_Types].xml" not in start and not start[30:].startswith((b"xl/", b"word/", b"ppt/"))


def columns(path: str | Path, options: Options = DEFAULTS) -> Preview:
    """``text``, ``label``, ``file``, and ``split`` where the outermost folders are called train, test and the like."""
    with _archive(path, options) as archive:
        entries = _entries(archive)
        has_split = _has_split(entries)
        batch = next(_batches(archive, entries, has_split, options, options.limits.sample_rows))
        names = [PurePosixPath(e.filename) for e in entries]
        labels = sorted({name.parent.name for name in names if name.parent.name})
        return Preview(_columns(has_split), batch.rows, batch.errors, {"files": len(entries), "labels": labels[:1000]})


def read(path: str | Path, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Yield one row per text in the order of the file names; ``line`` counts the files in that order."""
    with _archive(path, options) as archive:
        entries = _entries(archive)
        yield from _batches(archive, entries, _has_split(entries), options, options.limits.batch_rows)


def _archive(path: str | Path, options: Options) -> AbstractContextManager[ZipFile]:
    return archives.opened(path, max_entries=min(MAX_FILES, options.limits.max_rows), max_bytes=MAX_BYTES)


def _entries(archive: ZipFile) -> list[ZipInfo]:
    found = []
    for entry in archive.infolist():
        name = PurePosixPath(entry.filename)
        if entry.is_dir() or name.parts[0] == "__MACOSX" or name.name.lower() in _LITTER:
            continue
        found.append(entry)
    if not found:
        raise Refused(
            "empty_file", "The archive holds no files.", "Put .txt files into folders named after their labels."
        )
    if not any(e.filename.lower().endswith(".txt") for e in found):
        raise Refused(
            "no_texts",
            f"None of the {len(found):,} files in the archive ends in .txt.",
            "Put one text per .txt file into folders named after their labels. Upload a table on its own, without ZIP.",
        )
    return sorted(found, key=lambda entry: entry.filename)


def _has_split(entries: list[ZipInfo]) -> bool:
    parts = [PurePosixPath(e.filename).parts for e in entries]
    return all(len(p) >= 3 and p[0].lower() in _SPLITS for p in parts)


def _columns(has_split: bool) -> list[str]:
    return ["text", "label", "file", "split"] if has_split else ["text", "label", "file"]


def _batches(
    archive: ZipFile, entries: list[ZipInfo], has_split: bool, options: Options, batch_rows: int
) -> Iterator[Batch]:
    limits = options.limits
    batches = Batches(limits, UNIT)
    for line, entry in enumerate(entries, start=1):
        values = _values(archive, entry, batches, line, has_split)
        if values is None or not cells.check(batches, line, values.items()):
            continue
        full = batches.add(line, values, len(values["text"] or ""))
        if full is None and batches.rows_seen == batch_rows and batches.waiting:
            full = batches.take()
        if full is not None:
            yield full
    yield batches.take()


def _values(
    archive: ZipFile, entry: ZipInfo, batches: Batches, line: int, has_split: bool
) -> dict[str, str | None] | None:
    name = PurePosixPath(entry.filename)
    shown = entry.filename[:120]
    if name.suffix.lower() != ".txt":
        batches.problem(
            line,
            None,
            "not_a_text",
            f"'{shown}' does not end in .txt.",
            "Only .txt files are read.",
        )
        return None
    if len(name.parts) < 2:
        batches.problem(
            line, "label", "no_label", f"'{shown}' is in no folder.", "Put it into a folder named after its label."
        )
        return None
    # Four bytes are the most that UTF-8 spends on a character, so this many always hold an allowed text and its excess.
    limit = batches.limits.max_cell_chars * 4 + 4
    if entry.file_size > limit:
        batches.problem(
            line,
            "text",
            "cell_too_long",
            f"'{shown}' has {entry.file_size:,} bytes; {batches.limits.max_cell_chars:,} characters are read.",
            "Shorten the text, or split it over several files.",
        )
        return None
    data = archives.content(archive, entry, limit)
    codec = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        batches.problem(
            line,
            "text",
            "encoding",
            f"'{shown}' is not UTF-8: byte {error.start:,} is 0x{data[error.start]:02X}.",
            "Save it as UTF-8.",
        )
        return None
    if not text.strip():
        batches.problem(line, "text", "empty_text", f"'{shown}' is empty.", "Remove it, or write its text.")
        return None
    values: dict[str, str | None] = {"text": text, "label": name.parent.name, "file": entry.filename}
    if has_split:
        values["split"] = name.parts[0]
    return values
