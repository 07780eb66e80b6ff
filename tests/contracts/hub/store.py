"""An object store on another origin: it gives an object to whoever has a signed address, and to nobody with a token."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from portal.storages.filesystem import ContentStorage

KEY = b"known to the store and to the site"
FROM, TO = 3_000_000, 4_000_000
"""Sizes of the files that are fetched from the object store; the site sends the others itself."""


def sign(name: str, until: int) -> str:
    """Return the signature of one object's address."""
    return hmac.new(KEY, f"{name} {until}".encode(), hashlib.sha256).hexdigest()


class HalfSignedStorage(ContentStorage):
    """Keeps everything in a folder, and says of files of some sizes that they are fetched from the object store."""

    def url(self, name: str) -> str:
        """Return a signed address of the object store, or raise NotImplementedError where the site sends the bytes."""
        from django.conf import settings

        if not FROM <= self.size(name) < TO:
            raise NotImplementedError
        until = int(time.time()) + 60
        return f"{settings.OBJECT_STORE}/{name}?until={until}&signature={sign(name, until)}"


@dataclass
class ObjectStore:
    """The running store and what it was asked: (method, path, authorization header)."""

    url: str
    root: Path | None = None
    asked: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[ObjectStore]:
    """Run the object store on a free port; its folder is named afterwards."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Say nothing."""

        def do_GET(self):
            """Give an object, or a range of it, to who has its signed address."""
            parts = urlsplit(self.path)
            name, given = parts.path.lstrip("/"), parse_qs(parts.query)
            store.asked.append((self.command, name, self.headers.get("Authorization", "")))
            until = int(given.get("until", ["0"])[0])
            if until < time.time() or given.get("signature") != [sign(name, until)]:
                self.send_error(403)
                return
            data = (store.root / name).read_bytes()
            wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            end = int(wanted[2]) + 1 if wanted and wanted[2] else len(data)
            piece = data[start:end]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(piece)))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{start + len(piece) - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(piece)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    store = ObjectStore(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
