"""The base of every answer to a client: who is asking, how often they may, and refusals in the clients' own form."""

from __future__ import annotations

from http import HTTPStatus

from django.http import Http404, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.views import APIView

from governance.interfaces import declared, problems
from governance.services import access
from portal.gateway import metering
from portal.gateway.hub import errors
from portal.gateway.hub.repos import DATASETS, Repo, Revision, bases, datasets, models
from projects.services import repositories


class Endpoint(APIView):
    """A route of the Hub. A browser's session may look, as may a token; neither learns of what is not theirs."""

    schema = None
    gatehouse_policy = declared.SIGNED_IN
    parser_classes = [FormParser, JSONParser]
    # Beside /api/ too, a token that comes with the call is what judges it.
    for_programs = True

    def dispatch(self, request, *args, base: str = "", **given):
        """Answer; an address that names a base model without its owner means the same as one with it."""
        return super().dispatch(request, *args, **given, **({"team": bases.OWNER, "name": base} if base else {}))

    def perform_content_negotiation(self, request, force=False):
        """Take what the client accepts for what it gets: there is one form of each answer."""
        return super().perform_content_negotiation(request, force=True)

    def find(self, kind: str, team: str, name: str) -> Repo:
        """Return the repository if this person may know of it; raises errors.RepoNotFound."""
        user = self.request.user
        if kind == DATASETS:
            return datasets.find(user, team, name)
        return bases.find(user, name) if team == bases.OWNER else models.find(user, team, name)

    def handle_exception(self, error: Exception) -> HttpResponse:
        """Return what makes the client raise the right exception; a refusal is recorded on the way."""
        if isinstance(error, errors.HubError):
            return self._not_there(error)
        if isinstance(error, access.Denied):
            problems.record_refusal(self.request._request, error, self.request.user)
            page = getattr(error.subject, "get_absolute_url", None)
            return errors.of_refusal(error, self.request.build_absolute_uri(page()) if page else "")
        if isinstance(error, metering.Exceeded):
            # A client waits as long as a 429 says, and tries again: right for a minute, and not for a day.
            soon = error.code == "rate_limit_exceeded"
            status = HTTPStatus.TOO_MANY_REQUESTS if soon else HTTPStatus.FORBIDDEN
            return errors.answer(status, error.reason, headers=error.headers)
        if isinstance(error, metering.Uncounted):
            return errors.answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "30"})
        if isinstance(error, exceptions.NotAuthenticated):
            message = "Sign in to see this: set HF_TOKEN to a token of yours, from Account, Tokens in the portal."
            return self._challenge(errors.answer(HTTPStatus.UNAUTHORIZED, message, code="RepoNotFound"))
        if isinstance(error, exceptions.AuthenticationFailed):
            return self._challenge(errors.answer(HTTPStatus.UNAUTHORIZED, str(error.detail), told=errors.BAD_TOKEN))
        if isinstance(error, exceptions.Throttled):
            wait = int(error.wait or 1) + 1
            message = f"That was often in a short time. Try again in {wait} seconds."
            return errors.answer(HTTPStatus.TOO_MANY_REQUESTS, message, headers={"Retry-After": str(wait)})
        if isinstance(error, Http404 | repositories.Missing):
            return errors.answer(HTTPStatus.NOT_FOUND, "There is nothing here that you may see.", code="EntryNotFound")
        if isinstance(error, exceptions.APIException):
            return errors.answer(error.status_code, str(error.detail))
        raise error

    @staticmethod
    def _not_there(error: errors.HubError) -> HttpResponse:
        return errors.answer(error.status, error.message, code=error.code, headers=error.headers)

    @staticmethod
    def _challenge(response: HttpResponse) -> HttpResponse:
        response["WWW-Authenticate"] = 'Bearer realm="gatehouse"'
        return response

    def finalize_response(self, request, response, *args, **kwargs):
        """Pass the answer on as it is: it is made here, not rendered by the REST framework."""
        for name, value in getattr(self, "headers", {}).items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


def warn(response: HttpResponse, repo: Repo, revision: Revision) -> HttpResponse:
    """Put what everyone should read into the header that clients print, once for each repository."""
    if said := revision.notices():
        response["X-HF-Warning"] = errors.plain(f"{repo.id}; {' '.join(said)}")
    return response


def said_true(value: str | None) -> bool:
    """Return whether a parameter says yes, in the words of newer and older clients."""
    return (value or "").lower() in {"true", "1"}


def json(body: dict | list) -> JsonResponse:
    """Return a JSON answer."""
    return JsonResponse(body, safe=False)
