"""Looking again at who holds what: a campaign over one object, and for each access whether it stays."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed


class AccessReviewQuerySet(models.QuerySet):
    """Selections of access reviews."""

    def visible_to(self, user):
        """Return those of one's own, those of the teams whose members one manages, all for who may see people."""
        from governance.services import access

        if access.organisation_allows(user, "person.view"):
            return self
        mine = Q(owner=user) | Q(opened_by=user) if user.is_authenticated else None
        if not access.token_permits(user, "team.view"):
            mine = None
        return access.visible(self, user, "member.manage", scope="scope_id", own=mine)

    def open(self):
        """Return those that are not closed."""
        return self.filter(closed_at=None)

    def overdue(self):
        """Return those that are open after their due date."""
        return self.open().filter(due_on__lt=timezone.localdate())

    def to_do_by(self, user):
        """Return the open ones that `user` answers for."""
        return self.open().filter(owner=user)


class AccessReview(models.Model):
    """`owner` is to say, until `due_on`, for everyone who can see the subject whether that stays so."""

    content_type = models.ForeignKey(ContentType, models.PROTECT, related_name="+")
    object_id = models.BigIntegerField()
    subject = GenericForeignKey("content_type", "object_id")
    subject_label = models.CharField(max_length=300)
    scope_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="access_reviews")
    due_on = models.DateField()
    opened_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    objects = AccessReviewQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["content_type", "object_id"], condition=Q(closed_at=None), name="one_open_access_review"
            )
        ]
        indexes = [models.Index(fields=["owner", "closed_at", "due_on"], name="access_review_to_do")]

    def __str__(self) -> str:
        return f"Who can see {self.subject_label}"

    def get_absolute_url(self) -> str:
        """Return its page."""
        return reverse("governance:access_review", args=[self.pk])

    @property
    def state(self) -> str:
        """Return "closed", "overdue" or "to_review"."""
        if self.closed_at is not None:
            return "closed"
        return "overdue" if self.due_on < timezone.localdate() else "to_review"


class AccessReviewItem(models.Model):
    """One access of one person as it was when the review was opened, and what was decided about it.

    `source` names the row that gives it: a role assignment, a share or an emergency access, by `via` and `source_id`.
    """

    class Via(models.TextChoices):
        """What gives the access."""

        ROLE = "role", "Role"
        SHARE = "share", "Share"
        EMERGENCY = "emergency", "Emergency access"

    class Verdict(models.TextChoices):
        """What was decided; ENDED is what the access did by itself meanwhile."""

        KEPT = "kept", "Kept"
        TAKEN_AWAY = "taken_away", "Taken away"
        ENDED = "ended", "Ended meanwhile"

    review = models.ForeignKey(AccessReview, models.PROTECT, related_name="items")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    via = models.CharField(max_length=12, choices=Via.choices)
    source_id = models.BigIntegerField()
    words = models.CharField(max_length=300)
    since = models.DateTimeField()
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    until = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=12, choices=Verdict.choices, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True)

    governed = Governed()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "via", "source_id"], name="one_item_per_access"),
            models.CheckConstraint(
                condition=Q(decided_by=None) | Q(verdict="ended") | ~Q(decided_by=F("person")),
                name="nobody_decides_their_own_access",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.words}"

    @property
    def state(self) -> str:
        """Return the verdict, or "undecided"."""
        return self.verdict or "undecided"
