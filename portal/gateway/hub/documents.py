"""The JSON that clients read about repositories, in their words; nothing is decided here."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from portal.gateway.hub.repos import MODELS, Refs, Repo, Revision
from projects.models import Commit, CommitFile

LARGE = 1024 * 1024
LARGE_NAMES = (".safetensors", ".parquet", ".gguf", ".onnx", ".arrow", ".zip", ".npz")
POINTER = 134
"""Bytes of the pointer file that git would hold instead of a large file; clients show it and use it for nothing."""


def is_large(file: CommitFile) -> bool:
    """Return whether the file counts as large: known by its sha256, where a small one is by the sha1 of git."""
    return file.size >= LARGE or file.path.endswith(LARGE_NAMES)


def etag_of(file: CommitFile) -> str:
    """Return the digest under which clients keep the file in their cache."""
    return file.sha256 if is_large(file) else file.git_oid


def moment(at: datetime) -> str:
    """Return a time as the clients parse it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def entry(file: CommitFile) -> dict[str, Any]:
    """Return a file of a tree. It never names a `xetHash`, so that downloads stay plain HTTP."""
    found: dict[str, Any] = {"type": "file", "path": file.path, "size": file.size, "oid": file.git_oid}
    if is_large(file):
        found["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": POINTER}
    return found


def folder(commit: Commit, path: str) -> dict[str, Any]:
    """Return a folder of a tree; its oid is made from where it is, since nothing asks for a folder by it."""
    oid = hashlib.sha256(f"{commit.oid}:{path}".encode()).hexdigest()[:40]
    return {"type": "directory", "path": path, "oid": oid, "size": 0}


def last_commit(commit: Commit) -> dict[str, str]:
    """Return what an expanded tree says of when a file changed."""
    return {"id": commit.oid, "title": commit.message or "Commit", "date": moment(commit.created_at)}


def sibling(file: CommitFile, *, blobs: bool) -> dict[str, Any]:
    """Return a file as the description of a repository lists it."""
    found: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        found |= {"size": file.size, "blobId": file.git_oid}
        if is_large(file):
            found["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": POINTER}
    return found


def info(repo: Repo, revision: Revision, *, blobs: bool = False) -> dict[str, Any]:
    """Return the description of a repository at a revision."""
    commit = revision.commit
    facts = repo.facts(commit)
    found = summary(repo, facts) | {
        "sha": revision.oid,
        "lastModified": moment(commit.created_at),
        "gated": "manual" if revision.refusal is not None else False,
        "disabled": False,
        "cardData": facts["cardData"],
        "siblings": [sibling(file, blobs=blobs) for file in commit.files.all()],
    }
    if "description" in facts:
        found["description"] = facts["description"]
    return found


def summary(repo: Repo, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a repository in a list. How often it was fetched is on the usage pages, not here."""
    found = {
        "_id": hashlib.sha256(f"{repo.kind}/{repo.id}".encode()).hexdigest()[:24],
        "id": repo.id,
        "author": repo.id.partition("/")[0],
        "private": True,
        "gated": False,
        "tags": facts["tags"],
        "downloads": 0,
        "likes": 0,
        "createdAt": moment(repo.created_at),
    }
    if repo.kind == MODELS:
        found |= {"modelId": repo.id, "pipeline_tag": facts["pipeline_tag"], "library_name": facts["library_name"]}
    return found


def refs(found: Refs, *, pull_requests: bool) -> dict[str, Any]:
    """Return the names of a repository's commits."""

    def shown(kind: str, rows: list) -> list[dict[str, str]]:
        return [{"name": row.name, "ref": f"refs/{kind}/{row.name}", "targetCommit": row.oid} for row in rows]

    body: dict[str, Any] = {
        "branches": shown("heads", found.branches),
        "tags": shown("tags", found.tags),
        "converts": [],
    }
    return body | ({"pullRequests": []} if pull_requests else {})


def commits(rows: list[Commit]) -> list[dict[str, Any]]:
    """Return commits as clients list them."""
    return [
        {
            "id": row.oid,
            "title": row.message or "Commit",
            "message": "",
            "authors": [{"user": str(row.author)}],
            "date": moment(row.created_at),
        }
        for row in rows
    ]
