"""The catalogue of base models: what may be fine-tuned, at which revision, under which licence, and who allowed it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed
from governance.services import access
from projects.models import Commit, Repository


class BaseModelQuerySet(models.QuerySet):
    """Selections of base models."""

    def visible_to(self, user):
        """Return all for whoever may see the catalogue, which is everyone in the organisation."""
        if access.organisation_allows(user, "base_model.view") or user.is_service:
            return self
        return self.none()

    def allowed(self):
        """Return those that may be fine-tuned."""
        return self.filter(state=BaseModel.State.ALLOWED)


class BaseModel(models.Model):
    """One revision of one pretrained model; `commit` holds its files with their hashes."""

    class State(models.TextChoices):
        """Whether it may be used; imported by one person, allowed by another."""

        PROPOSED = "proposed", "Proposed"
        ALLOWED = "allowed", "Allowed"
        DISALLOWED = "disallowed", "Not allowed"

    name = models.CharField(max_length=64)
    title = models.CharField(max_length=160)
    family = models.CharField(max_length=60, help_text="Architecture family, such as bert.")
    architecture = models.CharField(max_length=120)
    task = models.CharField(max_length=60, help_text="What it was made for, such as sentence similarity.")
    description = models.TextField(blank=True)
    origin = models.TextField(help_text="Where the files come from, and how they were obtained.")
    licence = models.CharField(max_length=80, help_text="SPDX identifier.")
    languages = models.CharField(max_length=200, blank=True)
    parameters = models.BigIntegerField()
    context_length = models.PositiveIntegerField()
    size = models.BigIntegerField(help_text="Bytes of all files.")
    shape = models.JSONField(
        default=dict, help_text="Sizes from the model's own configuration, from which memory and time are estimated."
    )
    repository = models.ForeignKey(Repository, models.PROTECT, related_name="base_models")
    commit = models.OneToOneField(Commit, models.PROTECT, related_name="base_model")
    state = models.CharField(max_length=12, choices=State.choices, default=State.PROPOSED)
    imported_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    imported_at = models.DateTimeField(default=timezone.now)
    allowed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    allowed_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)

    objects = BaseModelQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["name", "-imported_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(allowed_by=None) | ~Q(allowed_by=F("imported_by")), name="importer_never_allows"
            ),
            models.CheckConstraint(
                condition=~Q(state="allowed") | Q(allowed_by__isnull=False), name="allowed_by_somebody"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the catalogue entry."""
        return reverse("training:base_model", args=[self.pk])

    @property
    def revision(self) -> str:
        """Return the commit id, which is the revision a run spec names."""
        return self.commit.oid
