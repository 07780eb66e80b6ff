"""Requests that a gate opens, and the delegations of those who decide them."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.response import Response

from governance import serializers
from governance.api.queries import one_of, query
from governance.interfaces import rest
from governance.models import ApprovalRequest, ReviewDelegation
from governance.policy import Gate
from governance.services import approvals

IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    description="The ETag of the request that you looked at: its digest in quotes. 428 without it, 412 for another.",
)


class Approvals(rest.ViewSet):
    """Requests that a gate opens, what they put before the reviewers, and what was decided."""

    model = ApprovalRequest
    ordering = ("-requested_at", "-id")
    serializer_class = serializers.ApprovalSerializer
    gatehouse_policy = {
        "list": "signed_in",
        "retrieve": "signed_in",
        "decide": "review.decide",
        "comments": "signed_in",
        "withdraw": "signed_in",
        "revoke": "signed_in",
        "meet": "review.decide",
    }

    def get_queryset(self):
        """Return the requests that the caller may see."""
        rows = super().get_queryset().select_related("requester", "content_type")
        if self.action == "list":
            return rows.defer("snapshot")
        return rows.select_related("compared_with").prefetch_related(
            "decisions__approver", "decisions__on_behalf_of", "conditions__met_by"
        )

    def etag(self, instance) -> str:
        """Return the digest that a decision binds to, as an ETag."""
        return f'"{instance.digest}"'

    @extend_schema(
        parameters=[
            query("state", "Only in this state.", enum=ApprovalRequest.State.values),
            query("gate", "Only at this gate.", enum=[gate.value for gate in Gate]),
            query("subject", "Only about this subject, such as projects.usecase:12."),
            query("waiting", "With `me`: only those that you may decide now.", enum=["me"]),
        ]
    )
    def list(self, request, *args, **kwargs):
        """List requests, newest first."""
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset):
        """Narrow by state, gate and subject."""
        if self.action != "list":
            return queryset
        state = one_of(self.request, "state", ApprovalRequest.State.values)
        gate = one_of(self.request, "gate", [gate.value for gate in Gate])
        kind, _colon, number = self.request.query_params.get("subject", "").partition(":")
        if one_of(self.request, "waiting", ["me"]):
            queryset = queryset.filter(pk__in=approvals.waiting_for(self.request.user).values("pk"))
        if state:
            queryset = queryset.filter(state=state)
        if gate:
            queryset = queryset.filter(gate=gate)
        if kind:
            label, _dot, model = kind.lower().partition(".")
            if not number.isdecimal() or len(number) > 18:
                raise BadRequest("Write the subject as its type, a colon and its number, such as projects.usecase:12.")
            queryset = queryset.filter(content_type__app_label=label, content_type__model=model, object_id=int(number))
        return queryset

    @extend_schema(responses=serializers.ApprovalDetailSerializer)
    def retrieve(self, request, *args, **kwargs):
        """Show one request with its material, what changed, the checklist and the decisions; the ETag is its digest."""
        asked = self.get_object()
        data = serializers.ApprovalDetailSerializer(asked, context=self.get_serializer_context()).data
        return Response(data, headers={"ETag": self.etag(asked)})

    @extend_schema(
        request=serializers.DecideSerializer, responses=serializers.ApprovalDetailSerializer, parameters=[IF_MATCH]
    )
    @action(detail=True, methods=["post"])
    def decide(self, request, pk=None):
        """Approve, ask for changes or reject exactly what has the digest in If-Match."""
        asked = self.get_object()
        rest.require_if_match(request, self.etag(asked))
        data = self.checked(serializers.DecideSerializer)
        approvals.decide(actor=request.user, request=asked, digest=asked.digest, **data)
        return self._shown(pk)

    @extend_schema(methods=["GET"], responses=serializers.CommentSerializer(many=True))
    @extend_schema(
        methods=["POST"], request=serializers.CommentSerializer, responses={201: serializers.CommentSerializer}
    )
    @action(detail=True, methods=["get", "post"], pagination_class=None)
    def comments(self, request, pk=None):
        """Read what was said, oldest first, or add to it; `part` names a part of the material or is left out."""
        asked = self.get_object()
        context = self.get_serializer_context()
        if request.method == "GET":
            said = asked.comments.select_related("author")[:500]
            return Response(serializers.CommentSerializer(said, many=True, context=context).data)
        data = self.checked(serializers.CommentSerializer)
        made = approvals.comment(actor=request.user, request=asked, **data)
        return Response(serializers.CommentSerializer(made, context=context).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=serializers.ApprovalDetailSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request, pk=None):
        """Take one's own request back."""
        approvals.withdraw(actor=request.user, request=self.get_object())
        return self._shown(pk)

    @extend_schema(
        request=serializers.RevokeSerializer, responses=serializers.ApprovalDetailSerializer, parameters=[IF_MATCH]
    )
    @action(detail=True, methods=["post"])
    def revoke(self, request, pk=None):
        """Take an approval back: what rests on it stops at once."""
        asked = self.get_object()
        rest.require_if_match(request, self.etag(asked))
        approvals.revoke(actor=request.user, request=asked, **self.checked(serializers.RevokeSerializer))
        return self._shown(pk)

    @extend_schema(request=serializers.MeetSerializer, responses=serializers.ApprovalDetailSerializer)
    @action(detail=True, methods=["post"])
    def meet(self, request, pk=None):
        """Mark a condition of an approval as met."""
        asked = self.get_object()
        data = self.checked(serializers.MeetSerializer)
        condition = asked.conditions.filter(pk=data.pop("condition")).first()
        if condition is None:
            raise BadRequest("This approval has no such condition; choose one of those that it lists.")
        approvals.meet(actor=request.user, condition=condition, **data)
        return self._shown(pk)

    def _shown(self, pk) -> Response:
        asked = self.get_queryset().get(pk=pk)
        data = serializers.ApprovalDetailSerializer(asked, context=self.get_serializer_context()).data
        return Response(data, headers={"ETag": self.etag(asked)})


class Delegations(rest.ViewSet):
    """Reviews that somebody does for somebody else: one's own on either side, all for who may see people."""

    model = ReviewDelegation
    ordering = ("-id",)
    serializer_class = serializers.DelegationSerializer
    etag_fields = ("delegate_id", "ends_at")
    gatehouse_policy = {"list": "signed_in", "retrieve": "signed_in", "create": "review.decide", "end": "signed_in"}

    def get_queryset(self):
        """Return the delegations that the caller may see."""
        return super().get_queryset().select_related("delegator", "delegate")

    @extend_schema(request=serializers.DelegateSerializer, responses={201: serializers.DelegationSerializer})
    def create(self, request):
        """Let somebody do the caller's reviews until a date, on their behalf."""
        made = approvals.delegate(actor=request.user, **self.checked(serializers.DelegateSerializer))
        return Response(self.get_serializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=serializers.DelegationSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request, pk=None):
        """End a delegation at once, on either side."""
        ended = approvals.end_delegation(actor=request.user, delegation=self.get_object())
        return Response(self.get_serializer(ended).data)
