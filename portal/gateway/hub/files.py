"""Bytes of files: HEAD says what a file is, GET sends it, whole or in a range, or names the object store that does.

Each GET is metered: one row of usage and one ledger entry, which are written before the last piece leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpResponse

from portal.gateway import metering
from portal.gateway.hub import documents, errors
from portal.gateway.hub.endpoints import Endpoint, warn
from portal.gateway.hub.repos import Revision
from projects import downloads
from projects.models import CommitFile
from projects.services import repositories


class Resolve(Endpoint):
    """One file of one revision."""

    def get(self, request, kind, team, name, revision, path):
        """Send the file, or what is known of it for HEAD; the right is asked now."""
        repo = self.find(kind, team, name)
        found = repo.revision(revision)
        found.require()
        try:
            file = repositories.file_of(found.commit, path)
        except repositories.Missing:
            raise errors.EntryNotFound(path, found.oid) from None
        try:
            response = self._head(request, file) if request.method == "HEAD" else self._send(request, found, file)
        except repositories.Missing as error:
            raise errors.Unavailable(str(error), headers={"Retry-After": "30"}) from error
        response["X-Repo-Commit"] = found.oid
        response["X-Linked-Etag"] = f'"{documents.etag_of(file)}"'
        response["X-Linked-Size"] = str(file.size)
        return warn(response, repo, found)

    @staticmethod
    def _head(request, file: CommitFile) -> HttpResponse:
        elsewhere = repositories.address_of(file.blob)
        return _redirect(elsewhere) if elsewhere else _respond(request, file)

    @staticmethod
    def _send(request, revision: Revision, file: CommitFile) -> HttpResponse:
        part = request.headers.get("Range", "").removeprefix("bytes=")[:40]
        call = metering.begin(
            actor=request.user,
            kind=metering.Kind.DOWNLOAD,
            client=request.headers.get("User-Agent", ""),
            expected_bytes=downloads.asked_for(request, file.blob, documents.etag_of(file)),
            digest=file.sha256,
            details={"path": file.path, "size": file.size} | ({"part": part} if part else {}),
            **revision.metered(),
        )

        def finish(sent: int, whole: bool) -> None:
            call.used(bytes=sent)
            call.finish(metering.Outcome.ANSWERED if whole else metering.Outcome.CANCELLED)

        try:
            elsewhere = repositories.address_of(file.blob)
            if elsewhere:
                # The store sends it where we cannot count; who got the address may have all of what they asked for.
                finish(downloads.asked_for(request, file.blob, documents.etag_of(file)), True)
                response = _redirect(elsewhere)
            else:
                response = _respond(request, file, finish)
        except BaseException as error:
            call.finish(metering.outcome_of(error))
            raise
        if response.status_code not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            # Nothing is sent here, or not by us; a second time changes nothing.
            finish(0, True)
        for name, value in call.headers().items():
            response[name] = value
        return response


def _respond(request, file: CommitFile, finish: Callable[[int, bool], None] | None = None) -> HttpResponse:
    name = file.path.rsplit("/", 1)[-1]
    return downloads.respond(request._request, file.blob, name, etag=documents.etag_of(file), finish=finish)


def _redirect(address: str) -> HttpResponse:
    return HttpResponse(status=HTTPStatus.FOUND, headers={"Location": address})
