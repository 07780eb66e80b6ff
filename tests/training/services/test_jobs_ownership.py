"""Claiming, keeping, losing and giving up a job: the row decides, and a stale owner can write nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from governance.models import LedgerEntry, User
from projects.services import datasets
from training.engine.spec import Event
from training.models import JobEvent, TrainingJob
from training.services import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture
def job(ground, bob) -> TrainingJob:
    return ground.submit(bob)


@pytest.fixture
def worker(system) -> User:
    return system


def let_the_lease_run_out(job):
    TrainingJob.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def progress(step):
    return Event(
        "progress",
        {"step": step, "max_steps": 9, "epoch": 1.0, "eta_s": 5, "useful_tokens": 1, "useful_tokens_per_s": 1.0},
    )


def actions(job):
    return list(LedgerEntry.objects.about(job).order_by("id").values_list("action", flat=True))


def test_a_job_is_claimed_once(job, worker):
    first = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    assert (first.token, first.attempt, first.spec_digest) == (1, 1, job.spec_digest)
    assert jobs.claim(actor=worker, job_id=job.pk, owner="two") is None
    job.refresh_from_db()
    assert (job.state, job.owner) == ("running", "one")
    assert job.lease_until > timezone.now()
    assert job.started_at is not None


def test_only_the_service_or_an_administrator_claims(job, bob, eve):
    from governance.services import access

    with pytest.raises(access.Denied):
        jobs.claim(actor=eve, job_id=job.pk, owner="x")


def test_a_job_whose_lease_ran_out_is_claimed_with_a_new_token(job, worker):
    first = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    let_the_lease_run_out(job)
    second = jobs.claim(actor=worker, job_id=job.pk, owner="two")
    assert second.token == first.token + 1
    for write in (
        lambda: jobs.heartbeat(actor=worker, claim=first),
        lambda: jobs.record_events(actor=worker, claim=first, events=[progress(1)]),
        lambda: jobs.fail(actor=worker, claim=first, code="internal", message="x"),
        lambda: jobs.release(actor=worker, claim=first, reason="x"),
        lambda: jobs.confirm_cancelled(actor=worker, claim=first),
    ):
        with pytest.raises(jobs.LostOwnership):
            write()
    assert not jobs.look(claim=first).owned
    assert jobs.look(claim=second).owned
    assert not JobEvent.objects.filter(type="progress").exists()
    job.refresh_from_db()
    assert (job.state, job.owner, job.token) == ("running", "two", 2)


def test_without_fencing_the_stale_owner_writes(job, worker, settings):
    # The chaos suite relies on this: turned off, fencing must leave traces that it can find.
    first = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    let_the_lease_run_out(job)
    jobs.claim(actor=worker, job_id=job.pk, owner="two")
    settings.JOB_FENCING = False
    jobs.record_events(actor=worker, claim=first, events=[progress(1)])
    assert JobEvent.objects.filter(type="progress", token=first.token).exists()


def test_the_gates_are_asked_again_when_a_job_is_claimed(job, worker, ground, alice):
    datasets.withdraw(actor=alice, version=ground.version, reason="It held names.")
    assert jobs.claim(actor=worker, job_id=job.pk, owner="one") is None
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "not_cleared")
    assert "withdrawn" in job.error_message
    assert actions(job)[-1] == "job.failed"


def test_events_move_the_row_and_the_lease(job, worker):
    held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    let_the_lease_run_out(job)
    stage = Event("stage", {"name": "train", "message": "Training."})
    jobs.record_events(actor=worker, claim=held, events=[stage, progress(3), progress(4)])
    job.refresh_from_db()
    assert (job.stage, job.step, job.max_steps) == ("train", 4, 9)
    assert job.eta_at is not None
    assert job.lease_until > timezone.now()
    assert list(JobEvent.objects.exclude(type="log").values_list("type", "token")) == [
        ("stage", 1),
        ("progress", 1),
        ("progress", 1),
    ]


def test_the_sweeper_requeues_a_job_whose_worker_is_lost(job, worker):
    first = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    let_the_lease_run_out(job)
    assert jobs.sweep(actor=worker) == {"requeued": 1, "failed": 0, "cancelled": 0, "rung": 0}
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("queued", "worker_lost")
    with pytest.raises(jobs.LostOwnership):
        jobs.heartbeat(actor=worker, claim=first)
    assert jobs.claim(actor=worker, job_id=job.pk, owner="two").attempt == 2
    assert actions(job) == ["job.submitted", "job.started", "job.requeued", "job.started"]


def test_the_sweeper_leaves_a_job_with_a_live_lease_alone(job, worker):
    jobs.claim(actor=worker, job_id=job.pk, owner="one")
    assert not any(jobs.sweep(actor=worker).values())


def test_a_job_is_given_up_after_three_lost_workers(job, worker):
    for attempt in range(1, 4):
        assert jobs.claim(actor=worker, job_id=job.pk, owner="w").attempt == attempt
        let_the_lease_run_out(job)
        jobs.sweep(actor=worker)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "worker_lost")
    assert "3 attempts" in job.error_message
    assert job.error_advice


def test_a_fourth_claim_of_an_expired_lease_is_refused(job, worker):
    for _ in range(3):
        assert jobs.claim(actor=worker, job_id=job.pk, owner="w")
        let_the_lease_run_out(job)
    assert jobs.claim(actor=worker, job_id=job.pk, owner="w") is None


def test_an_error_that_would_repeat_is_not_tried_again(job, worker):
    held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    failed = jobs.fail(actor=worker, claim=held, code="nan_loss", message="The loss is not a number.", retryable=True)
    assert failed.state == "failed"


def test_an_error_that_may_pass_is_tried_again_but_not_for_ever(job, worker):
    states = []
    for _ in range(3):
        held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
        job = jobs.fail(actor=worker, claim=held, code="disk_full", message="The disk is full.", retryable=True)
        states.append(job.state)
    assert states == ["queued", "queued", "failed"]


def test_giving_a_job_back_costs_no_attempt(job, worker):
    for _ in range(5):
        held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
        assert held.attempt == 1
        jobs.release(actor=worker, claim=held, reason="The worker stops.")
    assert jobs.claim(actor=worker, job_id=job.pk, owner="one").token == 6


def test_cancel_reaches_the_worker_and_is_confirmed(job, worker, bob):
    held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    jobs.cancel(actor=bob, job=job)
    jobs.cancel(actor=bob, job=job)
    assert jobs.look(claim=held).cancel_requested
    assert jobs.confirm_cancelled(actor=worker, claim=held).state == "cancelled"
    assert actions(job)[-2:] == ["job.cancel_requested", "job.cancelled"]


def test_a_cancelled_job_whose_worker_is_lost_ends(job, worker, bob):
    jobs.claim(actor=worker, job_id=job.pk, owner="one")
    jobs.cancel(actor=bob, job=job)
    let_the_lease_run_out(job)
    assert jobs.claim(actor=worker, job_id=job.pk, owner="two") is None
    assert jobs.sweep(actor=worker)["cancelled"] == 1


def test_a_cancelled_job_that_is_given_back_ends(job, worker, bob):
    held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    jobs.cancel(actor=bob, job=job)
    assert jobs.release(actor=worker, claim=held, reason="The worker stops.").state == "cancelled"


def test_the_sweeper_rings_for_jobs_that_nobody_claimed(
    job, worker, settings, django_capture_on_commit_callbacks, monkeypatch
):
    rung = []
    monkeypatch.setattr("training.queue.ring", rung.append)
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs.sweep(actor=worker)["rung"] == 0
    TrainingJob.objects.update(rung_at=timezone.now() - timedelta(seconds=settings.RING_AGAIN_SECONDS + 1))
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs.sweep(actor=worker)["rung"] == 1
        assert jobs.sweep(actor=worker)["rung"] == 0
    assert rung == [job.pk]


def test_background_entries_name_the_service_and_the_person(job, worker, bob):
    jobs.claim(actor=worker, job_id=job.pk, owner="one")
    entry = LedgerEntry.objects.about(job).get(action="job.started")
    assert (entry.actor, entry.on_behalf_of) == (worker, bob)


def test_other_events_are_kept_and_move_nothing(job, worker):
    held = jobs.claim(actor=worker, job_id=job.pk, owner="one")
    before = (job.stage, job.step)
    jobs.record_events(
        actor=worker, claim=held, events=[Event("log", {"level": "info", "message": "Twelve rows are empty."})]
    )
    job.refresh_from_db()
    assert (job.stage, job.step) == before
    assert job.events.filter(data__message="Twelve rows are empty.").exists()
