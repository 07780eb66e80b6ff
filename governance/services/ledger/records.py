"""Entries: the only writer of them, and how they are read. An entry belongs to the transaction that it records."""

from __future__ import annotations

import contextvars
import hashlib
import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.utils import timezone

from governance.actions import Action
from governance.models import ErasableText, LedgerEntry, User
from governance.proofs import canonical, merkle
from governance.services import access

VERSION = 1

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("ledger_request_id", default="")
"""The id of the HTTP request, or of the job, within which entries are being made."""


class LedgerError(RuntimeError):
    """An entry cannot be made as asked; the message says why. The caller's transaction must not commit."""


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
    entry = LedgerEntry.from_db(
        connection.alias,
        _FIELDS,
        (None, at, action.value, actor.pk, on_behalf_of.pk if on_behalf_of else None, subject_type, subject_id, digest,
         scope_id, request, data, merkle.leaf_hash(data)),
    )  # fmt: skip
    _insert(entry)
    if held:
        ErasableText.objects.bulk_create(
            ErasableText(entry=entry, name=name, salt=salt, text=text) for name, salt, text in held
        )
    return entry


_FIELDS = (
    "id", "at", "action", "actor_id", "on_behalf_of_id", "subject_type", "subject_id", "subject_digest", "scope_id",
    "request_id", "canonical", "leaf_hash",
)  # fmt: skip
_INSERT = (
    f"INSERT INTO {LedgerEntry._meta.db_table} ({', '.join(_FIELDS[1:])}) "  # noqa: S608 - names of ours
    f"VALUES ({', '.join(['%s'] * (len(_FIELDS) - 1))})"
)


def _insert(entry: LedgerEntry) -> None:
    """Write the entry in one statement; a trigger lets it wait for its number.

    Every act of everybody passes here; through the ORM it would cost a writer three times as much.
    """
    values: list[Any] = [getattr(entry, name) for name in _FIELDS[1:]]
    values[0] = connection.ops.adapt_datetimefield_value(entry.at)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(f"{_INSERT} RETURNING id", values)
            entry.pk = cursor.fetchone()[0]
        else:
            cursor.execute(_INSERT, values)
            entry.pk = cursor.lastrowid


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


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in hex, for details that must not hold the text itself."""
    return hashlib.sha256(text.encode()).hexdigest()
