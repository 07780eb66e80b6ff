"""A program that speaks the engine's protocol and trains nothing: a chain of hashes with checkpoints.

Its result is the same however often it was killed and resumed, and it notes which attempt made it.
"""

import hashlib
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

STEPS = 10

stop = False


def ask_to_stop(*_: object) -> None:
    global stop
    stop = True


def emit(kind: str, **data: object) -> None:
    line = json.dumps({"type": kind, "at": datetime.now(UTC).isoformat(), **data}) + "\n"
    os.write(1, line.encode())


def write(path: Path, value: object) -> str:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(value))
    draft.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def link(state: str, step: int) -> str:
    return hashlib.sha256(f"{state}{step}".encode()).hexdigest()


def report(labels: list[str], rows: int) -> dict:
    per_class = [{"label": name, "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1} for name in labels]
    tuned = {
        "name": "tuned",
        "accuracy": {"value": 1.0, "low": 1.0, "high": 1.0},
        "macro_f1": {"value": 1.0, "low": 1.0, "high": 1.0},
        "per_class": per_class,
        "confusion": [],
        "calibration": {"ece": 0.0, "brier": 0.0, "log_loss": 0.0, "bins": []},
        "latency_ms": {"p50": 1.0, "p95": 1.0, "examples": 1},
        "throughput": 1.0,
        "size": 1,
        "details": {},
    }
    return {
        "version": 1,
        "rows": rows,
        "classes": labels,
        "seed": 0,
        "confidence": 0.95,
        "resamples": 0,
        "candidates": [tuned],
        "comparisons": [],
        "disagreements": {"total": 0, "shown": []},
    }


def main() -> int:
    signal.signal(signal.SIGTERM, ask_to_stop)
    request = json.loads(sys.stdin.read())
    spec, placement = request["spec"], request["placement"]
    run, token = Path(placement["run"]), placement["token"]
    own = run / "checkpoints" / f"token-{token}"
    own.mkdir(parents=True, exist_ok=True)
    state, step = str(spec["seed"]), 0
    for path in (run / "checkpoints").glob("token-*/step-*.json"):
        held = json.loads(path.read_text())
        if held["step"] > step:
            state, step = held["state"], held["step"]
    emit("stage", name="train", message=f"Going on after step {step}.")
    while step < STEPS:
        if stop:
            return 75
        time.sleep(float(sys.argv[1]))
        step += 1
        state = link(state, step)
        sha256 = write(own / f"step-{step}.json", {"state": state, "step": step})
        emit("checkpoint", step=step, path=f"checkpoints/token-{token}/step-{step}.json", manifest=sha256)
        emit("progress", step=step, max_steps=STEPS, epoch=1.0, eta_s=0, useful_tokens=step, useful_tokens_per_s=1.0)
    folder = run / "artifacts"
    folder.mkdir(exist_ok=True)
    for name, value in (
        ("weights.json", {"state": state}),
        ("maker.json", {"token": token}),
        ("environment.json", {"python": "3"}),
        ("evaluation.json", report(spec["dataset"]["labels"], spec["dataset"]["files"]["test"]["rows"])),
    ):
        sha256 = write(folder / name, value)
        emit("artifact", path=f"artifacts/{name}", sha256=sha256, size=(folder / name).stat().st_size)
    emit("evaluation", path="artifacts/evaluation.json")
    emit("done", summary={"steps": STEPS, "seconds": 0.5})
    return 0


if __name__ == "__main__":
    sys.exit(main())
