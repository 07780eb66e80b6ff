"""What a worker does with a job: claim it, keep it, report on it, give it up. The row is the truth.

A worker owns a job while it holds the job's token. Every write says `WHERE id AND token AND state = running`; no row
means that someone else owns the job now, and raises LostOwnership: the caller stops and kills its engine. The lease
only decides when others may take over. Clocks of several machines may differ by seconds: that costs time, never a
result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from training import queue
from training.engine.spec import Event
from training.models import JobEvent, TrainingJob
from training.services.jobs import gates

State = TrainingJob.State

WORKER_LOST = "worker_lost"
ENGINE_DIED = "engine_died"
RETRIED_CODES = frozenset({WORKER_LOST, ENGINE_DIED, "hash_mismatch", "disk_full", "no_device"})
"""What may pass on another attempt. An error inside the run would repeat, whatever the engine hopes."""


class LostOwnership(RuntimeError):
    """Somebody else owns the job now, or it is finished; nothing was written."""


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one job."""

    job_id: int
    token: int
    owner: str
    attempt: int
    spec: dict[str, Any]
    spec_digest: str


@dataclass(frozen=True)
class Pulse:
    """What a look at the row tells the owner."""

    owned: bool
    cancel_requested: bool


def _lease() -> datetime:
    return timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def _write(claim: Claim, **changes: Any) -> None:
    if not TrainingJob.objects.owned(claim.job_id, claim.token).update(**changes):
        raise LostOwnership(f"Job {claim.job_id} is no longer held with token {claim.token}.")


def _job(claim: Claim) -> TrainingJob:
    return TrainingJob.objects.select_related("submitted_by", "use_case", "base_model", "dataset_version").get(
        pk=claim.job_id
    )


@transaction.atomic
def claim(*, actor: User, job_id: int, owner: str) -> Claim | None:
    """Take the job, or return None where there is nothing to take: it is owned, finished, or no longer allowed.

    The three gates are asked again: an approval withdrawn since the submission fails the job with its reason.
    """
    access.require(actor, Permission.JOB_CONTROL)
    now = timezone.now()
    free = Q(state=State.QUEUED) | Q(state=State.RUNNING, lease_until__lt=now, attempts__lt=settings.JOB_ATTEMPTS)
    taken = TrainingJob.objects.filter(free, pk=job_id, cancel_requested_at=None).update(
        state=State.RUNNING,
        token=F("token") + 1,
        attempts=F("attempts") + 1,
        owner=owner[:200],
        lease_until=_lease(),
        stage="",
        error_code="",
        error_message="",
        error_advice="",
    )
    if not taken:
        return None
    job = TrainingJob.objects.select_related("submitted_by", "use_case", "base_model", "dataset_version").get(pk=job_id)
    refused = gates.refusal(
        gates.checks(use_case=job.use_case, dataset_version=job.dataset_version, base_model=job.base_model)
    )
    held = Claim(job.pk, job.token, owner, job.attempts, job.spec, job.spec_digest)
    if refused is not None:
        _fail(actor, held, refused.code, refused.reason, "Ask for what is missing, then retry the job.")
        return None
    if job.started_at is None:
        TrainingJob.objects.filter(pk=job_id).update(started_at=now)
    _say(held, f"Attempt {job.attempts} starts on {owner}.")
    ledger.record(
        Action.JOB_STARTED,
        actor=actor,
        on_behalf_of=job.submitted_by,
        subject=job,
        digest=job.spec_digest,
        details={"token": job.token, "attempt": job.attempts},
        texts={"owner": owner},
    )
    return held


def _say(claim: Claim, message: str, level: str = "info") -> None:
    JobEvent.objects.create(
        job_id=claim.job_id,
        token=claim.token,
        type="log",
        at=timezone.now(),
        data={"level": level, "message": message},
    )


def heartbeat(*, actor: User, claim: Claim) -> None:
    """Keep the job for another lease; raises LostOwnership."""
    _write(claim, lease_until=_lease())


def look(*, claim: Claim) -> Pulse:
    """Return, without writing, whether the job is still held and whether it is to be cancelled."""
    row = TrainingJob.objects.owned(claim.job_id, claim.token).values_list("cancel_requested_at", flat=True).first()
    held = TrainingJob.objects.owned(claim.job_id, claim.token).exists() if row is None else True
    return Pulse(owned=held, cancel_requested=row is not None)


@transaction.atomic
def record_events(*, actor: User, claim: Claim, events: Sequence[Event]) -> None:
    """Write what the engine reported, and on the row what lists show of it; raises LostOwnership."""
    access.require(actor, Permission.JOB_CONTROL)
    changes: dict[str, Any] = {}
    rows = []
    for event in events:
        at = parse_datetime(event.at) or timezone.now()
        rows.append(JobEvent(job_id=claim.job_id, token=claim.token, type=event.type, at=at, data=dict(event.data)))
        if event.type == "stage":
            changes["stage"] = str(event.data["name"])[:20]
        elif event.type == "progress":
            changes["step"] = max(0, event.data["step"])
            changes["max_steps"] = max(0, event.data["max_steps"])
            left = event.data["eta_s"]
            changes["eta_at"] = at + timedelta(seconds=min(left, 10**8)) if left is not None else None
    # Events and heartbeat are one proof of life: the write that carries events renews the lease as well.
    _write(claim, lease_until=_lease(), **changes)
    JobEvent.objects.bulk_create(rows)


@transaction.atomic
def fail(
    *, actor: User, claim: Claim, code: str, message: str, advice: str = "", retryable: bool = False
) -> TrainingJob:
    """End the attempt with an error. Where it may pass another time, and attempts are left, the job is queued again.

    Raises LostOwnership.
    """
    access.require(actor, Permission.JOB_CONTROL)
    if retryable and code in RETRIED_CODES and claim.attempt < settings.JOB_ATTEMPTS:
        return _requeue(actor, claim, code, message)
    return _fail(actor, claim, code, message, advice)


def _fail(actor: User, claim: Claim, code: str, message: str, advice: str) -> TrainingJob:
    _write(
        claim,
        state=State.FAILED,
        finished_at=timezone.now(),
        lease_until=None,
        eta_at=None,
        error_code=code[:40],
        error_message=message[:4000],
        error_advice=advice[:4000],
    )
    job = _job(claim)
    _say(claim, message, "error")
    ledger.record(
        Action.JOB_FAILED,
        actor=actor,
        on_behalf_of=job.submitted_by,
        subject=job,
        digest=job.spec_digest,
        details={"code": code, "token": claim.token, "attempt": claim.attempt},
        texts={"message": message},
    )
    return job


def _requeue(actor: User, claim: Claim, code: str, message: str, *, counts: bool = True) -> TrainingJob:
    now = timezone.now()
    _write(
        claim,
        state=State.QUEUED,
        # It keeps its place: it was queued before those that came later.
        rung_at=now,
        lease_until=None,
        eta_at=None,
        owner="",
        error_code=code[:40] if counts else "",
        error_message=message[:4000] if counts else "",
        attempts=F("attempts") if counts else F("attempts") - 1,
    )
    job = _job(claim)
    if job.cancel_requested_at is not None:
        # A job that is to be cancelled would never be claimed again and wait for ever.
        return _cancelled(actor, claim, job)
    _say(claim, f"{message} The job is queued again and continues from its last checkpoint.", "warning")
    ledger.record(
        Action.JOB_REQUEUED,
        actor=actor,
        on_behalf_of=job.submitted_by,
        subject=job,
        digest=job.spec_digest,
        details={"code": code, "token": claim.token, "attempt": claim.attempt},
    )
    transaction.on_commit(lambda: queue.ring(job.pk))
    return job


@transaction.atomic
def release(*, actor: User, claim: Claim, reason: str) -> TrainingJob:
    """Give the job back because this worker stops; the attempt does not count. Raises LostOwnership."""
    access.require(actor, Permission.JOB_CONTROL)
    return _requeue(actor, claim, "worker_stopped", reason, counts=False)


@transaction.atomic
def confirm_cancelled(*, actor: User, claim: Claim) -> TrainingJob:
    """Note that the engine has stopped as asked; raises LostOwnership."""
    access.require(actor, Permission.JOB_CONTROL)
    _write(claim, lease_until=_lease())
    return _cancelled(actor, claim, _job(claim))


def _cancelled(actor: User, claim: Claim, job: TrainingJob) -> TrainingJob:
    """End the job as cancelled; the caller has just written to the row as its owner and so holds its lock."""
    job.state, job.finished_at, job.lease_until, job.eta_at = State.CANCELLED, timezone.now(), None, None
    job.save(update_fields=["state", "finished_at", "lease_until", "eta_at"])
    _say(claim, "The run has stopped.")
    ledger.record(
        Action.JOB_CANCELLED,
        actor=actor,
        on_behalf_of=job.submitted_by,
        subject=job,
        digest=job.spec_digest,
        details={"token": claim.token},
    )
    return job


@transaction.atomic
def sweep(*, actor: User) -> dict[str, int]:
    """Take up what fell down: requeue jobs whose lease ran out, end those out of attempts, ring for those unclaimed.

    Safe to run in several processes at once. Returns how many were `requeued`, `failed`, `cancelled` and `rung`.
    """
    access.require(actor, Permission.JOB_CONTROL)
    now = timezone.now()
    done = {"requeued": 0, "failed": 0, "cancelled": 0, "rung": 0}
    # Two sweepers take different rows; a worker that is just renewing its lease is skipped and met next time.
    expired = TrainingJob.objects.select_for_update(skip_locked=True, no_key=True).filter(
        state=State.RUNNING, lease_until__lt=now
    )
    for job in expired:
        held = Claim(job.pk, job.token, job.owner, job.attempts, job.spec, job.spec_digest)
        if job.cancel_requested_at is not None:
            confirm_cancelled(actor=actor, claim=held)
            done["cancelled"] += 1
        elif job.attempts < settings.JOB_ATTEMPTS:
            _requeue(actor, held, WORKER_LOST, f"The worker {job.owner or 'that held it'} stopped answering.")
            done["requeued"] += 1
        else:
            _fail(
                actor,
                held,
                WORKER_LOST,
                f"Its worker stopped answering in {job.attempts} attempts.",
                "Look whether the workers run out of memory or are restarted, then retry the job.",
            )
            done["failed"] += 1
    stale = now - timedelta(seconds=settings.RING_AGAIN_SECONDS)
    silent = (
        TrainingJob.objects.select_for_update(skip_locked=True, no_key=True)
        .filter(Q(rung_at=None) | Q(rung_at__lt=stale), state=State.QUEUED)
        .order_by("queued_at", "pk")
        .values_list("pk", flat=True)[:200]
    )
    waiting = list(silent)
    TrainingJob.objects.filter(pk__in=waiting).update(rung_at=now)
    done["rung"] = len(waiting)
    transaction.on_commit(lambda: [queue.ring(job_id) for job_id in waiting])
    return done
