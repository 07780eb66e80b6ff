"""The supervisor with the real engine: from a queued row to a registered version, and every way to end before that."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from governance.models import LedgerEntry
from projects.services import repositories
from tests.recorded import recorded
from training import supervisor
from training.models import ModelVersion, TrainingJob
from training.services import jobs, registry

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture
def run_root(settings, tmp_path) -> Path:
    settings.RUN_ROOT = tmp_path / "runs"
    return settings.RUN_ROOT


def weights(version: ModelVersion) -> str:
    return version.commit.files.get(path="adapter_model.safetensors").sha256


def test_a_job_becomes_a_registered_version(ground, bob, run_root):
    job = ground.submit(bob)
    assert supervisor.run(job_id=job.pk) == "succeeded"
    job.refresh_from_db()
    version = job.model_version
    assert (version.model.name, version.number, version.use_case) == ("sorter", 1, ground.use_case)
    paths = set(version.commit.files.values_list("path", flat=True))
    assert {
        "README.md",
        "adapter_model.safetensors",
        "adapter_config.json",
        "config.json",
        "tokenizer.json",
        "evaluation.json",
        "environment.json",
        "predictions.parquet",
        "spec.json",
    } <= paths
    spec = json.loads(repositories.read_blob(repositories.file_of(version.commit, "spec.json").blob))
    assert spec == job.spec
    assert job.evaluation.digest == version.commit.files.get(path="evaluation.json").sha256
    assert job.evaluation.test_rows == ground.version.split_rows["test"]
    kinds = set(job.events.values_list("type", flat=True))
    assert {"stage", "progress", "metrics", "artifact", "evaluation", "done", "log"} <= kinds
    assert job.events.order_by("pk").last().type == "done"
    assert not (run_root / str(job.pk)).exists()
    entries = LedgerEntry.objects.order_by("pk").values_list("action", "actor__email", "on_behalf_of__email")
    assert ("model_version.registered", "system@gatehouse.invalid", bob.email) in entries
    card = registry.card(version)
    for fact in (job.spec_digest, "learning_rate", "## Limitations", "0.003", "Majority", ground.version.commit.oid):
        assert fact in card
    assert "[More Information Needed]" not in card
    nodes = {node.kind for node in registry.lineage(version).nodes}
    assert nodes == {"use_case", "dataset", "base_model", "job", "model_version"}


def test_the_second_version_of_a_model_is_number_two(ground, bob, run_root):
    for _ in range(2):
        assert supervisor.run(job_id=ground.submit(bob).pk) == "succeeded"
    assert list(ModelVersion.objects.order_by("number").values_list("number", flat=True)) == [1, 2]


def test_a_second_doorbell_finds_nothing_to_claim(ground, bob, run_root):
    job = ground.submit(bob)
    supervisor.run(job_id=job.pk)
    assert supervisor.run(job_id=job.pk) == "nothing"
    assert ModelVersion.objects.count() == 1


def test_the_engine_sees_no_secret_and_dies_with_its_worker(ground, bob, run_root, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "do-not-tell")
    monkeypatch.setenv("DATABASE_URL", "postgresql://do-not-tell")
    seen = tmp_path / "environment"
    settings.ENGINE_COMMAND = ["/bin/sh", "-c", f"env > {seen}; exit 3"]
    job = ground.submit(bob)
    assert supervisor.run(job_id=job.pk) == "queued"
    text = seen.read_text()
    assert "do-not-tell" not in text
    assert "HF_HUB_OFFLINE=1" in text
    assert "GATEHOUSE" not in text


def test_an_engine_that_dies_without_a_word_is_tried_three_times(ground, bob, run_root, settings):
    settings.ENGINE_COMMAND = ["/bin/sh", "-c", "echo what went wrong >&2; kill -9 $$"]
    job = ground.submit(bob)
    assert [supervisor.run(job_id=job.pk) for _ in range(4)] == ["queued", "queued", "failed", "nothing"]
    job.refresh_from_db()
    assert job.error_code == "engine_died"
    assert "emory" in job.error_advice
    said = " ".join(data["message"] for data in job.events.filter(type="log").values_list("data", flat=True))
    assert "what went wrong" in said


def test_lines_that_are_no_events_become_log_lines(ground, bob, run_root, settings):
    good = '{"type":"log","at":"2026-01-01T00:00:00+00:00","level":"info","message":"fine"}'
    lines = f"printf '%s\\n' 'not json' '{{\"type\":\"progress\"}}' '{good}'"
    script = f"{lines}; head -c 3000000 /dev/zero | tr '\\0' x; exit 1"
    settings.ENGINE_COMMAND = ["/bin/sh", "-c", script]
    job = ground.submit(bob)
    supervisor.run(job_id=job.pk)
    said = [data["message"] for data in job.events.filter(type="log").values_list("data", flat=True)]
    assert sum("not an event" in message for message in said) >= 2
    assert "fine" in said
    assert any("more than 1 MiB" in message for message in said)


def test_a_result_that_is_not_what_was_reported_is_refused(ground, bob, run_root, settings, tmp_path):
    (tmp_path / "secret").write_text("a file of this machine")
    events = [
        {
            "type": "artifact",
            "at": "2026-01-01T00:00:00+00:00",
            "path": "../../../../secret",
            "sha256": "0" * 64,
            "size": 1,
        },
        {"type": "done", "at": "2026-01-01T00:00:00+00:00", "summary": {}},
    ]
    script = tmp_path / "lines"
    script.write_text("".join(json.dumps(event) + "\n" for event in events))
    settings.ENGINE_COMMAND = ["/bin/cat", str(script)]
    settings.JOB_ATTEMPTS = 1
    job = ground.submit(bob)
    assert supervisor.run(job_id=job.pk) == "failed"
    job.refresh_from_db()
    assert "not a file in its run folder" in job.error_message
    assert not ModelVersion.objects.exists()


def test_an_error_of_the_engine_reaches_the_person_with_advice(ground, bob, run_root):
    job = ground.submit(
        bob, overrides={"learning_rate": 0.1, "max_grad_norm": 1000.0, "epochs": 1, "precision": "fp32"}
    )
    with recorded():
        TrainingJob.objects.filter(pk=job.pk).update(spec={**job.spec, "recipe": "no_such_recipe"})
    assert supervisor.run(job_id=job.pk) == "failed"
    job.refresh_from_db()
    assert job.error_code == "bad_spec"
    assert job.error_advice


def long_job(ground, bob, **overrides):
    from tests.training.factories import QUICK

    return ground.submit(bob, overrides={**QUICK, "epochs": 60, "early_stopping": 0, **overrides})


def in_the_background(job):
    """Run the supervisor in a thread of its own, as a worker in the same process would; return (thread, outcomes)."""
    from django.db import connection

    outcomes = []

    def work():
        try:
            outcomes.append(supervisor.run(job_id=job.pk))
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcomes


def wait_for_step(job, step):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = TrainingJob.objects.get(pk=job.pk)
        if row.step >= step or row.is_finished:
            return row
        time.sleep(0.05)
    raise AssertionError(f"the job did not reach step {step}")


def engines_of(job):
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if "training.engine" in process.cmdline() and f"/{job.pk}/" in process.cwd():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_cancel_stops_a_running_engine(ground, bob, run_root):
    job = long_job(ground, bob)
    thread, outcomes = in_the_background(job)
    assert not wait_for_step(job, 5).is_finished
    jobs.cancel(actor=bob, job=job)
    thread.join(timeout=30)
    assert outcomes == ["cancelled"]
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert engines_of(job) == []
    assert not (run_root / str(job.pk)).exists()


def test_losing_the_job_kills_the_engine_at_once(ground, bob, run_root, system):
    job = long_job(ground, bob)
    thread, outcomes = in_the_background(job)
    wait_for_step(job, 5)
    TrainingJob.objects.filter(pk=job.pk).update(token=99, owner="somebody else")
    thread.join(timeout=10)
    assert outcomes == ["lost"]
    assert engines_of(job) == []
    job.refresh_from_db()
    assert (job.state, job.token, job.owner) == ("running", 99, "somebody else")


@pytest.mark.timeout(600)
def test_a_killed_and_a_stopped_attempt_end_in_the_same_weights(ground, bob, run_root):
    from tests.training.factories import QUICK

    quiet = {**QUICK, "epochs": 12, "early_stopping": 0, "checkpoint_seconds": 0}
    undisturbed = ground.submit(bob, overrides=quiet)
    assert supervisor.run(job_id=undisturbed.pk) == "succeeded"

    job = ground.submit(bob, overrides=quiet)
    for step, number in ((20, signal.SIGKILL), (60, signal.SIGTERM), (110, signal.SIGKILL)):
        thread, outcomes = in_the_background(job)
        row = wait_for_step(job, step)
        for pid in engines_of(job):
            os.kill(pid, number)
        thread.join(timeout=60)
        if row.is_finished or outcomes == ["succeeded"]:
            break
        # A worker that is lost counts as an attempt; a person would see three of them and then a failure.
        TrainingJob.objects.filter(pk=job.pk).update(attempts=0)
    else:
        assert supervisor.run(job_id=job.pk) == "succeeded"
    job.refresh_from_db()
    assert job.token > 1
    assert weights(job.model_version) == weights(undisturbed.model_version)
    assert engines_of(job) == []


def test_old_run_folders_are_removed_and_young_ones_kept(ground, bob, run_root, settings):
    settings.ENGINE_COMMAND = ["/bin/sh", "-c", "exit 1"]
    settings.JOB_ATTEMPTS = 1
    job = ground.submit(bob)
    supervisor.run(job_id=job.pk)
    assert (run_root / str(job.pk)).is_dir()
    assert supervisor.prune(older_than_days=1) == 0
    assert supervisor.prune(older_than_days=0) == 1
    assert not (run_root / str(job.pk)).exists()
