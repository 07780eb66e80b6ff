"""Verification: every leaf, column, text, root, signature, tile and change of key recomputed from the beginning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import models, transaction

from governance.actions import Action
from governance.models import (
    Checkpoint,
    ErasableText,
    LedgerEntry,
    PendingEntry,
    SealedEntry,
    SigningKey,
    TreeTile,
    User,
)
from governance.policy import Permission
from governance.proofs import canonical, merkle, notes
from governance.services import access
from governance.services.ledger import keys, records, sealing, tiles


@dataclass
class Report:
    """What `verify` found: sound up to `size` entries, or the first entry or checkpoint that is not.

    `forked` says that a checkpoint which somebody kept speaks of another ledger than this one.
    """

    size: int = 0
    checkpoints: int = 0
    unsealed: int = 0
    problems: list[str] = field(default_factory=list)
    forked: bool = False

    @property
    def sound(self) -> bool:
        """Return whether nothing was found wrong."""
        return not self.problems


class BadPin(ValueError):
    """What was given to compare with is no signed checkpoint of this ledger; the message says why."""


@dataclass(frozen=True)
class Pin:
    """A checkpoint that somebody kept: the tree of `size` entries had this root."""

    size: int
    root: bytes
    note: str


def pins_of(text: str) -> list[Pin]:
    """Return the checkpoints in a file that holds signed notes one after the other; raises BadPin.

    Their signatures are checked by `verify`, which knows who signed when.
    """
    found = []
    for note in notes.split(text):
        try:
            origin, size, root = notes.read(note)
        except notes.BadNote as error:
            raise BadPin(f"This is not a signed checkpoint: {error}.") from error
        if origin != settings.LEDGER_ORIGIN:
            raise BadPin(f"This is a checkpoint of another ledger, {origin}; this one is {settings.LEDGER_ORIGIN}.")
        found.append(Pin(size, root, note))
    if not found:
        raise BadPin("There is no signed checkpoint in it.")
    return sorted(found, key=lambda pin: pin.size)


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


def verify(
    *,
    chunk: int = 2000,
    pins: Sequence[Pin] = (),
    first_key: bytes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Recompute every leaf, column, commitment, root, signature and tile; return a Report.

    It covers what the newest checkpoint covered at the start, so that it can run while entries are written and sealed,
    and stops at the first entry that is wrong, since nothing after it can be believed. `pins` are compared with the
    tree as it was at their sizes. Keys are followed from `first_key` (by default the first in the table) through the
    rotations in the entries; the one published beside the private key must be among them. `progress` is told (entries
    done, of how many) after each chunk. Raises NoKey.
    """
    published = keys.published_key()
    upto = Checkpoint.objects.order_by("-size").values_list("size", flat=True).first() or 0
    report = Report(unsealed=PendingEntry.objects.count())
    walk = _Walk(report, upto, published, first_key, pins, chunk, progress or (lambda done, of: None))
    problem = walk.follow()
    report.problems.extend([problem] if problem else _strays())
    return report


def check(*, actor: User, pins: Sequence[Pin] = ()) -> Report:
    """Verify on a person's behalf and record that they did, and what came out. Raises Denied, NoKey."""
    access.require(actor, Permission.LEDGER_VIEW)
    report = verify(pins=pins)
    with transaction.atomic():
        record_result(actor=actor, report=report)
    return report


def record_result(*, actor: User, report: Report) -> LedgerEntry:
    """Record what a verification found, inside the caller's transaction."""
    return records.record(
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


class _Walk:
    """Follows entries, checkpoints, keys and tiles in order, counting in the report."""

    def __init__(self, report, upto, published, first_key, pins, chunk, progress):
        self.report, self.upto, self.published = report, upto, published
        self.chunk, self.progress = chunk, progress
        self.pins = list(pins)
        self.rows = [(bytes(key.public), key.first_size) for key in SigningKey.objects.all()]
        # A ledger that an older release sealed has no row yet; its one key is the published one.
        self.key = first_key or (self.rows[0][0] if self.rows else keys.public_key())
        self.chain = [(self.key, 0)]
        self.frontier: list[bytes] = []
        self.levels: list[list[bytes]] = [[]]
        # A ledger that an older release sealed has no tiles before it is sealed again.
        self.tiled = TreeTile.objects.exists()

    def follow(self) -> str:
        """Return the first problem, or an empty string."""
        # Read after `upto`: whoever acted in an entry below it is there by now.
        ids = {pk: str(ledger_id) for pk, ledger_id in User.objects.values_list("pk", "ledger_id")}
        marks = _marks(self.upto, self.chunk)
        mark = next(marks, None)
        expected = 0
        for row, texts in _in_order(self.upto, self.chunk):
            if row.sealed__number != expected:
                return f"Entry {expected} is missing: the next one present has number {row.sealed__number}."
            leaf = bytes(row.leaf_hash)
            problem = _entry_problem(row, texts, ids) or self._rotated(row, expected)
            if problem:
                return problem
            self.frontier = merkle.append(self.frontier, expected, leaf)
            expected += 1
            problem = self._grew(leaf, expected) or self._pinned(expected)
            if problem:
                return problem
            if mark is not None and mark.size < expected:
                return f"The checkpoint at {mark.size} is out of order."
            if mark is not None and mark.size == expected:
                problem = sealing.checkpoint_problem(mark, self.frontier, self.key)
                if problem:
                    return problem
                self.report.checkpoints += 1
                self.report.size = expected
                mark = next(marks, None)
            if expected % self.chunk == 0:
                self.progress(expected, self.upto)
        if mark is not None:
            return f"A checkpoint speaks of {mark.size} entries; only {expected} are left."
        if self.pins:
            self.report.forked = True
            return f"A checkpoint that was kept speaks of {self.pins[0].size} entries; only {expected} are sealed here."
        return self._ended()

    def _rotated(self, row, number: int) -> str:
        if row.action != Action.LEDGER_KEY_ROTATED:
            return ""
        try:
            rotation = keys.Rotation.of(json.loads(bytes(row.canonical))["details"])
        except (KeyError, TypeError, ValueError):
            return f"Entry {number}: it hands on the key and does not say to which."
        problem = rotation.problem(settings.LEDGER_ORIGIN, self.key)
        if problem:
            return f"Entry {number}: it hands on the key, and {problem}."
        self.key = rotation.new
        self.chain.append((self.key, number + 1))
        return ""

    def _pinned(self, size: int) -> str:
        while self.pins and self.pins[0].size <= size:
            pin = self.pins.pop(0)
            if pin.size < size or pin.root != merkle.root(self.frontier):
                self.report.forked = True
                return f"The checkpoint of {pin.size} entries that was kept has another root: this is another ledger."
            try:
                notes.verify(pin.note, settings.LEDGER_ORIGIN, self.key)
            except notes.BadNote as error:
                self.report.forked = True
                return f"The checkpoint of {pin.size} entries that was kept: {error}."
        return ""

    def _grew(self, leaf: bytes, size: int) -> str:
        """Compare the tiles that this leaf completes with those stored."""
        self.levels[0].append(leaf)
        level = 0
        while self.tiled and size % (1 << (tiles.HEIGHT * (level + 1))) == 0:
            index = (size >> (tiles.HEIGHT * (level + 1))) - 1
            hashes = self.levels[level]
            root = merkle.fold(hashes)
            stored = TreeTile.objects.filter(level=level, index=index).values_list("hashes", "root").first()
            if stored is None or (bytes(stored[0]), bytes(stored[1])) != (b"".join(hashes), root):
                what = "missing" if stored is None else "not what the entries give"
                return f"Tile {level}/{index}, from which proofs are made, is {what}."
            self.levels[level] = []
            level += 1
            if len(self.levels) == level:
                self.levels.append([])
            self.levels[level].append(root)
        return ""

    def _ended(self) -> str:
        known = [(public, first) for public, first in self.rows if first <= self.upto]
        if known and known != self.chain:
            return "The table of keys is not what the entries say about who signed when."
        # Whoever holds the published key holds the ledger: later keys were signed by it, and it signed all before.
        if self.published is not None and self.published not in [public for public, _first in self.chain]:
            return "The ledger was signed by other keys than the one published beside the private key."
        return ""


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
