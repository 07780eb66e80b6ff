"""Candidates side by side: paired significance on the same rows, and where they disagree."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from projects.services import datasets, repositories
from projects.services.fields import Invalid
from tests.chaos.quick_engine import report
from training.services import evaluations, jobs

pytestmark = [pytest.mark.django_db]


def evaluated(ground, person, worker, folder, wrong, **changes):
    """Return the evaluation of a job whose tuned model is wrong on these rows; its rival says the first label."""
    job = ground.submit(person, **changes)
    held = jobs.claim(actor=worker, job_id=job.pk, owner="test")
    rows = datasets.example_rows(version=ground.version, split="test", count=200)
    labels = job.spec["dataset"]["labels"]
    true = [row["label"] for row in rows]
    tuned = [labels[(labels.index(label) + 1) % len(labels)] if i in wrong else label for i, label in enumerate(true)]
    found = report(labels, len(true))
    found["candidates"].append({**found["candidates"][0], "name": "majority"})
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    for name, value in (("evaluation.json", found), ("environment.json", {})):
        (folder / "artifacts" / name).write_text(json.dumps(value))
    table = {"row": list(range(len(true))), "true": true, "predicted": tuned, "predicted_tuned": tuned}
    table["predicted_majority"] = [labels[0]] * len(true)
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "artifacts" / "predictions.parquet")
    artifacts = {
        f"artifacts/{path.name}": repositories.store_blob(path).sha256 for path in (folder / "artifacts").iterdir()
    }
    jobs.finish(actor=worker, claim=held, folder=folder, artifacts=artifacts, summary={})
    job.refresh_from_db()
    return job.evaluation


def test_candidates_of_two_jobs_are_compared_on_the_same_rows(ground, bob, system, tmp_path):
    good = evaluated(ground, bob, system, tmp_path / "a", {0})
    bad = evaluated(ground, bob, system, tmp_path / "b", {0, 1, 2, 3, 4, 5, 6, 7}, seed=2)
    found = evaluations.compare(user=bob, evaluations=[good, bad])
    keys = [candidate.key for candidate in found.candidates]
    assert keys == [f"{good.job_id}:tuned", f"{good.job_id}:majority", f"{bad.job_id}:tuned"]
    assert found.candidates[0].against is None
    against = found.candidates[2].against
    assert against.difference == pytest.approx(-7 / good.test_rows)
    assert against.low <= against.difference <= against.high < 0
    assert against.verdict == "worse"
    turned = evaluations.compare(user=bob, evaluations=[good, bad], reference=keys[2])
    assert turned.candidates[0].against.verdict == "better"


def test_disagreements_show_the_text_to_who_may_see_the_data(ground, bob, system, carol, tmp_path):
    one = evaluated(ground, bob, system, tmp_path / "a", {3})
    two = evaluated(ground, bob, system, tmp_path / "b", set(), seed=2)
    found = evaluations.compare(user=bob, evaluations=[one, two], shown=500)
    row = next(item for item in found.disagreements if item.row == 4)
    rows = datasets.example_rows(version=ground.version, split="test", count=10)
    assert row.text == rows[3]["text"]
    assert row.true == row.predicted[f"{two.job_id}:tuned"] != row.predicted[f"{one.job_id}:tuned"]
    assert found.total_disagreements == len(found.disagreements)


def test_texts_are_withheld_from_who_may_not_see_the_data(ground, bob, eve, system, tmp_path):
    one = evaluated(ground, bob, system, tmp_path / "a", {3})
    found = evaluations.compare(user=eve, evaluations=[one])
    assert found.disagreements
    assert all(item.text == "" for item in found.disagreements)


def test_jobs_on_other_test_rows_cannot_be_compared(ground, bob, system, tmp_path):
    one = evaluated(ground, bob, system, tmp_path / "a", set())
    two = evaluated(ground, bob, system, tmp_path / "b", set(), seed=2)
    two.job.spec["dataset"]["files"]["test"]["sha256"] = "0" * 64
    with pytest.raises(Invalid):
        evaluations.compare(user=bob, evaluations=[one, two])
    with pytest.raises(Invalid):
        evaluations.compare(user=bob, evaluations=[])
    with pytest.raises(Invalid):
        evaluations.compare(user=bob, evaluations=[one], reference="nonsense")


def test_no_difference_is_called_no_difference():
    true = np.array(["a", "b"] * 50)
    found = evaluations.paired(true, true.copy(), true.copy())
    assert (found.difference, found.p, found.verdict) == (0.0, 1.0, "no significant difference")
    one_off = true.copy()
    one_off[0] = "b"
    assert evaluations.paired(true, one_off, true).verdict == "no significant difference"
