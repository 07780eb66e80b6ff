"""The dry run: every field that does not fit has its sentence, and what cannot be counted is estimated."""

from types import SimpleNamespace

import pytest

from projects.models import Blob
from projects.models.teams import RESERVED_NAMES
from projects.services import repositories
from tests.recorded import recorded
from tests.training.factories import Ground
from training.services import jobs
from training.services.jobs import samples

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def planned(ground: Ground, person, **changes) -> jobs.Plan:
    """Return the plan of such a job."""
    return jobs.plan(actor=person, **ground.described(**changes))


def test_each_field_that_does_not_fit_has_its_sentence(ground, bob):
    word = next(name for name in sorted(RESERVED_NAMES) if name.isalpha() and len(name) > 3)
    for field, changes in {
        "recipe": {"recipe": "alchemy"},
        "model_name": {"model_name": word},
        "dataset_version": {"baselines": ["majority", "majority"]},
    }.items():
        found = planned(ground, bob, **changes)
        assert field in found.errors, changes
        assert found.spec is None
    ground.base_model.family = "a family that nobody knows"
    assert "base_model" in planned(ground, bob).errors


def test_data_that_cannot_be_trained_on_says_why(ground, bob):
    version = ground.version
    rows, labels = dict(version.split_rows), list(version.labels)
    version.labels = labels[:1]
    assert "two different labels" in planned(ground, bob).errors["dataset_version"]
    version.labels, version.split_rows = labels, {"train": rows["train"]}
    assert "no rows in the split “test”" in planned(ground, bob).errors["dataset_version"]
    version.split_rows, version.commit_id = rows, None
    assert "not imported yet" in planned(ground, bob).errors["dataset_version"]


def test_a_plan_warns_of_few_rows_and_of_rows_left_out(ground, bob):
    version = ground.version
    few = planned(ground, bob)
    version.split_rows = {"train": 4_000, "test": 400}
    version.error_count = 3
    many = planned(ground, bob)
    assert any("confidence intervals will be wide" in line for line in few.warnings)
    assert not any("is little" in line or "confidence intervals" in line for line in many.warnings)
    assert any("3 rows of the upload were refused" in line for line in many.warnings)
    # Without rows set aside for validation, a tenth of the training rows is.
    assert many.steps < 2 * -(-4_000 // 16) * many.hyperparameters["epochs"]


def test_without_a_readable_tokenizer_the_lengths_are_estimated(ground, bob, tmp_path, monkeypatch):
    assert planned(ground, bob).truncation.measured > 0
    (tmp_path / "tokenizer.json").write_text("this is no tokenizer")
    files = ground.base_model.commit.files.filter(path="tokenizer.json")
    kept = files.get().blob_id
    with recorded():
        files.update(blob=repositories.store_blob(tmp_path / "tokenizer.json"))
    unreadable = planned(ground, bob)
    assert unreadable.truncation.measured == 0
    assert unreadable.truncation.longest > 0
    repositories.local_path(files.get().blob).unlink()
    samples._texts.cache_clear()
    assert planned(ground, bob).truncation.measured == 0
    with recorded():
        files.update(blob=kept)
    samples._texts.cache_clear()

    def broken(path):
        raise RuntimeError("a defect of ours, not of the file")

    monkeypatch.setattr(samples, "Tokenizer", SimpleNamespace(from_file=broken))
    with pytest.raises(RuntimeError):
        planned(ground, bob)
    with recorded():
        files.delete()
    assert planned(ground, bob).truncation.measured == 0


def test_rows_whose_file_is_not_at_hand_are_estimated(ground, bob):
    train = samples.split_files(ground.version)["train"]
    held = repositories.local_path(Blob(sha256=train.sha256))
    away = held.with_name("away")
    samples._texts.cache_clear()
    held.rename(away)
    try:
        assert planned(ground, bob).truncation.measured == 0
    finally:
        away.rename(held)
        samples._texts.cache_clear()
