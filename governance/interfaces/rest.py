"""The manners of the REST API: scoped relations, ETags, idempotent creates; the base of every endpoint.

ETag and If-Match follow RFC 9110, 428 RFC 6585.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress

from django.db import IntegrityError, transaction
from rest_framework import exceptions, serializers, status, viewsets
from rest_framework.permissions import SAFE_METHODS, IsAuthenticated
from rest_framework.response import Response

from governance.interfaces import declared
from governance.interfaces.problems import problem
from governance.models import IdempotencyKey

__all__ = [
    "Endpoint",
    "ScopedRelatedField",
    "ViewSet",
    "check_if_match",
    "etag_of",
    "problem",
    "require_if_match",
]


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


class Endpoint(viewsets.GenericViewSet):
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
        if self.action is not None:
            declared.admit(request.user, self.gatehouse_policy[self.action])
        if request.method not in SAFE_METHODS and (self.lookup_url_kwarg or self.lookup_field) in self.kwargs:
            # What the caller may not see is not there, whatever the body says; so it is looked for before the body.
            self.get_object()
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


class ViewSet(Endpoint):
    """An endpoint whose rows can be listed and fetched one by one."""

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
