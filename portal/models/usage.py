"""Usage: who used what, for what, how much of it and at what cost. One row for each call and each download."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.models import ApiToken
from governance.models.governed import Governed
from governance.policy import Permission
from governance.services import access
from projects.models import DatasetVersion, Team, UseCase
from training.models import BaseModel, ModelVersion, RegisteredModel


class Kind(models.TextChoices):
    """What was done with a model or with data."""

    PREDICT = "predict", _("Prediction")
    CHAT = "chat", _("Chat")
    COMPLETION = "completion", _("Completion")
    EMBEDDING = "embedding", _("Embedding")
    DOWNLOAD = "download", _("Download")
    UPLOAD = "upload", _("Upload")


class Outcome(models.TextChoices):
    """How it ended, as seen from the gateway."""

    ANSWERED = "answered", _("Answered")
    FAILED = "failed", _("Failed")
    REFUSED = "refused", _("Refused")
    UNAVAILABLE = "unavailable", _("Unavailable")
    CANCELLED = "cancelled", _("Cancelled")


class UsageQuerySet(models.QuerySet):
    """Selections of usage."""

    def visible_to(self, user):
        """Return one's own usage, that of the teams whose means one looks after, and all of it for who sees all."""
        return access.visible(self, user, Permission.USAGE_VIEW, own=models.Q(person=user))

    def between(self, since, until):
        """Return what began at or after `since` and before `until`; None leaves an end open."""
        rows = self if since is None else self.filter(at__gte=since)
        return rows if until is None else rows.filter(at__lt=until)


class Usage(models.Model):
    """One call, download or upload: never what was said, only how much of it there was.

    `team` and `use_case` are those that the model or the data belongs to, which is who pays for it; a base model
    belongs to the organisation and has neither. `cost` is in `currency`, at the prices of the day.
    """

    at = models.DateTimeField(default=timezone.now)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="usage")
    token = models.ForeignKey(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="usage")
    use_case = models.ForeignKey(UseCase, models.PROTECT, null=True, blank=True, related_name="usage")
    model = models.ForeignKey(RegisteredModel, models.PROTECT, null=True, blank=True, related_name="usage")
    version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, blank=True, related_name="usage")
    dataset_version = models.ForeignKey(DatasetVersion, models.PROTECT, null=True, blank=True, related_name="usage")
    base_model = models.ForeignKey(BaseModel, models.PROTECT, null=True, blank=True, related_name="usage")
    commit = models.CharField(max_length=40, blank=True)
    alias = models.CharField(max_length=40, blank=True)
    kind = models.CharField(max_length=12, choices=Kind.choices)
    outcome = models.CharField(max_length=12, choices=Outcome.choices)
    prompt_tokens = models.BigIntegerField(default=0)
    completion_tokens = models.BigIntegerField(default=0)
    texts = models.IntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    latency_ms = models.IntegerField(default=0)
    cost = models.DecimalField(max_digits=18, decimal_places=6, default=0)
    currency = models.CharField(max_length=3)
    engine = models.CharField(max_length=40, blank=True)
    client = models.CharField(max_length=120, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    # How often each guardrail found something, as {"personal_data": 2}.
    findings = models.JSONField(default=dict)

    objects = UsageQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "usage"
        indexes = [
            models.Index(fields=["-at", "-id"], name="usage_at"),
            models.Index(fields=["person", "-at", "-id"], name="usage_of_person"),
            models.Index(fields=["team", "-at", "-id"], name="usage_of_team"),
            models.Index(fields=["model", "-at", "-id"], name="usage_of_model"),
            models.Index(fields=["use_case", "-at", "-id"], name="usage_of_use_case"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team, or None for what belongs to the organisation."""
        return self.team_id

    @property
    def tokens(self) -> int:
        """Return the tokens read and written together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def used(self) -> RegisteredModel | BaseModel | DatasetVersion | None:
        """Return what was used."""
        return self.model or self.base_model or self.dataset_version

    @property
    def what(self) -> str:
        """Return the name of what was used."""
        return str(self.used or "")
