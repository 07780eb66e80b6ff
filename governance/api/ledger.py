"""The ledger and its checkpoints."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.response import Response

from governance import serializers
from governance.actions import Action
from governance.api.queries import one_of, query
from governance.interfaces import rest, streaming
from governance.models import Anchor, Checkpoint, Erasure, LedgerEntry, Receipt, Verification
from governance.policy import Permission
from governance.services import access, erasures
from governance.services import ledger as records


class Ledger(rest.ViewSet):
    """What was done and refused, by whom, to what: everything for auditors, else one's own acts and one's teams'."""

    model = LedgerEntry
    ordering = ("-at", "-id")
    serializer_class = serializers.EntrySerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "checkpoint": "signed_in",
        "consistency": "signed_in",
        "receipt": "signed_in",
        "receipts": "signed_in",
        "erase": "text.erase",
        "export": "ledger.view",
        "anchors": "compliance.view",
        "verification": "compliance.view",
        "verify": "ledger.view",
    }

    def get_queryset(self):
        """Return the entries that the caller may see."""
        rows = super().get_queryset().select_related("sealed")
        if self.action == "erase" and self.request.method == "POST":
            return LedgerEntry.objects.erasable_by(self.request.user).select_related("sealed")
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

    @extend_schema(
        parameters=[
            query("from", "The size of the older tree, such as that of a receipt's checkpoint.", required=True),
            query("to", "The size of the newer checkpoint; by default the newest."),
        ],
        responses={200: serializers.ConsistencySerializer, 404: OpenApiTypes.OBJECT},
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def consistency(self, request):
        """Prove that the ledger only grew: that a newer checkpoint begins with the tree of an older one."""
        old, new = _size(request, "from"), _size(request, "to")
        mark = Checkpoint.objects.filter(size=new).first() if new is not None else None
        if old is None or (new is not None and mark is None):
            raise BadRequest("Give “from”, and as “to” the size of a checkpoint or nothing.")
        try:
            return Response(records.consistency_from(old, checkpoint=mark))
        except records.NotSealed as error:
            raise NotFound(str(error)) from error

    @extend_schema(responses={200: serializers.ReceiptSerializer, 404: OpenApiTypes.OBJECT})
    @action(detail=True, methods=["get"])
    def receipt(self, request, pk=None):
        """Give the receipt of an entry: bytes, inclusion proof, signed checkpoint, keys."""
        try:
            return Response(records.receipt_for(self.get_object()))
        except records.NotSealed as error:
            raise NotFound(str(error)) from error

    @extend_schema(responses=serializers.ReceiptRowSerializer(many=True), filters=False)
    @action(detail=False, methods=["get"])
    def receipts(self, request):
        """List what the caller decided and is owed a receipt for, newest first."""
        rows = Receipt.objects.visible_to(request.user).select_related("entry__sealed")
        return self._listed(rows, serializers.ReceiptRowSerializer)

    @extend_schema(responses=serializers.AnchorSerializer(many=True), filters=False)
    @action(detail=False, methods=["get"])
    def anchors(self, request):
        """List every attempt to put a checkpoint out of the operator's reach, newest first."""
        access.require(request.user, Permission.COMPLIANCE_VIEW)
        return self._listed(Anchor.objects.all(), serializers.AnchorSerializer)

    def _listed(self, rows, serializer):
        self.ordering = ("-id",)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True, context=self.get_serializer_context()).data)

    @extend_schema(
        request=serializers.EraseSerializer,
        responses={200: serializers.EntrySerializer, 202: serializers.ErasureSerializer},
    )
    @action(detail=True, methods=["post"])
    def erase(self, request, pk=None):
        """Erase the texts of an entry, which the caller need not be able to read; every proof stays.

        Where the operator asks for two people it waits for the second one, and the answer is the erasure (202).
        """
        found = self.get_object()
        asked = erasures.ask(actor=request.user, entry=found, **self.checked(serializers.EraseSerializer))
        if asked.state == Erasure.State.WAITING:
            data = serializers.ErasureSerializer(asked, context=self.get_serializer_context()).data
            return Response(data, status=status.HTTP_202_ACCEPTED)
        return Response(serializers.EntrySerializer(found, context=self.get_serializer_context()).data)

    @extend_schema(
        parameters=[
            query("from", "The first entry; by default 0."),
            query("upto", "How many entries to cover; the next checkpoint ends it. By default everything sealed."),
            query("texts", "With the texts that are not erased.", enum=["true", "false"]),
        ],
        responses={(200, "application/zip"): OpenApiTypes.BINARY, 404: OpenApiTypes.OBJECT},
    )
    @action(detail=False, methods=["get"], pagination_class=None)
    def export(self, request):
        """Send the ledger, or a stretch of it, as a ZIP with its own verifier. That it was taken is recorded."""
        texts = one_of(request, "texts", ["true", "false"]) == "true"
        start, upto = _size(request, "from"), _size(request, "upto")
        try:
            begun = records.begin(actor=request.user, start=start or 0, upto=upto, texts=texts)
        except records.NotSealed as error:
            raise NotFound(str(error)) from error
        return streaming.attachment(
            request._request, records.pieces(begun), filename=begun.filename, content_type="application/zip"
        )

    @extend_schema(responses={200: serializers.VerificationSerializer, 404: OpenApiTypes.OBJECT})
    @action(detail=False, methods=["get"], pagination_class=None)
    def verification(self, request):
        """Show the newest verification by a worker: how far it has come, or what it found."""
        access.require(request.user, Permission.COMPLIANCE_VIEW)
        newest = Verification.objects.first()
        if newest is None:
            raise NotFound("No worker has verified the ledger yet; ask for it at /api/v1/ledger/verify/.")
        return Response(serializers.VerificationSerializer(newest).data)

    @extend_schema(request=None, responses={202: serializers.VerificationSerializer})
    @action(detail=False, methods=["post"], pagination_class=None)
    def verify(self, request):
        """Let a worker verify the whole ledger; where one does already, that one is returned."""
        asked = records.ask(actor=request.user)
        return Response(serializers.VerificationSerializer(asked).data, status=status.HTTP_202_ACCEPTED)


def _size(request, name: str) -> int | None:
    given = request.query_params.get(name, "")
    if given and not (given.isascii() and given.isdecimal() and len(given) <= 15):
        raise BadRequest(f"“{name}” is a number of entries, a whole number.")
    return int(given) if given else None


def _moment(name: str, text: str):
    try:
        moment = parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest(f"“{name}” is not a time with a zone; write it as 2026-01-31T08:00:00Z.")
    return moment
