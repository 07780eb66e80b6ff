"""The shape of who can see an object, and of the reviews of it."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from governance.models import AccessReview, AccessReviewItem, User
from governance.serializers.people import PersonSerializer
from governance.services import access

STATES = ["to_review", "overdue", "closed"]


class HeldSerializer(serializers.Serializer):
    """One reason for which one person can see the object; `person` is null where everybody can."""

    person = PersonSerializer(read_only=True, allow_null=True)
    via = serializers.ChoiceField(choices=["role", "share", "emergency", "own", "everybody"], read_only=True)
    words = serializers.CharField(read_only=True)
    everywhere = serializers.BooleanField(read_only=True)
    since = serializers.DateTimeField(read_only=True, allow_null=True)
    granted_by = PersonSerializer(read_only=True, allow_null=True)
    until = serializers.DateTimeField(read_only=True, allow_null=True)


class AccessReviewItemSerializer(serializers.ModelSerializer):
    """One access of one person, and what was decided about it."""

    person = PersonSerializer(read_only=True)
    verdict = serializers.ChoiceField(choices=AccessReviewItem.Verdict.choices, allow_blank=True, read_only=True)

    class Meta:
        model = AccessReviewItem
        fields = [
            "id",
            "person",
            "via",
            "words",
            "since",
            "granted_by",
            "until",
            "verdict",
            "decided_by",
            "decided_at",
            "note",
        ]
        read_only_fields = fields


class AccessReviewSerializer(serializers.ModelSerializer):
    """A review of everyone who could see an object when it was opened."""

    subject = serializers.SerializerMethodField()
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    owner = PersonSerializer(read_only=True)
    state = serializers.ChoiceField(choices=STATES, read_only=True)

    class Meta:
        model = AccessReview
        fields = [
            "id",
            "subject",
            "subject_label",
            "team",
            "owner",
            "due_on",
            "opened_by",
            "opened_at",
            "state",
            "closed_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField())
    def get_subject(self, row) -> str:
        """Return the type and number of the object, such as projects.dataset:12."""
        return f"{row.content_type.app_label}.{row.content_type.model}:{row.object_id}"


class AccessReviewDetailSerializer(AccessReviewSerializer):
    """A review with its items."""

    items = AccessReviewItemSerializer(many=True, read_only=True)

    class Meta(AccessReviewSerializer.Meta):
        fields = [*AccessReviewSerializer.Meta.fields, "items"]
        read_only_fields = fields


class NewAccessReviewSerializer(serializers.Serializer):
    """Which object, who reviews (the caller where it is left out), and by when."""

    subject = serializers.CharField(max_length=100, help_text="Type and number, such as projects.dataset:12.")
    owner = ScopedRelatedField(User, required=False, allow_null=True, default=None)
    due_on = serializers.DateField()

    def validate(self, data):
        """Find the object among those that the caller may see, and put the caller where nobody is named."""
        user = self.context["request"].user
        return data | {"subject": subject_of(user, data["subject"]), "owner": data["owner"] or user}


class AccessDecisionSerializer(serializers.Serializer):
    """Which item of the review, and whether the access stays."""

    item = serializers.IntegerField(min_value=1)
    verdict = serializers.ChoiceField(choices=["kept", "taken_away"])
    note = serializers.CharField(max_length=4000, required=False, allow_blank=True, default="")


def subject_of(user, named: str):
    """Return the object that `named` means, among those that `user` may see; raises ValidationError."""
    label, _colon, number = named.partition(":")
    model = access.reviewable(label.lower())
    found = None
    if model is not None and number.isdecimal() and len(number) <= 18:
        found = model.objects.visible_to(user).filter(pk=int(number)).first()
    if found is None:
        raise serializers.ValidationError(
            {
                "subject": [
                    "There is no such object that you may see; write its type and number, such as projects.dataset:12."
                ]
            }
        )
    return found
