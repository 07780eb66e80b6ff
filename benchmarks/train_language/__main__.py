"""``python -m benchmarks.train_language``: the same tuning of a language model as a job and as trl's plain script.

Each round runs both in turn, each in a process of its own, with the same variables, threads, seed, batch size and
number of steps. Batches by length, and a last layer that is computed for learned tokens alone, are the job's own merit.
Printed are useful tokens per second (without padding, over the whole of training with its validations and checkpoints)
as a ratio of medians; whether trl computes the same loss on the test rows for the model that the job has saved as the
job reported; and how good the two models are.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.train_language import material
from training.engine.spec import Placement, RunSpec, write_request

ROOT = Path(__file__).resolve().parents[2]
TRL = Path(os.environ.get("TRL_PACKAGES", ROOT / ".venv-trl"))
GOAL = 1.3
TOLERANCE = 1e-6


def _run(arguments: list[str], spec: RunSpec, placement: Placement, *more: Path) -> str:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    # Passive waiting, which the engine sets for itself, helps both on a shared machine; so both have it.
    shared = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        input=write_request(spec, placement),
        capture_output=True,
        text=True,
        env={**kept, **shared, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *more)))},
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout[-500:]}\n{done.stderr[-3000:]}")
    return done.stdout


def through_script(spec: RunSpec, placement: Placement, *arguments: str) -> dict[str, Any]:
    """Run the plain script and return what it measured."""
    lines = _run(["benchmarks.train_language.plain", *arguments], spec, placement, TRL).splitlines()
    return json.loads([line for line in lines if line.startswith("RESULT ")][-1].removeprefix("RESULT "))


def through_engine(spec: RunSpec, placement: Placement) -> dict[str, Any]:
    """Run the engine process as a worker's supervisor starts it, and return what it reports."""
    last = json.loads(_run(["training.engine"], spec, placement).splitlines()[-1])
    summary = last["summary"]
    return {
        "useful_tokens": summary["useful_tokens"],
        "seconds": summary["train_seconds"],
        "padding": summary["padding_share"],
        "loss": math.log(summary["perplexity"]),
    }


def _speed(results: list[dict[str, Any]]) -> float:
    return statistics.median(result["useful_tokens"] / result["seconds"] for result in results)


def main() -> int:
    """Run the comparison; the exit code is 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_language", description=__doc__)
    parser.add_argument("--base", type=Path, help="folder of a language model; without it a random one is made")
    parser.add_argument("--method", choices=("full", "lora"), default="lora")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not (TRL / "trl").is_dir():
        raise SystemExit(f"trl is not in {TRL}; the first lines of benchmarks/train_language/requirements.txt say how.")
    measured: dict[str, list[dict[str, Any]]] = {"job": [], "plain": []}
    with tempfile.TemporaryDirectory(prefix="train-language-") as folder:
        spec, placement = material.build(
            Path(folder), arguments.base, arguments.method, arguments.epochs, arguments.rows, arguments.seed
        )
        # Every test row is measured for its loss; only few are answered in words, which is not timed here.
        settings = {**spec.hyperparameters, "answered_rows": spec.dataset.files["test"].rows, "answer_tokens": 1}
        spec = RunSpec.from_json({**spec.to_json(), "hyperparameters": settings})
        for number in range(arguments.rounds):
            where = material.placed(placement, number, arguments.threads)
            for name in measured:
                result = through_engine(spec, where) if name == "job" else through_script(spec, where)
                measured[name].append(result)
                print(
                    f"round {number + 1} {name:5} {result['useful_tokens'] / result['seconds']:8.0f} useful tokens/s  "
                    f"{result['seconds']:7.2f} s  test loss {result['loss']:.6f}",
                    flush=True,
                )
        saved = Path(material.placed(placement, 0, 1).run) / "artifacts"
        again = through_script(spec, material.placed(placement, 0, arguments.threads), "--evaluate", str(saved))
    job, plain = measured["job"], measured["plain"]
    ratio, difference = _speed(job) / _speed(plain), abs(again["loss"] - job[0]["loss"])
    print(
        f"load {os.getloadavg()[0]:.1f} at the end; {arguments.threads} threads, medians of {arguments.rounds} rounds"
    )
    print(f"padding of the job's batches: {job[0]['padding']:.1%}")
    apart = job[0]["loss"] - plain[0]["loss"]
    print(f"test loss, job minus plain script: {apart:+.4f} (other order of batches, warm-up and weight decay)")
    rows = [
        ("useful tokens/s, job over trl's plain script", ratio, GOAL, True),
        ("test loss of the job's model, as trl computes it, minus as reported", difference, TOLERANCE, False),
    ]
    met = True
    for title, value, goal, at_least in rows:
        good = value >= goal if at_least else value <= goal
        met = met and good
        bound = "at least" if at_least else "at most"
        print(f"{title}: {value:.3g} (goal: {bound} {goal:g}) {'met' if good else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
