"""What the engine left is taken exactly as it reported it, or not at all."""

import json

import pytest

from projects.models import Blob
from projects.services import repositories
from tests.chaos.quick_engine import report
from training.models import Evaluation, ModelVersion
from training.services import jobs

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture
def run(ground, bob, system, tmp_path):
    """Return a function that finishes bob's job with these files, each reported as it is or with another digest."""
    job = ground.submit(bob)
    held = jobs.claim(actor=system, job_id=job.pk, owner="test")
    folder = tmp_path / "run"
    (folder / "artifacts").mkdir(parents=True)
    sound = report(job.spec["dataset"]["labels"], job.spec["dataset"]["files"]["test"]["rows"])

    def finish(*, reported=None, claim=held, **changed):
        files = {"evaluation.json": json.dumps(sound), "environment.json": "{}", "weights.json": "1"} | {
            f"{name}.json": text for name, text in changed.items()
        }
        artifacts = {}
        for name, text in files.items():
            if text is not None:
                (folder / "artifacts" / name).write_text(text)
                artifacts[f"artifacts/{name}"] = repositories.store_blob(folder / "artifacts" / name).sha256
        return jobs.finish(
            actor=system, claim=claim, folder=folder, artifacts=artifacts | (reported or {}), summary={"steps": 1}
        )

    finish.folder, finish.sound, finish.claim = folder, sound, held
    return finish


def changed(value: dict, **more) -> str:
    """Return the report with other parts, as the engine would write it."""
    return json.dumps(value | more)


def test_a_result_that_is_not_what_was_agreed_is_refused_and_nothing_is_registered(run):
    tuned, *others = run.sound["candidates"]
    wrong = {
        "reported no evaluation.json": {"evaluation": None},
        "evaluation.json is not readable": {"evaluation": "{"},
        "NaN is not a number that JSON knows": {"evaluation": '{"rows": NaN}'},
        "evaluation.json is not a JSON object": {"evaluation": "[1]"},
        "reported no environment.json": {"environment": None},
        "does not have the form that was agreed": {"evaluation": "{}"},
        "does not begin with the tuned model": {
            "evaluation": changed(run.sound, candidates=[tuned | {"name": "majority"}, *others])
        },
    }
    for words, files in wrong.items():
        with pytest.raises(jobs.BadResult, match=words):
            run(**files)
    assert not ModelVersion.objects.exists()
    assert not Evaluation.objects.exists()


def test_a_file_that_is_not_the_one_reported_is_refused(run, tmp_path):
    with pytest.raises(jobs.BadResult, match="its sha256 differs"):
        run(reported={"artifacts/weights.json": "ab" * 32})
    (tmp_path / "secret").write_text("a file of this machine")
    (run.folder / "artifacts" / "link.json").symlink_to(tmp_path / "secret")
    for path in ("artifacts/link.json", "../secret", "artifacts/gone.json", "artifacts"):
        with pytest.raises(jobs.BadResult, match="not a file in its run folder"):
            run(reported={path: "ab" * 32})
    assert not ModelVersion.objects.exists()
    assert not Blob.objects.filter(sha256="ab" * 32).exists()


def test_a_worker_that_lost_the_job_registers_nothing(run, system):
    jobs.release(actor=system, claim=run.claim, reason="The worker stops.")
    with pytest.raises(jobs.LostOwnership):
        run()
    assert not ModelVersion.objects.exists()
