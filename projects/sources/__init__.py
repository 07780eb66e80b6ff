"""Where data comes from: one file per format, found by scanning this folder; to add a format, add a file.

The contract of a source, a module of this folder that imports no sibling:

``NAME``      what a person calls the format, as in "CSV".
``SUFFIXES``  the lower-case file name endings it answers to, with their dot; several sources may share one.
``MEDIA``     its media type.
``UNIT``      what a row's ``line`` counts: "line", "record", "row" or "file"; from 1, and 0 is the whole file.
``sniff(path) -> bool``
    whether the content is in this format, judged by the bytes and never by the name.
``columns(path, options=Options()) -> Preview``
    the column names in their order, the first rows, the problems met there and how the file was understood.
``read(path, options=Options()) -> Iterator[Batch]``
    every row in file order, as ``Row(line, values)``: each value is text or None (a gap), the keys are the columns.

A source uses bounded memory whatever the size of the file. A row that cannot be read becomes a ``RowError`` in its
batch and reading goes on; a file that cannot be read raises ``Refused(code, sentence, advice)``, while reading if need
be, so a caller commits nothing before the last batch. Nothing is executed, resolved or fetched on a file's behalf.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from types import ModuleType

from projects.sources.reading import signatures
from projects.sources.reading.rows import DEFAULTS, Batch, Limits, Options, Preview, Refused, Row, RowError

__all__ = [
    "DEFAULTS",
    "Batch",
    "Limits",
    "Options",
    "Preview",
    "Refused",
    "Row",
    "RowError",
    "all_sources",
    "choose",
    "columns",
    "media_types",
    "read",
    "suffixes",
]


@cache
def all_sources() -> dict[str, ModuleType]:
    """Every source by its module name, in alphabetical order."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)
    return {name: importlib.import_module(f"{__name__}.{name}") for name in names}


def suffixes() -> list[str]:
    """Every file name ending that some source answers to, for the file field of a form."""
    return sorted({suffix for source in all_sources().values() for suffix in source.SUFFIXES})


def media_types() -> dict[str, str]:
    """Media type by file name ending."""
    return {suffix: source.MEDIA for source in all_sources().values() for suffix in source.SUFFIXES}


def choose(path: str | Path, filename: str) -> ModuleType:
    """The source that reads this file, by the ending of the name its sender gave it and by what its bytes say.

    Raises Refused when the ending is unknown, or when the content is something else.
    """
    suffix = PurePath(filename.replace("\\", "/")).suffix.lower()
    candidates = [source for source in all_sources().values() if suffix in source.SUFFIXES]
    known = ", ".join(suffixes())
    if not candidates:
        ending = f"'{suffix}'" if suffix else "no ending"
        raise Refused(
            "unknown_format",
            f"Files with {ending} are not read.",
            f"Save the data in one of these formats: {known}.",
        )
    start = signatures.head(path)
    if not start:
        raise Refused("empty_file", "The file is empty.", "Check that the export finished, then upload it again.")
    for source in candidates:
        if source.sniff(path):
            return source
    found = signatures.recognise(start)
    if found is None or (found == "a ZIP archive or an Office document" and suffix in (".zip", ".xlsx")):
        fitting = [s.NAME for s in all_sources().values() if s not in candidates and s.sniff(path)]
        found = fitting[0] if fitting else "something else"
    raise Refused(
        "content_mismatch",
        f"The name ends in '{suffix}', but the content is not {candidates[0].NAME}: it looks like {found}.",
        "Give the file its right ending, or save the data again in the format that the name says.",
    )


def columns(path: str | Path, filename: str, options: Options = DEFAULTS) -> Preview:
    """Choose the source and preview the file. Raises Refused."""
    return choose(path, filename).columns(path, options)


def read(path: str | Path, filename: str, options: Options = DEFAULTS) -> Iterator[Batch]:
    """Choose the source and read the file in batches. Raises Refused, at once or while reading."""
    return choose(path, filename).read(path, options)
