"""`hf auth login`: a device code is asked for, and polled with until its person has confirmed it (RFC 8628)."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from governance.interfaces.declared import declares
from portal.services import device_logins

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@declares("public")
@csrf_exempt
@never_cache
@require_POST
def device(request) -> HttpResponse:
    """Issue a code; whoever asks for one has nothing yet, so that anybody may."""
    device_code, user_code = device_logins.issue()
    page = request.build_absolute_uri(reverse("portal:device_login"))
    return JsonResponse(
        {
            "device_code": device_code,
            "user_code": device_logins.shown(user_code),
            "verification_uri": page,
            "verification_uri_complete": f"{page}?code={device_logins.shown(user_code)}",
            "expires_in": device_logins.LIFETIME,
            "interval": device_logins.INTERVAL,
        }
    )


@declares("public")
@csrf_exempt
@never_cache
@require_POST
def token(request) -> HttpResponse:
    """Give the token once its person has allowed it; until then say in the protocol's words what is the case."""
    if request.POST.get("grant_type") != GRANT:
        return _error("unsupported_grant_type", "Log in again: tokens of this site are not refreshed.")
    try:
        made, secret = device_logins.redeem(device_code=request.POST.get("device_code", "")[:300])
    except device_logins.Pending:
        return _error("authorization_pending", "Waiting for the code to be confirmed.")
    except device_logins.Refused:
        return _error("access_denied", "The login was refused.")
    except device_logins.Expired:
        return _error("expired_token", "The code has expired or was used.")
    seconds = int((made.expires_at - timezone.now()).total_seconds())
    return JsonResponse(
        {"access_token": secret, "token_type": "bearer", "expires_in": seconds, "scope": " ".join(made.scopes)}
    )


def _error(code: str, description: str) -> HttpResponse:
    return JsonResponse({"error": code, "error_description": description}, status=HTTPStatus.BAD_REQUEST)
