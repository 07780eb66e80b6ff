"""Any figure that is a function of sums over rows, with its interval, and whether the tuned model's is better.

``evaluation.json`` (version 2, for every measure but classes, whose version 1 is in ``training.engine.evaluation``)::

    version: 2, measure, layout, rows, seed, confidence: 0.95, resamples: 2000
    primary: the metric that decides
    metrics: [{name, title, help, unit, higher, interval}]
    candidates: [ the tuned model first, then the baselines, each:
      name
      metrics: {name: {value, low, high}}               percentile bootstrap; a metric that it has not is left out
      latency_ms: {p50, p95, examples}, throughput, size, details: as in version 1
    ]
    comparisons: [ one per baseline:
      baseline
      metrics: {name: {difference, low, high, p}}       tuned minus baseline, paired bootstrap, two-sided p
      better: whether the tuned model's primary figure is better with p below 0.05
    ]
    details: of the measure, for its page

``predictions.parquet`` has one line per evaluated test row: ``row`` (its place in the split's file), what the measure
adds, and for each candidate ``sums_<name>``, the numbers of which its primary figure is a function.

A candidate's rows are summed with random weights (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13; the same weights for every candidate, as in Berg-Kirkpatrick, Burkett and Klein, EMNLP 2012).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95
SIGNIFICANT = 0.05
_SLICE = 8_000_000

Formula = Callable[[np.ndarray], np.ndarray]
"""Maps sums (..., k) to a figure (...)."""


@dataclass(frozen=True)
class Candidate:
    """What is known of one candidate: for each metric the numbers of each row (rows x k) that are summed for it."""

    name: str
    sums: Mapping[str, np.ndarray]
    latencies_ms: list[float]
    throughput: float
    size: int
    details: dict[str, object] = field(default_factory=dict)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap distribution."""
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def resampled(sums: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Return for each table (rows x k) its sums over ``RESAMPLES`` resamples of the rows, resamples x k."""
    rows = len(sums[0])
    rng = np.random.default_rng([seed, 3])
    step = max(1, _SLICE // rows)
    parts: list[list[np.ndarray]] = [[] for _ in sums]
    for start in range(0, RESAMPLES, step):
        weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=min(step, RESAMPLES - start)).astype(np.float64)
        for part, table in zip(parts, sums, strict=True):
            part.append(weights @ table)
    return [np.concatenate(part) for part in parts]


def difference(ours: np.ndarray, theirs: np.ndarray, formula: Formula, seed: int) -> dict[str, float]:
    """Return how much the first candidate's figure is above the second's on the same rows, with interval and p."""
    value = float(formula(ours.sum(axis=0)) - formula(theirs.sum(axis=0)))
    first, second = resampled([ours, theirs], seed)
    return _gain(value, formula(first) - formula(second))


def _gain(value: float, gains: np.ndarray) -> dict[str, float]:
    low, high = interval(gains)
    # One is added to both counts so that a p-value estimated from resamples is never exactly zero.
    tail = (min((gains <= 0).sum(), (gains >= 0).sum()) + 1) / (RESAMPLES + 1)
    return {"difference": value, "low": low, "high": high, "p": float(min(1.0, 2 * tail))}


def compare(
    metrics: list[dict[str, Any]], primary: str, formulas: Mapping[str, Formula], candidates: list[Candidate], seed: int
) -> dict[str, Any]:
    """Return what evaluation.json says of ``candidates`` (the tuned one first), without what the measure adds."""
    values: list[dict[str, float]] = [{} for _ in candidates]
    draws: list[dict[str, np.ndarray]] = [{} for _ in candidates]
    for name, formula in formulas.items():
        held = [(place, c.sums[name]) for place, c in enumerate(candidates) if name in c.sums]
        for (place, table), sums in zip(held, resampled([t for _, t in held], seed) if held else [], strict=True):
            values[place][name] = float(formula(table.sum(axis=0)))
            draws[place][name] = formula(sums)
    higher = {metric["name"]: metric["higher"] for metric in metrics}
    shown = [metric for metric in metrics if metric["name"] in values[0]]
    return {
        "version": 2,
        "rows": len(next(iter(candidates[0].sums.values()))),
        "seed": seed,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "primary": primary,
        "metrics": shown,
        "candidates": [_measured(candidate, values[place], draws[place]) for place, candidate in enumerate(candidates)],
        "comparisons": [
            _compared(rival.name, primary, higher[primary], (values[0], values[place]), (draws[0], draws[place]))
            for place, rival in enumerate(candidates[1:], start=1)
        ],
    }


def _measured(candidate: Candidate, values: dict[str, float], draws: dict[str, np.ndarray]) -> dict[str, Any]:
    estimates = {}
    for name, value in values.items():
        low, high = interval(draws[name])
        estimates[name] = {"value": value, "low": low, "high": high}
    p50, p95 = np.percentile(candidate.latencies_ms or [0.0], [50, 95])
    return {
        "name": candidate.name,
        "metrics": estimates,
        "latency_ms": {"p50": float(p50), "p95": float(p95), "examples": len(candidate.latencies_ms)},
        "throughput": float(candidate.throughput),
        "size": int(candidate.size),
        "details": dict(candidate.details),
    }


def _compared(
    baseline: str,
    primary: str,
    higher: bool,
    values: tuple[dict[str, float], dict[str, float]],
    draws: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
) -> dict[str, Any]:
    found = {
        name: _gain(values[0][name] - values[1][name], draws[0][name] - draws[1][name])
        for name in values[0]
        if name in values[1]
    }
    decided = found.get(primary)
    better = decided is not None and decided["p"] < SIGNIFICANT and (decided["difference"] > 0) == higher
    return {"baseline": baseline, "metrics": found, "better": bool(better)}


def write(folder: Path, report: dict[str, Any], columns: dict[str, Any], sums: Mapping[str, np.ndarray]) -> None:
    """Write evaluation.json and predictions.parquet; ``sums`` holds by candidate the numbers of its primary figure."""
    import pyarrow
    import pyarrow.parquet

    from training.engine.files import write_json

    write_json(folder / "evaluation.json", report)
    kept = {f"sums_{name}": list(table.astype(np.float64)) for name, table in sums.items()}
    pyarrow.parquet.write_table(pyarrow.table({**columns, **kept}), folder / "predictions.parquet")


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run's summary."""
    primary = report["primary"]
    first = report["candidates"][0]["metrics"]
    return {
        **{name: found["value"] for name, found in first.items()},
        "primary": primary,
        "baselines": {
            c["name"]: c["metrics"][primary]["value"] for c in report["candidates"][1:] if primary in c["metrics"]
        },
    }
