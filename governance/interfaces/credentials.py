"""Who is calling the API: a bearer token or the browser's session, and how often they may."""

from __future__ import annotations

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.throttling import SimpleRateThrottle

from governance.services import tokens


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer gh_…`. The person arrives with the token attached, and is limited to its scopes."""

    def authenticate(self, request):
        """Return (user, token), None without the header; raises AuthenticationFailed for a bad token."""
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        secret = header[1].decode("latin-1") if len(header) == 2 else ""
        token = tokens.authenticate(secret)
        if token is None:
            raise exceptions.AuthenticationFailed(
                "This token is unknown, expired or revoked. Create one under Account › Tokens."
            )
        return token.user, token

    def authenticate_header(self, request):
        """Return what the 401 tells the client to send."""
        return 'Bearer realm="gatehouse"'


def by_token(request) -> bool:
    """Return whether an endpoint will judge this Django request by a token alone, as TokenAuthentication does.

    A page never does, whatever the header says.
    """
    given = get_authorization_header(request).split()
    return for_programs(request) and bool(given) and given[0].lower() == b"bearer"


def for_programs(request) -> bool:
    """Return whether the request is for an endpoint, which asks for its own credentials, and not for a page.

    Beside the API's own addresses these are views that say so with `for_programs`.
    """
    if request.path.startswith(("/api/", "/v1/")):
        return True
    match = getattr(request, "resolver_match", None)
    return bool(match) and getattr(getattr(match.func, "cls", None), "for_programs", False)


class Session(SessionAuthentication):
    """The browser's session, with its CSRF check, for pages that call the API."""

    def authenticate_header(self, request):
        """Return what the 401 tells the client to send."""
        return 'Bearer realm="gatehouse"'


class PersonThrottle(SimpleRateThrottle):
    """So many calls a minute for each person; the answer carries the limit and what is left."""

    scope = "person"

    def get_cache_key(self, request, view):
        """Return the key under which the person's calls are counted."""
        who = f"u{request.user.pk}" if request.user.is_authenticated else self.get_ident(request)
        return f"throttle:{who}"

    def allow_request(self, request, view):
        """Count the call and note the figures on the request for the headers."""
        allowed = super().allow_request(request, view)
        if self.rate:
            left = max(0, self.num_requests - len(self.history)) if allowed else 0
            reset = int(self.duration - (self.now - self.history[-1])) if self.history else int(self.duration)
            request._request.rate_limit = (self.num_requests, left, max(0, reset))
        return allowed


def rate_limit_headers(request, response) -> None:
    """Add the figures that the throttle noted to the answer."""
    figures = getattr(request, "rate_limit", None)
    if figures:
        limit, left, reset = figures
        response["RateLimit-Limit"], response["RateLimit-Remaining"], response["RateLimit-Reset"] = (
            str(limit),
            str(left),
            str(reset),
        )
