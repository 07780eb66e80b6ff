"""What people do with jobs: submit, retry, cancel, and ask when it will be their turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import Permission
from governance.services import access, approvals, ledger
from projects.models import DatasetClearance, DatasetVersion, UseCase
from projects.services import fields
from training import queue
from training.models import BaseModel, JobEvent, TrainingJob
from training.services.jobs import gates
from training.services.jobs.plans import Plan, plan

State = TrainingJob.State


class Invalid(fields.Invalid):
    """The job cannot be submitted as described; `errors` maps each field to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        name, sentence = next(iter(self.errors.items()))
        super().__init__(sentence, field=name)


class NotPossible(access.Denied):
    """The job is in a state in which this cannot be done."""


@dataclass(frozen=True)
class Position:
    """Where a queued job stands: `ahead` jobs will be claimed before it; `reason` says what it waits for."""

    ahead: int
    running: int
    reason: str


@transaction.atomic
def submit(
    *,
    actor: User,
    use_case: UseCase,
    dataset_version: DatasetVersion,
    base_model: BaseModel,
    model_name: str,
    recipe: str = "sequence_classification",
    method: str = "",
    preset: str = "",
    overrides: Mapping[str, Any] | None = None,
    seed: int = 42,
    baselines: Sequence[str] | None = None,
    key: str = "",
) -> TrainingJob:
    """Freeze the run and queue it. The same `key` from the same person gives the job that the first call made.

    Raises Denied without the right; gates.NotApproved, NotCleared or NotAllowed with everything that is missing;
    Invalid with a sentence per field.
    """
    access.require(actor, Permission.JOB_SUBMIT, use_case)
    if key:
        known = TrainingJob.objects.filter(submitted_by=actor, submission_key=key).first()
        if known is not None:
            return known
    # The row that the gates read is locked, so that it cannot change between the question and the answer. Not its key:
    # a job that finishes refers to it, and holds the team's row, to which the new job refers (a deadlock otherwise).
    UseCase.objects.select_for_update(no_key=True).get(pk=use_case.pk)
    planned = plan(
        actor=actor,
        use_case=use_case,
        dataset_version=dataset_version,
        base_model=base_model,
        model_name=model_name,
        recipe=recipe,
        method=method,
        preset=preset,
        overrides=overrides,
        seed=seed,
        baselines=baselines,
    )
    refused = gates.refusal(planned.checks, subject=use_case)
    if refused is not None:
        raise refused
    if planned.errors:
        raise Invalid(planned.errors)
    return _queue(actor, use_case, dataset_version, base_model, model_name, planned, key)


def _queue(
    actor: User,
    use_case: UseCase,
    dataset_version: DatasetVersion,
    base_model: BaseModel,
    model_name: str,
    planned: Plan,
    key: str,
    retry_of: TrainingJob | None = None,
) -> TrainingJob:
    assert planned.spec is not None
    assert planned.recipe is not None
    now = timezone.now()
    job = TrainingJob.objects.create(
        team_id=use_case.team_id,
        use_case=use_case,
        dataset_version=dataset_version,
        base_model=base_model,
        model_name=model_name,
        recipe=planned.recipe.name,
        method=planned.method,
        preset=planned.preset,
        spec=planned.spec.to_json(),
        spec_digest=planned.spec.digest(),
        dry_run=planned.as_dict(),
        submitted_by=actor,
        submission_key=key,
        submitted_at=now,
        queued_at=now,
        rung_at=now,
        max_steps=planned.steps,
        retry_of=retry_of,
    )
    ledger.record(
        Action.JOB_RETRIED if retry_of else Action.JOB_SUBMITTED,
        actor=actor,
        subject=job,
        digest=job.spec_digest,
        details={
            "model": model_name,
            "use_case": use_case.pk,
            "dataset_version": dataset_version.pk,
            "dataset_commit": planned.spec.dataset.commit,
            "base_model": base_model.name,
            "base_revision": planned.spec.base_model.revision,
            "recipe": job.recipe,
            "method": job.method,
            "seed": planned.seed,
            **({"retry_of": retry_of.pk} if retry_of else {}),
        },
    )
    transaction.on_commit(lambda: queue.ring(job.pk))
    return job


@transaction.atomic
def retry(
    *, actor: User, job: TrainingJob, overrides: Mapping[str, Any] | None = None, seed: int | None = None
) -> TrainingJob:
    """Queue a new job from a finished one: the same data, base model and settings, with what is overridden.

    Raises Denied, the gates' refusals, Invalid, or NotPossible while the job is not finished.
    """
    access.require(actor, Permission.JOB_SUBMIT, job)
    old = TrainingJob.objects.select_for_update(no_key=True).get(pk=job.pk)
    if not old.is_finished:
        raise NotPossible("This job is not finished; cancel it first.", code="not_finished", subject=old)
    UseCase.objects.select_for_update(no_key=True).get(pk=old.use_case_id)
    planned = plan(
        actor=actor,
        use_case=old.use_case,
        dataset_version=old.dataset_version,
        base_model=old.base_model,
        model_name=old.model_name,
        recipe=old.recipe,
        method=old.method,
        preset=old.preset,
        overrides={**old.spec["hyperparameters"], **(overrides or {})},
        seed=old.spec["seed"] if seed is None else seed,
        baselines=old.spec["baselines"],
    )
    refused = gates.refusal(planned.checks, subject=old)
    if refused is not None:
        raise refused
    if planned.errors:
        raise Invalid(planned.errors)
    return _queue(actor, old.use_case, old.dataset_version, old.base_model, old.model_name, planned, "", old)


@transaction.atomic
def cancel(*, actor: User, job: TrainingJob) -> TrainingJob:
    """Stop a job: at once where it is queued; where it runs, the worker stops it after a last checkpoint.

    Raises Denied, or NotPossible where it is finished. Asking twice changes nothing.
    """
    access.require(actor, Permission.JOB_CONTROL, job)
    job = TrainingJob.objects.select_for_update(no_key=True).get(pk=job.pk)
    if job.is_finished:
        raise NotPossible(
            f"This job is finished already: {job.get_state_display().lower()}.", code="finished", subject=job
        )
    if job.cancel_requested_at is not None:
        return job
    return _stop(actor, job, f"{actor} asked to cancel; the run stops after a last checkpoint.")


@transaction.atomic
def stop_resting_on(*, actor: User, request: ApprovalRequest) -> int:
    """Cancel every job that rests on an approval that was revoked or ran out; return how many.

    Called by `approvals` inside the transaction that ends the approval; other ends of it leave jobs alone. A queued job
    ends at once; the worker of a running one sees it within a heartbeat.
    """
    how = approvals.stops(request)
    if not how:
        return 0
    subject = request.subject
    jobs = TrainingJob.objects.select_for_update(no_key=True).filter(
        state__in=[State.QUEUED, State.RUNNING], cancel_requested_at=None
    )
    if isinstance(subject, DatasetClearance):
        jobs = jobs.filter(dataset_version=subject.version_id, use_case=subject.use_case_id)
    else:
        jobs = jobs.filter(use_case=subject)
    stopped = [_stop(actor, job, f"An approval that this run rests on {how}: {request}.") for job in jobs]
    return len(stopped)


def _stop(actor: User, job: TrainingJob, message: str) -> TrainingJob:
    now = timezone.now()
    job.cancel_requested_at = now
    if job.state == State.QUEUED:
        job.state, job.finished_at = State.CANCELLED, now
        job.save(update_fields=["cancel_requested_at", "state", "finished_at"])
        ledger.record(Action.JOB_CANCELLED, actor=actor, subject=job, digest=job.spec_digest)
    else:
        job.save(update_fields=["cancel_requested_at"])
        JobEvent.objects.create(
            job=job,
            token=job.token,
            type="log",
            at=now,
            data={"level": "info", "message": message},
        )
        ledger.record(Action.JOB_CANCEL_REQUESTED, actor=actor, subject=job, digest=job.spec_digest)
    return job


def queue_position(job: TrainingJob) -> Position | None:
    """Return where a queued job stands and why it waits, or None where it does not wait."""
    if job.state != State.QUEUED:
        return None
    waiting = TrainingJob.objects.filter(state=State.QUEUED, cancel_requested_at=None)
    ahead = waiting.filter(Q(queued_at__lt=job.queued_at) | Q(queued_at=job.queued_at, pk__lt=job.pk)).count()
    running = TrainingJob.objects.filter(state=State.RUNNING, lease_until__gt=timezone.now()).count()
    if job.error_message:
        reason = f"The last attempt stopped: {job.error_message} It will be tried again."
    elif ahead:
        reason = f"{ahead} {'job is' if ahead == 1 else 'jobs are'} ahead of it."
    elif running:
        which = "the running job" if running == 1 else f"one of {running} running jobs"
        reason = f"It is next: it starts when {which} ends."
    else:
        reason = "It is next, and no worker is busy: it starts within seconds, unless no training worker is running."
    return Position(ahead, running, reason)
