"""The artifacts of a run: the model as it will be served, and the records of how it came to be."""

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.engine import hardware, inference
from training.engine.data import tokenise
from training.engine.estimates import Estimates
from training.engine.files import list_files, sha256_of, write_json
from training.engine.pooling import load_classifier
from training.engine.predictions import Predictions, measure

if TYPE_CHECKING:
    from training.engine.loop import Trained
    from training.engine.run import Run

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "scikit-learn",
    "numpy",
    "pyarrow",
)


def save_model(run: "Run", trained: "Trained", folder: Path, base_name: str) -> None:
    """Write weights or adapter, configuration and tokenizer into an emptied ``folder``.

    ``base_name`` is what an adapter says it belongs to: the name under which its readers find the base model.
    """
    from peft import PeftModel

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = trained.model
    if isinstance(model, PeftModel):
        for config in model.peft_config.values():
            # Otherwise the path of this machine would become part of the artifact.
            config.base_model_name_or_path = base_name
            config.revision = run.spec.base_model.revision
            config.target_modules = sorted(config.target_modules)
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)
        model.get_base_model().config.save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)


def write_pooled(run: "Run", trained: "Trained", folder: Path, task: str, labels: list[str]) -> None:
    """Write a model with a pooled head; ``labels`` name its outputs."""
    save_model(run, trained, folder, run.spec.base_model.name)
    write_json(folder / "labels.json", labels)
    write_json(folder / "serving.json", {"max_length": trained.max_length, "task": task})


def predict_saved(run: "Run", trained: "Trained", folder: Path, texts: list[str]) -> Predictions:
    """Reload the classifier from ``folder`` as serving will, and return what it answers to ``texts``."""
    values, latencies, throughput, size, details = _saved_answers(run, trained, folder, texts)
    details = {"temperature": round(trained.temperature, 6), **details}
    return Predictions("tuned", values, latencies, throughput, size=size, details=details)


def estimate_saved(run: "Run", trained: "Trained", folder: Path, texts: list[str]) -> Estimates:
    """Reload the model from ``folder`` as serving will, and return what it answers to ``texts``."""
    return Estimates("tuned", *_saved_answers(run, trained, folder, texts))


def _saved_answers(
    run: "Run", trained: "Trained", folder: Path, texts: list[str]
) -> tuple[np.ndarray, list[float], float, int, dict[str, object]]:
    from training.engine.frozen import load_tokenizer

    model = load_classifier(folder, run.base_folder).to(run.hardware.device)
    tokenizer = load_tokenizer(folder)

    def answer(some: list[str]) -> np.ndarray:
        return inference.probabilities(model, tokenise(tokenizer, some, trained.max_length), run.hardware.device)

    found, latencies, throughput = measure(answer, texts)
    parameters = list(model.parameters())
    details: dict[str, object] = {
        "parameters": sum(p.numel() for p in parameters),
        "stored_bytes": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    }
    return found, latencies, throughput, sum(p.numel() * p.element_size() for p in parameters), details


def environment(run: "Run") -> dict[str, Any]:
    """Return what a person needs to run this again: packages, processor, threads, number format, seed."""
    return {
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": hardware.describe(),
        "device": run.hardware.device,
        "threads": run.hardware.threads,
        "precision": run.hardware.precision,
        "seed": run.spec.seed,
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def write_records(run: "Run", trained: "Trained", folder: Path) -> None:
    """Write spec.json, environment.json and training_log.jsonl (one line per logged step) into ``folder``."""
    write_json(folder / "spec.json", run.spec.to_json())
    write_json(folder / "environment.json", environment(run))
    lines = [json.dumps(entry, sort_keys=True) for entry in trained.history]
    (folder / "training_log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def list_artifacts(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Yield path, sha256 and size in bytes of every file in ``folder``."""
    for name in list_files(folder):
        yield name, sha256_of(folder / name), (folder / name).stat().st_size
