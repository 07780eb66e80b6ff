"""A whole run of the engine as a process: what it leaves, and how it fails."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from safetensors.torch import load_file, save_file

from tests.training.engine.conftest import Launcher, Outcome, World, sha256, write_csv
from training.engine import baselines, inference
from training.engine.calibration import fit_temperature
from training.engine.data import read_split, tokenise
from training.engine.frozen import load_tokenizer
from training.engine.pooling import load_classifier
from training.engine.spec import EXIT_BAD_SPEC, EXIT_DONE, EXIT_FAILED, Placement, RunSpec, SplitFile


@pytest.fixture(scope="module")
def finished(world: World, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    spec = world.with_settings(
        "lora",
        baselines=tuple(baselines.fitting("classes", "classes")),
        epochs=12,
        head_start="linear_probe",
        class_weights="balanced",
    )
    folder = tmp_path_factory.mktemp("finished")
    outcome = launcher.run(spec, Placement(str(world.base), str(world.dataset), str(folder), 1, 1))
    assert outcome.code == EXIT_DONE, outcome.stderr
    return outcome


def test_every_artifact_is_announced_with_its_hash(finished: Outcome) -> None:
    folder = finished.run / "artifacts"
    announced = {event.data["path"]: event.data["sha256"] for event in finished.of("artifact")}
    assert announced == {f"artifacts/{path.name}": sha256(path) for path in folder.iterdir()}
    for name in ("adapter_model.safetensors", "tokenizer.json", "labels.json", "spec.json", "environment.json"):
        assert f"artifacts/{name}" in announced


def test_no_artifact_holds_a_path_of_this_machine_or_a_pickle(finished: Outcome, world: World) -> None:
    for path in (finished.run / "artifacts").iterdir():
        assert path.suffix in {".json", ".jsonl", ".safetensors", ".parquet"}
        content = path.read_bytes()
        for place in (world.base, world.dataset, finished.run):
            assert str(place).encode() not in content, path.name


def test_the_evaluation_holds_all_baselines_and_beats_the_majority(finished: Outcome) -> None:
    result = json.loads((finished.run / "artifacts" / "evaluation.json").read_text())
    assert [candidate["name"] for candidate in result["candidates"]] == [
        "tuned",
        *baselines.fitting("classes", "classes"),
    ]
    versus = {row["baseline"]: row for row in result["comparisons"]}
    assert versus["majority"]["better"]
    predictions = pyarrow.parquet.read_table(finished.run / "artifacts" / "predictions.parquet").to_pydict()
    right = sum(a == b for a, b in zip(predictions["true"], predictions["predicted"], strict=True))
    assert right / 45 == result["candidates"][0]["accuracy"]["value"]
    assert finished.of("done")[0].data["summary"]["accuracy"] == right / 45


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_saved_model_is_calibrated_on_the_validation_split(finished: Outcome, world: World) -> None:
    folder = finished.run / "artifacts"
    model, tokenizer = load_classifier(folder, world.base), load_tokenizer(folder)
    validation = read_split(world.dataset, world.spec.dataset.files["validation"], world.spec.dataset)
    answers = inference.logits(model, tokenise(tokenizer, validation.texts, 64), "cpu")
    assert fit_temperature(answers, validation.labels) == pytest.approx(1, abs=0.01)
    tuned = json.loads((folder / "evaluation.json").read_text())["candidates"][0]
    assert tuned["details"]["temperature"] != pytest.approx(1, abs=0.01)


def test_events_tell_the_stages_progress_and_metrics_in_order(finished: Outcome) -> None:
    stages = [event.data["name"] for event in finished.of("stage")]
    assert stages == ["verify", "prepare", "train", "baselines", "evaluate", "export"]
    steps = [event.data["step"] for event in finished.of("progress")]
    assert steps == sorted(steps)
    assert steps[0] == 1
    validated = [event for event in finished.of("metrics") if "validation_macro_f1" in event.data["values"]]
    assert len(validated) >= 1
    assert finished.events[-1].type == "done"


def spoiled(world: World, folder: Path, rows: list[tuple[str, str]]) -> tuple[RunSpec, Path]:
    """Return a specification whose training split holds other rows, and the folder of that dataset."""
    for split in ("validation", "test"):
        os.link(world.dataset / f"{split}.csv", folder / f"{split}.csv")
    write_csv(folder / "train.csv", rows)
    train = SplitFile("train.csv", sha256(folder / "train.csv"), len(rows))
    files = {**world.spec.dataset.files, "train": train}
    return replace(world.with_settings(), dataset=replace(world.spec.dataset, files=files)), folder


ROWS = [("reset my password", "account"), ("new laptop", "hardware"), ("book a flight", "travel")] * 3


@pytest.mark.parametrize(
    ("rows", "code", "word"),
    [
        ([*ROWS, ("hello", "weather")], "unknown_label", "line 11"),
        ([*ROWS, ("  ", "travel")], "unreadable_data", "line 11"),
        (ROWS[:4], "too_little_data", "hardware"),
    ],
)
def test_bad_rows_are_named_by_line(
    world: World, launcher: Launcher, tmp_path: Path, rows: list[tuple[str, str]], code: str, word: str
) -> None:
    spec, dataset = spoiled(world, tmp_path, rows)
    outcome = launcher.run(spec, Placement(str(world.base), str(dataset), str(tmp_path / "run"), 1, 1))
    assert outcome.code == EXIT_FAILED
    assert outcome.error["code"] == code
    assert word in outcome.error["message"]
    assert not outcome.error["retryable"]


def test_a_changed_data_file_is_refused(world: World, launcher: Launcher, tmp_path: Path) -> None:
    spec, dataset = spoiled(world, tmp_path, ROWS)
    write_csv(dataset / "train.csv", ROWS[::-1])
    outcome = launcher.run(spec, Placement(str(world.base), str(dataset), str(tmp_path / "run"), 1, 1))
    assert outcome.error["code"] == "hash_mismatch"


def test_a_loss_that_is_not_a_number_ends_the_run_with_advice(world: World, launcher: Launcher, tmp_path: Path) -> None:
    base = Path(shutil.copytree(world.base, tmp_path / "base"))
    weights = load_file(base / "model.safetensors")
    weights["embeddings.LayerNorm.weight"][0] = float("inf")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    files = {path.name: sha256(path) for path in base.iterdir()}
    spec = replace(world.with_settings(), base_model=replace(world.spec.base_model, files=files))
    outcome = launcher.run(spec, Placement(str(base), str(world.dataset), str(tmp_path / "run"), 1, 1))
    assert outcome.code == EXIT_FAILED
    assert (outcome.error["code"], outcome.error["retryable"]) == ("nan_loss", False)
    assert "step 1" in outcome.error["message"]
    assert "learning rate" in outcome.error["advice"]


def test_a_full_disk_is_named_and_retryable(world: World, launcher: Launcher, place: Placement) -> None:
    outcome = launcher.run(world.with_settings(), place, fault="disk_full")
    assert outcome.code == EXIT_FAILED, outcome.stderr
    assert (outcome.error["code"], outcome.error["retryable"]) == ("disk_full", True)


def test_running_out_of_memory_says_which_settings_need_less(
    world: World, launcher: Launcher, place: Placement
) -> None:
    outcome = launcher.run(world.with_settings(), place, fault="out_of_memory")
    assert outcome.code == EXIT_FAILED, outcome.stderr
    assert (outcome.error["code"], outcome.error["retryable"]) == ("out_of_memory", False)
    assert "batch size" in outcome.error["advice"]
    # The same specification with less to hold at once then goes through, in the same folder.
    assert launcher.run(world.with_settings(batch_size=4, gradient_accumulation=2), place).code == EXIT_DONE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"spec": {}, "placement": {}}'])
def test_input_that_is_no_specification_has_its_own_exit_code(launcher: Launcher, text: str) -> None:
    outcome = launcher.run(text)
    assert outcome.code == EXIT_BAD_SPEC
    assert outcome.error["code"] == "bad_spec"


def test_an_unknown_recipe_baseline_or_setting_is_a_bad_specification(
    world: World, launcher: Launcher, place: Placement
) -> None:
    plain = world.with_settings()
    for spec in (
        replace(plain, recipe="alchemy"),
        replace(plain, baselines=("oracle",)),
        replace(plain, hyperparameters={**plain.hyperparameters, "epochs": 0}),
    ):
        assert launcher.run(spec, place).code == EXIT_BAD_SPEC


def test_nothing_that_libraries_print_reaches_the_events(world: World, launcher: Launcher, place: Placement) -> None:
    outcome = launcher.run(world.spec, place, fault="noise")
    [event] = outcome.events
    assert event.data["code"] == "internal"
    assert "from python" in outcome.stderr
    assert "from c" in outcome.stderr
