"""Answers about repositories: descriptions, trees, names of commits, lists. None of them gives a file's bytes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from itertools import islice

from django.http import HttpResponse

from governance.policy import Permission
from governance.services import access
from portal.gateway.hub import documents, errors
from portal.gateway.hub.endpoints import Endpoint, json, said_true, warn
from portal.gateway.hub.repos import DATASETS, MAIN, bases, datasets, models
from projects.models import Commit, CommitFile

PAGE = 1000
LIST = 100
MAX_PATHS = 1000


class Info(Endpoint):
    """What a repository is, at a revision."""

    def get(self, request, kind, team, name, revision=MAIN):
        """Return its description, with the commit that the revision names."""
        repo = self.find(kind, team, name)
        found = repo.revision(revision)
        body = documents.info(repo, found, blobs=said_true(request.query_params.get("blobs")))
        return warn(json(body), repo, found)


class Tree(Endpoint):
    """What is in a folder of a revision."""

    def get(self, request, kind, team, name, revision, path=""):
        """Return files and folders, a thousand at a time."""
        repo = self.find(kind, team, name)
        found = repo.revision(revision)
        path = path.strip("/")
        rows = found.commit.files.order_by("path")
        if path:
            rows = rows.filter(path__startswith=f"{path}/")
            if not rows.exists():
                raise errors.EntryNotFound(path, found.oid)
        entries = _entries(found.commit, rows, path, deep=said_true(request.query_params.get("recursive")))
        after = _after(request.query_params.get("cursor", ""))
        page = list(islice((one for one in entries if one["path"] > after), PAGE + 1))
        if said_true(request.query_params.get("expand")):
            for one in page:
                one["lastCommit"] = documents.last_commit(found.commit)
        response = json(page[:PAGE])
        if len(page) > PAGE:
            _link(request, response, page[PAGE - 1]["path"])
        return response


class PathsInfo(Endpoint):
    """What some paths of a revision are."""

    def post(self, request, kind, team, name, revision):
        """Return those of the paths that are there."""
        repo = self.find(kind, team, name)
        commit = repo.revision(revision).commit
        given = request.data
        asked = given.getlist("paths") if hasattr(given, "getlist") else given.get("paths", [])
        asked = [asked] if isinstance(asked, str) else asked
        if not isinstance(asked, list) or len(asked) > MAX_PATHS:
            raise errors.HubError(f"Ask for at most {MAX_PATHS} paths at once.")
        wanted = dict.fromkeys(str(path).strip("/") for path in asked)
        files = {file.path: file for file in commit.files.filter(path__in=list(wanted))}
        found = []
        for path in wanted:
            if path in files:
                found.append(documents.entry(files[path]))
            elif commit.files.filter(path__startswith=f"{path}/" if path else "").exists():
                found.append(documents.folder(commit, path))
        if said_true(str(given.get("expand", ""))):
            for one in found:
                one["lastCommit"] = documents.last_commit(commit)
        return json(found)


class Refs(Endpoint):
    """Which names lead to commits."""

    def get(self, request, kind, team, name):
        """Return branches and tags."""
        found = self.find(kind, team, name).refs()
        return json(documents.refs(found, pull_requests=said_true(request.query_params.get("include_prs"))))


class Commits(Endpoint):
    """How a repository came to be what it is."""

    def get(self, request, kind, team, name, revision):
        """Return the commits up to a revision, newest first."""
        repo = self.find(kind, team, name)
        return json(documents.commits(repo.history(repo.revision(revision).commit)))


class AuthCheck(Endpoint):
    """Whether the person may have a repository's files, or send some."""

    def get(self, request, kind, team, name, act="read"):
        """Return nothing where they may; else the refusal that the act would meet."""
        repo = self.find(kind, team, name)
        if act == "write":
            permission = Permission.DATASET_UPLOAD if kind == DATASETS else Permission.MODEL_REGISTER
            access.require(request.user, permission, None if team == bases.OWNER else repo.subject)
        else:
            repo.revision(MAIN).require()
        return json({})


class Listing(Endpoint):
    """Which repositories there are for this person."""

    def get(self, request, kind):
        """Return them by id, at most a hundred at a time."""
        ask = request.query_params
        limit = int(ask["limit"]) if re.fullmatch(r"[0-9]{1,6}", ask.get("limit", "")) else LIST
        limit = min(max(1, limit), LIST)
        given = {"search": ask.get("search", "")[:100], "author": ask.get("author", "")[:100], "limit": limit + 1}
        after = _after(ask.get("cursor", ""))
        if kind == DATASETS:
            found = datasets.listed(request.user, after=after, **given)
        else:
            # Base models come behind all others.
            behind = after.startswith(f"{bases.OWNER}/")
            found = [] if behind else models.listed(request.user, after=after, **given)
            found += bases.listed(request.user, after=after if behind else "", **given)
        page = found[:limit]
        response = json([documents.summary(repo, repo.facts()) for repo in page])
        if len(found) > limit:
            _link(request, response, page[-1].id)
        return response


def _entries(commit: Commit, rows: Iterable[CommitFile], path: str, *, deep: bool) -> list[dict]:
    """Return the entries below `path` by name, those of the folders below it too where `deep`."""
    start = len(path) + 1 if path else 0
    found: dict[str, dict] = {}
    for file in rows:
        parts = file.path[start:].split("/")
        for depth in range(1, len(parts)):
            if depth == 1 or deep:
                inner = "/".join([*([path] if path else []), *parts[:depth]])
                found.setdefault(inner, documents.folder(commit, inner))
        if deep or len(parts) == 1:
            found[file.path] = documents.entry(file)
    return [found[name] for name in sorted(found)]


def _after(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise errors.HubError("The cursor is not one of ours; start again from the first page.") from None


def _link(request, response: HttpResponse, last: str) -> None:
    """Say where the next page is (RFC 8288)."""
    query = request.query_params.copy()
    query["cursor"] = base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
    response["Link"] = f'<{request.build_absolute_uri(request.path)}?{query.urlencode()}>; rel="next"'
