"""What is to be erased from behind the ledger's commitments, who asked for it, and who agreed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed, Rights


class ErasureQuerySet(models.QuerySet):
    """Selections of erasures."""

    def visible_to(self, user):
        """Return all for who may erase or reads the whole ledger, else those that the person asked for."""
        from governance.services import access

        if access.organisation_allows(user, "text.erase") or access.organisation_allows(user, "ledger.view"):
            return self
        own = user.is_authenticated and user.is_active and access.token_permits(user, "text.erase")
        return self.filter(asked_by=user) if own else self.none()

    def waiting(self):
        """Return those that nobody has decided."""
        return self.filter(state=Erasure.State.WAITING)

    def to_decide_by(self, user):
        """Return those that wait for this person: none of their own, none for who may not erase."""
        from governance.services import access

        if not access.organisation_allows(user, "text.erase"):
            return self.none()
        return self.waiting().exclude(asked_by=user)


class Erasure(models.Model):
    """`asked_by` wants the texts of an entry erased, or who a person is, and says why.

    Neither who asks nor who agrees need be able to read what is erased. Where the operator asks for two people
    (ERASURE_BY_TWO) it waits until somebody else decides; else it is erased at once and `decided_by` stays empty.
    """

    class State(models.TextChoices):
        """Where it stands; the last two are final."""

        WAITING = "waiting", "Waiting for a second person"
        ERASED = "erased", "Erased"
        DECLINED = "declined", "Declined"

    entry = models.ForeignKey("governance.LedgerEntry", models.PROTECT, null=True, blank=True, related_name="erasures")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="erasures")
    written = models.BooleanField(default=False)
    reason = models.TextField()
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    texts = models.PositiveIntegerField(null=True, blank=True)

    objects = ErasureQuerySet.as_manager()
    governed = Governed()
    rights = Rights(site="SELECT, INSERT, UPDATE")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(entry__isnull=False, person__isnull=True) | Q(entry__isnull=True, person__isnull=False),
                name="erasure_of_an_entry_or_a_person",
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=F("asked_by")), name="erasure_is_agreed_to_by_another"
            ),
            models.UniqueConstraint(fields=["entry"], condition=Q(state="waiting"), name="one_erasure_waits_per_entry"),
            models.UniqueConstraint(
                fields=["person"], condition=Q(state="waiting"), name="one_erasure_waits_per_person"
            ),
        ]
        indexes = [models.Index(fields=["-id"], condition=Q(state="waiting"), name="erasure_waiting")]

    def __str__(self) -> str:
        return f"texts of entry {self.entry_id}" if self.entry_id else f"who {self.person} is"

    def get_absolute_url(self) -> str:
        """Return the page that lists it."""
        return reverse("governance:erasures")
