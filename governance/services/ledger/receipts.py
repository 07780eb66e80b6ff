"""Receipts: what a person keeps to prove, without the server, that an entry is in the ledger.

`receipt_for` makes one for any entry (whoever calls it has loaded the entry through `visible_to`); `decision_entry`
finds the entry of an approver's decision, so that a review can offer its receipt. Approvers get theirs by mail as
well: sealing a decision makes a Receipt row, and `send_due` sends what is due.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Prefetch
from django.utils import timezone

from governance.actions import Action
from governance.models import Checkpoint, Decision, LedgerEntry, Receipt, SigningKey, User
from governance.policy import Permission
from governance.proofs import verify
from governance.services import access
from governance.services.ledger import proofs, records
from governance.services.ledger.records import LedgerError
from governance.services.ledger.sealing import DECISIONS

logger = logging.getLogger(__name__)

AT_ONCE = 20
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)


def receipt_for(entry: LedgerEntry, *, checkpoint: Checkpoint | None = None) -> dict:
    """Return the receipt of an entry as JSON values: bytes, number, proof, signed checkpoint, keys, texts with salts.

    Raises NotSealed where no checkpoint covers the entry yet, LedgerError where the stored tree is not sound.
    """
    proof = proofs.inclusion(entry, checkpoint=checkpoint)
    return {
        "format": verify.RECEIPT,
        "origin": settings.LEDGER_ORIGIN,
        "entry": {
            "number": proof.number,
            "canonical": base64.b64encode(bytes(entry.canonical)).decode(),
            "leaf": bytes(entry.leaf_hash).hex(),
        },
        "texts": {
            text.name: {"salt": bytes(text.salt).hex(), "text": text.text} for text in entry.texts.order_by("name")
        },
        "path": [step.hex() for step in proof.path],
        "checkpoint": proof.checkpoint.note,
        "keys": keys_until(proof.checkpoint),
    }


def consistency_from(old: int, *, checkpoint: Checkpoint | None = None) -> dict:
    """Return, as JSON values, the proof that the tree of a checkpoint begins with that of `old` entries.

    Raises NotSealed where nothing of that size was sealed.
    """
    proof = proofs.consistency(old=old, checkpoint=checkpoint)
    return {
        "format": verify.CONSISTENCY,
        "origin": settings.LEDGER_ORIGIN,
        "old_size": old,
        "old_root": proof.old_root.hex(),
        "path": [step.hex() for step in proof.path],
        "checkpoint": proof.checkpoint.note,
        "keys": keys_until(proof.checkpoint),
    }


def keys_until(mark: Checkpoint) -> list[dict]:
    """Return the keys that signed up to a checkpoint, each later one with the proved entry that introduced it."""
    found = []
    for key in SigningKey.objects.filter(first_size__lte=mark.size).select_related("rotation__sealed"):
        rotation = None
        if key.rotation is not None:
            proof = proofs.inclusion(key.rotation, checkpoint=mark)
            rotation = {
                "number": proof.number,
                "canonical": base64.b64encode(bytes(key.rotation.canonical)).decode(),
                "path": [step.hex() for step in proof.path],
            }
        found.append({"public": bytes(key.public).hex(), "first_size": key.first_size, "rotation": rotation})
    return found


def decision_entry(decision: Decision) -> LedgerEntry | None:
    """Return the entry in which an approver's decision was recorded."""
    about = LedgerEntry.objects.about(decision.request).filter(actor=decision.approver_id, action__in=DECISIONS)
    found = about.select_related("sealed").order_by("-id")[:100]
    return next((entry for entry in found if records.body(entry)["details"].get("decision") == decision.pk), None)


def send_due(*, actor: User) -> dict[str, int]:
    """Mail the receipts that are due; return how many were sent and how many failed and will be tried again.

    Each is claimed before and settled after, in transactions of their own: a mail server that is slow holds up nobody,
    and a receipt is sent twice only where the process dies between sending and settling.
    """
    access.require(actor, Permission.SITE_ADMINISTER)
    done = {"sent": 0, "failed": 0}
    for receipt in _claimed():
        try:
            _message(receipt).send()
        except proofs.NotSealed:
            continue
        except (OSError, LedgerError) as error:
            logger.warning("The receipt for entry %s did not go out: %s", receipt.entry_id, error)
            _settle(actor, receipt, f"{type(error).__name__}: {error}"[:300])
            done["failed"] += 1
        else:
            _settle(actor, receipt, "")
            done["sent"] += 1
    return done


def _claimed() -> Iterator[Receipt]:
    now = timezone.now()
    due = Receipt.objects.filter(sent_at=None, due_at__lte=now).order_by("due_at")
    person = Prefetch("person", User.objects.seen_by_sequencer())
    for receipt in due.select_related("entry__sealed").prefetch_related(person)[:AT_ONCE]:
        if not receipt.person.is_active:
            # An account that was closed or anonymised has no address to send to; the receipt stays on the entry's page.
            receipt.delete()
            continue
        # Until then nobody else takes it; a process that dies leaves it to the next one.
        mine = Receipt.objects.filter(pk=receipt.pk, sent_at=None, due_at=receipt.due_at)
        if mine.update(due_at=now + _pause(receipt.attempts + 1), attempts=receipt.attempts + 1):
            yield receipt


def _pause(attempts: int) -> timedelta:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempts - 1, 10))


@transaction.atomic
def _settle(actor: User, receipt: Receipt, problem: str) -> None:
    if problem:
        Receipt.objects.filter(pk=receipt.pk).update(problem=problem)
        return
    Receipt.objects.filter(pk=receipt.pk).update(sent_at=timezone.now(), problem="")
    records.record(
        Action.RECEIPT_SENT,
        actor=actor,
        on_behalf_of=receipt.person,
        details={"entry": receipt.entry_id, "number": receipt.entry.sealed.number},
        scope_id=receipt.entry.scope_id,
    )


def _message(receipt: Receipt) -> EmailMessage:
    proof = receipt_for(receipt.entry)
    number = proof["entry"]["number"]
    message = EmailMessage(
        subject=f"Your receipt: {receipt.entry.action}, ledger entry {number}",
        body=(
            f"You decided something in Gatehouse, and it was recorded as entry {number} of the ledger "
            f"{settings.LEDGER_ORIGIN}. The attached receipt proves that to anybody, without the server:\n\n"
            f"    python verify.py receipt receipt-{number}.json\n\n"
            f"The entry: {settings.BASE_URL}/ledger/{receipt.entry_id}/\n"
            "verify.py comes with every export of the ledger. Keep this message: if the receipt ever stops fitting a "
            "later checkpoint, the ledger was changed.\n"
        ),
        to=[receipt.person.email],
    )
    message.attach(f"receipt-{number}.json", json.dumps(proof, indent=1), "application/json")
    return message
