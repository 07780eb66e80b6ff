"""The ledger's tables. Rows are written by `ledger.record` and the sequencer alone and are never changed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q


class LedgerEntryQuerySet(models.QuerySet):
    """Selections of ledger entries."""

    def visible_to(self, user):
        """Return what `user` may read: all for who holds ledger.view, else their own acts and their teams'."""
        from governance.services import access

        if access.organisation_allows(user, "ledger.view"):
            return self
        # Who sees a team sees what happened in it; a team-limited token sees that team alone.
        return access.visible(self, user, "team.view", scope="scope_id", own=Q(actor=user), everywhere=False)

    def about(self, subject):
        """Return the entries whose subject is this model instance."""
        return self.filter(subject_type=subject._meta.label_lower, subject_id=str(subject.pk))


class LedgerEntry(models.Model):
    """One thing that happened. `canonical` (RFC 8785 bytes) is the record; every other column is recomputed from it."""

    at = models.DateTimeField()
    action = models.CharField(max_length=60)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    on_behalf_of = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    subject_type = models.CharField(max_length=80, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    subject_digest = models.CharField(max_length=64, blank=True)
    scope_id = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    canonical = models.BinaryField()
    leaf_hash = models.BinaryField(max_length=32)

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["-at", "-id"], name="ledger_time"),
            models.Index(fields=["actor", "-at", "-id"], name="ledger_actor"),
            models.Index(fields=["action", "-at", "-id"], name="ledger_action"),
            models.Index(fields=["subject_type", "subject_id", "-at", "-id"], name="ledger_subject"),
            models.Index(fields=["scope_id", "-at", "-id"], name="ledger_scope"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.action}"


class ErasableText(models.Model):
    """Free text or personal data of an entry. The entry holds only its salted SHA-256, so this row may be erased."""

    entry = models.ForeignKey(LedgerEntry, models.PROTECT, related_name="texts")
    name = models.CharField(max_length=60)
    salt = models.BinaryField(max_length=16)
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entry", "name"], name="one_text_per_entry_and_name")]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.name}"


class PendingEntry(models.Model):
    """An entry that waits for its number; the sequencer removes the row when it seals the entry."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, primary_key=True, related_name="pending")

    def __str__(self) -> str:
        return str(self.entry_id)


class SealedEntry(models.Model):
    """The place of an entry in the tree: leaf `number`, counted from 0 without gaps."""

    number = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, related_name="sealed")

    def __str__(self) -> str:
        return str(self.number)


class Checkpoint(models.Model):
    """A signed statement: the tree of the first `size` entries has this root. `note` is a C2SP signed note."""

    size = models.BigIntegerField(unique=True)
    root = models.BinaryField(max_length=32)
    frontier = models.JSONField()
    note = models.TextField()
    at = models.DateTimeField()

    class Meta:
        ordering = ["-size"]

    def __str__(self) -> str:
        return f"checkpoint at {self.size}"
