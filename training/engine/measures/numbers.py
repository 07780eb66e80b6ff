"""A number per row: absolute and squared errors, and how much of the spread is explained."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.engine.measures import Measure, Metric

if TYPE_CHECKING:
    import numpy as np

    from training.engine.data import Split
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context
    from training.engine.run import Run
    from training.engine.spec import DatasetSource

MEASURE = Measure(
    name="numbers",
    title="A number per text",
    metrics=(
        Metric("mae", "Mean absolute error", "How far off an estimate is on average.", "number", higher=False),
        Metric("rmse", "Root mean squared error", "As above, with large errors weighing more.", "number", higher=False),
        Metric("r2", "Explained spread (R²)", "1 explains all differences between texts; 0 is the mean.", "number"),
        Metric("pearson", "Correlation", "Whether larger estimates go with larger numbers.", "number"),
    ),
    validation=("validation_mae", "validation_rmse"),
    limits=("It estimates a number for every text, also for one that has nothing to do with the question.",),
)


def _mean(sums: "np.ndarray") -> "np.ndarray":
    return sums[..., 0] / sums[..., 1]


def _root(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.sqrt(sums[..., 0] / sums[..., 1])


def _explained(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    rows, true, square, error = (sums[..., place] for place in range(4))
    spread = square - true**2 / rows
    return 1 - error / np.where(spread > 0, spread, np.inf)


def _correlation(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    rows, x, y, xx, yy, xy = (sums[..., place] for place in range(6))
    below = (rows * xx - x**2) * (rows * yy - y**2)
    # Rounding may leave a little below zero, or a little spread where there is none.
    return np.where(below > 1e-9, (rows * xy - x * y) / np.sqrt(np.maximum(below, 1e-9)), 0.0)


ANSWERS = {"mae": _mean, "rmse": _root, "r2": _explained, "pearson": _correlation}


def read(folder: Path, source: "DatasetSource", seed: int) -> "dict[str, Split]":
    """Return the splits with numbers as labels."""
    from training.engine.data import read_all, read_numbers

    return read_all(folder, source, seed, read_numbers)


def context(run: "Run") -> "Context":
    """Return what the baselines work with: the same as for classes, with numbers as labels."""
    from training.engine.predictions import Context

    return Context(
        train=run.splits["train"],
        test_texts=run.splits["test"].texts,
        classes=1,
        seed=run.spec.seed,
        embed=lambda texts: run.frozen.embed(texts),
        embed_train=lambda: run.frozen.embed_train(),
        base_model_size=run.base_size,
    )


def compare(run: "Run", tuned: "Estimates", rivals: "list[Estimates]") -> dict[str, Any]:
    """Return the content of evaluation.json."""
    import numpy as np

    from training.engine import comparison

    true = run.splits["test"].labels
    candidates = [
        comparison.Candidate(
            one.name, sums_of(true, numbers(one)), one.latencies_ms, one.throughput, one.size, one.details
        )
        for one in (tuned, *rivals)
    ]
    primary = MEASURE.primary_for(run.spec.dataset.layout).name
    metrics = [metric.to_json() for metric in MEASURE.metrics]
    report = comparison.compare(metrics, primary, ANSWERS, candidates, run.spec.seed)
    errors = numbers(tuned) - true
    edges = np.quantile(np.abs(errors), [0.5, 0.9, 1.0])
    return report | {
        "measure": MEASURE.name,
        "layout": run.spec.dataset.layout,
        "details": {
            "true": _spread(true),
            "estimated": _spread(numbers(tuned)),
            "bias": float(errors.mean()),
            "errors": {"median": float(edges[0]), "p90": float(edges[1]), "largest": float(edges[2])},
        },
    }


def numbers(answers: "Estimates") -> "np.ndarray":
    """Return one number for each row; a model answers with rows x 1."""
    return answers.values.reshape(len(answers.values))


def _spread(values: "np.ndarray") -> dict[str, float]:
    import numpy as np

    low, quarter, middle, three, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    return {
        "min": float(low),
        "q1": float(quarter),
        "median": float(middle),
        "q3": float(three),
        "max": float(high),
        "mean": float(values.mean()),
    }


def sums_of(true: "np.ndarray", given: "np.ndarray") -> "dict[str, np.ndarray]":
    """Return for each metric what is summed over rows."""
    import numpy as np

    one = np.ones(len(true))
    error = given - true
    # Moments are taken around fixed places near the data, so that large numbers lose no digits.
    x, y = given - true.mean(), true - true.mean()
    return {
        "mae": np.stack([np.abs(error), one], axis=1),
        "rmse": np.stack([error**2, one], axis=1),
        "r2": np.stack([one, y, y**2, error**2], axis=1),
        "pearson": np.stack([one, x, y, x**2, y**2, x * y], axis=1),
    }


def write(run: "Run", folder: Path, report: dict[str, Any], tuned: "Estimates", rivals: "list[Estimates]") -> None:
    """Write evaluation.json and predictions.parquet (row, true, predicted and sums of each candidate)."""
    from training.engine import comparison

    test = run.splits["test"]
    columns: dict[str, Any] = {"row": test.rows, "true": test.labels, "predicted": numbers(tuned)}
    for one in (tuned, *rivals):
        columns[f"predicted_{one.name}"] = numbers(one)
    sums = {one.name: sums_of(test.labels, numbers(one))[report["primary"]] for one in (tuned, *rivals)}
    comparison.write(folder, report, columns, sums)


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the summary."""
    from training.engine import comparison

    return comparison.summary(report)
