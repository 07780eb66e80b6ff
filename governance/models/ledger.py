"""The ledger's tables. Rows are written by the ledger's services alone.

Append-only, held by triggers: LedgerEntry, SealedEntry, Checkpoint, TreeTile, SigningKey, Anchor. ErasableText may be
erased and never rewritten. PendingEntry, Receipt and Verification are work to be done; they prove nothing.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.models.governed import Exempt, Governed, Rights

_THE_RECORD = Exempt("It is the record itself; its own triggers keep it as it was written.")


class LedgerEntryQuerySet(models.QuerySet):
    """Selections of ledger entries."""

    def visible_to(self, user):
        """Return what `user` may read: all for who holds ledger.view, else their own acts and their teams'."""
        from governance.services import access

        if access.organisation_allows(user, "ledger.view"):
            return self
        # Who sees a team sees what happened in it; a team-limited token sees that team alone.
        return access.visible(self, user, "team.view", scope="scope_id", own=Q(actor=user), everywhere=False)

    def erasable_by(self, user):
        """Return those whose texts `user` may erase: an administrator need not be able to read them."""
        from governance.services import access

        return self if access.organisation_allows(user, "text.erase") else self.visible_to(user)

    def about(self, subject):
        """Return the entries whose subject is this model instance."""
        return self.filter(subject_type=subject._meta.label_lower, subject_id=str(subject.pk))


class LedgerEntry(models.Model):
    """One thing that happened. `canonical` (RFC 8785 bytes) is the record; every other column is recomputed from it.

    A trigger lets each row wait for its number (PendingEntry), whoever inserts it. People are named without a
    constraint of the database: it would lock the row of whoever acts at every act, and they are never deleted.
    """

    at = models.DateTimeField()
    action = models.CharField(max_length=60)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    on_behalf_of = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+", db_constraint=False, db_index=False
    )
    subject_type = models.CharField(max_length=80, blank=True)
    subject_id = models.CharField(max_length=64, blank=True)
    subject_digest = models.CharField(max_length=64, blank=True)
    scope_id = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    canonical = models.BinaryField()
    leaf_hash = models.BinaryField(max_length=32)

    objects = LedgerEntryQuerySet.as_manager()
    governed = _THE_RECORD
    rights = Rights(site="SELECT, INSERT", sequencer="SELECT, INSERT")

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

    governed = _THE_RECORD
    rights = Rights(site="SELECT, INSERT, DELETE", sequencer="SELECT, INSERT")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["entry", "name"], name="one_text_per_entry_and_name")]

    def __str__(self) -> str:
        return f"{self.entry_id}: {self.name}"


class PendingEntry(models.Model):
    """An entry that waits for its number. A trigger adds the row; the sequencer removes it when it seals the entry."""

    entry = models.OneToOneField(
        LedgerEntry, models.PROTECT, primary_key=True, related_name="pending", db_constraint=False
    )

    governed = _THE_RECORD
    rights = Rights(site="SELECT, INSERT", sequencer="SELECT, INSERT, DELETE")

    def __str__(self) -> str:
        return str(self.entry_id)


class SealedEntry(models.Model):
    """The place of an entry in the tree: leaf `number`, counted from 0 without gaps."""

    number = models.BigIntegerField(primary_key=True)
    entry = models.OneToOneField(LedgerEntry, models.PROTECT, related_name="sealed")

    governed = _THE_RECORD
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT")

    def __str__(self) -> str:
        return str(self.number)


class Checkpoint(models.Model):
    """A signed statement: the tree of the first `size` entries has this root. `note` is a C2SP signed note."""

    size = models.BigIntegerField(unique=True)
    root = models.BinaryField(max_length=32)
    frontier = models.JSONField()
    note = models.TextField()
    at = models.DateTimeField()

    governed = _THE_RECORD
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT")

    class Meta:
        ordering = ["-size"]

    def __str__(self) -> str:
        return f"checkpoint at {self.size}"


class TreeTile(models.Model):
    """256 neighbouring nodes of one height (8 * level), so that a proof reads three rows and not a million leaves.

    Written when all 256 are there. Nothing is proved by a tile: what is computed from it is compared with a signature.
    """

    level = models.SmallIntegerField()
    index = models.BigIntegerField()
    hashes = models.BinaryField(max_length=8192)
    root = models.BinaryField(max_length=32)

    governed = _THE_RECORD
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="one_tile_per_place")]

    def __str__(self) -> str:
        return f"{self.level}/{self.index}"


class SigningKey(models.Model):
    """A public key and the size of its first checkpoint; `rotation` is the entry in which it took over."""

    public = models.BinaryField(max_length=32, unique=True)
    first_size = models.BigIntegerField(unique=True)
    rotation = models.OneToOneField(LedgerEntry, models.PROTECT, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    governed = _THE_RECORD
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT")

    class Meta:
        ordering = ["first_size"]

    def __str__(self) -> str:
        return bytes(self.public).hex()


class Anchor(models.Model):
    """One attempt to put a checkpoint out of the operator's reach. `proof` is what came back, such as a time stamp."""

    kind = models.CharField(max_length=40)
    place = models.CharField(max_length=200)
    size = models.BigIntegerField()
    root = models.BinaryField(max_length=32)
    succeeded = models.BooleanField()
    problem = models.CharField(max_length=500, blank=True)
    proof = models.BinaryField(blank=True, default=b"")
    at = models.DateTimeField(default=timezone.now)

    governed = Governed()
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["kind", "-id"], name="anchor_kind")]

    def __str__(self) -> str:
        return f"{self.kind} at {self.size}"


class ReceiptQuerySet(models.QuerySet):
    """Selections of receipts to be sent."""

    def visible_to(self, user):
        """Return the person's own."""
        return self.filter(person=user) if user.is_authenticated and user.is_active else self.none()


class Receipt(models.Model):
    """An approver is owed a receipt for their decision by mail; `problem` says why it has not gone out yet."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, related_name="receipt")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="receipts")
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)

    objects = ReceiptQuerySet.as_manager()
    governed = Exempt("Who is still to be told of their own decision; the decision and the sending are recorded.")
    rights = Rights(site="SELECT", sequencer="SELECT, INSERT, UPDATE, DELETE")

    class Meta:
        ordering = ["-entry_id"]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(sent_at=None), name="receipt_due"),
            models.Index(fields=["person", "-entry_id"], name="receipt_person"),
        ]

    def __str__(self) -> str:
        return f"receipt for entry {self.entry_id}"


class Verification(models.Model):
    """A verification of the whole ledger that a person asked for and a worker does, with how far it has come."""

    class State(models.TextChoices):
        """Where it stands; the last three are final."""

        WAITING = "waiting", "Waiting for a worker"
        RUNNING = "running", "Running"
        SOUND = "sound", "Sound"
        UNSOUND = "unsound", "Not sound"
        FAILED = "failed", "Could not be finished"

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    token = models.PositiveIntegerField(default=0)
    alive_at = models.DateTimeField(null=True, blank=True)
    size = models.BigIntegerField(default=0)
    done = models.BigIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)
    problem = models.TextField(blank=True)

    governed = Exempt("How far a verification has come; what it found is recorded.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                models.Value(1), condition=Q(state__in=["waiting", "running"]), name="one_verification_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"verification {self.pk}: {self.state}"
