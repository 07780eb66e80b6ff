"""The REST endpoint of quotas."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from portal import serializers
from portal.gateway import metering
from portal.models import Quota
from portal.services import quotas


@extend_schema(tags=["quotas"])
class Quotas(rest.ViewSet):
    """How much may be used, by whom and of what, in which time; and how much of it is."""

    model = Quota
    queryset = Quota.objects.none()
    serializer_class = serializers.QuotaSerializer
    ordering = ("-changed_at", "-id")
    filterset_fields = ["subject", "unit", "window", "each_person"]
    lookup_value_regex = "[0-9]{1,18}"
    etag_fields = ("amount", "reason", "ended_at")
    http_method_names = ["get", "post", "patch", "head", "options"]
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "quota.manage",
        "partial_update": "quota.manage",
        "end": "quota.manage",
    }

    def get_queryset(self):
        """Return the quotas that bind or concern the caller."""
        return super().get_queryset().select_related("team", "model__team", "use_case", "person", "set_by")

    def get_serializer(self, *args, **kwargs):
        """Hang on each quota how much of it is used, for all of a page at once."""
        given = args[0] if args else None
        rows = given if isinstance(given, list) else [given] if isinstance(given, Quota) else []
        if rows:
            by_pk = {one.quota.pk: one for one in metering.standing_of(rows, self.request.user)}
            for row in rows:
                row.standing = by_pk[row.pk]
        return super().get_serializer(*args, **kwargs)

    def _shown(self, quota: Quota, code: int = status.HTTP_200_OK) -> Response:
        fresh = Quota.objects.select_related("team", "model__team", "use_case", "person", "set_by").get(pk=quota.pk)
        return Response(self.get_serializer(fresh).data, status=code, headers={"ETag": self.etag(fresh)})

    @extend_schema(request=serializers.NewQuotaSerializer, responses={201: serializers.QuotaSerializer})
    def create(self, request):
        """Set a quota; it counts from now on, with what was used in its window before."""
        made = quotas.create(actor=request.user, **self.checked(serializers.NewQuotaSerializer))
        return self._shown(made, status.HTTP_201_CREATED)

    @extend_schema(request=serializers.QuotaChangeSerializer, responses=serializers.QuotaSerializer)
    def partial_update(self, request, pk=None):
        """Change how much, or why."""
        quota = self.get_object()
        rest.check_if_match(request, self.etag(quota))
        changed = quotas.change(actor=request.user, quota=quota, **self.checked(serializers.QuotaChangeSerializer))
        return self._shown(changed)

    @extend_schema(request=None, responses=serializers.QuotaSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request, pk=None):
        """End a quota: nothing is refused because of it any more."""
        quota = self.get_object()
        rest.check_if_match(request, self.etag(quota))
        return self._shown(quotas.end(actor=request.user, quota=quota))


router = SimpleRouter()
router.register("quotas", Quotas, basename="quota")
