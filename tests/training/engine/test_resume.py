"""A killed or stopped run continues and ends with the weights of one that nobody touched."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.engine.conftest import Launcher, Outcome, World, sha256
from training.engine import checkpoints
from training.engine.spec import EXIT_DONE, EXIT_STOPPED, Placement

SETTINGS = {
    "epochs": 3,
    "checkpoint_seconds": 0,
    "evaluations_per_epoch": 2,
    "early_stopping": 3,
    "gradient_accumulation": 1,
    "lora_dropout": 0.1,
}


def weights(outcome: Outcome) -> str:
    """Return the hash of the exported weights, adapter or full."""
    [path] = (outcome.run / "artifacts").glob("*.safetensors")
    return sha256(path)


def placed(world: World, folder: Path, token: int = 1) -> Placement:
    return Placement(str(world.base), str(world.dataset), str(folder), token=token, threads=1)


@pytest.fixture(scope="module")
def untouched(world: World, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """A run of each method that nobody interrupted."""
    return {
        method: launcher.run(world.with_settings(method, **SETTINGS), placed(world, tmp_path_factory.mktemp(method)))
        for method in ("full", "lora")
    }


def kill_and_finish(world: World, launcher: Launcher, folder: Path, method: str, times: int) -> tuple[Outcome, int]:
    """Kill a run at so many random steps, let it finish, and return its outcome and how many kills struck."""
    spec = world.with_settings(method, **SETTINGS)
    steps = sorted(random.Random(method).sample(range(2, 34), times))
    struck = 0
    for attempt, step in enumerate(steps, start=1):
        child = launcher.start(spec, placed(world, folder, token=attempt))
        struck += child.send_after_step(step, signal.SIGKILL)
        child.wait()
    return launcher.run(spec, placed(world, folder, token=times + 1)), struck


@pytest.mark.parametrize(
    ("method", "times"),
    [("full", 1), ("lora", 2), pytest.param("full", 12, marks=pytest.mark.slow)],
)
def test_a_run_killed_at_random_steps_ends_with_the_same_weights(
    world: World, launcher: Launcher, tmp_path: Path, untouched: dict[str, Outcome], method: str, times: int
) -> None:
    finished, struck = kill_and_finish(world, launcher, tmp_path, method, times)
    assert struck >= (times + 1) // 2
    assert finished.code == EXIT_DONE, finished.stderr
    assert any("Continuing from" in event.data["message"] for event in finished.of("log"))
    assert weights(finished) == weights(untouched[method])
    tokens = [outcome.of("done")[0].data["summary"]["useful_tokens"] for outcome in (finished, untouched[method])]
    assert tokens[0] == tokens[1]


def test_a_stop_saves_a_checkpoint_and_exits_with_its_own_code(
    world: World, launcher: Launcher, tmp_path: Path
) -> None:
    spec = world.with_settings(**{**SETTINGS, "checkpoint_seconds": 3600, "gradient_accumulation": 2})
    untouched = launcher.run(spec, placed(world, tmp_path / "untouched"))
    child = launcher.start(spec, placed(world, tmp_path / "stopped"))
    assert child.send_after_step(3, signal.SIGTERM)
    stopped = child.wait()
    assert stopped.code == EXIT_STOPPED
    assert len(stopped.of("checkpoint")) == 1
    assert not stopped.of("error")
    finished = launcher.run(spec, placed(world, tmp_path / "stopped", token=2))
    assert finished.code == EXIT_DONE
    assert weights(finished) == weights(untouched)


def test_a_damaged_checkpoint_is_passed_over(
    world: World, launcher: Launcher, tmp_path: Path, untouched: dict[str, Outcome]
) -> None:
    spec = world.with_settings(**SETTINGS)
    child = launcher.start(spec, placed(world, tmp_path / "damaged"))
    assert child.send_after_step(6, signal.SIGKILL)
    child.wait()
    newest = checkpoints.find(tmp_path / "damaged")[0]
    with (newest.path / "optimizer.pt").open("r+b") as file:
        file.seek(200)
        file.write(b"damage")
    finished = launcher.run(spec, placed(world, tmp_path / "damaged", token=2))
    assert any("damaged" in event.data["message"] for event in finished.of("log"))
    assert weights(finished) == weights(untouched["full"])


def test_a_run_that_was_killed_after_training_does_not_train_again(
    world: World, launcher: Launcher, tmp_path: Path
) -> None:
    spec = world.with_settings(**{**SETTINGS, "early_stopping": 1, "epochs": 10})
    first = launcher.run(spec, placed(world, tmp_path / "run"))
    again = launcher.run(spec, placed(world, tmp_path / "run", token=2))
    assert first.of("done")[0].data["summary"]["steps"] < 120
    assert not again.of("progress")
    assert weights(again) == weights(first)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    world: World, launcher: Launcher, tmp_path: Path, untouched: dict[str, Outcome]
) -> None:
    spec = world.with_settings("lora", **SETTINGS)
    again = launcher.run(spec, placed(world, tmp_path / "again"))
    other = launcher.run(replace(spec, seed=8), placed(world, tmp_path / "other"))
    assert weights(again) == weights(untouched["lora"])
    assert weights(other) != weights(untouched["lora"])
