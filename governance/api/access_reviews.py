"""Who can see an object, and the reviews of that."""

from __future__ import annotations

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.models import AccessReview, User
from governance.policy import Permission
from governance.serializers.access_reviews import subject_of
from governance.services import access, access_reviews

SHOWN = ("open", "overdue", "mine")


class Access(rest.Endpoint):
    """Who can see one object."""

    model = User
    serializer_class = serializers.HeldSerializer
    pagination_class = None
    gatehouse_policy = {"list": "team.view"}

    @extend_schema(
        parameters=[query("subject", "Type and number of the object, such as projects.dataset:12.", required=True)],
        responses=serializers.HeldSerializer(many=True),
    )
    def list(self, request, *args, **kwargs):
        """List everyone who can see the object, and why, since when, by whose hand and until when."""
        subject = subject_of(request.user, request.query_params.get("subject", ""))
        access.require(request.user, Permission.TEAM_VIEW, subject)
        return Response(self.get_serializer(access.who_sees(subject), many=True).data)


class AccessReviews(rest.ViewSet):
    """Reviews of who can see an object: for each access somebody says whether it stays."""

    model = AccessReview
    ordering = ("-opened_at", "-id")
    serializer_class = serializers.AccessReviewSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "member.manage",
        "decide": "member.manage",
        "close": "member.manage",
    }
    etag_fields = ("closed_at", "due_on")

    def get_queryset(self):
        """Return the reviews that the caller may see."""
        rows = super().get_queryset().select_related("owner", "content_type")
        return rows if self.action == "list" else rows.prefetch_related("items__person")

    def get_serializer_class(self):
        """Return the shape with items for one review."""
        return serializers.AccessReviewSerializer if self.action == "list" else serializers.AccessReviewDetailSerializer

    def filter_queryset(self, queryset):
        """Narrow to open, overdue, or one's own."""
        show = one_of(self.request, "show", SHOWN) if self.action == "list" else ""
        if show == "mine":
            return queryset.to_do_by(self.request.user)
        return getattr(queryset, show)() if show else queryset

    def etag(self, instance) -> str:
        """Return an ETag that changes with every decision."""
        return rest.etag_of(instance.pk, instance.closed_at, [item.verdict for item in instance.items.all()])

    @extend_schema(parameters=[query("show", "Only open, overdue, or the caller's own to do.", enum=list(SHOWN))])
    def list(self, request, *args, **kwargs):
        """List reviews, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(
        request=serializers.NewAccessReviewSerializer, responses={201: serializers.AccessReviewDetailSerializer}
    )
    def create(self, request):
        """Open a review of everyone who can see the object now."""
        made = access_reviews.open(actor=request.user, **self.checked(serializers.NewAccessReviewSerializer))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=serializers.AccessDecisionSerializer, responses=serializers.AccessReviewDetailSerializer)
    @action(detail=True, methods=["post"])
    def decide(self, request, pk=None):
        """Keep one access, or take it away at once."""
        review = self.get_object()
        data = self.checked(serializers.AccessDecisionSerializer)
        item = get_object_or_404(review.items, pk=data.pop("item"))
        access_reviews.decide(actor=request.user, item=item, **data)
        return self._shown(review)

    @extend_schema(request=None, responses=serializers.AccessReviewDetailSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request, pk=None):
        """Close the review once every access is decided."""
        return self._shown(access_reviews.close(actor=request.user, review=self.get_object()))

    def _shown(self, review) -> Response:
        return Response(self.get_serializer(AccessReview.objects.get(pk=review.pk)).data)
