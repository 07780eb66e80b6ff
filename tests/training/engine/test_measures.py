"""Figures that are functions of sums over rows: equal to scikit-learn's, with paired intervals."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, root_mean_squared_error

from training.engine import comparison, measures

NUMBERS, TAGS = measures.load("numbers"), measures.load("tag_sets")


def values_of(measure, sums: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(measure.ANSWERS[name](table.sum(axis=0))) for name, table in sums.items()}


def test_figures_of_numbers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(1e6, 10, 200)
    given = true + rng.normal(1, 3, 200)
    found = values_of(NUMBERS, NUMBERS.sums_of(true, given))
    assert found["mae"] == pytest.approx(mean_absolute_error(true, given))
    assert found["rmse"] == pytest.approx(root_mean_squared_error(true, given))
    assert found["r2"] == pytest.approx(r2_score(true, given))
    assert found["pearson"] == pytest.approx(np.corrcoef(true, given)[0, 1])
    constant = values_of(NUMBERS, NUMBERS.sums_of(true, np.full(200, np.median(true))))
    assert constant["pearson"] == pytest.approx(0, abs=1e-6)
    assert constant["r2"] <= 0


def test_figures_of_tags_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    true = (rng.random((100, 4)) > 0.6).astype(np.float32)
    chances = np.clip(true + rng.normal(0, 0.4, true.shape), 0, 1)
    found = TAGS.figures(true, chances)
    said = chances > 0.5
    assert found["micro_f1"] == pytest.approx(f1_score(true, said, average="micro"))
    assert found["label_f1"] == pytest.approx(f1_score(true, said, average="macro"))
    assert found["all_right"] == pytest.approx((said == true).all(axis=1).mean())


def test_a_rival_is_beaten_only_where_the_difference_is_no_chance() -> None:
    rng = np.random.default_rng(2)
    true = rng.normal(0, 10, 150)
    close, level, far = (true + rng.normal(0, size, 150) for size in (2, 2, 6))
    candidates = [
        comparison.Candidate(name, NUMBERS.sums_of(true, given), [1.0], 1.0, 1)
        for name, given in (("tuned", close), ("level", level), ("far", far))
    ]
    metrics = [metric.to_json() for metric in NUMBERS.MEASURE.metrics]
    report = comparison.compare(metrics, "mae", NUMBERS.ANSWERS, candidates, seed=1)
    versus = {row["baseline"]: row for row in report["comparisons"]}
    assert not versus["level"]["better"]
    assert versus["far"]["better"]
    # Less is better here: the tuned model's error is smaller, so the difference is negative.
    assert versus["far"]["metrics"]["mae"]["high"] < 0
    tuned = report["candidates"][0]["metrics"]["mae"]
    assert tuned["low"] < tuned["value"] < tuned["high"]
    again = comparison.compare(metrics, "mae", NUMBERS.ANSWERS, candidates, seed=1)
    assert again == report


def test_a_figure_that_a_rival_has_not_is_left_out() -> None:
    one = np.ones((10, 2))
    tuned = comparison.Candidate("tuned", {"mae": one, "rmse": one}, [1.0], 1.0, 1)
    rival = comparison.Candidate("rival", {"rmse": one}, [], 0.0, 1)
    metrics = [metric.to_json() for metric in NUMBERS.MEASURE.metrics]
    report = comparison.compare(metrics, "mae", NUMBERS.ANSWERS, [tuned, rival], seed=1)
    assert [metric["name"] for metric in report["metrics"]] == ["mae", "rmse"]
    assert set(report["candidates"][1]["metrics"]) == {"rmse"}
    assert not report["comparisons"][0]["better"]
