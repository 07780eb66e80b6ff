"""What leaves for a spreadsheet: cells that would run as a formula are neutralised, rows are streamed.

Data inside Gatehouse is never changed; only exports call this.
"""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header

PIECE = 500
"""Rows that are sent at a time."""

# Characters with which a spreadsheet starts a formula (OWASP, CSV injection), also after leading white space.
_FORMULA = re.compile(r"^[\s\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20|%]|^[\t\r\n]")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?\s*")


def neutralise(value: str | None) -> str:
    """Return the cell as it may safely stand in a spreadsheet: what would run as a formula gets a leading apostrophe.

    Plain numbers such as ``-12.5`` stay as they are.
    """
    if value is None:
        return ""
    if _FORMULA.match(value) and not _PLAIN_NUMBER.fullmatch(value):
        return "'" + value
    return value


class _Echo:
    """A file that hands back what is written to it, which lets csv feed a stream."""

    def write(self, line: str) -> str:
        return line


def _pieces(header: list, lines: Iterable) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield "\ufeff" + writer.writerow([str(cell) for cell in header])
    lines = iter(lines)
    while piece := list(islice(lines, PIECE)):
        yield "".join(writer.writerow([neutralise(str(c)) if c is not None else "" for c in line]) for line in piece)


async def _later(pieces: Iterator[str]) -> AsyncIterator[str]:
    # One piece at a time, in the thread of the request, which holds its database connection.
    while (piece := await sync_to_async(next)(pieces, None)) is not None:
        yield piece


def stream(request, name: str, header: list, lines: Iterable) -> StreamingHttpResponse:
    """Return a CSV download made piece by piece from `lines`, each a sequence of cells; memory stays bounded."""
    pieces = _pieces(header, lines)
    body = _later(pieces) if isinstance(getattr(request, "_request", request), ASGIRequest) else pieces
    response = StreamingHttpResponse(body, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = content_disposition_header(True, name)
    return response
