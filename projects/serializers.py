"""The shapes that the REST API takes and gives for projects. They check shape and scope, and never save."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from governance.models import ApprovalRequest, User
from governance.models.approvals import TIER_CHOICES
from governance.services import approvals
from projects import layouts
from projects.models import (
    CommitFile,
    Dataset,
    DatasetClearance,
    DatasetVersion,
    Objective,
    Stakeholder,
    StrategicGoal,
    Team,
    UseCase,
)
from projects.models.use_cases import Stage


class ScopedSlugField(serializers.SlugRelatedField):
    """A relation named by a readable key, among the rows that the caller may see; anything else does not exist."""

    def __init__(self, model=None, slug_field: str = "slug", selection: str = "visible_to", **kwargs):
        self.model, self.selection = model, selection
        if not kwargs.get("read_only"):
            kwargs.setdefault("queryset", model.objects.all())
        super().__init__(slug_field=slug_field, **kwargs)

    def get_queryset(self):
        """Return the rows of the model that the caller may see."""
        request = self.context.get("request")
        if request is None:
            return self.model.objects.none()
        return getattr(self.model.objects, self.selection)(request.user)


class PersonReference(serializers.ModelSerializer):
    """A person, by id and name."""

    name = serializers.CharField(source="get_full_name", read_only=True)

    class Meta:
        model = User
        fields = ["id", "name"]


# Teams and goals


class TeamSerializer(serializers.ModelSerializer):
    """A team as it is read."""

    class Meta:
        model = Team
        fields = ["id", "slug", "name", "description", "created_at"]


class TeamCreate(serializers.Serializer):
    """What makes a team."""

    slug = serializers.CharField(max_length=64, help_text="The first half of names in this team; it never changes.")
    name = serializers.CharField(max_length=120)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)


class TeamChange(serializers.Serializer):
    """What may change of a team."""

    name = serializers.CharField(max_length=120, required=False)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)


class GoalSerializer(serializers.ModelSerializer):
    """A strategic goal as it is read."""

    class Meta:
        model = StrategicGoal
        fields = ["id", "title", "description", "is_current", "created_at"]


class GoalCreate(serializers.Serializer):
    """What makes a goal."""

    title = serializers.CharField(max_length=160)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)


class GoalChange(serializers.Serializer):
    """What may change of a goal."""

    title = serializers.CharField(max_length=160, required=False)
    description = serializers.CharField(required=False, allow_blank=True, max_length=20_000)
    is_current = serializers.BooleanField(required=False)


# Use cases


class ObjectiveSerializer(serializers.ModelSerializer):
    """A measurable aim; send its `id` to keep the row when the list is replaced."""

    id = serializers.IntegerField(required=False)

    class Meta:
        model = Objective
        fields = ["id", "kpi", "baseline", "target", "unit", "direction", "due_on"]


class StakeholderSerializer(serializers.ModelSerializer):
    """A group with a part in the use case; send its `id` to keep the row when the list is replaced."""

    id = serializers.IntegerField(required=False)

    class Meta:
        model = Stakeholder
        fields = ["id", "name", "role", "interest"]


class UseCaseSummary(serializers.ModelSerializer):
    """A use case in a list."""

    team = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    owner = PersonReference(read_only=True)

    class Meta:
        model = UseCase
        fields = ["id", "title", "team", "owner", "stage", "version", "created_at", "changed_at"]


class UseCaseSerializer(UseCaseSummary):
    """A use case with everything about it."""

    proposer = PersonReference(read_only=True)
    risk_tier_set_by = PersonReference(read_only=True, allow_null=True)
    goals = GoalSerializer(many=True, read_only=True)
    objectives = ObjectiveSerializer(many=True, read_only=True)
    stakeholders = StakeholderSerializer(many=True, read_only=True)

    class Meta(UseCaseSummary.Meta):
        fields = [
            *UseCaseSummary.Meta.fields,
            *UseCase.MATERIAL[1:],
            *UseCase.TIER,
            "risk_tier_set_by",
            "risk_tier_set_at",
            "proposer",
            "goals",
            "objectives",
            "stakeholders",
        ]


_LONG = {"max_length": 20_000}


class UseCasePropose(serializers.Serializer):
    """The five fields that propose a use case to a team."""

    team = ScopedSlugField(Team, selection="open_to_proposals", help_text="The team's slug.")
    title = serializers.CharField(max_length=160)
    problem = serializers.CharField(**_LONG, help_text="What goes wrong today, how often, and what it costs.")
    people = serializers.CharField(**_LONG, help_text="Whom it touches, and how.")
    benefit = serializers.CharField(**_LONG, help_text="What would be better, in a sentence with a number.")
    data_needed = serializers.CharField(
        **_LONG, required=False, allow_blank=True, help_text="Which data you have or would need."
    )


class UseCaseChange(serializers.Serializer):
    """What may change of a use case; lists replace what was there as a whole."""

    title = serializers.CharField(max_length=160, required=False)
    problem = serializers.CharField(**_LONG, required=False)
    people = serializers.CharField(**_LONG, required=False)
    benefit = serializers.CharField(**_LONG, required=False)
    data_needed = serializers.CharField(**_LONG, required=False, allow_blank=True)
    human_oversight = serializers.CharField(**_LONG, required=False, allow_blank=True)
    risk_tier = serializers.ChoiceField(
        choices=TIER_CHOICES, required=False, help_text="How much harm it could do; decides who has to agree."
    )
    risk_tier_reason = serializers.CharField(
        **_LONG, required=False, help_text="Why this tier; a new tier needs a new reason."
    )
    owner = serializers.PrimaryKeyRelatedField(queryset=User.objects.none(), required=False)
    goals = serializers.PrimaryKeyRelatedField(queryset=StrategicGoal.objects.none(), many=True, required=False)
    objectives = ObjectiveSerializer(many=True, required=False)
    stakeholders = StakeholderSerializer(many=True, required=False)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        request = self.context.get("request")
        if request is not None and request.user.is_authenticated:
            self.fields["owner"].queryset = User.objects.visible_to(request.user)
            self.fields["goals"].child_relation.queryset = StrategicGoal.objects.visible_to(request.user)


class Note(serializers.Serializer):
    """Something said to the reviewers."""

    note = serializers.CharField(required=False, allow_blank=True, max_length=5_000, default="")


class UseCaseMove(serializers.Serializer):
    """Where a use case is to move, and why."""

    target = serializers.ChoiceField(choices=Stage.choices)
    reason = serializers.CharField(required=False, allow_blank=True, max_length=5_000, default="")


class MoveSerializer(serializers.Serializer):
    """A transition from the present stage."""

    target = serializers.ChoiceField(choices=Stage.choices)
    label = serializers.CharField()
    allowed = serializers.BooleanField()
    reason = serializers.CharField(help_text="Why you cannot make it, where you cannot.")


class PitfallSerializer(serializers.Serializer):
    """A known way to fail, seen in this use case."""

    code = serializers.CharField()
    message = serializers.CharField()
    advice = serializers.CharField()
    other = serializers.SerializerMethodField()

    def get_other(self, pitfall) -> int | None:
        """Return the id of the use case that it points to."""
        return pitfall.other.pk if pitfall.other else None


# Datasets


class DatasetSerializer(serializers.ModelSerializer):
    """A dataset as it is read."""

    team = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    steward = PersonReference(read_only=True)

    class Meta:
        model = Dataset
        fields = [
            "id",
            "team",
            "name",
            *Dataset.MATERIAL,
            "steward",
            "created_at",
            "changed_at",
        ]


class DatasetRegister(serializers.Serializer):
    """What registers a dataset."""

    team = ScopedSlugField(Team, help_text="The team's slug.")
    name = serializers.CharField(max_length=64, help_text="Lowercase letters, digits, dots, hyphens, underscores.")
    title = serializers.CharField(max_length=160)
    description = serializers.CharField(**_LONG, required=False, allow_blank=True)
    provenance = serializers.CharField(**_LONG, help_text="Where it comes from, and how it was collected.")
    licence = serializers.CharField(max_length=80, help_text="SPDX identifier, or the name of your own terms.")
    classification = serializers.ChoiceField(choices=Dataset.Classification.choices, required=False)
    lawful_basis = serializers.ChoiceField(choices=Dataset.LawfulBasis.choices, required=False)
    region = serializers.CharField(max_length=60, required=False, allow_blank=True)
    retention_until = serializers.DateField(required=False, allow_null=True)


class DatasetChange(serializers.Serializer):
    """What may change of a dataset."""

    title = serializers.CharField(max_length=160, required=False)
    description = serializers.CharField(**_LONG, required=False, allow_blank=True)
    provenance = serializers.CharField(**_LONG, required=False)
    licence = serializers.CharField(max_length=80, required=False)
    classification = serializers.ChoiceField(choices=Dataset.Classification.choices, required=False)
    lawful_basis = serializers.ChoiceField(choices=Dataset.LawfulBasis.choices, required=False)
    region = serializers.CharField(max_length=60, required=False, allow_blank=True)
    retention_until = serializers.DateField(required=False, allow_null=True)
    steward = serializers.PrimaryKeyRelatedField(queryset=User.objects.none(), required=False)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        request = self.context.get("request")
        if request is not None and request.user.is_authenticated:
            self.fields["steward"].queryset = User.objects.visible_to(request.user)


class Fractions(serializers.Serializer):
    """The shares of the splits; they add up to 1."""

    train = serializers.FloatField(min_value=0, max_value=1)
    validation = serializers.FloatField(min_value=0, max_value=1, required=False)
    test = serializers.FloatField(min_value=0, max_value=1)


class Mapping(serializers.Serializer):
    """How an upload is to be read. The import starts once each role of the layout has its column."""

    layout = serializers.ChoiceField(
        choices=layouts.names(), required=False, help_text="What one row is made of; classes: a text and its label."
    )
    columns = serializers.DictField(
        child=serializers.CharField(max_length=200, allow_blank=True, trim_whitespace=False),
        required=False,
        help_text="Which column holds what, by role of the layout; in a form: columns.prompt=question",
    )
    text_column = serializers.CharField(max_length=200, required=False, trim_whitespace=False)
    label_column = serializers.CharField(max_length=200, required=False, trim_whitespace=False)
    split_column = serializers.CharField(max_length=200, required=False, allow_blank=True, trim_whitespace=False)
    fractions = Fractions(required=False, help_text="Where no split column is named; in a form: fractions.train=0.8")
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    format = serializers.CharField(max_length=40, required=False, allow_blank=True)
    delimiter = serializers.CharField(max_length=1, required=False, allow_blank=True, trim_whitespace=False)
    sheet = serializers.CharField(max_length=200, required=False, allow_blank=True)
    records = serializers.CharField(max_length=200, required=False, allow_blank=True)
    on_bad_rows = serializers.ChoiceField(choices=["refuse", "skip"], required=False)


class Upload(Mapping):
    """A file with, if you like, how it is to be read."""

    file = serializers.FileField(allow_empty_file=True, max_length=400)


class RowProblem(serializers.Serializer):
    """One problem in one row."""

    line = serializers.IntegerField()
    column = serializers.CharField(allow_null=True)
    severity = serializers.ChoiceField(choices=["error", "warning"])
    code = serializers.CharField()
    message = serializers.CharField()
    advice = serializers.CharField()


class DatasetVersionSummary(serializers.ModelSerializer):
    """A dataset version in a list."""

    dataset = serializers.CharField(source="dataset.__str__", read_only=True, help_text="team/name")
    commit = serializers.SlugRelatedField(slug_field="oid", read_only=True)
    waits_for_columns = serializers.SerializerMethodField()
    created_by = PersonReference(read_only=True)
    split_rows = serializers.DictField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = DatasetVersion
        fields = [
            "id",
            "dataset",
            "number",
            "state",
            "waits_for_columns",
            "commit",
            "rows",
            "split_rows",
            "progress_rows",
            "error_count",
            "refusal",
            "advice",
            "created_by",
            "created_at",
            "finished_at",
        ]

    def get_waits_for_columns(self, version: DatasetVersion) -> bool:
        """Return whether a person has to name the columns before the import can start."""
        return version.state == DatasetVersion.State.RECEIVED and version.mapped_at is None


class DatasetVersionSerializer(DatasetVersionSummary):
    """A dataset version with its profile, its errors and what changed since the one before."""

    source = serializers.SerializerMethodField()
    labels = serializers.ListField(child=serializers.CharField(), read_only=True)
    layout = serializers.CharField(read_only=True, help_text="What one row is made of.")
    columns = serializers.DictField(
        child=serializers.CharField(), read_only=True, help_text="Which column holds what, by role."
    )
    profile = serializers.DictField(read_only=True)
    changes = serializers.DictField(read_only=True)
    errors = RowProblem(many=True, read_only=True)

    class Meta(DatasetVersionSummary.Meta):
        fields = [
            *DatasetVersionSummary.Meta.fields,
            "source",
            "layout",
            "columns",
            "labels",
            "profile",
            "changes",
            "errors",
        ]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_source(self, version: DatasetVersion) -> dict[str, object]:
        """Return how it was read, without where the upload waits."""
        return {name: value for name, value in (version.source or {}).items() if name != "incoming"}


class RowSerializer(serializers.Serializer):
    """One row of an upload, by the line it starts on."""

    line = serializers.IntegerField()
    values = serializers.DictField(child=serializers.CharField(allow_null=True))


class GuessSerializer(serializers.Serializer):
    """Which columns probably hold what; an empty name where none fits."""

    text = serializers.CharField()
    label = serializers.CharField()
    split = serializers.CharField()
    layout = serializers.CharField(help_text="What one row probably is made of.")
    columns = serializers.DictField(child=serializers.CharField(), help_text="The columns of its other roles.")


class LookedSerializer(serializers.Serializer):
    """The first look at an upload."""

    format = serializers.CharField()
    unit = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())
    sample = RowSerializer(many=True)
    errors = serializers.SerializerMethodField()
    guess = GuessSerializer()

    @extend_schema_field(RowProblem(many=True))
    def get_errors(self, looked) -> list[dict[str, object]]:
        """Return the problems met in the first rows."""
        return [problem.as_dict() for problem in looked.errors]


class DatasetFileSerializer(serializers.ModelSerializer):
    """One file of a version's commit."""

    sha256 = serializers.CharField(read_only=True)

    class Meta:
        model = CommitFile
        fields = ["path", "size", "sha256", "git_oid"]


class Withdrawal(serializers.Serializer):
    """Why a version is withdrawn."""

    reason = serializers.CharField(max_length=5_000)


class ClearanceRequest(Note):
    """For which use case and purpose a version is to be cleared."""

    use_case = serializers.PrimaryKeyRelatedField(queryset=UseCase.objects.none())
    purpose = serializers.CharField(max_length=5_000, help_text="What it will be used for.")

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        request = self.context.get("request")
        if request is not None and request.user.is_authenticated:
            self.fields["use_case"].queryset = UseCase.objects.visible_to(request.user)


class ClearanceSerializer(serializers.ModelSerializer):
    """A clearance and where it stands."""

    use_case = serializers.PrimaryKeyRelatedField(read_only=True)
    requested_by = PersonReference(read_only=True)
    open = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()

    class Meta:
        model = DatasetClearance
        fields = ["id", "use_case", "purpose", "requested_by", "requested_at", "open", "reason"]

    def _standing(self, clearance: DatasetClearance) -> approvals.Standing:
        from projects.services import datasets

        known = getattr(clearance, "_standing", None)
        if known is None:
            known = clearance._standing = datasets.clearance_standing(
                version=clearance.version, use_case=clearance.use_case
            )
        return known

    def get_open(self, clearance: DatasetClearance) -> bool:
        """Return whether the version may be used for the use case now."""
        return self._standing(clearance).open

    def get_reason(self, clearance: DatasetClearance) -> str:
        """Return why, or why not."""
        return self._standing(clearance).reason


class ClearanceAskedSerializer(serializers.ModelSerializer):
    """The request that now waits for review."""

    class Meta:
        model = ApprovalRequest
        fields = ["id", "gate", "subject_label", "digest", "state", "requested_at"]


class ExampleRows(serializers.Serializer):
    """Which rows to show."""

    split = serializers.ChoiceField(choices=["train", "validation", "test"], default="train")
    offset = serializers.IntegerField(min_value=0, max_value=100_000_000, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=200, default=20)
