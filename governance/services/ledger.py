"""The ledger: the only writer of entries, the sequencer that seals them, and the check that everything is sound.

`record` runs inside the business transaction and fails closed: no entry, no commit. It does not serialise writers: an
entry gets its number later, when the one sequencer seals what has been committed.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import json
import os
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import Checkpoint, ErasableText, LedgerEntry, PendingEntry, SealedEntry, User
from governance.policy import Permission
from governance.proofs import canonical, merkle, notes

VERSION = 1
SEALING_LOCK = 0x6761_7465
"""The PostgreSQL advisory lock that makes the sequencer the only one ("gate")."""

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("ledger_request_id", default="")
"""The id of the HTTP request, or of the job, within which entries are being made."""


class LedgerError(RuntimeError):
    """An entry cannot be made as asked; the message says why. The caller's transaction must not commit."""


class NoKey(LedgerError):
    """The signing key is missing or unreadable."""


def record(
    action: Action,
    *,
    actor: User,
    subject: models.Model | None = None,
    details: dict | None = None,
    texts: dict[str, str] | None = None,
    digest: str = "",
    on_behalf_of: User | None = None,
    scope_id: int | None = None,
) -> LedgerEntry:
    """Add one entry to the transaction that is open and return it.

    `details` must be canonical (no floats, no free text about people); free text and personal data go into `texts`,
    of which the entry holds only salted commitments. Raises LedgerError for an unknown action, a missing actor, or
    outside a transaction; NotCanonical for details that have no canonical form.
    """
    if not isinstance(action, Action):
        raise LedgerError(f"{action!r} is not in governance.actions.Action; add it there first")
    if actor is None or actor.pk is None:
        raise LedgerError(f"{action.value}: an entry without an actor proves nothing")
    if not connection.in_atomic_block:
        raise LedgerError(f"{action.value}: record() belongs inside the transaction of the change that it records")
    if scope_id is None and subject is not None:
        from governance.services import access

        scope_id = access.scope_id_of(subject)
    at = timezone.now()
    subject_type = subject._meta.label_lower if subject is not None else ""
    subject_id = str(subject.pk) if subject is not None else ""
    request = request_id.get()[:64]
    held = [(name, secrets.token_bytes(16), text) for name, text in sorted((texts or {}).items()) if text]
    data = canonical.encode(
        {
            "v": VERSION,
            "at": at,
            "action": action.value,
            "actor": str(actor.ledger_id),
            "on_behalf_of": str(on_behalf_of.ledger_id) if on_behalf_of else None,
            "subject": {"type": subject_type, "id": subject_id, "digest": digest},
            "scope": scope_id,
            "request": request,
            "details": details or {},
            "texts": {name: canonical.commitment(salt, text) for name, salt, text in held},
            "nonce": secrets.token_hex(8),
        }
    )
    entry = LedgerEntry.objects.create(
        at=at,
        action=action.value,
        actor=actor,
        on_behalf_of=on_behalf_of,
        subject_type=subject_type,
        subject_id=subject_id,
        subject_digest=digest,
        scope_id=scope_id,
        request_id=request,
        canonical=data,
        leaf_hash=merkle.leaf_hash(data),
    )
    if held:
        ErasableText.objects.bulk_create(
            ErasableText(entry=entry, name=name, salt=salt, text=text) for name, salt, text in held
        )
    PendingEntry.objects.create(entry=entry)
    return entry


def changes(before: dict, after: dict, *, free_text: Collection[str] = frozenset()) -> tuple[dict, dict[str, str]]:
    """Return (details, texts) for `record`: what differs, with free text kept behind commitments.

    Keys are field names; values must be canonical. A free-text field appears in details by name alone.
    """
    changed: dict[str, object] = {}
    texts: dict[str, str] = {}
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name in free_text:
            changed[name] = "text"
            texts[f"{name}:before"], texts[f"{name}:after"] = str(old or ""), str(new or "")
        else:
            changed[name] = {"before": canonical.plain(old), "after": canonical.plain(new)}
    return {"changed": changed}, texts


def body(entry: LedgerEntry) -> dict:
    """Return the entry's canonical object as Python values."""
    return json.loads(bytes(entry.canonical))


@dataclass
class Change:
    """One field of an entry, before and after, for a person to read."""

    name: str
    before: str
    after: str


def changes_of(entry: LedgerEntry) -> list[Change]:
    """Return the before-and-after of an entry made with `changes`; erased texts read "(erased)"."""
    found: list[Change] = []
    held = body(entry)
    kept = texts_of(entry, held)
    for name, value in (held["details"].get("changed") or {}).items():
        if value == "text":
            found.append(Change(name, kept.get(f"{name}:before", ""), kept.get(f"{name}:after", "")))
        else:
            found.append(Change(name, _readable(value["before"]), _readable(value["after"])))
    return found


def texts_of(entry: LedgerEntry, held: dict | None = None) -> dict[str, str]:
    """Return the entry's free texts by name; one that the entry commits to and that was erased reads "(erased)"."""
    committed = (held or body(entry))["texts"]
    kept = {text.name: text.text for text in entry.texts.all()}
    return {name: kept.get(name, "(erased)") for name in committed}


def _readable(value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


# The signing key


def ensure_key() -> Path:
    """Create the Ed25519 key of the sequencer where there is none (mode 0600) and return its path."""
    path = Path(settings.LEDGER_KEY_FILE)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        # Written aside and linked into place: two starts at once end with one whole key, never half of one.
        aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(key.private_bytes_raw().hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink()
        path.with_suffix(".pub").write_text(_key().public_key().public_bytes_raw().hex() + "\n")
    return path


def _key() -> Ed25519PrivateKey:
    path = Path(settings.LEDGER_KEY_FILE)
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except (OSError, ValueError) as error:
        raise NoKey(
            f"The ledger's signing key {path} cannot be read ({error}). "
            "Create one with `python manage.py seal_ledger --ensure-key`, or restore it from your backup."
        ) from error


def public_key() -> bytes:
    """Return the 32 bytes of the public key; raises NoKey."""
    path = Path(settings.LEDGER_KEY_FILE).with_suffix(".pub")
    try:
        return bytes.fromhex(path.read_text().strip())
    except (OSError, ValueError):
        return _key().public_key().public_bytes_raw()


# Sealing


def seal(*, batch: int = 10_000) -> int:
    """Number what has been committed since, sign a checkpoint over it, and return how many entries were sealed.

    Only one sequencer works at a time: an advisory lock on PostgreSQL, the writer's lock on SQLite. Raises NoKey, and
    LedgerError where the last checkpoint does not verify: nothing is signed on top of something forged.
    """
    key = _key()
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
        frontier = _frontier(last) if last else []
        problem = _checkpoint_problem(last, frontier, key.public_key().public_bytes_raw()) if last else ""
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


# Verification


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
    key = public_key()
    upto = Checkpoint.objects.order_by("-size").values_list("size", flat=True).first() or 0
    report = Report(unsealed=PendingEntry.objects.count())
    problem = _walk(report, upto, key, chunk)
    report.problems.extend([problem] if problem else _strays())
    return report


def check(*, actor: User) -> Report:
    """Verify on a person's behalf and record that they did, and what came out. Raises Denied, NoKey."""
    from governance.services import access

    access.require(actor, Permission.LEDGER_VIEW)
    report = verify()
    with transaction.atomic():
        record(
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
            problem = _checkpoint_problem(mark, frontier, key)
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


def _frontier(mark: Checkpoint) -> list[bytes]:
    try:
        return [bytes.fromhex(peak) for peak in mark.frontier]
    except (TypeError, ValueError):
        return []


def _checkpoint_problem(mark: Checkpoint, frontier: list[bytes], key: bytes) -> str:
    root = merkle.root(frontier)
    if bytes(mark.root) != root or _frontier(mark) != frontier:
        return f"The checkpoint at {mark.size} has another root than its entries."
    try:
        origin, size, signed = notes.verify(mark.note, settings.LEDGER_ORIGIN, key)
    except notes.BadNote as error:
        return f"The checkpoint at {mark.size}: {error}."
    if (origin, size, signed) != (settings.LEDGER_ORIGIN, mark.size, root):
        return f"The signed note of the checkpoint at {mark.size} speaks of another tree."
    return ""


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in hex, for details that must not hold the text itself."""
    return hashlib.sha256(text.encode()).hexdigest()
