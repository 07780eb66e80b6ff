"""Anchoring: checkpoints are sent to places out of the operator's reach, and what came of it is a row and an entry.

Nothing older than the last anchor can change unseen, not even by someone who has the database and the key.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max, Min, Q
from django.utils import timezone

from governance import anchors
from governance.actions import Action
from governance.models import Anchor, Checkpoint, SealedEntry, User
from governance.policy import Permission
from governance.services import access
from governance.services.ledger import records, verification

logger = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(minutes=1)
OWN = (Action.LEDGER_ANCHORED.value, Action.LEDGER_ANCHOR_FAILED.value)


def anchor_due(*, actor: User) -> dict[str, int]:
    """Send the newest checkpoint to each place where it is time; return how many took it and how many did not.

    A place gets one every LEDGER_ANCHOR_SECONDS, as long as anything but anchoring happened since the last; one that
    failed is tried again after a minute, then two, then four. Raises Denied, BadSetting.
    """
    access.require(actor, Permission.SITE_ADMINISTER)
    done = {"anchored": 0, "failed": 0}
    mark = Checkpoint.objects.order_by("-size").first()
    if mark is None:
        return done
    for target in anchors.targets(settings.LEDGER_ANCHORS):
        if not _due(target, mark):
            continue
        statement = anchors.Statement(settings.LEDGER_ORIGIN, mark.size, bytes(mark.root), mark.note, mark.at)
        try:
            proof, problem = target.publish(statement), ""
        except (anchors.Failed, anchors.BadSetting) as error:
            logger.warning("The checkpoint of %s entries was not anchored (%s): %s", mark.size, target.kind, error)
            proof, problem = b"", str(error)
        _note(actor, target, mark, proof, problem)
        done["failed" if problem else "anchored"] += 1
    return done


def _due(target: anchors.Target, mark: Checkpoint) -> bool:
    attempts = Anchor.objects.filter(kind=target.kind, place=target.label[:200])
    last = attempts.first()
    if last is None:
        return True
    interval = timedelta(seconds=settings.LEDGER_ANCHOR_SECONDS)
    if not last.succeeded:
        since = attempts.filter(succeeded=True).values_list("pk", flat=True).first() or 0
        failures = attempts.filter(pk__gt=since).count()
        return timezone.now() >= last.at + min(interval, FIRST_PAUSE * 2 ** min(failures - 1, 16))
    if mark.size <= last.size or timezone.now() < last.at + interval:
        return False
    return SealedEntry.objects.filter(number__gte=last.size).exclude(entry__action__in=OWN).exists()


@transaction.atomic
def _note(actor: User, target: anchors.Target, mark: Checkpoint, proof: bytes, problem: str) -> None:
    Anchor.objects.create(
        kind=target.kind,
        place=target.label[:200],
        size=mark.size,
        root=mark.root,
        succeeded=not problem,
        problem=problem[:500],
        proof=proof,
    )
    records.record(
        Action.LEDGER_ANCHOR_FAILED if problem else Action.LEDGER_ANCHORED,
        actor=actor,
        details={
            "kind": target.kind,
            "size": mark.size,
            "root": bytes(mark.root).hex(),
            "proof": hashlib.sha256(proof).hexdigest() if proof else "",
        },
        texts={"place": target.label, "problem": problem},
    )


def kept() -> list[verification.Pin]:
    """Return the checkpoints that can be read back from where they were anchored; other places are passed over."""
    found: list[verification.Pin] = []
    try:
        targets = anchors.targets(settings.LEDGER_ANCHORS)
    except anchors.BadSetting as error:
        # A verification must not fail because of where checkpoints are sent; the sequencer's log says it too.
        logger.error("%s", error)
        return found
    for target in targets:
        try:
            text = target.kept()
            found.extend(verification.pins_of(text) if text.strip() else [])
        except (anchors.Failed, verification.BadPin) as error:
            logger.warning("Not compared with %s: %s", target.kind, error)
    return sorted(found, key=lambda pin: pin.size)


def newest() -> list[Anchor]:
    """Return the last attempt at each place, and where that failed also the last that succeeded; newest first."""
    attempts = Anchor.objects.order_by().values("kind", "place").annotate(last=Max("pk")).values("last")
    good = Anchor.objects.order_by().filter(succeeded=True).values("kind", "place").annotate(last=Max("pk"))
    return list(Anchor.objects.filter(Q(pk__in=attempts) | Q(pk__in=good.values("last"))).defer("proof")[:20])


def covering(number: int) -> list[Anchor]:
    """Return for each kind the oldest anchor whose checkpoint covers the entry with this number."""
    found = Anchor.objects.order_by().filter(succeeded=True, size__gt=number).values("kind").annotate(first=Min("pk"))
    return list(Anchor.objects.filter(pk__in=found.values("first")).defer("proof").order_by("pk"))
