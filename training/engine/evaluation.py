"""How good a tuned model is, how sure that is, and whether it beats each cheap rival on the same rows.

``evaluation.json`` (version 1) holds::

    version, rows, classes: [names], seed, confidence: 0.95, resamples: 2000
    candidates: [ the tuned model first, then the baselines, each:
      name
      accuracy, macro_f1:   {value, low, high}          percentile bootstrap interval
      per_class: [{label, precision, recall, f1, support}]
      confusion: [[count]]                              rows: true class, columns: predicted class
      calibration: {ece, brier, log_loss, bins: [{low, high, count, confidence, accuracy}]}
      latency_ms: {p50, p95, examples}                  single examples, one after the other
      throughput: texts per second in batches
      size: bytes to hold in memory
      details: {}                                       of the tuned one: parameters, stored_bytes, and the
                                                        temperature that is folded into its head
    ]
    comparisons: [ one per baseline:
      baseline
      accuracy: {difference, low, high, only_tuned_right, only_baseline_right, p_exact, p_mid}
      macro_f1: {difference, low, high, p}
      better: whether the tuned model's accuracy is higher with p_mid below 0.05
    ]
    disagreements: {total, shown: [{row, true, predicted: {candidate: label}}]}

``predictions.parquet`` has one line per test row: ``row`` (its place in the split's file), ``true``, ``predicted``
(by the tuned model), and for each candidate ``predicted_<name>`` and ``probability_<name>`` (of its answer).

Formulas: bootstrap intervals are Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13, and the
paired test follows Berg-Kirkpatrick, Burkett and Klein, "An Empirical Investigation of Statistical Significance in
NLP" (EMNLP 2012). McNemar's exact and mid-p tests are as in Fagerland, Lydersen and Laake, "The McNemar test for
binary matched-pairs data" (BMC Medical Research Methodology 13:91, 2013). The expected calibration error is Guo et
al., "On Calibration of Modern Neural Networks" (ICML 2017), with 15 bins of equal width; the Brier score is the sum
over classes of the original paper (1950), between 0 and 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from training.engine.data import Split
from training.engine.files import write_json
from training.engine.predictions import Predictions

RESAMPLES = 2000
CONFIDENCE = 0.95
BINS = 15
SHOWN = 200
SIGNIFICANT = 0.05
# Resampling weights are drawn in slices of about this many numbers, which bounds memory for any test split.
_SLICE = 8_000_000


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts, true class x predicted class."""
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def macro_f1(hits: np.ndarray, answers: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return macro F1 over the last axis, from counts per class of hits, answers and true rows.

    A class that occurs neither among answers nor among true rows is left out, as scikit-learn does.
    """
    weight = answers + support
    present = weight > 0
    scores = np.divide(2 * hits, weight, out=np.zeros(weight.shape), where=present)
    return np.asarray(scores.sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def per_class(matrix: np.ndarray, labels: list[str]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each class; a ratio without denominator is 0."""
    hits, answers, support = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    result = []
    for k, label in enumerate(labels):
        result.append(
            {
                "label": label,
                "precision": float(hits[k] / answers[k]) if answers[k] else 0.0,
                "recall": float(hits[k] / support[k]) if support[k] else 0.0,
                "f1": float(2 * hits[k] / (answers[k] + support[k])) if answers[k] + support[k] else 0.0,
                "support": int(support[k]),
            }
        )
    return result


def calibration(probabilities: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """Return expected calibration error, Brier score, log loss, and the bins of a reliability diagram."""
    rows = np.arange(len(true))
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == true
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for b in range(BINS):
        inside = which == b
        count = int(inside.sum())
        mean = float(confidence[inside].mean()) if count else None
        share = float(right[inside].mean()) if count else None
        if mean is not None and share is not None:
            error += count / len(true) * abs(mean - share)
        bins.append({"low": b / BINS, "high": (b + 1) / BINS, "count": count, "confidence": mean, "accuracy": share})
    chances = probabilities[rows, true]
    brier = (probabilities**2).sum(axis=1) - 2 * chances + 1
    return {
        "ece": error,
        "brier": float(brier.mean()),
        "log_loss": float(-np.log(np.clip(chances, 1e-15, 1)).mean()),
        "bins": bins,
    }


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """Return the two-sided exact and mid-p values for the counts of rows that only one of two candidates got right."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0, 1.0
    tail = float(binom.cdf(fewer, total, 0.5))
    middle = 2 * tail - float(binom.pmf(fewer, total, 0.5))
    return min(1.0, 2 * tail), min(1.0, middle)


@dataclass(frozen=True)
class Resampled:
    """Bootstrap values of one candidate, one per resample; the same resamples are used for every candidate."""

    accuracy: np.ndarray
    macro_f1: np.ndarray


def _weights(rows: int, seed: int) -> Iterator[np.ndarray]:
    """Yield slices of resampling weights, resamples x rows: how often each row was drawn."""
    rng = np.random.default_rng([seed, 3])
    step = max(1, _SLICE // rows)
    for start in range(0, RESAMPLES, step):
        yield rng.multinomial(rows, np.full(rows, 1 / rows), size=min(step, RESAMPLES - start)).astype(np.float32)


def resample(true: np.ndarray, answers: list[np.ndarray], classes: int, seed: int) -> list[Resampled]:
    """Return the bootstrap distributions of accuracy and macro F1 of several candidates over the same rows."""
    rows = len(true)
    eye = np.eye(classes, dtype=np.float32)
    truth = eye[true]
    parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in answers]
    for weights in _weights(rows, seed):
        support = weights @ truth
        for part, predicted in zip(parts, answers, strict=True):
            given = eye[predicted]
            hits = weights @ (given * truth)
            part.append((hits.sum(axis=1) / rows, macro_f1(hits, weights @ given, support)))
    return [
        Resampled(np.concatenate([a for a, _ in part]).astype(float), np.concatenate([f for _, f in part]))
        for part in parts
    ]


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap distribution."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _estimate(value: float, values: np.ndarray) -> dict[str, float]:
    low, high = interval(values)
    return {"value": float(value), "low": low, "high": high}


def _measure(candidate: Predictions, true: np.ndarray, labels: list[str], resampled: Resampled) -> dict[str, Any]:
    matrix = confusion(true, candidate.predicted, len(labels))
    f1 = float(macro_f1(matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)))
    p50, p95 = np.percentile(candidate.latencies_ms, [50, 95])
    return {
        "name": candidate.name,
        "accuracy": _estimate(float(matrix.trace() / len(true)), resampled.accuracy),
        "macro_f1": _estimate(f1, resampled.macro_f1),
        "per_class": per_class(matrix, labels),
        "confusion": matrix.tolist(),
        "calibration": calibration(candidate.probabilities, true),
        "latency_ms": {"p50": float(p50), "p95": float(p95), "examples": len(candidate.latencies_ms)},
        "throughput": float(candidate.throughput),
        "size": int(candidate.size),
        "details": dict(candidate.details),
    }


def _compare(
    tuned: Predictions, rival: Predictions, true: np.ndarray, ours: Resampled, theirs: Resampled
) -> dict[str, Any]:
    right, rival_right = tuned.predicted == true, rival.predicted == true
    only_tuned, only_rival = int((right & ~rival_right).sum()), int((~right & rival_right).sum())
    exact, middle = mcnemar(only_tuned, only_rival)
    gain = float(right.mean() - rival_right.mean())
    classes = tuned.probabilities.shape[1]
    scores = []
    for candidate in (tuned, rival):
        matrix = confusion(true, candidate.predicted, classes)
        scores.append(float(macro_f1(matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1))))
    gains = ours.macro_f1 - theirs.macro_f1
    # One is added to both counts so that a p-value estimated from resamples is never exactly zero.
    tail = (min((gains <= 0).sum(), (gains >= 0).sum()) + 1) / (RESAMPLES + 1)
    low, high = interval(ours.accuracy - theirs.accuracy)
    f1_low, f1_high = interval(gains)
    return {
        "baseline": rival.name,
        "accuracy": {
            "difference": gain,
            "low": low,
            "high": high,
            "only_tuned_right": only_tuned,
            "only_baseline_right": only_rival,
            "p_exact": exact,
            "p_mid": middle,
        },
        "macro_f1": {
            "difference": scores[0] - scores[1],
            "low": f1_low,
            "high": f1_high,
            "p": float(min(1.0, 2 * tail)),
        },
        "better": bool(gain > 0 and middle < SIGNIFICANT),
    }


def _disagreements(candidates: list[Predictions], true: np.ndarray, labels: list[str], seed: int) -> dict[str, Any]:
    answers = np.stack([candidate.predicted for candidate in candidates])
    rows = np.flatnonzero((answers != answers[0]).any(axis=0))
    chosen = rows
    if len(rows) > SHOWN:
        chosen = np.sort(np.random.default_rng([seed, 4]).choice(rows, SHOWN, replace=False))
    shown = [
        {
            "row": int(row),
            "true": labels[true[row]],
            "predicted": {c.name: labels[a] for c, a in zip(candidates, answers[:, row], strict=True)},
        }
        for row in chosen
    ]
    return {"total": len(rows), "shown": shown}


def compare(
    tuned: Predictions, rivals: list[Predictions], true: np.ndarray, labels: list[str], seed: int
) -> dict[str, Any]:
    """Return the content of evaluation.json, as the module's docstring describes it."""
    candidates = [tuned, *rivals]
    resampled = resample(true, [candidate.predicted for candidate in candidates], len(labels), seed)
    return {
        "version": 1,
        "rows": len(true),
        "classes": labels,
        "seed": seed,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "candidates": [_measure(c, true, labels, r) for c, r in zip(candidates, resampled, strict=True)],
        "comparisons": [
            _compare(tuned, rival, true, resampled[0], theirs)
            for rival, theirs in zip(rivals, resampled[1:], strict=True)
        ],
        "disagreements": _disagreements(candidates, true, labels, seed),
    }


def write(
    folder: Path, result: dict[str, Any], tuned: Predictions, rivals: list[Predictions], test: Split, labels: list[str]
) -> None:
    """Write evaluation.json and predictions.parquet into ``folder``."""
    import pyarrow
    import pyarrow.parquet

    write_json(folder / "evaluation.json", result)
    names = np.array(labels, dtype=object)
    columns: dict[str, Any] = {
        "row": test.rows,
        "true": names[test.labels].tolist(),
        "predicted": names[tuned.predicted].tolist(),
    }
    for candidate in (tuned, *rivals):
        columns[f"predicted_{candidate.name}"] = names[candidate.predicted].tolist()
        columns[f"probability_{candidate.name}"] = candidate.probabilities.max(axis=1).astype(np.float64)
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "predictions.parquet")
