"""Request id and actor handed to the ledger; routes without a policy refused; refusals recorded and shown."""

from __future__ import annotations

import re
import time
import uuid

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone

from governance.actions import Action
from governance.interfaces import credentials, declared, problems
from governance.models import User
from governance.services import access, break_glass, ledger

_OUR_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

OTHERS = (
    "allauth.",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "django.views.static",
)
"""Packages whose views bring their own door: sign-in pages are public, Django's admin asks for staff."""

_SAFE = {"GET", "HEAD", "OPTIONS"}


class _Counter:
    """Counts the queries of one request, for the Server-Timing header."""

    def __init__(self):
        self.count = 0

    def __call__(self, execute, sql, params, many, context):
        self.count += 1
        return execute(sql, params, many, context)


class RequestContextMiddleware:
    """Give every request an id that the answer, the log and the ledger share."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Answer, with the id and the rate-limit figures in the headers."""
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if _OUR_ID.fullmatch(given) else uuid.uuid4().hex
        token = ledger.request_id.set(request.request_id)
        queries = _Counter()
        begun, worked = time.perf_counter(), time.thread_time()
        try:
            with connection.execute_wrapper(queries):
                response = self.get_response(request)
        finally:
            ledger.request_id.reset(token)
        if settings.SERVER_TIMING:
            spent = (time.perf_counter() - begun) * 1000
            # A request stays in one thread, so that thread's processor time is the request's.
            cpu = (time.thread_time() - worked) * 1000
            response["Server-Timing"] = f'app;dur={spent:.1f}, cpu;dur={cpu:.1f}, db;desc="{queries.count}"'
        response["X-Request-Id"] = request.request_id
        credentials.rate_limit_headers(request, response)
        return response


class BreakGlassMiddleware:
    """Let emergency access count, and record what a request did only because of it before the answer leaves."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Answer, and put every use into the ledger; an answer whose use cannot be recorded is not given."""
        with access.witness() as uses:
            response = self.get_response(request)
        if uses:
            break_glass.note_use(actor=request.user, uses=uses, method=request.method, path=request.path)
        return response


class DefaultDenyMiddleware:
    """A route that declares no policy is refused, and one that does not say "public" asks for a signed-in person."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Activate the reader's time zone and pass on."""
        zone = getattr(request.user, "time_zone", "") if request.user.is_authenticated else ""
        if not zone:
            return self.get_response(request)
        with timezone.override(zone):
            return self.get_response(request)

    def process_view(self, request, callback, args, kwargs):
        """Refuse, or send to the sign-in page, or let pass."""
        policy = declared.policy_of(callback, request.method)
        if policy is None:
            target = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback
            if getattr(target, "__module__", "").startswith(OTHERS):
                return None
            raise PermissionDenied("This route declares no policy, so nobody may use it.")
        if policy == declared.PUBLIC or credentials.for_programs(request):
            # An endpoint's own authentication looks at the token; without one it answers 401.
            return None
        if request.user.is_authenticated:
            try:
                declared.admit(request.user, policy)
            except access.Denied as error:
                return refusal(request, error)
            return None
        if request.method not in _SAFE:
            return JsonResponse({"detail": "Sign in first."}, status=401)
        return redirect_to_login(request.get_full_path(), settings.LOGIN_URL)


def refusal(request, error: access.Denied) -> HttpResponse:
    """Record a refusal and return the page (or, for a fragment, the sentence) that says why."""
    problems.record_refusal(request, error, request.user)
    if getattr(request, "htmx", False):
        return HttpResponse(error.reason, status=403, content_type="text/plain")
    context = {"reason": error.reason, "missing": error.missing, "subject": error.subject}
    return render(request, "403.html", context, status=403)


class RefusalMiddleware:
    """The boundary of pages: a refusal is recorded and shown with its reason; an act on what is not there as well."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        """Answer, and record an unsafe request that led nowhere."""
        response = self.get_response(request)
        if response.status_code in {401, 404, 405} and request.method not in _SAFE:
            self._record_miss(request, response.status_code)
        return response

    def process_exception(self, request, error):
        """Turn Denied into a page that says why."""
        return refusal(request, error) if isinstance(error, access.Denied) else None

    @staticmethod
    def _record_miss(request, status):
        user = getattr(request, "user", None)
        actor = user if user is not None and user.is_authenticated else User.objects.system()
        with transaction.atomic():
            ledger.record(
                Action.REFUSED,
                actor=actor,
                details={"code": str(status), "method": request.method, "path": request.path[:300]},
            )
