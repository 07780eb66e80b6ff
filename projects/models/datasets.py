"""Datasets and their versions, and the clearance of one version for one use case and purpose."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from governance.actions import Action
from governance.models import LedgerEntry
from governance.models.governed import Governed
from governance.models.words import WordsField
from governance.policy import Gate, Involvement, Permission, RiskTier, shareable_permissions
from governance.services import access
from projects import layouts
from projects.models.repositories import Commit, Repository
from projects.models.teams import SLUG, Team
from projects.models.use_cases import UseCase


class DatasetQuerySet(models.QuerySet):
    """Selections of datasets."""

    def visible_to(self, user):
        """Return the datasets of the user's teams and those shared with them."""
        return access.visible(self, user, "dataset.view")


class Dataset(models.Model):
    """A body of data with a steward, a licence and rules; its content is in its versions."""

    class Classification(models.TextChoices):
        """How closely it is to be kept."""

        PUBLIC = "public", "Public"
        INTERNAL = "internal", "Internal"
        CONFIDENTIAL = "confidential", "Confidential"
        RESTRICTED = "restricted", "Restricted"

    class LawfulBasis(models.TextChoices):
        """Why personal data in it may be processed: Regulation (EU) 2016/679 (GDPR), Article 6(1)."""

        NONE = "none", "No personal data"
        CONSENT = "consent", "Consent, Art. 6(1)(a)"
        CONTRACT = "contract", "Contract, Art. 6(1)(b)"
        LEGAL_OBLIGATION = "legal_obligation", "Legal obligation, Art. 6(1)(c)"
        VITAL_INTERESTS = "vital_interests", "Vital interests, Art. 6(1)(d)"
        PUBLIC_TASK = "public_task", "Public task, Art. 6(1)(e)"
        LEGITIMATE_INTERESTS = "legitimate_interests", "Legitimate interests, Art. 6(1)(f)"

    team = models.ForeignKey(Team, models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=64, validators=[SLUG])
    title = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    steward = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="stewarded_datasets")
    provenance = models.TextField(help_text="Where it comes from, and how it was collected.")
    licence = models.CharField(max_length=80, help_text="SPDX identifier, or the name of your own terms.")
    classification = models.CharField(max_length=16, choices=Classification.choices, default=Classification.INTERNAL)
    lawful_basis = models.CharField(max_length=24, choices=LawfulBasis.choices, default=LawfulBasis.NONE)
    region = models.CharField(max_length=60, blank=True, help_text="Where it may be kept, such as EU.")
    retention_until = models.DateField(null=True, blank=True, help_text="When it must be deleted.")
    repository = models.OneToOneField(Repository, models.PROTECT, related_name="dataset")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)
    words = WordsField(of=("title", "name", "description"))

    objects = DatasetQuerySet.as_manager()
    governed = Governed()

    SEEN_WITH = Permission.DATASET_VIEW

    MATERIAL = (
        "title",
        "description",
        "provenance",
        "licence",
        "classification",
        "lawful_basis",
        "region",
        "retention_until",
    )
    FREE_TEXT = frozenset({"title", "description", "provenance"})

    class Meta:
        ordering = ["-changed_at", "-id"]
        permissions = shareable_permissions("projects.dataset")
        constraints = [models.UniqueConstraint(fields=["team", "name"], name="one_dataset_per_name")]
        indexes = [
            models.Index(fields=["-changed_at", "-id"], name="dataset_changed"),
            models.Index(fields=["team", "-changed_at", "-id"], name="dataset_team"),
        ]

    def __str__(self) -> str:
        return f"{self.team.slug}/{self.name}"

    def get_absolute_url(self) -> str:
        """Return the dataset's page."""
        return reverse("projects:dataset", args=[self.team.slug, self.name])

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.team_id


class DatasetVersionQuerySet(models.QuerySet):
    """Selections of dataset versions."""

    def visible_to(self, user):
        """Return the versions of the datasets that `user` may see."""
        return self.filter(dataset__in=Dataset.objects.visible_to(user))

    def ready(self):
        """Return those that were imported and may be used where cleared."""
        return self.filter(state=DatasetVersion.State.PROFILED)


class DatasetVersion(models.Model):
    """One upload and, once imported, one immutable commit with its splits and its profile.

    `source` keeps how it was read: filename, sha256 and size of the upload, format, columns, `options` (see
    `services.datasets.uploads.Options`) and, once imported, its `layout` and `mapping` {role: column}. `errors` lists
    the first problems with rows as {line, column, severity, code, message, advice}; `error_count` counts every row that
    was left out. A received version waits for its columns to be named until `mapped_at`; then an import may claim it
    with `token`.
    """

    class State(models.TextChoices):
        """Where the version stands. Clearance is per use case and is not a state of the version."""

        RECEIVED = "received", "Received"
        IMPORTING = "importing", "Importing"
        REFUSED = "refused", "Refused"
        PROFILED = "profiled", "Profiled"
        WITHDRAWN = "withdrawn", "Withdrawn"

    dataset = models.ForeignKey(Dataset, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    commit = models.OneToOneField(Commit, models.PROTECT, null=True, blank=True, related_name="dataset_version")
    state = models.CharField(max_length=12, choices=State.choices, default=State.RECEIVED)
    source = models.JSONField(default=dict)
    labels = models.JSONField(default=list)
    rows = models.BigIntegerField(default=0)
    split_rows = models.JSONField(default=dict)
    profile = models.JSONField(default=dict)
    changes = models.JSONField(default=dict)
    errors = models.JSONField(default=list)
    error_count = models.BigIntegerField(default=0)
    refusal = models.TextField(blank=True)
    advice = models.TextField(blank=True)
    progress_rows = models.BigIntegerField(default=0)
    mapped_at = models.DateTimeField(null=True, blank=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    token = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = DatasetVersionQuerySet.as_manager()
    # Who imports it at the moment is no act; what came of the import is recorded.
    governed = Governed(
        operational=("token", "lease_until", "attempts", "rung_at", "progress_rows"),
        moves={"state": (("received", "importing"),)},
    )

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="one_version_per_number"),
            models.CheckConstraint(
                condition=Q(state__in=["received", "importing", "refused"]) | Q(commit__isnull=False),
                name="profiled_version_has_a_commit",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "lease_until"], name="dataset_version_state"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"

    def get_absolute_url(self) -> str:
        """Return the version's page."""
        return reverse("projects:dataset_version", args=[self.dataset.team.slug, self.dataset.name, self.number])

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.dataset.team_id

    @property
    def layout(self) -> str:
        """Return what a row is made of, a name of `projects.layouts`."""
        return (self.source or {}).get("layout") or "classes"

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns by role, in the order of the layout's roles; empty before the import."""
        held = (self.source or {}).get("mapping") or {}
        # PostgreSQL's jsonb does not keep the order of keys.
        return {role.name: held[role.name] for role in layouts.get(self.layout).roles if held.get(role.name)}

    def layout_material(self) -> dict[str, Any]:
        """Return what a reviewer is told of the rows where they are anything but a text and its class."""
        if self.layout == layouts.DEFAULT:
            return {}
        return {"One row": layouts.get(self.layout).title, "Columns": self.columns}

    def prepared_by(self) -> list:
        """Return who had a part in the data as `approvals.Involved`: uploaded it, named its columns, described it."""
        from governance.services.approvals import Involved

        kind = Involvement.PREPARED_DATA
        found = [
            Involved(self.created_by_id, kind, f"uploaded {self}"),
            Involved(self.dataset.steward_id, kind, f"took charge of the dataset {self.dataset}"),
        ]
        acts = (
            (self, Action.DATASET_MAPPED, f"named the columns of {self}"),
            (self.dataset, Action.DATASET_REGISTERED, f"registered the dataset {self.dataset}"),
            (self.dataset, Action.DATASET_CHANGED, f"described the dataset {self.dataset}"),
        )
        for subject, action, sentence in acts:
            entries = LedgerEntry.objects.about(subject).filter(action=action)
            found += [
                Involved(pk, kind, sentence)
                for pk in sorted(set(entries.order_by().values_list("actor_id", flat=True)))
            ]
        return found


class DatasetClearanceQuerySet(models.QuerySet):
    """Selections of clearances."""

    def visible_to(self, user):
        """Return the clearances of the datasets that `user` may see."""
        return self.filter(version__dataset__in=Dataset.objects.visible_to(user))


class DatasetClearance(models.Model):
    """The question, and once approved the permission, to use one version for one use case and purpose."""

    version = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="clearances")
    use_case = models.ForeignKey(UseCase, models.PROTECT, related_name="clearances")
    purpose = models.TextField(help_text="What it will be used for, such as: train and test a classifier.")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)

    objects = DatasetClearanceQuerySet.as_manager()
    governed = Governed()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "use_case"], name="one_clearance_per_version_and_use_case")
        ]

    def __str__(self) -> str:
        return f"{self.version} for {self.use_case}"

    def get_absolute_url(self) -> str:
        """Return the page of the version it clears."""
        return self.version.get_absolute_url()

    @property
    def scope_id(self) -> int:
        """Return the id of the team that holds the data."""
        return self.version.dataset.team_id

    def approval_title(self, gate: Gate) -> str:
        """Return what a list of reviews calls it."""
        return f"{self.version} for “{self.use_case.title}”"

    def approval_predecessor(self, gate: Gate):
        """Return the clearance of the next older version for the same use case, to compare with; else itself."""
        older = (
            DatasetClearance.objects.filter(
                use_case=self.use_case,
                version__dataset=self.version.dataset,
                version__number__lt=self.version.number,
            )
            .order_by("-version__number")
            .first()
        )
        return older or self

    def approval_material(self, gate: Gate) -> dict:
        """Return everything the reviewer decides on: the data's rules, what is in it, and what it is for."""
        version, dataset = self.version, self.version.dataset
        personal = (version.profile or {}).get("personal_data") or {}
        kinds = personal.get("kinds") or []
        return {
            "Use case": self.use_case.title,
            **self.use_case.tier_material(),
            "Purpose": self.purpose,
            "Dataset": str(dataset),
            "Dataset title": dataset.title,
            "Description": dataset.description,
            "Version": version.number,
            "Commit": version.commit.oid if version.commit else "",
            "State": "withdrawn" if version.state == DatasetVersion.State.WITHDRAWN else "available",
            "Rows": version.rows,
            "Splits": dict(version.split_rows or {}),
            "Labels": list(version.labels or []),
            **version.layout_material(),
            "Provenance": dataset.provenance,
            "Licence": dataset.licence,
            "Classification": dataset.get_classification_display(),
            "Lawful basis": dataset.get_lawful_basis_display(),
            "Region": dataset.region,
            "Keep until": dataset.retention_until.isoformat() if dataset.retention_until else "",
            "Personal data found": {kind["name"]: kind["count"] for kind in kinds} or "none",
        }

    def approval_tier(self, gate: Gate) -> RiskTier:
        """Return the tier of the use case."""
        return self.use_case.approval_tier(gate)

    def approval_involved(self, gate: Gate) -> list:
        """Return who prepared the data, and whose use case it is for."""
        return [
            *(one for one in self.use_case.approval_involved(gate) if one.kind == Involvement.PROPOSED),
            *self.version.prepared_by(),
        ]

    def approval_checklist(self, gate: Gate) -> list:
        """Return what must be there before a reviewer is asked."""
        from governance.services.approvals import Check

        dataset = self.version.dataset
        edit = reverse("projects:dataset_edit", args=[dataset.team.slug, dataset.name])
        personal = ((self.version.profile or {}).get("personal_data") or {}).get("kinds")
        return [
            Check(
                "The version is imported and profiled",
                self.version.state == DatasetVersion.State.PROFILED,
                "Wait for the import, or upload again.",
                self.version.get_absolute_url(),
            ),
            Check("Provenance is described", bool(dataset.provenance.strip()), "Say where the data comes from.", edit),
            Check("A licence is named", bool(dataset.licence.strip()), "Name the licence or your own terms.", edit),
            Check(
                "A lawful basis covers the personal data found",
                not personal or dataset.lawful_basis != Dataset.LawfulBasis.NONE,
                "Personal data was found: name a lawful basis, or remove it from the data.",
                edit,
            ),
            Check("The purpose is stated", bool(self.purpose.strip()), "Say what it will be used for."),
            Check(
                "The retention date has not passed",
                dataset.retention_until is None or dataset.retention_until >= timezone.now().date(),
                "The data should have been deleted; do not use it.",
                edit,
            ),
            self.use_case.tier_check(),
        ]
