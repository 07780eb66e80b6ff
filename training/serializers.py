"""What the REST API of this package reads and writes; no serializer saves."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from governance.interfaces.rest import ScopedRelatedField
from projects.models import CommitFile, DatasetVersion, UseCase
from training.models import BaseModel, Evaluation, JobEvent, ModelVersion, Publication, RegisteredModel, TrainingJob
from training.services import jobs, registry


class BaseModelSerializer(serializers.ModelSerializer):
    """One revision in the catalogue of base models."""

    revision = serializers.CharField(read_only=True)
    imported_by = serializers.CharField(source="imported_by.name", read_only=True)
    allowed_by = serializers.SerializerMethodField()

    class Meta:
        model = BaseModel
        fields = [
            "id", "name", "title", "family", "architecture", "task", "description", "origin", "licence", "languages",
            "parameters", "context_length", "size", "revision", "state", "imported_by", "imported_at", "allowed_by",
            "allowed_at", "decision_reason",
        ]  # fmt: skip

    def get_allowed_by(self, instance: BaseModel) -> str | None:
        """Return the name of who allowed it."""
        return str(instance.allowed_by) if instance.allowed_by else None


class FileSerializer(serializers.ModelSerializer):
    """One file of a commit."""

    sha256 = serializers.CharField(read_only=True)

    class Meta:
        model = CommitFile
        fields = ["path", "size", "sha256", "git_oid"]


class BaseModelDetailSerializer(BaseModelSerializer):
    """A base model with its files."""

    files = FileSerializer(source="commit.files", many=True, read_only=True)

    class Meta(BaseModelSerializer.Meta):
        fields = [*BaseModelSerializer.Meta.fields, "files"]


class SourceSerializer(serializers.Serializer):
    """A place on the server from which a base model can be imported."""

    key = serializers.CharField(help_text="What to give as `source` of an import.")
    title = serializers.CharField()
    origin = serializers.CharField()


class ImportSerializer(serializers.Serializer):
    """Which source to import, and how to describe it."""

    source = serializers.CharField(max_length=200, help_text="A key from the list of sources.")
    name = serializers.CharField(max_length=64)
    title = serializers.CharField(max_length=160)
    licence = serializers.CharField(max_length=80, help_text="SPDX identifier, such as Apache-2.0.")
    origin = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)
    task = serializers.CharField(required=False, allow_blank=True, default="", max_length=60)
    languages = serializers.CharField(required=False, allow_blank=True, default="", max_length=200)
    description = serializers.CharField(required=False, allow_blank=True, default="", max_length=8000)


class ReasonSerializer(serializers.Serializer):
    """Why something is done; it is kept."""

    reason = serializers.CharField(max_length=300)


class SubmitSerializer(serializers.Serializer):
    """A run to plan or to submit."""

    use_case = ScopedRelatedField(UseCase)
    dataset_version = ScopedRelatedField(DatasetVersion)
    base_model = ScopedRelatedField(BaseModel)
    model_name = serializers.CharField(max_length=64, help_text="The registered model that gets the result.")
    recipe = serializers.CharField(max_length=60, default="sequence_classification")
    method = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")
    preset = serializers.CharField(max_length=20, required=False, allow_blank=True, default="")
    overrides = serializers.DictField(
        required=False, default=dict, help_text="Settings that differ from the preset, by name; see /recipes/."
    )
    seed = serializers.IntegerField(min_value=0, max_value=2**32 - 1, default=42)
    baselines = serializers.ListField(
        child=serializers.CharField(max_length=60), required=False, allow_null=True, default=None, max_length=20
    )


class RetrySerializer(serializers.Serializer):
    """What is different in the next attempt."""

    overrides = serializers.DictField(required=False, default=dict)
    seed = serializers.IntegerField(min_value=0, max_value=2**32 - 1, required=False, allow_null=True, default=None)


class CheckSerializer(serializers.Serializer):
    """One thing that a gate wants."""

    label = serializers.CharField()
    met = serializers.BooleanField()
    advice = serializers.CharField()
    url = serializers.CharField()


class RangeSerializer(serializers.Serializer):
    """An estimate with its bounds."""

    likely = serializers.FloatField()
    low = serializers.FloatField()
    high = serializers.FloatField()


class TruncationSerializer(serializers.Serializer):
    """How long the texts are in tokens."""

    max_length = serializers.IntegerField()
    cut = serializers.FloatField(help_text="Share of texts that are shortened.")
    mean_tokens = serializers.FloatField()
    longest = serializers.IntegerField()
    bins = serializers.ListField(child=serializers.ListField(child=serializers.FloatField()))
    measured = serializers.IntegerField(help_text="Texts counted with the model's tokenizer; 0: estimated.")
    lost = serializers.FloatField(help_text="Share of examples of which nothing to learn is left; language models.")
    learned = serializers.FloatField(help_text="Tokens of an example that are learned, on average; language models.")


class ShownSerializer(serializers.Serializer):
    """The beginning of one training example as a language model reads it."""

    row = serializers.IntegerField()
    tokens = serializers.ListField(
        child=serializers.ListField(), help_text="Pairs of a token's text and whether it is learned."
    )
    total = serializers.IntegerField()
    learned = serializers.IntegerField()


class PlanSerializer(serializers.Serializer):
    """The dry run of a job."""

    ready = serializers.BooleanField()
    recipe = serializers.CharField()
    method = serializers.CharField()
    preset = serializers.CharField()
    hyperparameters = serializers.DictField()
    seed = serializers.IntegerField()
    baselines = serializers.ListField(child=serializers.CharField())
    errors = serializers.DictField(child=serializers.CharField())
    checks = CheckSerializer(many=True)
    warnings = serializers.ListField(child=serializers.CharField())
    rows = serializers.DictField(child=serializers.IntegerField())
    labels = serializers.IntegerField()
    steps = serializers.IntegerField()
    steps_per_epoch = serializers.IntegerField()
    trained_parameters = serializers.IntegerField()
    total_parameters = serializers.IntegerField()
    truncation = TruncationSerializer(allow_null=True)
    preview = ShownSerializer(many=True, help_text="Examples in tokens; empty but for language models.")
    memory_bytes = RangeSerializer(allow_null=True)
    seconds = RangeSerializer(allow_null=True)
    calibrated_on = serializers.IntegerField(help_text="How many earlier jobs the time is fitted to.")
    work = serializers.FloatField(help_text="Floating-point operations.")
    spec_digest = serializers.CharField(allow_blank=True)


class ErrorSerializer(serializers.Serializer):
    """Why a job failed and what to do."""

    code = serializers.CharField()
    message = serializers.CharField()
    advice = serializers.CharField()


class PositionSerializer(serializers.Serializer):
    """Where a queued job stands."""

    ahead = serializers.IntegerField()
    running = serializers.IntegerField()
    reason = serializers.CharField()


class JobSerializer(serializers.ModelSerializer):
    """A training job as lists show it."""

    team = serializers.CharField(source="team.slug", read_only=True)
    submitted_by = serializers.CharField(source="submitted_by.name", read_only=True)
    error = serializers.SerializerMethodField()

    class Meta:
        model = TrainingJob
        fields = [
            "id", "team", "use_case", "dataset_version", "base_model", "model_name", "recipe", "method", "preset",
            "spec_digest", "state", "stage", "step", "max_steps", "eta_at", "attempts", "submitted_by", "submitted_at",
            "started_at", "finished_at", "cancel_requested_at", "retry_of", "error",
        ]  # fmt: skip

    @extend_schema_field(ErrorSerializer(allow_null=True))
    def get_error(self, instance: TrainingJob) -> dict[str, str] | None:
        """Return the error of the job, or of the last attempt."""
        if not instance.error_code:
            return None
        return {"code": instance.error_code, "message": instance.error_message, "advice": instance.error_advice}


class JobDetailSerializer(JobSerializer):
    """A job with its frozen specification, its summary, its place in the queue and its result."""

    queue = serializers.SerializerMethodField()
    version = serializers.SerializerMethodField()

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "spec", "summary", "queue", "version"]

    @extend_schema_field(PositionSerializer(allow_null=True))
    def get_queue(self, instance: TrainingJob) -> dict[str, Any] | None:
        """Return where the job stands while it waits."""
        found = jobs.queue_position(instance)
        return {"ahead": found.ahead, "running": found.running, "reason": found.reason} if found else None

    def get_version(self, instance: TrainingJob) -> int | None:
        """Return the number of the version that the job made."""
        version = getattr(instance, "model_version", None)
        return version.number if version else None


class EventSerializer(serializers.ModelSerializer):
    """One event of a job; `data` has the fields of its type."""

    class Meta:
        model = JobEvent
        fields = ["id", "type", "at", "data"]


class EvaluationSerializer(serializers.ModelSerializer):
    """The whole evaluation of a job."""

    class Meta:
        model = Evaluation
        fields = ["job", "digest", "metric", "score", "accuracy", "macro_f1", "test_rows", "created_at", "report"]


class PublicationSerializer(serializers.ModelSerializer):
    """A version offered under an alias to an audience."""

    version = serializers.IntegerField(source="version.number", read_only=True)
    model = serializers.CharField(source="model.__str__", read_only=True)
    servable = serializers.SerializerMethodField()

    class Meta:
        model = Publication
        fields = [
            "id", "model", "version", "alias", "audience", "intended_use", "state", "requested_at", "published_at",
            "ended_at", "ended_because", "servable",
        ]  # fmt: skip

    def get_servable(self, instance: Publication) -> bool:
        """Return whether it may be used now: published, and its approval stands."""
        return registry.standing(instance).open


class ModelSerializer(serializers.ModelSerializer):
    """A registered model."""

    team = serializers.CharField(source="team.slug", read_only=True)

    class Meta:
        model = RegisteredModel
        fields = ["id", "team", "name", "title", "use_case", "task", "created_at", "changed_at"]


class ModelDetailSerializer(ModelSerializer):
    """A registered model with what is published of it."""

    publications = serializers.SerializerMethodField()

    class Meta(ModelSerializer.Meta):
        fields = [*ModelSerializer.Meta.fields, "publications"]

    @extend_schema_field(PublicationSerializer(many=True))
    def get_publications(self, instance: RegisteredModel) -> list[dict[str, Any]]:
        """Return the publications that are in force."""
        rows = instance.publications.live().select_related("version__model__team", "model__team")
        return PublicationSerializer(rows, many=True).data


class VersionSerializer(serializers.ModelSerializer):
    """One version of a registered model with its lineage by digest."""

    model = serializers.CharField(source="model.__str__", read_only=True)
    commit = serializers.CharField(source="commit.oid", read_only=True)
    dataset_commit = serializers.CharField(source="dataset_version.commit.oid", read_only=True)
    base_revision = serializers.CharField(source="base_model.commit.oid", read_only=True)
    metric = serializers.CharField(source="job.evaluation.metric", read_only=True, help_text="The one that decides.")
    score = serializers.FloatField(source="job.evaluation.score", read_only=True, help_text="Its value.")
    accuracy = serializers.FloatField(
        source="job.evaluation.accuracy", read_only=True, allow_null=True, help_text="Of classifiers."
    )
    macro_f1 = serializers.FloatField(
        source="job.evaluation.macro_f1", read_only=True, allow_null=True, help_text="Of classifiers."
    )

    class Meta:
        model = ModelVersion
        fields = [
            "id", "model", "number", "state", "commit", "job", "use_case", "dataset_version", "dataset_commit",
            "base_model", "base_revision", "spec_digest", "evaluation_digest", "labels", "size", "metric", "score",
            "accuracy", "macro_f1", "created_at",
        ]  # fmt: skip


class VersionDetailSerializer(VersionSerializer):
    """A version with its files."""

    files = FileSerializer(source="commit.files", many=True, read_only=True)

    class Meta(VersionSerializer.Meta):
        fields = [*VersionSerializer.Meta.fields, "files"]


class HolderSerializer(serializers.Serializer):
    """Somebody who fetched files of a version."""

    person = serializers.CharField(source="person.email")
    name = serializers.CharField(source="person.name")
    files = serializers.IntegerField(help_text="How many different files.")
    reads = serializers.IntegerField(help_text="How many times they fetched one.")
    first_at = serializers.DateTimeField()
    last_at = serializers.DateTimeField()


class PublishSerializer(serializers.Serializer):
    """What to ask the reviewers for."""

    alias = serializers.SlugField(max_length=40, default=registry.DEFAULT_ALIAS)
    audience = serializers.ChoiceField(choices=Publication.Audience.choices, default=Publication.Audience.ORGANISATION)
    intended_use = serializers.CharField(max_length=8000)
    note = serializers.CharField(max_length=8000, required=False, allow_blank=True, default="")


class AskedSerializer(serializers.Serializer):
    """The request that was put before the reviewers, and what it is about."""

    request = serializers.IntegerField(help_text="See /approvals/{id}/.")
    digest = serializers.CharField()
    publication = PublicationSerializer()


class RecipeSerializer(serializers.Serializer):
    """One kind of training with everything that can be set."""

    name = serializers.CharField()
    title = serializers.CharField()
    task = serializers.CharField()
    help = serializers.CharField()
    methods = serializers.ListField(child=serializers.CharField())
    default_preset = serializers.CharField()
    presets = serializers.ListField(child=serializers.DictField())
    layouts = serializers.ListField(child=serializers.CharField(), help_text="What a row of its data may be made of.")
    families = serializers.ListField(child=serializers.CharField(), help_text="Architectures of base models.")
    metrics = serializers.ListField(child=serializers.DictField(), help_text="What it is measured by.")
    hyperparameters = serializers.ListField(child=serializers.DictField())
    baselines = serializers.ListField(child=serializers.DictField())
