"""The answer that carries a stored file: streamed in pieces, in ranges where asked, never shown by a browser in place.

Django's FileResponse reads a whole file into memory under ASGI and knows no ranges (RFC 9110, section 14), so this is
what sends files instead. Whoever calls it has asked for the right and recorded the read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator

from asgiref.sync import sync_to_async
from django.core.files.base import File
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header

from governance.interfaces import problems
from projects.models import Blob
from projects.services import repositories

CHUNK = 256 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def respond(
    request: HttpRequest,
    blob: Blob,
    filename: str,
    *,
    etag: str = "",
    finish: Callable[[int, bool], None] | None = None,
) -> HttpResponse:
    """Return the file as an attachment: 200, 206 for one range, 304, or 416 for a range behind the end.

    Several ranges at once are answered with the whole file, which the RFC allows. `etag` is a digest of the bytes, by
    default their sha256. `finish` is called once with the number of bytes that left and whether these were all
    that were asked for, also when the reader went away. Raises repositories.Missing where the store has lost the bytes.
    While bytes flow under ASGI the request holds no connection to the database.
    """
    etag = f'"{etag or blob.sha256}"'
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
    asynchronous = isinstance(request, ASGIRequest)
    body: Iterator[bytes] | AsyncIterator[bytes] = _nothing() if asynchronous else iter(())
    closing = None
    if request.method != "HEAD":
        # Before the answer begins: what is lost can still be said with a status.
        repositories.require_stored(blob)
        sending = _Sending(blob, start, end, finish)
        closing = sending.close
        body = _later(sending) if asynchronous else sending.pieces()
    response = StreamingHttpResponse(body, status=206 if wanted else 200, content_type="application/octet-stream")
    if closing is not None:
        response._resource_closers.append(closing)
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


def asked_for(request: HttpRequest, blob: Blob, etag: str = "") -> int:
    """Return how many bytes the answer to this request will have."""
    quoted = f'"{etag or blob.sha256}"'
    if quoted in _listed(request.headers.get("If-None-Match", "")):
        return 0
    wanted = _wanted(request, blob, quoted)
    if wanted is None:
        return blob.size
    return wanted[1] - wanted[0] if wanted else 0


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


class _Sending:
    """The bytes of one answer on their way: read piece by piece, counted, and told about once whatever happens.

    A whole answer is told about before its last piece leaves: who has received all of it is on record.
    """

    def __init__(self, blob: Blob, start: int, end: int, finish: Callable[[int, bool], None] | None):
        self.blob, self.start, self.left, self.sent, self.finish = blob, start, end - start, 0, finish
        self.file: File | None = None

    def read(self) -> bytes:
        """Return the next piece, empty at the end."""
        if self.file is None:
            self.file = repositories.open_blob(self.blob)
            self.file.seek(self.start)
        piece = self.file.read(min(CHUNK, self.left)) if self.left > 0 else b""
        self.left -= len(piece)
        self.sent += len(piece)
        if self.left <= 0:
            self.file.close()
            self._tell(whole=True)
        return piece

    def close(self) -> None:
        """Close the file, and tell how much had left where that was not all; a second call does nothing."""
        if self.file is not None:
            self.file.close()
        self._tell(whole=False)

    def _tell(self, *, whole: bool) -> None:
        told, self.finish = self.finish, None
        if told is not None:
            told(self.sent, whole)

    def pieces(self) -> Iterator[bytes]:
        """Yield the pieces, for a server that is not asynchronous."""
        while piece := self.read():
            yield piece


async def _nothing() -> AsyncIterator[bytes]:
    for piece in ():
        yield piece


async def _later(sending: _Sending) -> AsyncIterator[bytes]:
    def step() -> bytes:
        # Each piece may be read in another thread; what telling opened there must not stay behind.
        try:
            return sending.read()
        finally:
            connection.close()

    def hand_back() -> None:
        # Named here, in the thread that holds it: elsewhere the same name is another connection.
        connection.close()

    # The request's own thread has a connection, maybe opened again by a middleware: a slow reader must not keep it.
    await sync_to_async(hand_back)()
    # One piece at a time, and the next only once this one is sent: memory stays bounded however slow the reader is.
    while piece := await sync_to_async(step, thread_sensitive=False)():
        yield piece
