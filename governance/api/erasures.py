"""Erasures: asked for without reading what is erased, agreed to or declined by a second person."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.models import Erasure
from governance.services import erasures

STATES = [state.value for state in Erasure.State]


class Erasures(rest.ViewSet):
    """What was asked to be erased, by whom, why and what became of it; never what was erased."""

    model = Erasure
    ordering = ("-id",)
    serializer_class = serializers.ErasureSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "create": "text.erase",
        "agree": "text.erase",
        "decline": "text.erase",
    }
    etag_fields = ("state", "decided_at")

    def get_queryset(self):
        """Return those that the caller may know of."""
        return super().get_queryset().select_related("entry__sealed", "person", "asked_by", "decided_by")

    @extend_schema(parameters=[query("state", "Only those that stand so.", enum=STATES)])
    def list(self, request, *args, **kwargs):
        """List erasures, newest first."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by state."""
        state = one_of(self.request, "state", STATES) if self.action == "list" else ""
        return queryset.filter(state=state) if state else queryset

    @extend_schema(request=serializers.NewErasureSerializer, responses={201: serializers.ErasureSerializer})
    def create(self, request):
        """Erase the texts of the entry with this number; where two people are needed, ask for the second one."""
        asked = erasures.ask(actor=request.user, **self.checked(serializers.NewErasureSerializer))
        return Response(self.get_serializer(asked).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=serializers.ErasureSerializer)
    @action(detail=True, methods=["post"])
    def agree(self, request, pk=None):
        """Agree to what somebody else asked: it is erased at once and for good."""
        return Response(self.get_serializer(erasures.agree(actor=request.user, erasure=self.get_object())).data)

    @extend_schema(request=serializers.DeclineErasureSerializer, responses=serializers.ErasureSerializer)
    @action(detail=True, methods=["post"])
    def decline(self, request, pk=None):
        """Leave in place what somebody else asked to erase."""
        data = self.checked(serializers.DeclineErasureSerializer)
        return Response(
            self.get_serializer(erasures.decline(actor=request.user, erasure=self.get_object(), **data)).data
        )
