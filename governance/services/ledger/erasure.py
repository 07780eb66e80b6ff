"""Erasure: texts are removed from behind their commitments; every hash, proof and signature stays valid.

Who may ask for it, and whether a second person has to agree, is the service `erasures` above, which calls this.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

from governance.actions import Action
from governance.models import ErasableText, LedgerEntry, User
from governance.policy import Permission
from governance.services import access
from governance.services.ledger import records

REASON_AT_LEAST = 10


class Invalid(ValueError):
    """What was given does not fit; `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


def reason_of(text: str) -> str:
    """Return the reason that was given, without space around it; raises Invalid for one that says nothing."""
    reason = text.strip()
    if len(reason) < REASON_AT_LEAST:
        raise Invalid(
            f"Say in at least {REASON_AT_LEAST} characters why, without naming the person; the auditor will read it.",
            field="reason",
        )
    return reason


@transaction.atomic
def erase_entry(*, actor: User, entry: LedgerEntry, reason: str) -> int:
    """Erase the texts of one entry; return how many there were. Raises Denied, Invalid."""
    access.require(actor, Permission.TEXT_ERASE)
    found = ErasableText.objects.filter(entry=entry)
    if not found.exists():
        raise Invalid("This entry holds no text that could be erased.")
    return _erase(actor, found, entry, reason, {"entry": entry.pk})


@transaction.atomic
def erase_person(*, actor: User, person: User, reason: str, written: bool = False) -> int:
    """Erase the texts of all entries about a person, and where `written` also what they wrote in entries of their own.

    Texts that hold their e-mail address and nothing else, such as a failed sign-in's, go too. Returns how many were
    erased, which may be none. Raises Denied, Invalid.
    """
    access.require(actor, Permission.TEXT_ERASE)
    about = Q(entry__subject_type=User._meta.label_lower, entry__subject_id=str(person.pk)) | Q(text=person.email)
    if written:
        about |= Q(entry__actor=person)
    return _erase(actor, ErasableText.objects.filter(about), person, reason, {"written": written})


def _erase(actor: User, found, subject, reason: str, details: dict) -> int:
    reason = reason_of(reason)
    rows = list(found.order_by("pk").values_list("pk", "entry_id"))
    for start in range(0, len(rows), 500):
        ErasableText.objects.filter(pk__in=[pk for pk, _entry_id in rows[start : start + 500]]).delete()
    records.record(
        Action.TEXT_ERASED,
        actor=actor,
        subject=subject,
        details={**details, "texts": len(rows), "entries": len({entry_id for _pk, entry_id in rows})},
        texts={"reason": reason},
    )
    return len(rows)
