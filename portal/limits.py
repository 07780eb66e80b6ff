"""How often one person, or one address, may do what costs much: call a model, upload a file. One table says which.

The sign-in pages have limits of their own (allauth's, and lock-outs); the REST API counts every call as well.
"""

from __future__ import annotations

import hashlib

from django.conf import settings
from django.core.cache import cache
from django.http import HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from rest_framework.throttling import SimpleRateThrottle

from governance.interfaces import credentials, problems
from governance.services import access
from portal.gateway import metering
from portal.gateway.openai import errors
from portal.views import too_many

RATES = {
    "portal:try_model": "PREDICT_RATE",
    "api:predict": "PREDICT_RATE",
    **dict.fromkeys(("openai:chat", "openai:completions", "openai:embeddings"), "PREDICT_RATE"),
    "projects:dataset_upload": "UPLOAD_RATE",
    "openai:files": "UPLOAD_RATE",
    "api:dataset-version-list": "UPLOAD_RATE",
    "hub:device": "DEVICE_RATE",
    "hub:token": "DEVICE_RATE",
    "portal:device_login": "DEVICE_RATE",
}
"""View name -> the setting that holds how often it may be posted to. What shares a setting shares its count."""


class _Rate(SimpleRateThrottle):
    """Counts in the cache, as the REST API's own throttle does."""

    def __init__(self, setting: str):
        self.rate = getattr(settings, setting)
        self.scope = setting.lower()
        super().__init__()

    def get_cache_key(self, request, view):
        """Return the key under which this caller's acts are counted."""
        return f"rate:{self.scope}:{caller_of(request, self.get_ident(request))}"


def caller_of(request, address: str) -> str:
    """Return who is asking: by the token that came with the call, by the signed-in person, else by address."""
    if credentials.by_token(request):
        return "t" + hashlib.sha256(request.headers["Authorization"].encode()).hexdigest()[:32]
    return f"u{request.user.pk}" if request.user.is_authenticated else f"a{address}"


class LimitMiddleware:
    """Refuse what is asked too often, saying when to come back; the first refusal of each minute is recorded."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Pass on; the work is done when the view is known."""
        return self.get_response(request)

    def process_view(self, request, callback, args, kwargs):
        """Count the act, or refuse it."""
        setting = RATES.get(request.resolver_match.view_name)
        if setting is None or request.method != "POST":
            return None
        rate = _Rate(setting)
        if rate.allow_request(request, None):
            return None
        wait = int(rate.wait() or 1) + 1
        reason = _("That was often in a short time. Try again in %(seconds)d seconds.") % {"seconds": wait}
        if cache.add(f"refused:{rate.key}", 1, 60):
            problems.record_refusal(request, access.Denied(reason, code="too_often"), request.user)
        return _answer(request, wait, reason)

    def process_exception(self, request, error):
        """Say which quota has no room; the meter has recorded it. Whoever answers in another form catches it before."""
        if not isinstance(error, metering.Exceeded):
            return None
        return _answer(request, error.retry_after, error.reason, code=error.code, headers=error.headers)


def _answer(
    request, wait: int, reason: str, *, code: str = "too_often", headers: dict[str, str] | None = None
) -> HttpResponse:
    headers = {"Retry-After": str(wait), **(headers or {})}
    if request.path.startswith("/v1/"):
        return errors.response(429, reason, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers)
    if request.path.startswith("/api/"):
        body = {"type": f"about:blank#{code}", "title": "Too many requests", "status": 429, "detail": reason}
        body |= {"code": code, "request_id": getattr(request, "request_id", "")}
        return JsonResponse(body, status=429, content_type="application/problem+json", headers=headers)
    if getattr(request, "htmx", False):
        return HttpResponse(reason, status=429, content_type="text/plain", headers=headers)
    page = too_many(request, wait, reason if code != "too_often" else "")
    for name, value in headers.items():
        page[name] = value
    return page
