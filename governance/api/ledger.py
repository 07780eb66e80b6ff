"""The ledger and its checkpoints."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from governance import serializers
from governance.actions import Action
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.models import Checkpoint, LedgerEntry


class Ledger(rest.ViewSet):
    """What was done and refused, by whom, to what: everything for auditors, else one's own acts and one's teams'."""

    model = LedgerEntry
    ordering = ("-at", "-id")
    serializer_class = serializers.EntrySerializer
    gatehouse_policy = {"list": "signed_in", "retrieve": "signed_in", "checkpoint": "signed_in"}

    def get_queryset(self):
        """Return the entries that the caller may see."""
        rows = super().get_queryset().select_related("sealed")
        return rows.defer("canonical", "leaf_hash") if self.action == "list" else rows.prefetch_related("texts")

    @extend_schema(
        parameters=[
            query("action", "Only this action.", enum=[one.value for one in Action]),
            query("actor", "Only by the person with this id."),
            query("subject", "Only about this, such as projects.usecase:12, or projects.usecase for all of them."),
            query("since", "From this time on (ISO 8601, with a zone)."),
            query("until", "Before this time (ISO 8601, with a zone)."),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List entries, newest first; any depth costs the same."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by action, actor, subject and time."""
        if self.action != "list":
            return queryset
        given = self.request.query_params
        word = one_of(self.request, "action", [one.value for one in Action])
        if word:
            queryset = queryset.filter(action=word)
        if given.get("actor"):
            if not given["actor"].isdecimal() or len(given["actor"]) > 18:
                raise BadRequest("The actor is the id of a person, a whole number.")
            queryset = queryset.filter(actor_id=int(given["actor"]))
        if given.get("subject"):
            kind, _colon, number = given["subject"][:200].partition(":")
            queryset = queryset.filter(subject_type=kind.lower(), **({"subject_id": number} if number else {}))
        for name, lookup in (("since", "at__gte"), ("until", "at__lt")):
            if given.get(name):
                queryset = queryset.filter(**{lookup: _moment(name, given[name])})
        return queryset

    @extend_schema(responses=serializers.EntryDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one entry with its exact bytes in base64."""
        found = self.get_object()
        return Response(serializers.EntryDetailSerializer(found, context=self.get_serializer_context()).data)

    @extend_schema(responses={200: serializers.CheckpointSerializer, 404: OpenApiTypes.OBJECT})
    @action(detail=False, methods=["get"], pagination_class=None)
    def checkpoint(self, request):
        """Show the newest signed checkpoint: keep it elsewhere, and nothing older can change unseen."""
        newest = Checkpoint.objects.first()
        if newest is None:
            raise NotFound("Nothing has been sealed yet; the sequencer does that within a second of the first entry.")
        return Response(serializers.CheckpointSerializer(newest).data)


def _moment(name: str, text: str):
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest(f"“{name}” is not a time with a zone; write it as 2026-01-31T08:00:00Z.")
    return moment
