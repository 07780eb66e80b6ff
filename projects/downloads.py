"""The answer that carries a stored file: streamed in pieces, in ranges where asked, never shown by a browser in place.

Django's FileResponse reads a whole file into memory under ASGI and knows no ranges (RFC 9110, section 14), so this is
what sends files instead. Whoever calls it has asked for the right and recorded the read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from governance.interfaces import problems
from projects.models import Blob
from projects.services import repositories

CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def respond(request: HttpRequest, blob: Blob, filename: str) -> HttpResponse:
    """Return the file as an attachment: 200, 206 for one range, 304, or 416 for a range behind the end.

    Several ranges at once are answered with the whole file, which the RFC allows.
    """
    etag = f'"{blob.sha256}"'
    if etag in _listed(request.headers.get("If-None-Match", "")):
        return HttpResponse(status=304, headers={"ETag": etag})
    wanted = _wanted(request, blob, etag)
    if wanted == ():
        said = problems.body(
            status_code=416,
            title="The range cannot be met",
            detail=f"The file has {blob.size} bytes, and the range begins behind its end.",
            code="range",
        )
        refused = JsonResponse(said, status=416, content_type="application/problem+json")
        refused["Content-Range"] = f"bytes */{blob.size}"
        return refused
    start, end = wanted or (0, blob.size)
    if request.method == "HEAD":
        body: Iterator[bytes] | AsyncIterator[bytes] = iter(())
    else:
        pieces = _pieces(blob, start, end)
        body = _later(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(body, status=206 if wanted else 200, content_type="application/octet-stream")
    response["ETag"] = etag
    response["Accept-Ranges"] = "bytes"
    response["Content-Length"] = str(end - start)
    response["Content-Disposition"] = content_disposition_header(True, filename)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-cache"
    if wanted:
        response["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    return response


def _listed(header: str) -> list[str]:
    return [part.strip().removeprefix("W/") for part in header.split(",")]


def _wanted(request: HttpRequest, blob: Blob, etag: str) -> tuple[int, int] | tuple[()] | None:
    """Return the range asked for as [start, end), an empty tuple where it cannot be met, None for the whole file."""
    found = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if found is None or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, blob.size - int(last)), blob.size
    else:
        start, end = int(first), min(blob.size, int(last) + 1 if last else blob.size)
        if last and int(last) < int(first):
            return None
    return (start, end) if start < end else ()


def _pieces(blob: Blob, start: int, end: int) -> Generator[bytes, None, None]:
    with repositories.open_blob(blob) as file:
        file.seek(start)
        left = end - start
        while left > 0:
            piece = file.read(min(CHUNK, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


async def _later(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    # One piece at a time, and the next only once this one is sent: memory stays bounded however slow the reader is.
    try:
        while (piece := await sync_to_async(next, thread_sensitive=False)(pieces, None)) is not None:
            yield piece
    finally:
        await sync_to_async(pieces.close, thread_sensitive=False)()
