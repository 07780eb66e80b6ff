"""The history of one object, read from the ledger: who did what, when, and what it changed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from django.utils.translation import gettext_lazy

from governance.actions import Action
from governance.interfaces import paging
from governance.models import LedgerEntry, User
from governance.policy import Permission
from governance.services import access, ledger

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What stands after the person's name, the icon, and its tone.
WORDS: dict[str, tuple] = {
    Action.TEAM_CREATED: (gettext_lazy("created the team"), "plus", ""),
    Action.TEAM_CHANGED: (gettext_lazy("changed the team"), "edit", ""),
    Action.GOAL_CREATED: (gettext_lazy("named the goal"), "flag", ""),
    Action.GOAL_CHANGED: (gettext_lazy("changed the goal"), "edit", ""),
    Action.USE_CASE_PROPOSED: (gettext_lazy("proposed it"), "plus", "info"),
    Action.USE_CASE_CHANGED: (gettext_lazy("changed it"), "edit", ""),
    Action.USE_CASE_SUBMITTED: (gettext_lazy("submitted it for review"), "review", "info"),
    Action.USE_CASE_MOVED: (gettext_lazy("moved it"), "arrow-right", "info"),
    Action.DATASET_REGISTERED: (gettext_lazy("registered it"), "plus", "info"),
    Action.DATASET_CHANGED: (gettext_lazy("changed it"), "edit", ""),
    Action.DATASET_UPLOADED: (gettext_lazy("uploaded a file"), "upload", ""),
    Action.DATASET_IMPORTED: (gettext_lazy("imported it"), "check-circle", "good"),
    Action.DATASET_IMPORT_REFUSED: (gettext_lazy("had the import refused"), "x-circle", "bad"),
    Action.DATASET_WITHDRAWN: (gettext_lazy("withdrew it"), "minus", "warn"),
    Action.DATASET_DOWNLOADED: (gettext_lazy("downloaded a file"), "download", ""),
    Action.CLEARANCE_REQUESTED: (gettext_lazy("asked for clearance"), "review", "info"),
    Action.OBJECT_SHARED: (gettext_lazy("shared it"), "link", "warn"),
    Action.OBJECT_UNSHARED: (gettext_lazy("ended a share"), "lock", ""),
    Action.QUOTA_SET: (gettext_lazy("set it"), "plus", "info"),
    Action.QUOTA_CHANGED: (gettext_lazy("changed it"), "edit", ""),
    Action.QUOTA_ENDED: (gettext_lazy("ended it"), "stop", "warn"),
    Action.QUOTA_NEARED: (gettext_lazy("used it nearly up"), "warning", "warn"),
    Action.QUOTA_EXCEEDED: (gettext_lazy("was refused by it"), "x-circle", "bad"),
    Action.GUARDRAILS_SET: (gettext_lazy("set the guardrails"), "shield", "info"),
    Action.REFUSED: (gettext_lazy("was refused"), "x-circle", "bad"),
}
NOTES = ("reason", "note", "purpose")


@dataclass
class Line:
    """One entry as a person reads it."""

    what: str
    actor: User
    at: datetime
    icon: str
    tone: str
    note: str = ""
    digest: str = ""
    changes: list[dict] = field(default_factory=list)


def of(request, *subjects, size: int = 25) -> paging.Page:
    """Return a page of Lines about the subjects (of one model), newest first.

    Who may look around in the team sees all of its object's history; who sees the object for another reason (they
    proposed it, it was shared with them) sees their own part of it.
    """
    subject = subjects[0]
    rows = LedgerEntry.objects.filter(
        subject_type=subject._meta.label_lower, subject_id__in=[str(one.pk) for one in subjects]
    )
    if not access.allows(request.user, Permission.TEAM_VIEW, subject):
        rows = rows.visible_to(request.user)
    rows = rows.select_related("actor").prefetch_related("texts")
    page = paging.keyset(rows, request, order=("-at", "-id"), size=size)
    lines = [_line(entry) for entry in page.items]
    _name_people(lines)
    return paging.Page(lines, page.next, page.previous, page.query)


def _line(entry: LedgerEntry) -> Line:
    words, icon, tone = WORDS.get(entry.action, (entry.action.replace(".", " ").replace("_", " "), "ledger", ""))
    held = ledger.body(entry)
    texts = ledger.texts_of(entry, held)
    details = held["details"]
    what = str(words)
    if entry.action == Action.USE_CASE_MOVED:
        what = f"{what}: {_spoken(details.get('from'))} → {_spoken(details.get('to'))}"
    elif details.get("number"):
        what = f"{what} (v{details['number']})"
    return Line(
        what=what,
        actor=entry.actor,
        at=entry.at,
        icon=icon,
        tone=tone,
        note=next((texts[name] for name in NOTES if texts.get(name)), ""),
        digest=entry.subject_digest,
        changes=[
            {"label": _spoken(change.name), "before": change.before, "after": change.after}
            for change in ledger.changes_of(entry)
        ],
    )


def _spoken(name) -> str:
    return str(name or "?").replace("_", " ").capitalize()


def _name_people(lines: list[Line]) -> None:
    """Put names where the ledger's immutable bytes hold a person's id."""
    sides = [(change, side) for line in lines for change in line.changes for side in ("before", "after")]
    ids = {change[side] for change, side in sides if _UUID.fullmatch(change[side])}
    if not ids:
        return
    names = {str(one.ledger_id): str(one) for one in User.objects.filter(ledger_id__in=ids)}
    for change, side in sides:
        change[side] = names.get(change[side], change[side])
