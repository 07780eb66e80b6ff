"""Long answers in pieces: the next one is made when the last one is sent, so that memory stays bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header


def attachment(request: HttpRequest, pieces: Generator[bytes, None, None], *, filename: str, content_type: str):
    """Return an answer that is saved as a file and never shown in place; `pieces` may read the database."""
    body: Iterator[bytes] | AsyncIterator[bytes] = _later(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(body, content_type=content_type)
    response["Content-Disposition"] = content_disposition_header(True, filename)
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response["Cache-Control"] = "private, no-store"
    return response


async def _later(pieces: Generator[bytes, None, None]) -> AsyncIterator[bytes]:
    def step() -> bytes | None:
        # Each piece may be made in another thread; the connection that it opened there must not stay behind.
        try:
            return next(pieces, None)
        finally:
            connection.close()

    try:
        while (piece := await sync_to_async(step, thread_sensitive=False)()) is not None:
            yield piece
    finally:
        await sync_to_async(pieces.close, thread_sensitive=False)()
