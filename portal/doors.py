"""What stands between a signed-in person and the site, and what every answer tells the browser to refuse.

Whoever must choose a password of their own, or needs a second factor for their role, reaches the pages that let them do
it and nothing else. Programs come with a token and are judged by it: somebody who is held back here cannot make one.
"""

from __future__ import annotations

from django.conf import settings
from django.core.cache import cache
from django.http import JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from governance.interfaces import credentials, problems
from governance.services import access, sessions
from portal.accounts import factors, recording

_SAFE = {"GET", "HEAD", "OPTIONS"}
SEEN_EVERY = 60
"""Seconds between two notes of when a browser was last seen."""

ALWAYS = {"account_logout", "account_inactive", "portal:healthz", "portal:readyz"}
FOR_A_PASSWORD = {"account_change_password", "account_set_password"}
FOR_A_FACTOR = FOR_A_PASSWORD | {
    "governance:protect",
    "account_reauthenticate",
    "mfa_index",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "mfa_view_recovery_codes",
    "mfa_download_recovery_codes",
}

PERMISSIONS_POLICY = ", ".join(
    [
        "publickey-credentials-create=(self)",
        "publickey-credentials-get=(self)",
        "clipboard-write=(self)",
        *(
            f"{feature}=()"
            for feature in (
                "accelerometer",
                "browsing-topics",
                "camera",
                "display-capture",
                "geolocation",
                "gyroscope",
                "microphone",
                "midi",
                "payment",
                "usb",
            )
        ),
    ]
)


class HeadersMiddleware:
    """Tell the browser what no page of ours needs, and that no other site may read our answers.

    The opener policy, the referrer policy and nosniff come from Django's own middleware; the content policy from csp.
    """

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Answer, with the headers."""
        response = self.get_response(request)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response


class DoorMiddleware:
    """Hold back who has something to do first, and note when a browser was last seen."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Answer, and note at most once a minute that this browser was there."""
        request.session_key_before = request.session.session_key
        response = self.get_response(request)
        # Asking for the user here would read the session for pages that need none.
        if request.session.accessed and request.session.session_key and request.user.is_authenticated:
            recording.follow_key(request)
            key = request.session.session_key
            if cache.add(f"seen:{key}", 1, SEEN_EVERY):
                sessions.seen(key=key)
        return response

    def process_view(self, request, callback, args, kwargs):
        """Lead to what has to be done first, or let pass."""
        if credentials.by_token(request) or not request.user.is_authenticated:
            return None
        held = held_back(request)
        if held is None:
            return None
        allowed, address, error = held
        if request.resolver_match.view_name in allowed | ALWAYS:
            return None
        if request.method not in _SAFE:
            problems.record_refusal(request, error, request.user)
        if credentials.for_programs(request):
            body = {"type": f"about:blank#{error.code}", "title": "Refused", "status": 403, "detail": error.reason}
            body |= {"code": error.code, "request_id": getattr(request, "request_id", "")}
            return JsonResponse(body, status=403, content_type="application/problem+json")
        return redirect(address)


def held_back(request) -> tuple[set[str], str, access.Denied] | None:
    """Return (names of views that stay open, the page to go to, why) for a person who has something to do first."""
    if request.user.must_change_password:
        reason = _("Choose a password of your own first: somebody else knows the one you have.")
        return FOR_A_PASSWORD, "account_change_password", access.Denied(reason, code="first_password")
    if settings.MFA_REQUIRED_ROLES and factors.wanting(request):
        reason = _("Set up a second factor first: your role needs one. You find it under Your account.")
        return FOR_A_FACTOR, "governance:protect", access.Denied(reason, code="second_factor")
    return None
