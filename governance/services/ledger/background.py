"""Verifications that take minutes: asked for by a person, done by a worker, with progress and a result in the ledger.

A row is the truth and a message only a doorbell: a worker that dies is replaced when its sign of life is too old.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from governance import queue
from governance.models import Checkpoint, User, Verification
from governance.policy import Permission
from governance.services import access
from governance.services.ledger import anchoring, verification
from governance.services.ledger.records import LedgerError

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
SIGN_OF_LIFE = 1.0
OPEN = (Verification.State.WAITING, Verification.State.RUNNING)


class Lost(RuntimeError):
    """Another worker does this verification now."""


@transaction.atomic
def ask(*, actor: User) -> Verification:
    """Return the verification that waits or runs; a new one where there is none. Raises Denied."""
    access.require(actor, Permission.LEDGER_VIEW)
    size = Checkpoint.objects.order_by("-size").values_list("size", flat=True).first() or 0
    try:
        with transaction.atomic():
            asked = Verification.objects.create(requested_by=actor, size=size)
    except IntegrityError:
        return Verification.objects.filter(state__in=OPEN).order_by("-pk")[0]
    transaction.on_commit(lambda: queue.ring(asked.pk))
    return asked


def ring_again() -> int:
    """Ring for verifications that nobody does; return how many."""
    lost = Q(state=Verification.State.RUNNING, alive_at__lt=timezone.now() - LEASE)
    waiting = Q(state=Verification.State.WAITING, requested_at__lt=timezone.now() - timedelta(seconds=5))
    return sum(queue.ring(pk) for pk in Verification.objects.filter(lost | waiting).values_list("pk", flat=True))


def run(pk: int) -> Verification | None:
    """Do a verification, if nobody does, and record what was found in the name of who asked; None where there is none.

    Each write is fenced by the token of the claim: a worker that was paused beyond its lease changes nothing any more.
    """
    free = Q(state=Verification.State.WAITING)
    free |= Q(state=Verification.State.RUNNING, alive_at__lt=timezone.now() - LEASE)
    if not Verification.objects.filter(free, pk=pk).update(
        state=Verification.State.RUNNING, token=F("token") + 1, alive_at=timezone.now(), done=0
    ):
        return None
    claimed = Verification.objects.select_related("requested_by").get(pk=pk)
    mine = Verification.objects.filter(pk=pk, token=claimed.token, state=Verification.State.RUNNING)
    told = time.monotonic()

    def progress(done: int, size: int) -> None:
        nonlocal told
        if time.monotonic() - told < SIGN_OF_LIFE:
            return
        told = time.monotonic()
        if not mine.update(done=done, size=size, alive_at=timezone.now()):
            raise Lost

    try:
        report = verification.verify(pins=anchoring.kept(), progress=progress)
    except Lost:
        return None
    except LedgerError as error:
        mine.update(state=Verification.State.FAILED, finished_at=timezone.now(), problem=str(error))
        return Verification.objects.get(pk=pk)
    state = Verification.State.SOUND if report.sound else Verification.State.UNSOUND
    with transaction.atomic():
        ended = {"state": state, "finished_at": timezone.now(), "problem": "\n".join(report.problems[:5])}
        if mine.update(**ended, done=report.size, size=max(report.size, claimed.size)):
            verification.record_result(actor=claimed.requested_by, report=report)
    return Verification.objects.get(pk=pk)
