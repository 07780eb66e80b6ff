"""What goes wrong, as problem details (RFC 9457) with the request's id; a refusal is recorded on the way."""

from __future__ import annotations

from django.core.exceptions import BadRequest, ObjectDoesNotExist, PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import transaction
from django.http import Http404
from rest_framework import exceptions, status
from rest_framework.response import Response

from governance.actions import Action
from governance.models import User
from governance.services import access, ledger


def problem(request, *, status_code: int, title: str, detail: str, code: str, **extra) -> Response:
    """Return a problem-details answer (RFC 9457) with the request's id."""
    said = body(status_code=status_code, title=title, detail=detail, code=code, **extra)
    return Response(said, status=status_code, content_type="application/problem+json")


def body(*, status_code: int, title: str, detail: str, code: str, **extra) -> dict:
    """Return the members of problem details, for an answer that is made outside of an endpoint."""
    return {
        "type": f"about:blank#{code}",
        "title": title,
        "status": status_code,
        "detail": detail,
        "code": code,
        "request_id": ledger.request_id.get(),
        **extra,
    }


def handler(error, context) -> Response | None:
    """Turn an exception into problem details; a refusal is also recorded, in a transaction of its own."""
    request = context.get("request")
    if isinstance(error, access.Denied):
        record_refusal(request._request if request else None, error, getattr(request, "user", None))
        return problem(
            request,
            status_code=status.HTTP_409_CONFLICT if error.code in {"closed", "stale"} else status.HTTP_403_FORBIDDEN,
            title="Refused",
            detail=error.reason,
            code=error.code,
            missing=error.missing,
        )
    if isinstance(error, exceptions.ValidationError):
        return problem(
            request,
            status_code=400,
            title="The input is not valid",
            detail=_first_sentence(error.detail),
            code="invalid",
            errors=error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail},
        )
    if isinstance(error, ModelValidationError | BadRequest):
        messages = getattr(error, "messages", [str(error)])
        return problem(
            request,
            status_code=400,
            title="The input is not valid",
            detail=" ".join(messages),
            code="invalid",
            errors={"non_field_errors": messages},
        )
    if isinstance(error, ValueError) and hasattr(error, "field"):
        return problem(
            request,
            status_code=400,
            title="The input is not valid",
            detail=str(error),
            code="invalid",
            errors={error.field or "non_field_errors": [str(error)]},
        )
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return problem(
            request,
            status_code=404,
            title="Not found",
            detail="There is nothing here that you may see. Check the id and your team.",
            code="not_found",
        )
    if isinstance(error, exceptions.APIException):
        answer = problem(
            request,
            status_code=error.status_code,
            title=str(error.default_detail).rstrip("."),
            detail=_first_sentence(error.detail),
            code=error.get_codes() if isinstance(error.get_codes(), str) else error.default_code,
        )
        if getattr(error, "auth_header", None):
            answer["WWW-Authenticate"] = error.auth_header
        if getattr(error, "wait", None):
            answer["Retry-After"] = str(int(error.wait) + 1)
        return answer
    if isinstance(error, PermissionDenied):
        return problem(request, status_code=403, title="Refused", detail=str(error) or "Refused.", code="denied")
    return None


def _first_sentence(detail) -> str:
    if isinstance(detail, dict):
        name, value = next(iter(detail.items()), ("", ""))
        sentence = _first_sentence(value)
        return sentence if name in {"non_field_errors", ""} else f"{name}: {sentence}"
    if isinstance(detail, list):
        return _first_sentence(detail[0]) if detail else ""
    return str(detail)


def record_refusal(request, error: access.Denied, user) -> None:
    """Put a refusal into the ledger, in a transaction of its own since the one that failed is rolled back."""
    actor = user if user is not None and user.is_authenticated else User.objects.system()
    subject = error.subject if getattr(error.subject, "pk", None) else None
    details = {"code": error.code}
    if request is not None:
        details |= {"method": request.method, "path": request.path[:300]}
    with transaction.atomic():
        ledger.record(Action.REFUSED, actor=actor, subject=subject, details=details, texts={"reason": error.reason})
