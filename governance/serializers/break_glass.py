"""The shape of emergency access: what is sent to open and to review one, and what is read."""

from __future__ import annotations

from rest_framework import serializers

from governance.models import BreakGlass
from governance.policy import GlassLevel, Permission
from governance.serializers.people import PersonSerializer, TeamField
from governance.services import access

STATES = ["in_force", "to_review", "overdue", "justified", "not_justified"]


class AnyTeamField(TeamField):
    """Any team, for who may break the glass: they may not be able to see yet what the emergency is about."""

    def get_queryset(self):
        """Return every team, or what the caller may see where they may not open emergency access."""
        request = self.context.get("request")
        if request is not None and access.organisation_allows(request.user, Permission.BREAK_GLASS_OPEN):
            return access.scope_model().objects.all()
        return super().get_queryset()


class BreakGlassSerializer(serializers.ModelSerializer):
    """One emergency access: whose, how far, why, until when, and what the reviewer said."""

    person = PersonSerializer(read_only=True)
    team = serializers.IntegerField(source="scope_id", read_only=True, allow_null=True)
    state = serializers.ChoiceField(choices=STATES, read_only=True)
    permissions = serializers.ListField(child=serializers.CharField(), read_only=True)
    verdict = serializers.ChoiceField(choices=BreakGlass.Verdict.choices, allow_blank=True, read_only=True)
    review_due_at = serializers.DateTimeField(read_only=True)

    class Meta:
        model = BreakGlass
        fields = [
            "id",
            "person",
            "level",
            "team",
            "reason",
            "opened_at",
            "expires_at",
            "ended_at",
            "ended_by",
            "state",
            "permissions",
            "review_due_at",
            "reviewed_by",
            "reviewed_at",
            "verdict",
            "review_note",
        ]
        read_only_fields = fields


class NewBreakGlassSerializer(serializers.Serializer):
    """How far, where (everywhere without a team), for how many hours, and why."""

    level = serializers.ChoiceField(choices=[level.value for level in GlassLevel])
    hours = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(max_length=4000)

    def get_fields(self):
        """Add the team when the models are loaded."""
        return super().get_fields() | {"team": AnyTeamField(required=False, allow_null=True, default=None)}


class ReviewBreakGlassSerializer(serializers.Serializer):
    """What whoever looked at it says."""

    verdict = serializers.ChoiceField(choices=BreakGlass.Verdict.choices)
    note = serializers.CharField(max_length=4000)
