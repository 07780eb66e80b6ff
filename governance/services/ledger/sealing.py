"""The sequencer: numbers what has been committed, grows the tree and signs checkpoints over it."""

from __future__ import annotations

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from governance.models import Checkpoint, PendingEntry, SealedEntry
from governance.proofs import merkle, notes
from governance.services.ledger import keys
from governance.services.ledger.records import LedgerError

SEALING_LOCK = 0x6761_7465
"""The PostgreSQL advisory lock that makes the sequencer the only one ("gate")."""


def seal(*, batch: int = 10_000) -> int:
    """Number what has been committed since, sign a checkpoint over it, and return how many entries were sealed.

    Only one sequencer works at a time: an advisory lock on PostgreSQL, the writer's lock on SQLite. Raises NoKey, and
    LedgerError where the last checkpoint does not verify: nothing is signed on top of something forged.
    """
    key = keys.signing_key()
    if not PendingEntry.objects.exists():
        # Looking costs nothing; the transaction below would take SQLite's one writer lock at every turn.
        return 0
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEALING_LOCK])
                if not cursor.fetchone()[0]:
                    return 0
        waiting = list(PendingEntry.objects.order_by("entry_id").values_list("entry_id", "entry__leaf_hash")[:batch])
        if not waiting:
            return 0
        last = Checkpoint.objects.order_by("-size").first()
        size = last.size if last else 0
        frontier = frontier_of(last) if last else []
        problem = checkpoint_problem(last, frontier, key.public_key().public_bytes_raw()) if last else ""
        if problem:
            raise LedgerError(f"Nothing is sealed: {problem} Run `python manage.py verify_ledger`.")
        sealed = []
        for entry_id, leaf in waiting:
            sealed.append(SealedEntry(number=size, entry_id=entry_id))
            frontier = merkle.append(frontier, size, bytes(leaf))
            size += 1
        SealedEntry.objects.bulk_create(sealed, batch_size=1000)
        for start in range(0, len(waiting), 500):
            PendingEntry.objects.filter(entry_id__in=[e for e, _ in waiting[start : start + 500]]).delete()
        root = merkle.root(frontier)
        Checkpoint.objects.create(
            size=size,
            root=root,
            frontier=[peak.hex() for peak in frontier],
            note=notes.sign(notes.text(settings.LEDGER_ORIGIN, size, root), settings.LEDGER_ORIGIN, key),
            at=timezone.now(),
        )
    return len(waiting)


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
