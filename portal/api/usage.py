"""The REST endpoint of usage: each call and download, and what they add up to."""

from __future__ import annotations

import dataclasses

import django_filters
from django.conf import settings
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers as shapes
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from portal import serializers
from portal.gateway.metering import reports
from portal.models import Kind, Outcome, Usage

_OF = OpenApiParameter(
    "of", str, description="mine, organisation, team:<slug>, model:<team>/<name> or use-case:<id>.", default="mine"
)
_DAYS = OpenApiParameter("days", int, enum=list(reports.PERIODS), default=30)


class UsageFilter(django_filters.FilterSet):
    """What narrows usage."""

    kind = django_filters.ChoiceFilter(choices=Kind.choices)
    outcome = django_filters.ChoiceFilter(choices=Outcome.choices)
    since = django_filters.IsoDateTimeFilter("at", lookup_expr="gte")
    until = django_filters.IsoDateTimeFilter("at", lookup_expr="lt")
    model = django_filters.NumberFilter("model_id")
    use_case = django_filters.NumberFilter("use_case_id")
    team = django_filters.CharFilter("team__slug")
    request = django_filters.CharFilter("request_id")

    class Meta:
        model = Usage
        fields = ["kind", "outcome", "since", "until", "model", "use_case", "team", "request"]


class _Asked(shapes.Serializer):
    of = shapes.CharField(max_length=200, default="mine")
    days = shapes.ChoiceField(reports.PERIODS, default=30)


@extend_schema(tags=["usage"])
class UsageRows(rest.ViewSet):
    """Calls and downloads: one's own, and those of the teams whose means one looks after."""

    model = Usage
    queryset = Usage.objects.none()
    serializer_class = serializers.UsageRowSerializer
    ordering = ("-at", "-id")
    filterset_class = UsageFilter
    lookup_value_regex = "[0-9]{1,18}"
    etag_fields = ("outcome",)
    http_method_names = ["get", "head", "options"]
    gatehouse_policy = {"list": "signed_in", "retrieve": "signed_in", "summary": "signed_in"}

    def get_queryset(self):
        """Return what the caller may see, with what a row shows."""
        parts = ("person", "token", "team", "model__team", "version", "base_model", "dataset_version__dataset__team")
        return (
            super()
            .get_queryset()
            .select_related(*parts)
            .defer("dataset_version__profile", "dataset_version__errors", "dataset_version__changes")
        )

    @extend_schema(
        parameters=[_OF, _DAYS],
        responses={200: serializers.UsageReportSerializer, 404: OpenApiTypes.OBJECT},
        filters=False,
    )
    @action(detail=False, pagination_class=None, filterset_class=None)
    def summary(self, request):
        """Return what usage adds up to: in all, by day, model, person and outcome."""
        asked = _Asked(data=request.query_params)
        asked.is_valid(raise_exception=True)
        rows, _subject = reports.scoped(request.user, asked.validated_data["of"])
        if rows is None:
            raise Http404
        report = reports.report(rows, days=int(asked.validated_data["days"]))
        days = [dataclasses.replace(line, name=day.isoformat()) for day, line in report.days]
        found = {name: getattr(report, name) for name in ("since", "until", "total", "models", "people", "outcomes")}
        return Response(serializers.UsageReportSerializer(found | {"days": days, "currency": settings.CURRENCY}).data)


router = SimpleRouter()
router.register("usage", UsageRows, basename="usage")
