"""Erasures: asked for with a reason, agreed to by a second person where the operator wants two, and then done.

Whoever asks or agrees need not be able to read what is erased; nothing here shows it to them. What is erased is the
text behind a commitment: entries, numbers, proofs and signatures stay as they are.
"""

from __future__ import annotations

from django.conf import settings
from django.core.mail import send_mass_mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ErasableText, Erasure, LedgerEntry, User
from governance.policy import Permission
from governance.services import access, ledger, people

State = Erasure.State
Invalid = ledger.Invalid


class Decided(access.Denied):
    """Somebody has decided it already."""


@transaction.atomic
def ask(
    *,
    actor: User,
    reason: str,
    entry: LedgerEntry | None = None,
    person: User | None = None,
    written: bool = False,
) -> Erasure:
    """Erase the texts of an entry, or who a person is; where two people are needed, ask for the second one.

    `written` also erases what the person wrote. Returns the erasure, whose state says which of both happened. Raises
    Denied, or Invalid for a reason that is too short, an entry without texts, or what waits already.
    """
    access.require(actor, Permission.TEXT_ERASE)
    reason = ledger.reason_of(reason)
    if (entry is None) == (person is None):
        raise Invalid("Say either which entry or which person.")
    if entry is not None and not ErasableText.objects.filter(entry=entry).exists():
        raise Invalid("This entry holds no text that could be erased.", field="entry")
    if person is not None and person.pk == actor.pk:
        raise access.Denied("You cannot erase your own account; ask another administrator.", code="own_account")
    if person is not None and person.is_service:
        raise access.Denied("The service account belongs to the system and stays.", code="service_account")
    try:
        with transaction.atomic():
            asked = Erasure.objects.create(
                entry=entry, person=person, written=written, reason=reason, asked_by=actor, asked_at=timezone.now()
            )
    except IntegrityError as error:
        raise Invalid("This waits for a second person already.", field="entry" if entry else "") from error
    if not settings.ERASURE_BY_TWO:
        return _erase(actor, asked)
    ledger.record(
        Action.ERASURE_ASKED,
        actor=actor,
        subject=asked,
        details={"entry": asked.entry_id, "person": str(person.ledger_id) if person else None, "written": written},
        texts={"reason": reason},
    )
    transaction.on_commit(_tell(asked), robust=True)
    return asked


@transaction.atomic
def agree(*, actor: User, erasure: Erasure) -> Erasure:
    """Erase what somebody else asked to erase. Raises Denied (also for one's own), Decided."""
    erasure = _open(actor, erasure)
    erasure.decided_by = actor
    return _erase(actor, erasure)


@transaction.atomic
def decline(*, actor: User, erasure: Erasure, reason: str) -> Erasure:
    """Leave in place what somebody else asked to erase. Raises Denied (also for one's own), Decided, Invalid."""
    erasure = _open(actor, erasure)
    if not reason.strip():
        raise Invalid("Say why; whoever asked and the auditor will read it.", field="reason")
    erasure.state, erasure.decided_by, erasure.decided_at = State.DECLINED, actor, timezone.now()
    erasure.save(update_fields=["state", "decided_by", "decided_at"])
    ledger.record(Action.ERASURE_DECLINED, actor=actor, subject=erasure, texts={"reason": reason.strip()})
    return erasure


def _open(actor: User, erasure: Erasure) -> Erasure:
    access.require(actor, Permission.TEXT_ERASE)
    rows = Erasure.objects.select_for_update(of=("self",)).select_related("entry", "person", "asked_by")
    erasure = rows.get(pk=erasure.pk)
    if actor.pk == erasure.asked_by_id:
        raise access.Denied(
            "You asked for this erasure, so someone else has to decide it.", code="own_request", subject=erasure
        )
    if erasure.state != State.WAITING:
        raise Decided(
            f"This is decided already: {erasure.get_state_display().lower()}.", code="decided", subject=erasure
        )
    return erasure


def _erase(actor: User, erasure: Erasure) -> Erasure:
    if erasure.entry is not None:
        erasure.texts = ledger.erase_entry(actor=actor, entry=erasure.entry, reason=erasure.reason)
    elif erasure.person is not None:
        erasure.texts = people.anonymise(
            actor=actor, user=erasure.person, reason=erasure.reason, written=erasure.written
        )
    erasure.state, erasure.decided_at = State.ERASED, timezone.now()
    erasure.save(update_fields=["state", "decided_by", "decided_at", "texts"])
    return erasure


def _tell(erasure: Erasure):
    others = access.holders(Permission.TEXT_ERASE).exclude(pk=erasure.asked_by_id)
    addresses = list(others.order_by("pk").values_list("email", flat=True))
    text = (
        f"{erasure.asked_by} asks that something is erased, and it needs a second person. "
        f"What it is, without its text, and why:\n{settings.BASE_URL}{erasure.get_absolute_url()}\n"
    )
    messages = [("An erasure waits for a second person", text, None, [address]) for address in addresses]
    return lambda: send_mass_mail(messages)
