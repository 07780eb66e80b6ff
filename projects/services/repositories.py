"""The content-addressed store: bytes stored once by sha256, commits that list them, refs that move.

Reading what a person may see goes through the models' `visible_to`; the functions here that take no actor move bytes
and decide nothing. A commit is recorded in the ledger by what makes it (an import, a job), under its own action.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.models import User
from governance.policy import Permission
from governance.proofs import canonical
from governance.services import access
from projects.models import Blob, Commit, CommitFile, Ref, Repository, Team
from projects.models.teams import RESERVED_NAMES
from projects.services import fields
from projects.services.fields import Invalid

CHUNK = 1024 * 1024
MAX_PATH = 400
MAX_FILES = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

WRITE_RIGHT = {
    Repository.Kind.DATASET: Permission.DATASET_UPLOAD,
    Repository.Kind.MODEL: Permission.MODEL_REGISTER,
    Repository.Kind.EVIDENCE: Permission.MODEL_REGISTER,
    Repository.Kind.BASE_MODEL: Permission.BASE_MODEL_IMPORT,
}
CREATE_RIGHT = WRITE_RIGHT | {Repository.Kind.DATASET: Permission.DATASET_REGISTER}


class Damaged(RuntimeError):
    """Stored bytes do not have the sha256 they are known by; nothing may be done with them."""


class Missing(LookupError):
    """A commit has no such file, or the store has lost its bytes."""


# Bytes


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def _digests(file: BinaryIO, size: int) -> tuple[str, str, int]:
    """Return (sha256, the sha1 that git gives a blob of these bytes, bytes read)."""
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\x00" % size, usedforsecurity=False)
    seen = 0
    while chunk := file.read(CHUNK):
        sha256.update(chunk)
        git.update(chunk)
        seen += len(chunk)
    return sha256.hexdigest(), git.hexdigest(), seen


def store_blob(source: str | Path | bytes | BinaryIO) -> Blob:
    """Store the bytes of a path, a bytes object or an open, seekable binary file, and return their Blob.

    Bytes that are there already are not written again. Large files belong into a background task: they are read twice.
    Raises OSError where the store cannot be written.
    """
    if isinstance(source, bytes):
        return store_blob(_in_memory(source))
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return store_blob(file)
    source.seek(0, os.SEEK_END)
    size = source.tell()
    source.seek(0)
    sha256, git_oid, seen = _digests(source, size)
    if seen != size:
        raise Damaged(f"The file changed while it was read: {size} bytes were announced and {seen} came.")
    if not default_storage.exists(_name(sha256)):
        source.seek(0)
        default_storage.save(_name(sha256), File(source, name=sha256))
    blob, _created = Blob.objects.get_or_create(sha256=sha256, defaults={"git_oid": git_oid, "size": size})
    return blob


def _in_memory(data: bytes) -> BinaryIO:
    from io import BytesIO

    return BytesIO(data)


def open_blob(blob: Blob) -> File:
    """Open the bytes for reading; raises Missing where the store has lost them."""
    try:
        return default_storage.open(_name(blob.sha256), "rb")
    except FileNotFoundError as error:
        raise Missing(f"The store has lost {blob.sha256}. Restore it from your backup.") from error


def require_stored(blob: Blob) -> None:
    """Raise Missing where the store has lost the bytes."""
    if not default_storage.exists(_name(blob.sha256)):
        raise Missing(f"The store has lost {blob.sha256}. Restore it from your backup.")


def address_of(blob: Blob) -> str | None:
    """Return where an object store gives these bytes to whoever holds the address, or None where the site sends them.

    Such a store's `url` is signed, ends soon and is on another origin, to which clients send no token. Raises Missing
    where the store knows that it has lost them.
    """
    try:
        address = default_storage.url(_name(blob.sha256))
    except NotImplementedError:
        return None
    except FileNotFoundError as error:
        raise Missing(f"The store has lost {blob.sha256}. Restore it from your backup.") from error
    return address if address.startswith(("https://", "http://")) else None


def read_blob(blob: Blob, *, limit: int = 16 * CHUNK) -> bytes:
    """Return the whole content of a small file; raises Invalid where it is larger than `limit` bytes."""
    if blob.size > limit:
        raise Invalid(f"The file has {blob.size} bytes; at most {limit} are read at once.")
    with open_blob(blob) as file:
        return file.read()


def local_path(blob: Blob) -> Path:
    """Return a path to the bytes on this machine, for libraries that read files by name; it must not be written to.

    Raises Missing where the store has lost them.
    """
    path = Path(default_storage.path(_name(blob.sha256)))
    if not path.is_file():
        raise Missing(f"The store has lost {blob.sha256}. Restore it from your backup.")
    return path


# Repositories and commits


@transaction.atomic
def create(*, actor: User, kind: Repository.Kind | str, team: Team | None, name: str) -> Repository:
    """Create an empty repository. Raises Denied, or Invalid for a name that is reserved, taken or badly formed."""
    kind = Repository.Kind(kind)
    access.require(actor, CREATE_RIGHT[kind], team)
    values = fields.clean(Repository, {"name": name})
    if values["name"] in RESERVED_NAMES:
        raise Invalid(f"“{values['name']}” is a word of the site's own addresses; choose another.", field="name")
    taken = Invalid(f"There is already a {kind.label.lower()} called “{values['name']}” here.", field="name")
    try:
        with transaction.atomic():
            return Repository.objects.create(kind=kind, team=team, created_by=actor, **values)
    except IntegrityError as error:
        raise taken from error


def check_path(path: str) -> str:
    """Return the path of a file inside a commit; raises Invalid unless it is relative, plain and stays inside."""
    parts = path.split("/")
    if not path or len(path) > MAX_PATH:
        raise Invalid(f"A file's path has 1 to {MAX_PATH} characters.", field="path")
    if "\\" in path or _CONTROL.search(path) or path != path.strip():
        raise Invalid(f"The path {path[:80]!r} holds backslashes, control characters or outer blanks.", field="path")
    if any(part in {"", ".", ".."} for part in parts) or re.match(r"[A-Za-z]:", path):
        raise Invalid(f"The path {path[:80]!r} is not a plain relative path.", field="path")
    return path


def _tree(files: Mapping[str, Blob]) -> list[dict[str, str | int]]:
    return [
        {"path": path, "sha256": blob.sha256, "git_oid": blob.git_oid, "size": blob.size}
        for path, blob in sorted(files.items())
    ]


@transaction.atomic
def commit(
    *,
    actor: User,
    repository: Repository,
    files: Mapping[str, Blob],
    message: str,
    parent: Commit | None = None,
    ref: str = "main",
) -> Commit:
    """Make the files one immutable commit, move `ref` to it and return it.

    The parent is what `ref` names now unless given. The oid is the first 160 bits of the SHA-256 over the canonical
    form of repository, parent, tree, author, time and message: 40 lowercase hex digits as clients of git and of the Hub
    expect, without resting on SHA-1. Raises Denied, or Invalid for paths, an empty commit or a parent from elsewhere.
    """
    access.require(actor, WRITE_RIGHT[Repository.Kind(repository.kind)], repository if repository.team_id else None)
    if not files:
        raise Invalid("A commit needs at least one file.")
    if len(files) > MAX_FILES:
        raise Invalid(f"A commit holds at most {MAX_FILES} files.")
    for path in files:
        check_path(path)
    folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
    if clash := sorted(folders & files.keys()):
        raise Invalid(f"“{clash[0]}” is both a file and a folder.", field="path")
    # Two commits at once would both take the same parent; the row's lock makes them take turns.
    repository = Repository.objects.select_for_update(no_key=True).get(pk=repository.pk)
    held = Ref.objects.filter(repository=repository, name=ref).select_related("commit").first()
    if parent is None and held is not None:
        parent = held.commit
    if parent is not None and parent.repository_id != repository.pk:
        raise Invalid("The parent commit belongs to another repository.", field="parent")
    at = timezone.now()
    message = message.strip()[:300]
    oid = canonical.digest(
        {
            "repository": repository.pk,
            "parent": parent.oid if parent else None,
            "tree": _tree(files),
            "author": actor.ledger_id,
            "at": at,
            "message": message,
        }
    )[:40]
    made = Commit.objects.create(
        oid=oid, repository=repository, parent=parent, message=message, author=actor, created_at=at
    )
    CommitFile.objects.bulk_create(
        [
            CommitFile(commit=made, path=path, blob=blob, git_oid=blob.git_oid, size=blob.size)
            for path, blob in sorted(files.items())
        ],
        batch_size=500,
    )
    Ref.objects.update_or_create(repository=repository, name=ref, defaults={"commit": made})
    return made


def file_of(commit: Commit, path: str) -> CommitFile:
    """Return one file of the commit; raises Missing."""
    try:
        return commit.files.select_related("blob").get(path=path)
    except CommitFile.DoesNotExist as error:
        raise Missing(f"The commit {commit} has no file “{path[:80]}”.") from error


def materialise(commit: Commit, folder: str | Path, *, paths: Iterable[str] | None = None) -> dict[str, Path]:
    """Lay the commit's files (or those named) out in a folder of this machine and return where each one is.

    Each file is read once and compared with its sha256; hard links save the copy where folder and store share a file
    system. The files are read-only: they may be the store's own. Raises Missing, Damaged.
    """
    folder = Path(folder)
    rows = list(commit.files.select_related("blob"))
    if paths is not None:
        wanted = set(paths)
        if unknown := wanted - {row.path for row in rows}:
            raise Missing(f"The commit {commit} has no file “{sorted(unknown)[0][:80]}”.")
        rows = [row for row in rows if row.path in wanted]
    laid: dict[str, Path] = {}
    for row in rows:
        target = folder / check_path(row.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        _lay(row.blob, target)
        laid[row.path] = target
    return laid


def _lay(blob: Blob, target: Path) -> None:
    try:
        os.link(local_path(blob), target)
    except (OSError, NotImplementedError):
        # Another file system, or a store without paths: copy.
        with open_blob(blob) as file, open(target, "wb") as copy:
            shutil.copyfileobj(file, copy, CHUNK)
        target.chmod(0o440)
    with open(target, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != blob.sha256:
        target.unlink()
        raise Damaged(f"Stored bytes known as {blob.sha256} have the sha256 {found}. Restore them from your backup.")
