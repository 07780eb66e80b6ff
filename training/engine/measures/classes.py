"""One class per row: accuracy, macro F1, calibration, and McNemar's test; see ``training.engine.evaluation``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.engine.measures import Measure, Metric

if TYPE_CHECKING:
    from training.engine.data import Split
    from training.engine.predictions import Context, Predictions
    from training.engine.run import Run
    from training.engine.spec import DatasetSource

MEASURE = Measure(
    name="classes",
    title="One class per text",
    metrics=(
        Metric("accuracy", "Accuracy", "The share of test rows that got the right class."),
        Metric("macro_f1", "Macro F1", "The mean over classes of F1, so that rare classes count as much."),
    ),
    validation=("validation_accuracy", "validation_macro_f1"),
    limits=("Every text gets exactly one of the classes, also a text that belongs to none of them.",),
)


def read(folder: Path, source: "DatasetSource", seed: int) -> "dict[str, Split]":
    """Return the splits with class indices as labels."""
    from training.engine.data import read_splits

    return read_splits(folder, source, seed)


def context(run: "Run") -> "Context":
    """Return what the baselines work with."""
    from training.engine.predictions import Context

    return Context(
        train=run.splits["train"],
        test_texts=run.splits["test"].texts,
        classes=len(run.spec.dataset.labels),
        seed=run.spec.seed,
        embed=lambda texts: run.frozen.embed(texts),
        embed_train=lambda: run.frozen.embed_train(),
        base_model_size=run.base_size,
        balanced=run.hyperparameters.get("class_weights") == "balanced",
    )


def compare(run: "Run", tuned: "Predictions", rivals: "list[Predictions]") -> dict[str, Any]:
    """Return the content of evaluation.json, version 1."""
    from training.engine import evaluation

    return evaluation.compare(tuned, rivals, run.splits["test"].labels, list(run.spec.dataset.labels), run.spec.seed)


def write(run: "Run", folder: Path, report: dict[str, Any], tuned: "Predictions", rivals: "list[Predictions]") -> None:
    """Write evaluation.json and predictions.parquet into ``folder``."""
    from training.engine import evaluation

    evaluation.write(folder, report, tuned, rivals, run.splits["test"], list(run.spec.dataset.labels))


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the summary."""
    candidates = report["candidates"]
    return {
        "accuracy": candidates[0]["accuracy"]["value"],
        "macro_f1": candidates[0]["macro_f1"]["value"],
        "baselines": {c["name"]: c["accuracy"]["value"] for c in candidates[1:]},
    }
