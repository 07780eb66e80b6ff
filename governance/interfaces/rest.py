"""The manners of the REST API: problem details, scoped relations, cursors, ETags, idempotent creates, rate limits.

Problem details follow RFC 9457; ETag and If-Match RFC 9110; 428 RFC 6585; the rate-limit headers are the IETF's draft
`RateLimit` fields in their widely used three-header form.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

from django.core.exceptions import BadRequest, ObjectDoesNotExist, PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.db import IntegrityError, transaction
from django.http import Http404
from rest_framework import exceptions, serializers, status, viewsets
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.pagination import BasePagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle

from governance.actions import Action
from governance.interfaces import paging
from governance.models import IdempotencyKey, User
from governance.services import access, ledger, tokens

COUNT_CAP = 10_001
MAX_LIMIT = 200


# Who is calling


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


# What goes wrong


def problem(request, *, status_code: int, title: str, detail: str, code: str, **extra) -> Response:
    """Return a problem-details answer (RFC 9457) with the request's id."""
    body = {
        "type": f"about:blank#{code}",
        "title": title,
        "status": status_code,
        "detail": detail,
        "code": code,
        "request_id": ledger.request_id.get(),
        **extra,
    }
    return Response(body, status=status_code, content_type="application/problem+json")


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
        ledger.record(
            Action.REFUSED, actor=actor, subject=subject, details=details, texts={"reason": error.reason}
        )


class PreconditionRequired(exceptions.APIException):
    """The call must say which state it was made against."""

    status_code = status.HTTP_428_PRECONDITION_REQUIRED
    default_detail = "Send If-Match with the ETag of what you looked at."
    default_code = "if_match_required"


class PreconditionFailed(exceptions.APIException):
    """The object changed since the caller looked at it."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_detail = "It changed since you looked at it. Fetch it again, look at what is different, and repeat."
    default_code = "etag_differs"


def etag_of(*parts) -> str:
    """Return a strong ETag over the parts, quotes included."""
    return '"' + hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:32] + '"'


def require_if_match(request, etag: str) -> None:
    """Raise PreconditionRequired without If-Match and PreconditionFailed where it names another state."""
    given = request.headers.get("If-Match")
    if given is None:
        raise PreconditionRequired
    check_if_match(request, etag)


def check_if_match(request, etag: str) -> None:
    """Raise PreconditionFailed where the request has an If-Match that names another state; without one, pass."""
    given = request.headers.get("If-Match")
    if given is not None and given.strip() != "*" and etag not in [part.strip() for part in given.split(",")]:
        raise PreconditionFailed


# Lists


class Cursor(BasePagination):
    """Keyset pages: `{"next", "previous", "results"}`, and `"count"` (capped at 10,001) only with `?count=true`."""

    def paginate_queryset(self, queryset, request, view=None):
        """Return the rows of the page asked for."""
        order = tuple(getattr(view, "ordering", ("-id",)))
        try:
            size = int(request.query_params.get("limit", 50))
        except ValueError:
            raise exceptions.ValidationError({"limit": ["Give a whole number."]}) from None
        if not 1 <= size <= MAX_LIMIT:
            raise exceptions.ValidationError({"limit": [f"Choose from 1 to {MAX_LIMIT}."]})
        self.request = request
        self.page = paging.slice_at(queryset, request.query_params.get("cursor"), order, size)
        self.count = None
        if request.query_params.get("count", "").lower() in {"1", "true"}:
            self.count = queryset.order_by()[:COUNT_CAP].count()
        return self.page.items

    def _link(self, cursor):
        if cursor is None:
            return None
        query = self.request.query_params.copy()
        query["cursor"] = cursor
        return self.request.build_absolute_uri(f"{self.request.path}?{query.urlencode()}")

    def get_paginated_response(self, data):
        """Return the page as an answer."""
        body = {"next": self._link(self.page.next), "previous": self._link(self.page.previous), "results": data}
        if self.count is not None:
            body["count"] = self.count
        return Response(body)

    def get_paginated_response_schema(self, schema):
        """Describe the page for the OpenAPI document."""
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {"type": ["string", "null"], "format": "uri"},
                "previous": {"type": ["string", "null"], "format": "uri"},
                "count": {"type": "integer", "maximum": COUNT_CAP},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view):
        """Describe the query parameters for the OpenAPI document."""
        return [
            {"name": "cursor", "in": "query", "schema": {"type": "string"}, "description": "From `next`/`previous`."},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 50},
            },
            {
                "name": "count",
                "in": "query",
                "schema": {"type": "boolean"},
                "description": f"Also count, up to {COUNT_CAP}.",
            },
        ]


class ScopedRelatedField(serializers.PrimaryKeyRelatedField):
    """A relation that may only name what the caller may see; anything else "does not exist"."""

    def __init__(self, model=None, selection: str = "visible_to", **kwargs):
        self.model, self.selection = model, selection
        if not kwargs.get("read_only"):
            kwargs.setdefault("queryset", model.objects.all())
        super().__init__(**kwargs)

    def get_queryset(self):
        """Return the rows of the model that the caller may see."""
        request = self.context.get("request")
        if request is None:
            return self.model.objects.none()
        return getattr(self.model.objects, self.selection)(request.user)


class ViewSet(viewsets.GenericViewSet):
    """The base of every endpoint: scoped rows, cursors, ETags, idempotent creates.

    A subclass sets `gatehouse_policy` (action to policy), `model`, `ordering`, `serializer_class` and, for ETags,
    `etag_fields`.
    """

    permission_classes = [IsAuthenticated]
    model: type | None = None
    ordering: tuple[str, ...] = ("-id",)
    etag_fields: tuple[str, ...] = ()
    gatehouse_policy: dict[str, str] = {}

    def get_queryset(self):
        """Return the rows that the caller may see."""
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        return self.model.objects.visible_to(self.request.user)

    def etag(self, instance) -> str:
        """Return the ETag of an object: it changes when any of `etag_fields` does."""
        return etag_of(instance._meta.label, instance.pk, *(getattr(instance, name) for name in self.etag_fields))

    def list(self, request, *args, **kwargs):
        """Return one page of what the caller may see, filtered."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request, *args, **kwargs):
        """Return one object, with its ETag; 304 where the caller has it already."""
        instance = self.get_object()
        etag = self.etag(instance)
        if etag in [part.strip() for part in request.headers.get("If-None-Match", "").split(",")]:
            return Response(status=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
        return Response(self.get_serializer(instance).data, headers={"ETag": etag})

    def checked(self, serializer_class=None, **kwargs):
        """Return the validated data of the request's body; raises ValidationError."""
        used = (serializer_class or self.get_serializer_class())(
            data=self.request.data, context=self.get_serializer_context(), **kwargs
        )
        used.is_valid(raise_exception=True)
        return used.validated_data


    def initial(self, request, *args, **kwargs):
        """Authenticate and throttle, then claim the Idempotency-Key of a POST."""
        super().initial(request, *args, **kwargs)
        self._idempotency = _claim(request)

    def handle_exception(self, exc):
        """Release the Idempotency-Key of a call that failed, so that it may be repeated."""
        if isinstance(exc, _Replay):
            return Response(exc.row.body, status=exc.row.status, headers={"Idempotent-Replayed": "true"})
        response = super().handle_exception(exc)
        claim = getattr(self, "_idempotency", None)
        if claim is not None:
            claim.delete()
            self._idempotency = None
        return response

    def finalize_response(self, request, response, *args, **kwargs):
        """Remember the answer to a POST that carried an Idempotency-Key."""
        response = super().finalize_response(request, response, *args, **kwargs)
        claim = getattr(self, "_idempotency", None)
        if claim is not None:
            if response.status_code < 400 and isinstance(response.data, dict | list | None):
                body = json.loads(json.dumps(response.data, default=str))
                IdempotencyKey.objects.filter(pk=claim.pk).update(status=response.status_code, body=body)
            else:
                claim.delete()
        return response


class _Replay(Exception):
    def __init__(self, row):
        super().__init__("replay")
        self.row = row


class KeyReused(exceptions.APIException):
    """The same Idempotency-Key came with another call, or while the first is still running."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_detail = "This Idempotency-Key was used for another call; use a new one."
    default_code = "idempotency_key_reused"


def _claim(request) -> IdempotencyKey | None:
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or not key or not request.user.is_authenticated:
        return None
    if len(key) > 200:
        raise exceptions.ValidationError({"Idempotency-Key": ["At most 200 characters."]})
    digest = hashlib.sha256()
    if request.content_type.startswith("multipart/"):
        for name in sorted(request.data):
            value = request.data[name]
            digest.update(f"{name}={getattr(value, 'name', value)}:{getattr(value, 'size', '')};".encode())
    else:
        digest.update(json.dumps(request.data, sort_keys=True, default=str).encode())
    wanted = {"method": request.method, "path": request.path[:300], "body_digest": digest.hexdigest()}
    with suppress(IntegrityError), transaction.atomic():
        return IdempotencyKey.objects.create(user=request.user, key=key, **wanted)
    row = IdempotencyKey.objects.filter(user=request.user, key=key).first()
    if row is None:
        raise KeyReused("The first call with this Idempotency-Key has just ended in an error; repeat it.")
    if any(getattr(row, name) != value for name, value in wanted.items()):
        raise KeyReused
    if row.status is None:
        raise KeyReused("The first call with this Idempotency-Key is still running; wait for its answer.")
    raise _Replay(row)


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


