"""Verification: every leaf, column, text, root and signature recomputed from the beginning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction

from governance.actions import Action
from governance.models import Checkpoint, ErasableText, LedgerEntry, PendingEntry, SealedEntry, User
from governance.policy import Permission
from governance.proofs import canonical, merkle
from governance.services import access
from governance.services.ledger import keys, records, sealing


@dataclass
class Report:
    """What `verify` found: sound up to `size` entries, or the first entry or checkpoint that is not."""

    size: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Return whether nothing was found wrong."""
        return not self.problems


_COLUMNS = (
    "pk",
    "at",
    "action",
    "actor_id",
    "on_behalf_of_id",
    "subject_type",
    "subject_id",
    "subject_digest",
    "scope_id",
    "request_id",
    "canonical",
    "leaf_hash",
    "sealed__number",
)


def _columns_differ(row: Any, held: dict, ids: dict[int, str]) -> str:
    """Return the name of the first indexed column that the canonical bytes contradict, or an empty string."""
    expected = {
        "at": canonical.instant(row.at),
        "action": row.action,
        "actor": ids.get(row.actor_id),
        "on_behalf_of": ids.get(row.on_behalf_of_id) if row.on_behalf_of_id else None,
        "scope": row.scope_id,
        "request": row.request_id,
    }
    for name, value in expected.items():
        if held.get(name) != value:
            return name
    subject = {"type": row.subject_type, "id": row.subject_id, "digest": row.subject_digest}
    return "subject" if held.get("subject") != subject else ""


def _entry_problem(row: Any, texts: list[tuple[str, bytes, str]], ids: dict[int, str]) -> str:
    """Return what is wrong with one entry by itself, or an empty string; `texts` are (name, salt, text)."""
    place = f"Entry {row.sealed__number} (row {row.pk})"
    data = bytes(row.canonical)
    if merkle.leaf_hash(data) != bytes(row.leaf_hash):
        return f"{place}: its bytes do not have the leaf hash stored."
    try:
        held = json.loads(data)
        wrong = _columns_differ(row, held, ids)
        commitments = held["texts"]
        changed = [
            name for name, salt, text in texts if commitments.get(name) != canonical.commitment(bytes(salt), text)
        ]
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"{place}: its bytes are not an entry."
    if wrong:
        return f"{place}: the column “{wrong}” differs from its bytes."
    return f"{place}: the text “{changed[0]}” was changed." if changed else ""


def _in_order(upto: int, chunk: int) -> Iterator[tuple[Any, list[tuple[str, bytes, str]]]]:
    """Yield the numbered entries below `upto` as plain rows, each with its texts; two queries for a chunk."""
    start = -1
    while True:
        place = {"sealed__number__gt": start, "sealed__number__lt": upto}
        rows = list(
            LedgerEntry.objects.filter(**place).order_by("sealed__number").values_list(*_COLUMNS, named=True)[:chunk]
        )
        if not rows:
            return
        last = rows[-1].sealed__number
        texts: dict[int, list[Any]] = {}
        found = ErasableText.objects.filter(entry__sealed__number__gt=start, entry__sealed__number__lte=last)
        for entry_id, name, salt, text in found.values_list("entry_id", "name", "salt", "text"):
            texts.setdefault(entry_id, []).append((name, salt, text))
        for row in rows:
            yield row, texts.get(row.pk, [])
        start = last


def _marks(upto: int, chunk: int) -> Iterator[Checkpoint]:
    start = -1
    while rows := list(Checkpoint.objects.filter(size__gt=start, size__lte=upto).order_by("size")[:chunk]):
        yield from rows
        start = rows[-1].size


def verify(*, chunk: int = 2000) -> Report:
    """Recompute every leaf, every column, every text's commitment, every root and every signature; return a Report.

    It covers what the newest checkpoint covered at the start, so that it can run while entries are written and sealed,
    and stops at the first entry that is wrong, since nothing after it can be believed. Raises NoKey.
    """
    key = keys.public_key()
    upto = Checkpoint.objects.order_by("-size").values_list("size", flat=True).first() or 0
    report = Report(unsealed=PendingEntry.objects.count())
    problem = _walk(report, upto, key, chunk)
    report.problems.extend([problem] if problem else _strays())
    return report


def check(*, actor: User) -> Report:
    """Verify on a person's behalf and record that they did, and what came out. Raises Denied, NoKey."""
    access.require(actor, Permission.LEDGER_VIEW)
    report = verify()
    with transaction.atomic():
        records.record(
            Action.LEDGER_VERIFIED,
            actor=actor,
            details={
                "sound": report.sound,
                "size": report.size,
                "checkpoints": report.checkpoints,
                "unsealed": report.unsealed,
                "problems": report.problems[:5],
            },
        )
    return report


def _walk(report: Report, upto: int, key: bytes, chunk: int) -> str:
    """Follow entries and checkpoints in order, counting in `report`; return the first problem, or an empty string."""
    # Read after `upto`: whoever acted in an entry below it is there by now.
    ids = {pk: str(ledger_id) for pk, ledger_id in User.objects.values_list("pk", "ledger_id")}
    marks = _marks(upto, chunk)
    mark = next(marks, None)
    frontier: list[bytes] = []
    expected = 0
    for row, texts in _in_order(upto, chunk):
        if row.sealed__number != expected:
            return f"Entry {expected} is missing: the next one present has number {row.sealed__number}."
        problem = _entry_problem(row, texts, ids)
        if problem:
            return problem
        frontier = merkle.append(frontier, expected, bytes(row.leaf_hash))
        expected += 1
        if mark is not None and mark.size < expected:
            return f"The checkpoint at {mark.size} is out of order."
        if mark is not None and mark.size == expected:
            problem = sealing.checkpoint_problem(mark, frontier, key)
            if problem:
                return problem
            report.checkpoints += 1
            report.size = expected
            mark = next(marks, None)
    return f"A checkpoint speaks of {mark.size} entries; only {expected} are left." if mark is not None else ""


def _strays() -> Iterator[str]:
    """Yield what stands outside of the tree and should not: each query is one statement, so it sees one moment."""
    newest = Checkpoint.objects.order_by("-size").values("size")[:1]
    last = SealedEntry.objects.order_by("-number").annotate(covered=models.Subquery(newest)).first()
    if last is not None and last.number >= (last.covered or 0):
        yield f"Entries from {last.covered or 0} on are numbered but no checkpoint covers them."
    lost = LedgerEntry.objects.filter(pending=None, sealed=None).order_by("pk").values_list("pk", flat=True).first()
    if lost is not None:
        yield f"The entry in row {lost} is neither numbered nor waiting for its number."
    twice = PendingEntry.objects.exclude(entry__sealed=None).order_by("pk").values_list("pk", flat=True).first()
    if twice is not None:
        yield f"The entry in row {twice} is numbered and waits for a number at the same time."
