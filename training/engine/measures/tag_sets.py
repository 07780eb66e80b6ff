"""Any number of tags per row: F1 over all answers, over tags, and rows that are right in every tag."""

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
    name="tag_sets",
    title="Any number of labels per text",
    metrics=(
        Metric("micro_f1", "Micro F1", "F1 over all labels given and all that should be, so frequent ones weigh more."),
        Metric("label_f1", "F1 by label", "The mean over labels of F1, so that rare labels count as much."),
        Metric("all_right", "Rows all right", "The share of test rows with exactly the right labels."),
    ),
    validation=("validation_micro_f1", "validation_label_f1"),
    limits=("A label is given where its probability is above one half; a text may get none.",),
)
THRESHOLD = 0.5


def _f1(hits: "np.ndarray", given: "np.ndarray", true: "np.ndarray") -> "np.ndarray":
    import numpy as np

    total = given + true
    return np.divide(2 * hits, total, out=np.zeros(np.shape(total)), where=total > 0)


def _micro(sums: "np.ndarray") -> "np.ndarray":
    return _f1(sums[..., 0], sums[..., 1], sums[..., 2])


def _macro(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    hits, given, true = np.split(sums, 3, axis=-1)
    present = given + true > 0
    # A label that occurs neither among answers nor among true rows is left out, as scikit-learn does.
    return _f1(hits, given, true).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)


def _mean(sums: "np.ndarray") -> "np.ndarray":
    return sums[..., 0] / sums[..., 1]


ANSWERS = {"micro_f1": _micro, "label_f1": _macro, "all_right": _mean}


def read(folder: Path, source: "DatasetSource", seed: int) -> "dict[str, Split]":
    """Return the splits with truth values, rows x tags, as labels."""
    from training.engine.data import read_all, read_tag_sets

    return read_all(folder, source, seed, read_tag_sets)


def context(run: "Run") -> "Context":
    """Return what the baselines work with: the same as for classes, with rows x tags as labels."""
    from training.engine.predictions import Context

    return Context(
        train=run.splits["train"],
        test_texts=run.splits["test"].texts,
        classes=len(run.spec.dataset.labels),
        seed=run.spec.seed,
        embed=lambda texts: run.frozen.embed(texts),
        embed_train=lambda: run.frozen.embed_train(),
        base_model_size=run.base_size,
    )


def figures(true: "np.ndarray", chances: "np.ndarray") -> dict[str, float]:
    """Return the figures of probabilities, rows x tags, for validation."""
    return {name: float(ANSWERS[name](table.sum(axis=0))) for name, table in sums_of(true, chances).items()}


def sums_of(true: "np.ndarray", chances: "np.ndarray") -> "dict[str, np.ndarray]":
    """Return for each metric what is summed over rows."""
    import numpy as np

    given = (chances > THRESHOLD).astype(np.float64)
    right = given * true
    return {
        "micro_f1": np.stack([right.sum(axis=1), given.sum(axis=1), true.sum(axis=1)], axis=1),
        "label_f1": np.concatenate([right, given, true], axis=1),
        "all_right": np.stack([(given == true).all(axis=1).astype(np.float64), np.ones(len(true))], axis=1),
    }


def compare(run: "Run", tuned: "Estimates", rivals: "list[Estimates]") -> dict[str, Any]:
    """Return the content of evaluation.json."""
    from training.engine import comparison

    true = run.splits["test"].labels
    candidates = [
        comparison.Candidate(
            one.name, sums_of(true, one.values), one.latencies_ms, one.throughput, one.size, one.details
        )
        for one in (tuned, *rivals)
    ]
    metrics = [metric.to_json() for metric in MEASURE.metrics]
    report = comparison.compare(metrics, MEASURE.metrics[0].name, ANSWERS, candidates, run.spec.seed)
    given = tuned.values > THRESHOLD
    by_label = []
    for place, label in enumerate(run.spec.dataset.labels):
        hits = int((given[:, place] & (true[:, place] > 0)).sum())
        said, support = int(given[:, place].sum()), int(true[:, place].sum())
        by_label.append(
            {
                "label": label,
                "precision": hits / said if said else 0.0,
                "recall": hits / support if support else 0.0,
                "f1": 2 * hits / (said + support) if said + support else 0.0,
                "support": support,
            }
        )
    return report | {
        "measure": MEASURE.name,
        "layout": run.spec.dataset.layout,
        "details": {"by_label": by_label, "threshold": THRESHOLD},
    }


def write(run: "Run", folder: Path, report: dict[str, Any], tuned: "Estimates", rivals: "list[Estimates]") -> None:
    """Write evaluation.json and predictions.parquet: row, true and predicted labels as lists."""
    from training.engine import comparison

    test, labels = run.splits["test"], run.spec.dataset.labels

    def named(table: "np.ndarray") -> list[list[str]]:
        return [[labels[place] for place in row.nonzero()[0]] for row in table]

    columns: dict[str, Any] = {"row": test.rows, "true_labels": named(test.labels > 0)}
    for one in (tuned, *rivals):
        columns[f"predicted_{one.name}"] = named(one.values > THRESHOLD)
    sums = {one.name: sums_of(test.labels, one.values)[report["primary"]] for one in (tuned, *rivals)}
    comparison.write(folder, report, columns, sums)


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the summary."""
    from training.engine import comparison

    return comparison.summary(report)
