"""Everything that can go wrong, in the shape that OpenAI clients turn into their own exceptions."""

from __future__ import annotations

import logging
import math

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig
from django.http import Http404, JsonResponse
from rest_framework import exceptions

from governance.interfaces import problems
from governance.services import access
from portal.gateway import engines, guardrails, metering

logger = logging.getLogger(__name__)

INVALID = "invalid_request_error"


class Invalid(ValueError):
    """The request cannot be answered as it is; `param` names the field that is at fault."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.param, self.code = param, code


class NoSuchModel(LookupError):
    """There is no such model for this caller; the message says why where the caller may know."""

    def __init__(self, message: str, *, denied: access.Denied | None = None):
        super().__init__(message)
        self.denied = denied


class NotThere(LookupError):
    """There is nothing of this name for this caller; `param` names the field that named it."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "not_found"):
        super().__init__(message)
        self.param, self.code = param, code


def body(message: str, *, kind: str = INVALID, param: str | None = None, code: str | None = None) -> dict:
    """Return the members of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def response(status: int, message: str, *, headers: dict[str, str] | None = None, **members) -> JsonResponse:
    """Return an answer that a client raises the exception of `status` from."""
    return JsonResponse(body(message, **members), status=status, headers=headers)


def answer(request, error: Exception) -> JsonResponse:
    """Return the answer to what was raised, having recorded a refusal; the log has what nobody foresaw."""
    # Conflict (409) and the 5xx are tried again by clients, so no refusal that would only repeat is one of those.
    match error:
        case Invalid():
            return response(400, str(error), param=error.param, code=error.code)
        case guardrails.Blocked():
            return response(400, str(error), code="content_filter", headers=error.verdict.headers())
        case engines.Refused():
            return response(400, str(error), param=error.field or None, code=error.code or None)
        case NoSuchModel():
            if error.denied is not None:
                problems.record_refusal(request, error.denied, request.user)
            return response(404, str(error), param="model", code="model_not_found")
        case NotThere():
            return response(404, str(error), param=error.param, code=error.code)
        case access.Denied():
            problems.record_refusal(request, error, request.user)
            reason = " ".join([error.reason, *error.missing])
            return response(403, reason, kind="permission_error", code=error.code or "denied")
        case metering.Exceeded():
            return _exceeded(error)
        case engines.Unavailable():
            return response(
                503, str(error), kind="server_error", code="engine_unavailable", headers={"Retry-After": "5"}
            )
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            headers = {"WWW-Authenticate": 'Bearer realm="gatehouse"'}
            return response(401, _detail(error), kind="authentication_error", code="invalid_api_key", headers=headers)
        case exceptions.Throttled():
            wait = str(math.ceil(error.wait or 1))
            return response(
                429, _detail(error), kind="rate_limit_error", code="rate_limit_exceeded", headers={"Retry-After": wait}
            )
        case exceptions.PermissionDenied():
            return response(403, _detail(error), kind="permission_error", code="denied")
        case exceptions.APIException():
            return response(error.status_code, _detail(error))
        case RequestDataTooBig():
            return response(413, "The request is too large.", code="request_too_large")
        case BadRequest():
            return response(400, str(error))
        case PermissionDenied():
            return response(403, _detail(error), kind="permission_error", code="denied")
        case Http404():
            return response(404, "There is nothing here that you may see.", code="not_found")
    return JsonResponse(_unforeseen(error), status=500)


def _unforeseen(error: Exception) -> dict:
    logger.error("A call of /v1 met a fault", exc_info=error)
    return body("The server met a fault of its own; its log says more.", kind="server_error", code="server_error")


def told(error: Exception) -> dict:
    """Return the members of an error that ends an answer which has begun."""
    if isinstance(error, engines.Unavailable):
        return body(str(error), kind="server_error", code="engine_unavailable")
    if isinstance(error, engines.Refused):
        return body(str(error), param=error.field or None, code=error.code or None)
    if isinstance(error, access.Denied):
        return body(error.reason, kind="permission_error", code=error.code or "denied")
    return _unforeseen(error)


def _exceeded(error: metering.Exceeded) -> JsonResponse:
    headers = dict(error.headers)
    if error.code == "insufficient_quota":
        # Trying again would only be refused again: without this a client repeats it, twice.
        headers["x-should-retry"] = "false"
    kind = "rate_limit_error" if error.code == "rate_limit_exceeded" else error.code
    return response(429, error.reason, kind=kind, code=error.code, headers=headers)


def _detail(error: Exception) -> str:
    return str(getattr(error, "detail", error)) or "Refused."
