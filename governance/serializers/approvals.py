"""The shape of what programs read and send about approvals."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from governance.models import ApprovalComment, ApprovalRequest, Decision
from governance.serializers.people import PersonSerializer
from governance.services import approvals


class DecisionSerializer(serializers.ModelSerializer):
    """One approver's answer."""

    approver = PersonSerializer(read_only=True)

    class Meta:
        model = Decision
        fields = ["id", "approver", "verdict", "digest", "comment", "conditions", "decided_at"]
        read_only_fields = fields


class CommentSerializer(serializers.ModelSerializer):
    """Something said about a request, or about one part of it."""

    author = PersonSerializer(read_only=True)

    class Meta:
        model = ApprovalComment
        fields = ["id", "author", "part", "text", "at"]
        read_only_fields = ["id", "author", "at"]
        extra_kwargs = {"text": {"max_length": 10_000}}


class ApprovalSerializer(serializers.ModelSerializer):
    """A request for approval, as lists show it."""

    requester = PersonSerializer(read_only=True)
    subject_type = serializers.SerializerMethodField()
    subject_id = serializers.IntegerField(source="object_id", read_only=True)
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    question = serializers.CharField(read_only=True)

    class Meta:
        model = ApprovalRequest
        fields = [
            "id",
            "gate",
            "question",
            "subject_type",
            "subject_id",
            "subject_label",
            "team",
            "digest",
            "requester",
            "note",
            "state",
            "requested_at",
            "closed_at",
            "closed_because",
        ]
        read_only_fields = fields

    def get_subject_type(self, row) -> str:
        """Return the label of the subject's model."""
        return f"{row.content_type.app_label}.{row.content_type.model}"


class PartSerializer(serializers.Serializer):
    """One part of the material."""

    part = serializers.CharField()
    text = serializers.CharField()


class DifferenceSerializer(serializers.Serializer):
    """One part that reads differently from what was last approved."""

    part = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()


@extend_schema_serializer(component_name="GateCheck")
class CheckSerializer(serializers.Serializer):
    """One condition of the gate, as it stood when the request was made."""

    label = serializers.CharField()
    met = serializers.BooleanField()
    advice = serializers.CharField()
    url = serializers.CharField()


class ApprovalDetailSerializer(ApprovalSerializer):
    """A request with everything that is put before the reviewers."""

    material = serializers.SerializerMethodField()
    changes = serializers.SerializerMethodField()
    checklist = serializers.SerializerMethodField()
    outstanding = serializers.SerializerMethodField()
    decisions = DecisionSerializer(many=True, read_only=True)

    class Meta(ApprovalSerializer.Meta):
        fields = [
            *ApprovalSerializer.Meta.fields,
            "material",
            "changes",
            "checklist",
            "outstanding",
            "decisions",
        ]
        read_only_fields = fields

    def get_material(self, row) -> PartSerializer(many=True):
        """Return the material as it was asked, part by part."""
        return [{"part": part, "text": text} for part, text in approvals.parts(row)]

    def get_changes(self, row) -> DifferenceSerializer(many=True):
        """Return what reads differently from what was last approved."""
        before = approvals.previous(row)
        found = approvals.differences(before, row) if before else []
        return [{"part": d.part, "before": d.before, "after": d.after} for d in found]

    def get_checklist(self, row) -> CheckSerializer(many=True):
        """Return the gate's conditions as they stood."""
        return row.snapshot["checklist"]

    def get_outstanding(self, row) -> list[str]:
        """Return what is still missing, each a sentence."""
        return approvals.outstanding(row)


class DecideSerializer(serializers.Serializer):
    """A verdict; the digest that it is about comes in If-Match."""

    verdict = serializers.ChoiceField(choices=Decision.Verdict.choices)
    comment = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")
    conditions = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")
