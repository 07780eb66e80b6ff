"""Who asks: a bearer token or the browser's session, within their rate."""

from __future__ import annotations

from rest_framework import exceptions
from rest_framework.request import Request

from governance.interfaces import credentials
from governance.models import User
from governance.policy import Permission
from governance.services import access


class _Session(credentials.Session):
    """The browser's session; its CSRF check looks at the header alone and leaves the body to be read."""

    def enforce_csrf(self, request):
        """Check the Django request: DRF's own would parse the body on the way, and this is not form data."""
        super().enforce_csrf(request._request)


def admit(request, *, calling: bool = True) -> User:
    """Return the caller, noted on the request; raises DRF's NotAuthenticated, AuthenticationFailed or Throttled.

    Whether they may have what they ask for is asked of it. Here it is only whether a token may call models at all,
    where that is what they are about to do; raises access.Denied.
    """
    given = Request(request, authenticators=[credentials.TokenAuthentication(), _Session()])
    user = given.user
    if not user.is_authenticated:
        raise exceptions.NotAuthenticated("Send a token of yours as the API key; you make one under Account › Tokens.")
    request.user = user
    throttle = credentials.PersonThrottle()
    if not throttle.allow_request(given, None):
        raise exceptions.Throttled(throttle.wait())
    if calling and not access.token_permits(user, Permission.MODEL_USE):
        raise access.Denied(
            "This token may not call models: it does not carry the scope “predict”.", code="scope", subject=None
        )
    return user
