"""The site's own objects as the REST API shows and takes them: shape only."""

from __future__ import annotations

import datetime
from decimal import Decimal

from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from governance.models import User
from portal.models import Feedback, Quota, SavedView, Unit, Usage, Window
from projects.models import Team, UseCase
from training.models import RegisteredModel


class SavedViewSerializer(serializers.ModelSerializer):
    """A view of a list that somebody keeps."""

    owner = serializers.CharField(source="owner.email")
    team = serializers.SlugRelatedField("slug", read_only=True, allow_null=True)
    usual = serializers.BooleanField(source="is_usual", help_text="Whether you start with it when opening the list.")

    class Meta:
        model = SavedView
        fields = ["id", "listing", "name", "query", "audience", "team", "owner", "usual", "created_at", "changed_at"]


class NewSavedViewSerializer(serializers.Serializer):
    """What a view is made of."""

    listing = serializers.CharField(max_length=40, help_text="The key of a list, such as use-cases.")
    name = serializers.CharField(max_length=80)
    query = serializers.CharField(
        max_length=4000, required=False, allow_blank=True, default="", help_text="As in the address of the list's page."
    )
    audience = serializers.ChoiceField(SavedView.Audience.choices, default=SavedView.Audience.PRIVATE)
    team = ScopedRelatedField(Team, required=False, allow_null=True, help_text="The id of the team to share it with.")


class SavedViewChangeSerializer(serializers.Serializer):
    """What is to be different about a view."""

    name = serializers.CharField(max_length=80, required=False)
    query = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    audience = serializers.ChoiceField(SavedView.Audience.choices, required=False)
    team = ScopedRelatedField(Team, required=False, allow_null=True)


class UsageRowSerializer(serializers.ModelSerializer):
    """One call, download or upload."""

    person = serializers.CharField(source="person.email")
    token = serializers.CharField(source="token.name", allow_null=True, default=None, help_text="Its name.")
    team = serializers.SlugRelatedField("slug", read_only=True, allow_null=True)
    what = serializers.CharField(help_text="What was used: a model as team/name, a base model or a dataset version.")
    version = serializers.IntegerField(source="version.number", allow_null=True, default=None)

    class Meta:
        model = Usage
        fields = [
            "id", "at", "what", "kind", "outcome", "person", "token", "team", "use_case", "model", "version", "commit",
            "alias", "prompt_tokens", "completion_tokens", "texts", "bytes", "latency_ms", "cost", "currency", "engine",
            "client", "request_id",
        ]  # fmt: skip


class UsageLineSerializer(serializers.Serializer):
    """What one model, person, day or outcome accounts for."""

    name = serializers.CharField(allow_blank=True)
    calls = serializers.IntegerField()
    transfers = serializers.IntegerField(help_text="Downloads and uploads.")
    tokens = serializers.IntegerField()
    bytes = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Calls that failed or met no engine.")
    cost = serializers.DecimalField(max_digits=18, decimal_places=6)


class UsageReportSerializer(serializers.Serializer):
    """What usage adds up to over some days."""

    since = serializers.DateField()
    until = serializers.DateField()
    currency = serializers.CharField()
    total = UsageLineSerializer()
    days = UsageLineSerializer(many=True)
    models = UsageLineSerializer(many=True)
    people = UsageLineSerializer(many=True)
    outcomes = UsageLineSerializer(many=True)


class QuotaSerializer(serializers.ModelSerializer):
    """How much may be used in each window, and how much is used now."""

    team = serializers.SlugRelatedField("slug", read_only=True, allow_null=True)
    model = serializers.CharField(allow_null=True, help_text="As team/name.")
    person = serializers.CharField(source="person.email", allow_null=True, default=None)
    set_by = serializers.CharField(source="set_by.email")
    used = serializers.SerializerMethodField(help_text="In the window that it is now; of your own where it is of each.")
    resets_at = serializers.SerializerMethodField(help_text="When it is whole again.")

    class Meta:
        model = Quota
        fields = [
            "id", "subject", "team", "model", "use_case", "person", "each_person", "window", "unit", "amount", "used",
            "resets_at", "reason", "set_by", "set_at", "changed_at", "ended_at",
        ]  # fmt: skip

    def get_used(self, row) -> str:
        """Return a decimal, as the amount is."""
        used = Decimal(row.standing.used)
        return str((used / 1_000_000 if row.unit == Unit.MONEY else used).quantize(Decimal("0.000001")))

    def get_resets_at(self, row) -> datetime.datetime:
        """Return the beginning of the next window."""
        return row.standing.resets_at


class NewQuotaSerializer(serializers.Serializer):
    """How much may be used, by whom and of what; of the four names exactly the one of the subject."""

    subject = serializers.ChoiceField(Quota.Subject.choices)
    team = ScopedRelatedField(Team, required=False, allow_null=True)
    model = ScopedRelatedField(RegisteredModel, required=False, allow_null=True)
    use_case = ScopedRelatedField(UseCase, required=False, allow_null=True)
    person = ScopedRelatedField(User, required=False, allow_null=True)
    each_person = serializers.BooleanField(default=False, help_text="Everybody has this much for themselves.")
    window = serializers.ChoiceField(Window.choices)
    unit = serializers.ChoiceField(Unit.choices)
    amount = serializers.DecimalField(max_digits=18, decimal_places=6, min_value=0)
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class QuotaChangeSerializer(serializers.Serializer):
    """What is to be different about a quota."""

    amount = serializers.DecimalField(max_digits=18, decimal_places=6, min_value=0, required=False)
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True)


class FeedbackSerializer(serializers.ModelSerializer):
    """What the person who made a call says of its answer."""

    call = serializers.IntegerField(source="usage_id", help_text="The id of the call.")
    model = serializers.CharField(source="usage.model", help_text="As team/name.")
    version = serializers.IntegerField(source="usage.version.number", allow_null=True, default=None)
    use_case = serializers.IntegerField(source="usage.use_case_id", allow_null=True)
    person = serializers.CharField(source="usage.person.email")

    class Meta:
        model = Feedback
        fields = [
            "id", "call", "model", "version", "use_case", "person", "thumb", "comment", "label", "given_at",
            "changed_at",
        ]  # fmt: skip


class NewFeedbackSerializer(serializers.Serializer):
    """What to say of an answer to one's own call; said again, it replaces what was said before."""

    call = ScopedRelatedField(Usage, help_text="The id of the call, as its answer told.")
    thumb = serializers.ChoiceField(Feedback.Thumb.choices)
    comment = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    label = serializers.CharField(
        max_length=200, required=False, allow_blank=True, default="", help_text="What would have been right."
    )


class LabelledRowSerializer(serializers.Serializer):
    """One row of labelled data."""

    text = serializers.CharField()
    label = serializers.CharField()


class LabelledRowsSerializer(serializers.Serializer):
    """What feedback on a use case's answers makes as labelled data."""

    rows = LabelledRowSerializer(many=True)


class UseCaseNamedSerializer(serializers.Serializer):
    """Of which use case."""

    use_case = ScopedRelatedField(UseCase)
