"""Emergency access: who opened it, how far, why and until when, and who looked at it afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed
from governance.policy import BREAK_GLASS, GlassLevel, Permission


class BreakGlassQuerySet(models.QuerySet):
    """Selections of emergency accesses."""

    def visible_to(self, user):
        """Return one's own, those in one's teams for who manages members there, all for who reviews or sees people."""
        from governance.services import access

        if access.organisation_allows(user, "break_glass.review") or access.organisation_allows(user, "person.view"):
            return self
        mine = Q(person=user) if user.is_authenticated and access.token_permits(user, "team.view") else None
        return access.visible(self, user, "member.manage", scope="scope_id", own=mine, everywhere=False)

    def live(self):
        """Return those that give access now."""
        return self.filter(ended_at=None, expires_at__gt=timezone.now())

    def awaiting_review(self):
        """Return those that are over and that nobody has looked at."""
        return self.filter(reviewed_at=None).exclude(ended_at=None, expires_at__gt=timezone.now())

    def overdue(self):
        """Return those that wait for a review longer than they may."""
        since = timezone.now() - timedelta(days=settings.BREAK_GLASS_REVIEW_DAYS)
        return self.awaiting_review().alias(over=Coalesce("ended_at", "expires_at")).filter(over__lt=since)

    def to_review_by(self, user):
        """Return those that `user` should look at: all that wait but their own, none for who does not review."""
        from governance.services import access

        if not access.organisation_allows(user, Permission.BREAK_GLASS_REVIEW):
            return self.none()
        return self.awaiting_review().exclude(person=user)


class BreakGlass(models.Model):
    """`person` gave themselves `level` in the team `scope_id` (or everywhere) until a time, and said why.

    It gives nothing after `expires_at` to the second, whether or not anything has looked at the row since.
    """

    class Verdict(models.TextChoices):
        """What whoever looked at it afterwards said."""

        JUSTIFIED = "justified", "Justified"
        NOT_JUSTIFIED = "not_justified", "Not justified"

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="break_glass")
    level = models.CharField(
        max_length=16, choices=[(GlassLevel.READ.value, "Read"), (GlassLevel.OPERATE.value, "Read and operate")]
    )
    scope_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    reason = models.TextField()
    opened_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    verdict = models.CharField(max_length=16, choices=Verdict.choices, blank=True)
    review_note = models.TextField(blank=True)

    objects = BreakGlassQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-opened_at", "-id"]
        verbose_name_plural = "emergency accesses"
        constraints = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("opened_at")), name="break_glass_ends_after_it_begins"),
            models.CheckConstraint(
                condition=Q(reviewed_by=None) | ~Q(reviewed_by=F("person")), name="break_glass_is_reviewed_by_another"
            ),
            models.CheckConstraint(
                condition=Q(reviewed_at=None, reviewed_by=None, verdict="")
                | Q(reviewed_at__isnull=False, reviewed_by__isnull=False) & ~Q(verdict=""),
                name="break_glass_review_is_whole",
            ),
        ]
        indexes = [models.Index(fields=["person", "ended_at", "expires_at"], name="break_glass_of_person")]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_level_display()} until {self.over_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        """Return its page."""
        return reverse("governance:break_glass", args=[self.pk])

    @property
    def over_at(self) -> datetime:
        """Return when it ended or will end by itself."""
        return self.ended_at or self.expires_at

    @property
    def is_live(self) -> bool:
        """Return whether it gives access now."""
        return self.ended_at is None and self.expires_at > timezone.now()

    @property
    def state(self) -> str:
        """Return "in_force", "to_review", "overdue", or the verdict."""
        if self.verdict:
            return self.verdict
        if self.is_live:
            return "in_force"
        return "overdue" if timezone.now() > self.review_due_at else "to_review"

    @property
    def review_due_at(self) -> datetime:
        """Return by when somebody else has to have looked at it."""
        return self.over_at + timedelta(days=settings.BREAK_GLASS_REVIEW_DAYS)

    @property
    def permissions(self) -> list[str]:
        """Return what it gives, sorted."""
        return sorted(permission.value for permission in BREAK_GLASS[GlassLevel(self.level)])
