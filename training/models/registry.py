"""Registered models, their versions, and the publication of a version under an alias to an audience."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed
from governance.policy import Gate, Involvement, Permission, RiskTier, shareable_permissions
from governance.services import access
from projects.models import Commit, DatasetVersion, Repository, Team, UseCase
from projects.models.teams import SLUG
from training.models.base_models import BaseModel
from training.models.jobs import TrainingJob


class RegisteredModelQuerySet(models.QuerySet):
    """Selections of registered models."""

    def visible_to(self, user):
        """Return the models of the user's teams, those shared with them, and those published to the organisation."""
        everybody = Publication.objects.for_everybody().values("model")
        return access.visible(self, user, "model.view", own=Q(pk__in=everybody))

    def known_to(self, user):
        """Return the models that `user` may see or use, and those that were once offered to the whole organisation.

        Who used a model yesterday is told that it was stopped, rather than that there never was one.
        """
        offered = Q(pk__in=Publication.objects.once_for_everybody().values("model"))
        seen = access.visible(self, user, "model.view", own=offered).values("pk")
        used = access.visible(self, user, "model.use", own=offered).values("pk")
        return self.filter(Q(pk__in=seen) | Q(pk__in=used))

    def usable_by(self, user):
        """Return the models that `user` may call: a live publication whose audience they belong to."""
        everybody = Publication.objects.for_everybody().values("model")
        offered = self.filter(pk__in=Publication.objects.live().values("model"))
        return access.visible(offered, user, "model.use", own=Q(pk__in=everybody))

    def callable_by(self, user):
        """Return the models that `user` may ask for by name: a token that may only call them sees none of their pages.

        Whether one answers is decided when it is called.
        """
        usable = RegisteredModel.objects.usable_by(user).values("pk")
        return self.filter(Q(pk__in=RegisteredModel.objects.visible_to(user).values("pk")) | Q(pk__in=usable))


class RegisteredModel(models.Model):
    """A named line of model versions in one team, made for one use case."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="registered_models")
    name = models.CharField(max_length=64, validators=[SLUG])
    title = models.CharField(max_length=160)
    use_case = models.ForeignKey(UseCase, models.PROTECT, related_name="registered_models")
    task = models.CharField(max_length=60)
    repository = models.OneToOneField(Repository, models.PROTECT, related_name="registered_model")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    objects = RegisteredModelQuerySet.as_manager()
    governed = Governed()

    SEEN_WITH = Permission.MODEL_VIEW

    class Meta:
        ordering = ["-changed_at", "-id"]
        permissions = shareable_permissions("training.registeredmodel")
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_model_per_name")]
        indexes = [models.Index(fields=["-changed_at", "-id"], name="model_changed")]

    def __str__(self) -> str:
        return f"{self.team.slug}/{self.name}"

    def get_absolute_url(self) -> str:
        """Return the model's page."""
        return reverse("training:model", args=[self.team.slug, self.name])

    def seen_besides(self) -> list:
        """Return who sees it without a role or a share: everybody, where it is published to the organisation."""
        published = Publication.objects.for_everybody().filter(model=self).order_by("published_at").first()
        return [(None, "Published to the whole organisation", published.published_at)] if published else []

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.team_id


class ModelVersionQuerySet(models.QuerySet):
    """Selections of model versions."""

    def visible_to(self, user):
        """Return the versions that `user` may see: all of their teams' models, else only published ones."""
        everybody = Publication.objects.for_everybody().values("version")
        inside = access.visible(RegisteredModel.objects.all(), user, "model.view").values("pk")
        own = Q(pk__in=everybody) | Q(model__in=inside)
        return access.visible(self, user, "model.view", scope="model__team_id", own=own)

    def known_to(self, user):
        """Return the versions that `user` may see, and those that were once offered to them."""
        offered = Publication.objects.exclude(published_at=None).filter(
            model__in=RegisteredModel.objects.known_to(user)
        )
        inside = access.visible(RegisteredModel.objects.all(), user, "model.use").values("pk")
        reached = Q(audience=Publication.Audience.ORGANISATION) | Q(model__in=inside)
        seen = self.visible_to(user).values("pk")
        return self.filter(Q(pk__in=seen) | Q(pk__in=offered.filter(reached).values("version")))


class ModelVersion(models.Model):
    """The immutable result of one job: a commit in the model's repository, with its lineage."""

    class State(models.TextChoices):
        """Where the version stands."""

        EVALUATED = "evaluated", "Evaluated"
        RETIRED = "retired", "Retired"

    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    commit = models.OneToOneField(Commit, models.PROTECT, related_name="model_version")
    job = models.OneToOneField(TrainingJob, models.PROTECT, related_name="model_version")
    use_case = models.ForeignKey(UseCase, models.PROTECT, related_name="model_versions")
    dataset_version = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="model_versions")
    base_model = models.ForeignKey(BaseModel, models.PROTECT, related_name="model_versions")
    spec_digest = models.CharField(max_length=64)
    evaluation_digest = models.CharField(max_length=64)
    labels = models.JSONField(default=list)
    size = models.BigIntegerField(default=0)
    state = models.CharField(max_length=12, choices=State.choices, default=State.EVALUATED)
    created_at = models.DateTimeField(default=timezone.now)

    objects = ModelVersionQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["model", "number"], name="one_model_version_per_number")]

    def __str__(self) -> str:
        return f"{self.model} v{self.number}"

    def get_absolute_url(self) -> str:
        """Return the version's page."""
        return reverse("training:model_version", args=[self.model.team.slug, self.model.name, self.number])

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.model.team_id


class PublicationQuerySet(models.QuerySet):
    """Selections of publications."""

    def visible_to(self, user):
        """Return the publications of the models that `user` may see."""
        return self.filter(version__in=ModelVersion.objects.visible_to(user))

    def live(self):
        """Return those that are being served."""
        return self.filter(state=Publication.State.PUBLISHED)

    def for_everybody(self):
        """Return those that are being served to the whole organisation."""
        return self.live().filter(audience=Publication.Audience.ORGANISATION)

    def once_for_everybody(self):
        """Return those that are or were served to the whole organisation."""
        return self.exclude(published_at=None).filter(audience=Publication.Audience.ORGANISATION)


class Publication(models.Model):
    """The question, and once approved the fact, that one version is offered under an alias to an audience."""

    class Audience(models.TextChoices):
        """Who may use it."""

        TEAM = "team", "The team"
        ORGANISATION = "organisation", "Everyone in the organisation"

    class State(models.TextChoices):
        """Where the publication stands; only PUBLISHED is served."""

        PROPOSED = "proposed", "In review"
        PUBLISHED = "published", "Published"
        SUPERSEDED = "superseded", "Superseded"
        SUSPENDED = "suspended", "Suspended"
        RETIRED = "retired", "Retired"
        DECLINED = "declined", "Declined"

    model = models.ForeignKey(RegisteredModel, models.PROTECT, related_name="publications")
    version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="publications")
    alias = models.CharField(max_length=40, default="champion", validators=[SLUG])
    audience = models.CharField(max_length=12, choices=Audience.choices, default=Audience.ORGANISATION)
    intended_use = models.TextField(help_text="What it may be used for, and what not.")
    state = models.CharField(max_length=12, choices=State.choices, default=State.PROPOSED)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    published_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=300, blank=True)

    objects = PublicationQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-requested_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "alias"], condition=Q(state="published"), name="one_published_version_per_alias"
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} as {self.alias}"

    def get_absolute_url(self) -> str:
        """Return the page of the model."""
        return self.model.get_absolute_url()

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.model.team_id

    def approval_title(self, gate: Gate) -> str:
        """Return what a list of reviews calls it."""
        return f"{self.version} as “{self.alias}” for {self.get_audience_display().lower()}"

    def approval_predecessor(self, gate: Gate):
        """Return the publication that was last offered under this alias, to compare with."""
        return (
            Publication.objects.filter(model=self.model, alias=self.alias, pk__lt=self.pk)
            .exclude(published_at=None)
            .order_by("-pk")
            .first()
        )

    def approval_material(self, gate: Gate) -> dict:
        """Return everything the reviewer decides on; every number is text, as it is shown."""
        version = self.version
        report = version.job.evaluation.report
        tuned = report["candidates"][0]
        return {
            "Model": str(self.model),
            "Version": version.number,
            "Alias": self.alias,
            "Audience": self.get_audience_display(),
            "Intended use": self.intended_use,
            "Use case": version.use_case.title,
            **version.use_case.tier_material(),
            "Commit": version.commit.oid,
            "Evaluation digest": version.evaluation_digest,
            "Run spec digest": version.spec_digest,
            "Dataset": str(version.dataset_version),
            "Dataset commit": version.dataset_version.commit.oid,
            "Base model": f"{version.base_model.name} at {version.base_model.revision}",
            "Method": version.job.method,
            "Seed": str(version.job.spec["seed"]),
            "Hyperparameters": {
                name: str(value) for name, value in sorted(version.job.spec["hyperparameters"].items())
            },
            "Test rows": version.job.evaluation.test_rows,
            **{figure.title: figure.text for figure in version.job.evaluation.figures},
            **({"Labels": list(version.labels)} if version.labels else {}),
            "Size in bytes": tuned.get("size") or version.size,
        }

    def approval_tier(self, gate: Gate) -> RiskTier:
        """Return the tier of the use case that the version was made for."""
        return self.version.use_case.approval_tier(gate)

    def approval_involved(self, gate: Gate) -> list:
        """Return who trained it, who prepared the data, and whose use case it is for."""
        from governance.services.approvals import Involved

        version = self.version
        return [
            *(
                Involved(job.submitted_by_id, Involvement.TRAINED, f"submitted training job {job.pk}")
                for job in version.job.line()
            ),
            *version.dataset_version.prepared_by(),
            *(one for one in version.use_case.approval_involved(gate) if one.kind == Involvement.PROPOSED),
        ]

    def approval_checklist(self, gate: Gate) -> list:
        """Return what must be there before a reviewer is asked."""
        from governance.services import approvals
        from projects.services import datasets

        version = self.version
        report = version.job.evaluation.report
        development = approvals.standing(Gate.USE_CASE_DEVELOPMENT, version.use_case)
        cleared = datasets.clearance_standing(version=version.dataset_version, use_case=version.use_case)
        return [
            approvals.Check(
                "The use case is approved for development",
                development.open,
                development.reason,
                version.use_case.get_absolute_url(),
            ),
            approvals.Check(
                "The dataset version is cleared for it",
                cleared.open,
                cleared.reason,
                version.dataset_version.get_absolute_url(),
            ),
            approvals.Check(
                "The base model is allowed",
                version.base_model.state == BaseModel.State.ALLOWED,
                "A reviewer has to allow the base model.",
                version.base_model.get_absolute_url(),
            ),
            approvals.Check(
                "It was evaluated against every baseline",
                bool(report["comparisons"]),
                "Train again with baselines; a figure alone does not say whether a cheaper way does as well.",
                version.get_absolute_url(),
            ),
            approvals.Check(
                "The intended use is stated", bool(self.intended_use.strip()), "Say what it may be used for."
            ),
            approvals.Check(
                "The version is not retired",
                version.state != ModelVersion.State.RETIRED,
                "Choose a version that is not retired.",
                version.get_absolute_url(),
            ),
            version.use_case.tier_check(),
        ]
