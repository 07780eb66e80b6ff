"""The shape of what programs read and send about approvals."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from governance.models import ApprovalComment, ApprovalCondition, ApprovalRequest, Decision, ReviewDelegation, User
from governance.serializers.people import PersonSerializer
from governance.services import approvals

DELEGATION_STATES = ["planned", "in_force", "ended"]


class DecisionSerializer(serializers.ModelSerializer):
    """One approver's answer."""

    approver = PersonSerializer(read_only=True)
    on_behalf_of = PersonSerializer(read_only=True, allow_null=True)

    class Meta:
        model = Decision
        fields = [
            "id",
            "approver",
            "on_behalf_of",
            "step",
            "verdict",
            "digest",
            "comment",
            "conditions",
            "expires_on",
            "decided_at",
        ]
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
    overdue = serializers.BooleanField(source="is_overdue", read_only=True)

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
            "tier",
            "due_at",
            "overdue",
            "escalations",
            "approved_at",
            "expires_at",
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


class CandidateSerializer(serializers.Serializer):
    """Somebody who could decide a step, and for whom."""

    id = serializers.IntegerField(source="user_id")
    name = serializers.CharField()
    note = serializers.CharField()


class StepSerializer(serializers.Serializer):
    """One step of the gate: whom it asks for, who has approved, how many more are needed and who could."""

    key = serializers.CharField()
    label = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())
    quorum = serializers.IntegerField()
    needed = serializers.IntegerField()
    approved_by = serializers.SerializerMethodField()
    candidates = CandidateSerializer(many=True)

    def get_approved_by(self, step) -> list[int]:
        """Return the ids of those who have approved it."""
        return [decision.approver_id for decision in step.approved]


class OptionSerializer(serializers.Serializer):
    """A step that the caller may decide, and for whom where it is not for themselves."""

    step = serializers.CharField()
    on_behalf_of = serializers.IntegerField(allow_null=True)


class SaySerializer(serializers.Serializer):
    """Whether the caller may decide the request, and why not."""

    may_decide = serializers.BooleanField(source="allowed")
    reason = serializers.CharField()
    code = serializers.CharField()
    options = serializers.SerializerMethodField()

    def get_options(self, say) -> OptionSerializer(many=True):
        """Return the steps that the caller may decide."""
        return [{"step": step.key, "on_behalf_of": principal} for step, principal in say.options]


class ConditionSerializer(serializers.ModelSerializer):
    """One thing that has to hold after an approval."""

    met_by = PersonSerializer(read_only=True, allow_null=True)

    class Meta:
        model = ApprovalCondition
        fields = ["id", "decision", "text", "met_at", "met_by", "met_note"]
        read_only_fields = fields


class DriftSerializer(DifferenceSerializer):
    """One part that reads differently now from what was put before the reviewers."""

    material = serializers.BooleanField()


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
    changed_since = serializers.SerializerMethodField()
    conditions = ConditionSerializer(many=True, read_only=True)
    steps = serializers.SerializerMethodField()
    you = serializers.SerializerMethodField()

    class Meta(ApprovalSerializer.Meta):
        fields = [
            *ApprovalSerializer.Meta.fields,
            "material",
            "changes",
            "checklist",
            "outstanding",
            "decisions",
            "changed_since",
            "conditions",
            "steps",
            "you",
        ]
        read_only_fields = fields

    def _bench(self, row) -> approvals.Bench:
        known = getattr(row, "_bench", None)
        if known is None:
            known = row._bench = approvals.bench() if row.state == ApprovalRequest.State.OPEN else approvals.Bench()
        return known

    def get_changed_since(self, row) -> DriftSerializer(many=True):
        """Return what reads differently now; what is not `material` voids nothing."""
        live = row.state in {ApprovalRequest.State.OPEN, ApprovalRequest.State.APPROVED}
        found = approvals.drift(row) if live else []
        return [{"part": d.part, "before": d.before, "after": d.after, "material": d.material} for d in found]

    def get_steps(self, row) -> StepSerializer(many=True):
        """Return whom the gate asks for, who has approved and who could."""
        return StepSerializer(approvals.steps(row, self._bench(row)), many=True).data

    def get_you(self, row) -> SaySerializer():
        """Return whether the caller may decide it."""
        return SaySerializer(approvals.say(self.context["request"].user, row, found=self._bench(row))).data

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
    expires_on = serializers.DateField(required=False, allow_null=True, default=None)
    step = serializers.CharField(
        max_length=40, required=False, allow_blank=True, default="", help_text="Where you may decide several."
    )


class RevokeSerializer(serializers.Serializer):
    """Why an approval is taken back."""

    reason = serializers.CharField(max_length=2000)


class MeetSerializer(serializers.Serializer):
    """Which condition is met, and how one knows."""

    condition = serializers.IntegerField(min_value=1, max_value=2**53)
    note = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class DelegationSerializer(serializers.ModelSerializer):
    """A reviewer's duty in somebody else's hands until a date."""

    delegator = PersonSerializer(read_only=True)
    delegate = PersonSerializer(read_only=True)
    state = serializers.ChoiceField(choices=DELEGATION_STATES, read_only=True)

    class Meta:
        model = ReviewDelegation
        fields = ["id", "delegator", "delegate", "reason", "starts_at", "ends_at", "state"]
        read_only_fields = fields


class DelegateSerializer(serializers.Serializer):
    """Who does the caller's reviews, from when (without it: now) and until when."""

    delegate = ScopedRelatedField(User)
    starts_at = serializers.DateTimeField(required=False, allow_null=True, default=None)
    ends_at = serializers.DateTimeField()
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")
