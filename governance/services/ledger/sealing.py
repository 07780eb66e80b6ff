"""The sequencer: numbers what has been committed, grows the tree and signs checkpoints over it; hands on the key."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import Checkpoint, PendingEntry, Receipt, SealedEntry, SigningKey, User
from governance.proofs import merkle, notes
from governance.services.ledger import keys, records, tiles
from governance.services.ledger.records import LedgerError

SEALING_LOCK = 0x6761_7465
"""The PostgreSQL advisory lock that makes the sequencer the only one ("gate")."""

DECISIONS = frozenset(
    {Action.APPROVAL_APPROVED.value, Action.APPROVAL_CHANGES_REQUESTED.value, Action.APPROVAL_REJECTED.value}
)
"""Acts whose actor is owed a receipt by mail."""


def seal(*, batch: int = 10_000) -> int:
    """Number what has been committed since, sign a checkpoint over it, and return how many entries were sealed.

    Only one sequencer works at a time: an advisory lock on PostgreSQL, the writer's lock on SQLite. Raises NoKey, and
    LedgerError where the last checkpoint does not verify: nothing is signed on top of something forged.
    """
    if not PendingEntry.objects.exists():
        # Looking costs nothing; the transaction below would take SQLite's one writer lock at every turn.
        return 0
    with transaction.atomic():
        if not _locked(wait=False):
            return 0
        return len(_seal(keys.current(), batch))


def rotate_key(*, actor: User) -> bytes:
    """Hand the ledger on to a new key and return its public half; the entry that says so is signed by both keys.

    The checkpoint that covers the entry, and all after it, are signed by the new key. Raises NoKey, LedgerError.
    """
    with transaction.atomic():
        _locked(wait=True)
        old = keys.current()
        new = keys.prepare()
        old_public, new_public = (key.public_key().public_bytes_raw() for key in (old, new))
        statement = notes.rotation(settings.LEDGER_ORIGIN, old_public, new_public)
        entry = records.record(
            Action.LEDGER_KEY_ROTATED,
            actor=actor,
            details={
                "old": old_public.hex(),
                "new": new_public.hex(),
                "signed_by_old": old.sign(statement).hex(),
                "signed_by_new": new.sign(statement).hex(),
            },
        )
        # What waits and is older is covered by the old key's checkpoint, so that the new one begins with the entry.
        _seal(old, None, below=entry.pk)
        number = _seal(new, None, upto=entry.pk)[0]
        SigningKey.objects.create(public=new_public, first_size=number + 1, rotation=entry)
    keys.promote()
    return new_public


def _locked(*, wait: bool) -> bool:
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        if wait:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEALING_LOCK])
            return True
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEALING_LOCK])
        return cursor.fetchone()[0]


def _seal(key: Ed25519PrivateKey, batch: int | None, *, below: int | None = None, upto: int | None = None) -> list[int]:
    """Number what waits and sign; return the numbers given."""
    pending = PendingEntry.objects.order_by("entry_id")
    if below is not None:
        pending = pending.filter(entry_id__lt=below)
    if upto is not None:
        pending = pending.filter(entry_id=upto)
    waiting = list(pending.values_list("entry_id", "entry__leaf_hash", "entry__action", "entry__actor_id")[:batch])
    if not waiting:
        return []
    last = Checkpoint.objects.order_by("-size").first()
    start = size = last.size if last else 0
    frontier = frontier_of(last) if last else []
    if last is not None:
        signer = SigningKey.objects.filter(first_size__lte=last.size).order_by("-first_size").first()
        problem = checkpoint_problem(last, frontier, bytes(signer.public)) if signer else "its key is not known."
        if problem:
            raise LedgerError(f"Nothing is sealed: {problem} Run `python manage.py verify_ledger`.")
    for _entry_id, leaf, _action, _actor_id in waiting:
        frontier = merkle.append(frontier, size, bytes(leaf))
        size += 1
    SealedEntry.objects.bulk_create(
        (SealedEntry(number=number, entry_id=row[0]) for number, row in enumerate(waiting, start)), batch_size=1000
    )
    for at in range(0, len(waiting), 500):
        PendingEntry.objects.filter(entry_id__in=[row[0] for row in waiting[at : at + 500]]).delete()
    if size // tiles.WIDTH > start // tiles.WIDTH:
        tiles.grow(size)
    Receipt.objects.bulk_create(Receipt(entry_id=row[0], person_id=row[3]) for row in waiting if row[2] in DECISIONS)
    root = merkle.root(frontier)
    Checkpoint.objects.create(
        size=size,
        root=root,
        frontier=[peak.hex() for peak in frontier],
        note=notes.sign(notes.text(settings.LEDGER_ORIGIN, size, root), settings.LEDGER_ORIGIN, key),
        at=timezone.now(),
    )
    return list(range(start, size))


def frontier_of(mark: Checkpoint) -> list[bytes]:
    """Return the peaks of the tree that the checkpoint covers; none where they are malformed."""
    try:
        return [bytes.fromhex(peak) for peak in mark.frontier]
    except (TypeError, ValueError):
        return []


def checkpoint_problem(mark: Checkpoint, frontier: list[bytes], key: bytes) -> str:
    """Return what is wrong with a checkpoint over the tree with this frontier, or an empty string."""
    root = merkle.root(frontier)
    if bytes(mark.root) != root or frontier_of(mark) != frontier:
        return f"The checkpoint at {mark.size} has another root than its entries."
    try:
        origin, size, signed = notes.verify(mark.note, settings.LEDGER_ORIGIN, key)
    except notes.BadNote as error:
        return f"The checkpoint at {mark.size}: {error}."
    if (origin, size, signed) != (settings.LEDGER_ORIGIN, mark.size, root):
        return f"The signed note of the checkpoint at {mark.size} speaks of another tree."
    return ""
