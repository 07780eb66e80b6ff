"""The REST endpoint of feedback on answers."""

from __future__ import annotations

import django_filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter

from governance.interfaces import rest
from portal import serializers
from portal.models import Feedback
from portal.services import feedback


class FeedbackFilter(django_filters.FilterSet):
    """What narrows feedback."""

    thumb = django_filters.ChoiceFilter(choices=Feedback.Thumb.choices)
    use_case = django_filters.NumberFilter("usage__use_case_id")
    model = django_filters.NumberFilter("usage__model_id")

    class Meta:
        model = Feedback
        fields = ["thumb", "use_case", "model"]


@extend_schema(tags=["feedback"])
class FeedbackRows(rest.ViewSet):
    """What people say of answers: of the models of one's use cases, and what one said oneself."""

    model = Feedback
    queryset = Feedback.objects.none()
    serializer_class = serializers.FeedbackSerializer
    ordering = ("-changed_at", "-id")
    filterset_class = FeedbackFilter
    lookup_value_regex = "[0-9]{1,18}"
    etag_fields = ("thumb", "comment", "label")
    http_method_names = ["get", "post", "head", "options"]
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "signed_in",
        "labelled": "dataset.upload",
    }

    def get_queryset(self):
        """Return what the caller may see, with what a row shows."""
        return super().get_queryset().select_related("usage__person", "usage__model__team", "usage__version")

    @extend_schema(request=serializers.NewFeedbackSerializer, responses={201: serializers.FeedbackSerializer})
    def create(self, request):
        """Say of an answer to one's own call whether it helped, and what would have been right."""
        given = self.checked(serializers.NewFeedbackSerializer)
        said = feedback.give(actor=request.user, usage=given.pop("call"), **given)
        shown = Feedback.objects.select_related("usage__person", "usage__model__team", "usage__version").get(pk=said.pk)
        body = self.get_serializer(shown).data
        return Response(body, status=status.HTTP_201_CREATED, headers={"ETag": self.etag(shown)})

    @extend_schema(
        parameters=[OpenApiParameter("use_case", int, required=True)],
        responses=serializers.LabelledRowsSerializer,
        filters=False,
    )
    @action(detail=False, pagination_class=None, filterset_class=None)
    def labelled(self, request):
        """Return the labelled rows that feedback on a use case's answers makes; the read is recorded."""
        asked = serializers.UseCaseNamedSerializer(data=request.query_params, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        rows = feedback.take(actor=request.user, use_case=asked.validated_data["use_case"])
        found = [{"text": text, "label": label} for text, label in rows]
        return Response(serializers.LabelledRowsSerializer({"rows": found}).data)


router = SimpleRouter()
router.register("feedback", FeedbackRows, basename="feedback")
