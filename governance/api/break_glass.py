"""Emergency access."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.models import BreakGlass
from governance.services import break_glass

STATES = ("in_force", "to_review", "overdue")


class BreakGlasses(rest.ViewSet):
    """Emergency accesses: one's own, those in one's teams for who manages members, all for who reviews or sees people.

    Opening one needs a session: with a token it is refused, and gives nothing.
    """

    model = BreakGlass
    ordering = ("-opened_at", "-id")
    serializer_class = serializers.BreakGlassSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "break_glass.open",
        "end": "signed_in",
        "review": "break_glass.review",
    }
    etag_fields = ("ended_at", "expires_at", "reviewed_at")

    def get_queryset(self):
        """Return those that the caller may know of."""
        return super().get_queryset().select_related("person")

    def filter_queryset(self, queryset):
        """Narrow by state."""
        state = one_of(self.request, "state", STATES) if self.action == "list" else ""
        return {
            "": queryset.all,
            "in_force": queryset.live,
            "to_review": queryset.awaiting_review,
            "overdue": queryset.overdue,
        }[state]()

    @extend_schema(
        parameters=[query("state", "Only those in force, still to be reviewed, or overdue.", enum=list(STATES))]
    )
    def list(self, request, *args, **kwargs):
        """List emergency accesses, newest first."""
        return super().list(request, *args, **kwargs)

    @extend_schema(request=serializers.NewBreakGlassSerializer, responses={201: serializers.BreakGlassSerializer})
    def create(self, request):
        """Open emergency access for oneself; who must know is told at once."""
        made = break_glass.open(actor=request.user, **self.checked(serializers.NewBreakGlassSerializer))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=serializers.BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request, pk=None):
        """End it at once."""
        return Response(self.get_serializer(break_glass.end(actor=request.user, glass=self.get_object())).data)

    @extend_schema(request=serializers.ReviewBreakGlassSerializer, responses=serializers.BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def review(self, request, pk=None):
        """Say afterwards whether somebody else's was justified."""
        data = self.checked(serializers.ReviewBreakGlassSerializer)
        return Response(
            self.get_serializer(break_glass.review(actor=request.user, glass=self.get_object(), **data)).data
        )
