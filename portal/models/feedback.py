"""What people say of answers, and the bodies of calls that a model's policy lets the site keep for a while."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from governance.models.governed import Exempt, Governed
from governance.policy import Permission
from governance.services import access
from portal.models.usage import Usage


class FeedbackQuerySet(models.QuerySet):
    """Selections of feedback."""

    def visible_to(self, user):
        """Return what is said of the models of use cases that the person may see, and what they said themselves."""
        scope = "usage__team_id"
        return access.visible(self, user, Permission.USE_CASE_VIEW, scope=scope, own=Q(usage__person=user))


class Feedback(models.Model):
    """What the person who made a call says of its answer: a thumb, a comment, and what would have been right."""

    class Thumb(models.TextChoices):
        """Whether the answer helped."""

        UP = "up", _("It helped")
        DOWN = "down", _("It did not help")

    usage = models.OneToOneField(Usage, models.PROTECT, related_name="feedback")
    thumb = models.CharField(max_length=4, choices=Thumb.choices)
    comment = models.TextField(blank=True)
    label = models.CharField(max_length=200, blank=True)
    given_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    objects = FeedbackQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-changed_at", "-id"]
        verbose_name_plural = "feedback"
        indexes = [models.Index(fields=["-changed_at", "-id"], name="feedback_changed")]

    def __str__(self) -> str:
        return f"{self.get_thumb_display()}: {self.usage}"

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team whose model answered."""
        return self.usage.team_id


class Body(models.Model):
    """What was said in one call, encrypted, until `purge_at`; only where the model's policy says that it is kept."""

    usage = models.OneToOneField(Usage, models.CASCADE, related_name="body")
    sealed = models.BinaryField()
    purge_at = models.DateTimeField(db_index=True)

    governed = Exempt("A kept body is a part of its call, which is recorded; that bodies were purged is recorded too.")

    class Meta:
        verbose_name_plural = "bodies"

    def __str__(self) -> str:
        return f"Body of {self.usage_id}"
