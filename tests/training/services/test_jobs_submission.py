"""Submitting, retrying and cancelling jobs: gates, fields, and what the ledger keeps."""

import pytest

from governance.models import LedgerEntry
from governance.services import access
from projects.services import datasets, use_cases
from tests.training.factories import QUICK, clear, make_dataset_version
from training.models import BaseModel, TrainingJob
from training.services import base_models, jobs

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def test_submit_freezes_everything_that_decides_the_result(ground, bob):
    job = ground.submit(bob)
    spec = job.spec
    assert job.state == TrainingJob.State.QUEUED
    assert spec["dataset"]["commit"] == ground.version.commit.oid
    assert spec["base_model"]["revision"] == ground.base_model.commit.oid
    assert set(spec["base_model"]["files"]) == set(ground.base_model.commit.files.values_list("path", flat=True))
    assert spec["hyperparameters"]["learning_rate"] == 3e-3
    assert spec["dataset"]["labels"] == ["account", "hardware", "travel"]
    assert {name: file["rows"] for name, file in spec["dataset"]["files"].items()} == ground.version.split_rows
    entry = LedgerEntry.objects.about(job).get()
    assert (entry.action, entry.actor, entry.subject_digest) == ("job.submitted", bob, job.spec_digest)


def test_the_same_description_has_the_same_digest(ground, bob):
    assert ground.submit(bob).spec_digest == ground.submit(bob).spec_digest
    assert ground.submit(bob).spec_digest != ground.submit(bob, seed=2).spec_digest


def test_submit_refuses_an_unapproved_use_case(ground, alice, bob):
    use_cases.change(actor=alice, use_case=ground.use_case, problem="Requests are now lost altogether, every day.")
    with pytest.raises(jobs.NotApproved) as refused:
        ground.submit(bob)
    assert refused.value.code == "not_approved"
    assert "use case is approved" in refused.value.missing[0]
    assert not TrainingJob.objects.exists()


def test_submit_refuses_an_unapproved_dataset(ground, alice, bob, team):
    other = make_dataset_version(actor=alice, team=team, name="others", rows=90)
    with pytest.raises(jobs.NotCleared) as refused:
        ground.submit(bob, dataset_version=other)
    assert len(refused.value.missing) == 1


def test_submit_refuses_a_withdrawn_dataset(ground, alice, bob):
    datasets.withdraw(actor=alice, version=ground.version, reason="It held names.")
    ground.version.refresh_from_db()
    with pytest.raises(jobs.NotCleared):
        ground.submit(bob)


def test_submit_refuses_a_base_model_that_is_not_allowed(ground, bob, carol):
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="Its licence changed.")
    ground.base_model.refresh_from_db()
    with pytest.raises(jobs.NotAllowed):
        ground.submit(bob)


def test_a_refusal_lists_everything_that_is_missing(ground, alice, bob, carol, team):
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="Its licence changed.")
    other = make_dataset_version(actor=alice, team=team, name="others", rows=90)
    with pytest.raises(jobs.NotCleared) as refused:
        ground.submit(bob, dataset_version=other, base_model=BaseModel.objects.get())
    assert len(refused.value.missing) == 2


def test_who_may_not_submit_is_refused(ground, eve, carol, dan):
    for person in (eve, carol, dan):
        with pytest.raises(access.Denied) as refused:
            ground.submit(person)
        assert refused.value.code == "missing_permission"


def test_wrong_fields_come_back_each_with_a_sentence(ground, bob):
    with pytest.raises(jobs.Invalid) as refused:
        ground.submit(
            bob,
            model_name="No Slug",
            overrides={"epochs": 0, "learning_rate": "fast"},
            baselines=["oracle"],
            seed=-1,
        )
    assert set(refused.value.errors) == {"model_name", "epochs", "learning_rate", "baselines", "seed"}


def test_a_model_name_belongs_to_one_use_case(ground, bob, alice, carol, team):
    from projects.services import repositories
    from tests.factories import make_approved_use_case
    from training.models import RegisteredModel

    repository = repositories.create(actor=bob, kind="model", team=team, name="sorter")
    RegisteredModel.objects.create(
        team=team,
        name="sorter",
        title="Sorter",
        use_case=ground.use_case,
        task="x",
        repository=repository,
        created_by=bob,
    )
    other = make_approved_use_case(actor=alice, reviewer=carol, team=team, title="Answer travel questions")
    clear(actor=alice, reviewer=carol, version=ground.version, use_case=other)
    with pytest.raises(jobs.Invalid) as refused:
        ground.submit(bob, use_case=other)
    assert set(refused.value.errors) == {"model_name"}


def test_the_same_key_is_the_same_submission(ground, bob, alice):
    first = ground.submit(bob, key="abc")
    assert ground.submit(bob, key="abc") == first
    assert ground.submit(alice, key="abc") != first
    assert ground.submit(bob) != first


def test_the_doorbell_rings_after_the_commit_and_may_fail(ground, bob, monkeypatch, django_capture_on_commit_callbacks):
    rung = []

    class Broken:
        def send_task(self, name, args, **_):
            rung.append((name, args))
            raise OSError("no broker")

    monkeypatch.setattr("training.queue.current_app", Broken())
    with django_capture_on_commit_callbacks(execute=True):
        job = ground.submit(bob)
        assert rung == []
    assert rung == [("training.run_job", [job.pk])]


def test_plan_tells_what_a_run_would_cost_and_what_is_missing(ground, bob, carol):
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="Its licence changed.")
    ground.base_model.refresh_from_db()
    plan = jobs.plan(actor=bob, **ground.described())
    assert not plan.ready
    assert [check.met for check in plan.checks] == [True, True, False]
    assert plan.steps == 2 * plan.steps_per_epoch == 2 * -(-plan.rows["train"] // 8)
    assert plan.truncation.measured == plan.rows["train"]
    assert 5 <= plan.truncation.mean_tokens <= 14
    assert plan.truncation.cut == 0
    assert abs(sum(share for _, _, share in plan.truncation.bins) - 1) < 1e-9
    assert plan.seconds.low < plan.seconds.likely < plan.seconds.high
    assert plan.calibrated_on == 0
    assert 0 < plan.trained_parameters < plan.total_parameters * 2
    assert not TrainingJob.objects.exists()


def test_plan_counts_the_texts_that_are_cut(ground, bob):
    plan = jobs.plan(actor=bob, **ground.described(overrides={"max_length": 8}))
    assert plan.truncation.cut > 0.3
    assert any("will be cut" in warning for warning in plan.warnings)


def test_plan_is_fitted_to_jobs_that_ran_here(ground, bob):
    first = jobs.plan(actor=bob, **ground.described())
    job = ground.submit(bob)
    TrainingJob.objects.filter(pk=job.pk).update(
        state="succeeded", started_at=job.queued_at, summary={"seconds": 3612.0}
    )
    second = jobs.plan(actor=bob, **ground.described())
    assert second.calibrated_on == 1
    assert second.seconds.likely == pytest.approx(3612, rel=0.01)
    assert first.seconds.likely < 60


def test_plan_adds_trained_parameters_of_full_and_lora(ground, bob):
    lora = jobs.plan(actor=bob, **ground.described())
    full = jobs.plan(actor=bob, **ground.described(method="full", overrides={**QUICK, "freeze_embeddings": False}))
    assert full.trained_parameters == ground.base_model.parameters + 17 * 3
    rank = lora.hyperparameters["lora_rank"]
    assert lora.trained_parameters == 4 * rank * 32 + 2 * rank * 48 + 17 * 3


def test_cancel_ends_a_queued_job_at_once(ground, bob):
    job = jobs.cancel(actor=bob, job=ground.submit(bob))
    assert job.state == TrainingJob.State.CANCELLED
    assert jobs.claim(actor=access_system(), job_id=job.pk, owner="w") is None
    with pytest.raises(jobs.NotPossible):
        jobs.cancel(actor=bob, job=job)


def access_system():
    from governance.models import User

    return User.objects.system()


def test_who_may_not_control_cannot_cancel(ground, bob, eve):
    job = ground.submit(bob)
    with pytest.raises(access.Denied):
        jobs.cancel(actor=eve, job=job)


def test_retry_makes_a_new_job_from_the_frozen_one(ground, bob):
    job = jobs.cancel(actor=bob, job=ground.submit(bob))
    again = jobs.retry(actor=bob, job=job)
    assert (again.spec_digest, again.retry_of) == (job.spec_digest, job)
    other = jobs.retry(actor=bob, job=job, overrides={"epochs": 3})
    assert other.spec["hyperparameters"]["epochs"] == 3
    assert {**other.spec["hyperparameters"], "epochs": 2} == job.spec["hyperparameters"]


def test_retry_asks_the_gates_again(ground, bob, carol):
    job = jobs.cancel(actor=bob, job=ground.submit(bob))
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="Its licence changed.")
    with pytest.raises(jobs.NotAllowed):
        jobs.retry(actor=bob, job=job)


def test_retry_refuses_a_job_that_still_waits(ground, bob):
    with pytest.raises(jobs.NotPossible):
        jobs.retry(actor=bob, job=ground.submit(bob))


def test_queue_position_says_what_a_job_waits_for(ground, bob):
    first, second = ground.submit(bob), ground.submit(bob)
    assert jobs.queue_position(first).ahead == 0
    assert jobs.queue_position(second).ahead == 1
    assert "1 job is ahead" in jobs.queue_position(second).reason
    assert jobs.queue_position(jobs.cancel(actor=bob, job=first)) is None


def test_queue_position_tells_of_the_last_attempt_and_of_what_runs(ground, bob, system):
    running, waiting = ground.submit(bob), ground.submit(bob)
    held = jobs.claim(actor=system, job_id=running.pk, owner="test")
    assert "when the running job ends" in jobs.queue_position(waiting).reason
    assert jobs.queue_position(waiting).running == 1
    jobs.release(actor=system, claim=held, reason="The worker stops.")
    other = ground.submit(bob, seed=3)
    for job in (running, other):
        jobs.claim(actor=system, job_id=job.pk, owner="test")
    assert "one of 2 running jobs" in jobs.queue_position(waiting).reason
    waiting.error_message = "The machine had no memory left."
    assert "will be tried again" in jobs.queue_position(waiting).reason


def test_a_retry_with_fields_that_do_not_fit_says_which(ground, bob):
    job = jobs.cancel(actor=bob, job=ground.submit(bob))
    with pytest.raises(jobs.Invalid) as refused:
        jobs.retry(actor=bob, job=job, overrides={"epochs": 0})
    assert "epochs" in refused.value.errors


def test_a_plan_lists_what_the_gates_still_want(ground, bob, carol):
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="Its licence changed.")
    ground.base_model.refresh_from_db()
    planned = jobs.plan(actor=bob, **ground.described())
    assert not planned.ready
    assert len(planned.missing) == 1
    assert planned.missing[0].startswith("The base model")
