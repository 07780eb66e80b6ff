"""The content-addressed store on a local or shared file system; not a place for files with names of their own."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured, SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import Storage
from django.utils.deconstruct import deconstructible

NAME = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/\1\2[0-9a-f]{60}")
MODE = 0o440


class Damaged(OSError):
    """The bytes do not have the sha256 in their name: they changed on the way into the store."""


@deconstructible
class ContentStorage(Storage):
    """Keeps each file once, read-only, under the sha256 of its bytes. `url` is `file:///folder`.

    A name that is not `aa/bb/<sha256>` raises SuspiciousFileOperation, so no caller can reach outside the folder.
    """

    def __init__(self, url: str):
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise ImproperlyConfigured(f"STORAGE_URL is {url!r}; use file:///absolute/folder.")
        self.root = Path(unquote(parts.path))

    def path(self, name: str) -> str:
        """Return where the file is; raises SuspiciousFileOperation for a name that is no content address."""
        if not NAME.fullmatch(str(name)):
            raise SuspiciousFileOperation(f"{str(name)[:100]!r} is not the name of stored content.")
        return str(self.root / name)

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """Return the name itself: equal names are equal bytes."""
        self.path(name)
        return name

    def generate_filename(self, filename: str) -> str:
        """Return the name itself; raises SuspiciousFileOperation for a name that is no content address."""
        self.path(filename)
        return filename

    def _open(self, name: str, mode: str = "rb") -> File:
        if mode != "rb":
            raise SuspiciousFileOperation("Stored content is never changed; open it with mode “rb”.")
        return File(open(self.path(name), "rb"), name=name)

    def _save(self, name: str, content) -> str:
        target = Path(self.path(name))
        if target.exists():
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".incoming-", dir=target.parent)
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in content.chunks(1024 * 1024):
                    data = chunk.encode() if isinstance(chunk, str) else chunk
                    digest.update(data)
                    file.write(data)
                file.flush()
                os.fchmod(file.fileno(), MODE)
                os.fsync(file.fileno())
            if digest.hexdigest() != target.name:
                raise Damaged(f"What arrived has the sha256 {digest.hexdigest()}, not {target.name}.")
            # The name appears only once the bytes are safe: a crash leaves a temporary file and never half a blob.
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return name

    def exists(self, name: str) -> bool:
        """Return whether the content is in the store."""
        return Path(self.path(name)).is_file()

    def size(self, name: str) -> int:
        """Return the number of bytes; raises FileNotFoundError."""
        return Path(self.path(name)).stat().st_size

    def delete(self, name: str) -> None:
        """Remove the content where it is there; for the erasure of what may no longer be kept."""
        Path(self.path(name)).unlink(missing_ok=True)
