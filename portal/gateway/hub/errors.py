"""Refusals as the clients understand them: the status and headers that make each raise the exception meant for it.

The sentence of a refusal travels in `X-Error-Message` and in the body; `X-Error-Code` chooses the exception.
"""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpResponse, JsonResponse

from governance.services import access

DISABLED = "Access to this resource is disabled."
"""The clients compare with exactly this."""

BAD_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105 - a sentence
ENDED = frozenset({"suspended", "retired", "approval_void", "withdrawn", "disallowed"})
"""Codes of refusals that take something back which was offered before."""

OF_TOKENS = frozenset({"token_scope", "token_team"})
_PLAIN = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'", "–": "-", "—": "-", "…": "...", "›": ">"})


class HubError(Exception):
    """Something that a client is told with a status, a code of theirs where there is one, and a sentence."""

    status = HTTPStatus.BAD_REQUEST
    code = ""

    def __init__(self, message: str, *, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.message = message
        self.headers = headers or {}


class RepoNotFound(HubError):
    """There is no such repository for this person: not there and not visible are one."""

    status = HTTPStatus.NOT_FOUND
    code = "RepoNotFound"


class RevisionNotFound(HubError):
    """The repository has no such branch, tag or commit for this person."""

    status = HTTPStatus.NOT_FOUND
    code = "RevisionNotFound"


class EntryNotFound(HubError):
    """The revision has no such file or folder; clients remember the miss for its commit."""

    status = HTTPStatus.NOT_FOUND
    code = "EntryNotFound"

    def __init__(self, path: str, commit: str):
        super().__init__(f"There is no {path[:200]!r} in this revision.", headers={"X-Repo-Commit": commit})


class Unavailable(HubError):
    """The store does not give the bytes; clients try again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def plain(text: str) -> str:
    """Return a text as one line that a header may carry (RFC 9110, section 5.5)."""
    return " ".join(text.translate(_PLAIN).split()).encode("latin-1", "replace").decode("latin-1")


def answer(status: int, message: str, *, code: str = "", told: str = "", headers: dict | None = None) -> HttpResponse:
    """Return an error; `told` is the header's sentence where it must differ from the body's."""
    response = JsonResponse({"error": message}, status=status, headers=headers)
    response["X-Error-Message"] = plain(told or message)
    if code:
        response["X-Error-Code"] = code
    return response


def of_refusal(error: access.Denied, ask_at: str) -> HttpResponse:
    """Return a refusal: gated with the place to ask at, disabled where something was taken back, or plain 403."""
    if error.code in ENDED:
        # The header has to be their sentence, and HEAD, which clients ask first, has no body: they print this one.
        topic = str(error.subject or error.code).replace(";", ",")
        warning = {"X-HF-Warning": plain(f"{topic}; {error.reason}")}
        return answer(HTTPStatus.FORBIDDEN, error.reason, told=DISABLED, headers=warning)
    if error.code in OF_TOKENS:
        return answer(HTTPStatus.FORBIDDEN, error.reason)
    where = f" See {ask_at}" if ask_at else ""
    return answer(HTTPStatus.FORBIDDEN, f"{error.reason}{where}", code="GatedRepo")
