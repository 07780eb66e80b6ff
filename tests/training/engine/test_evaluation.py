"""The numbers agree with scikit-learn, with exact tests worked out elsewhere, and with simulation."""

import numpy as np
import pytest
from sklearn import metrics

from training.engine import evaluation
from training.engine.predictions import Predictions

LABELS = ["a", "b", "c", "d"]


def candidate(name: str, probabilities: np.ndarray) -> Predictions:
    return Predictions(name, probabilities, [1.0, 2.0, 3.0], 100.0, 1000)


@pytest.fixture(scope="module")
def answers() -> tuple[np.ndarray, Predictions, Predictions]:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 400)
    good = rng.dirichlet(np.ones(4), 400) + 1.2 * np.eye(4)[true]
    poor = rng.dirichlet(np.ones(4), 400) + 0.4 * np.eye(4)[true]
    return (
        true,
        candidate("tuned", good / good.sum(1, keepdims=True)),
        candidate("rival", poor / poor.sum(1, keepdims=True)),
    )


def test_accuracy_f1_and_confusion_equal_scikit_learn(answers: tuple[np.ndarray, Predictions, Predictions]) -> None:
    true, tuned, rival = answers
    result = evaluation.compare(tuned, [rival], true, LABELS, seed=1)
    for measured, given in zip(result["candidates"], (tuned, rival), strict=True):
        predicted = given.predicted
        assert measured["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(true, predicted))
        assert measured["macro_f1"]["value"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
        assert measured["confusion"] == metrics.confusion_matrix(true, predicted, labels=range(4)).tolist()
        expected = metrics.precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=0)
        for k, row in enumerate(measured["per_class"]):
            assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
                [part[k] for part in expected]
            )


def test_calibration_equals_scikit_learn_and_a_plain_loop(
    answers: tuple[np.ndarray, Predictions, Predictions],
) -> None:
    true, tuned, _ = answers
    found = evaluation.calibration(tuned.probabilities, true)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(true, tuned.probabilities, labels=range(4)))
    assert found["brier"] == pytest.approx(((tuned.probabilities - np.eye(4)[true]) ** 2).sum(1).mean())
    error = 0.0
    for row in found["bins"]:
        top = tuned.probabilities.max(1)
        inside = (top >= row["low"]) & (top < row["high"])
        assert inside.sum() == row["count"]
        if inside.any():
            error += inside.mean() * abs(top[inside].mean() - (tuned.predicted == true)[inside].mean())
    assert found["ece"] == pytest.approx(error)


def test_intervals_agree_with_resampling_row_by_row(answers: tuple[np.ndarray, Predictions, Predictions]) -> None:
    true, tuned, _ = answers
    [ours] = evaluation.resample(true, [tuned.predicted], 4, seed=5)
    rng = np.random.default_rng(9)
    rows = [rng.integers(0, 400, 400) for _ in range(600)]
    plain = [metrics.f1_score(true[r], tuned.predicted[r], average="macro") for r in rows]
    assert len(ours.macro_f1) == evaluation.RESAMPLES
    assert evaluation.interval(ours.macro_f1) == pytest.approx(evaluation.interval(np.array(plain)), abs=0.012)
    exact = np.sqrt(ours.accuracy.mean() * (1 - ours.accuracy.mean()) / 400)
    assert ours.accuracy.std() == pytest.approx(exact, rel=0.08)


def test_the_same_seed_gives_the_same_evaluation(answers: tuple[np.ndarray, Predictions, Predictions]) -> None:
    true, tuned, rival = answers
    assert evaluation.compare(tuned, [rival], true, LABELS, 3) == evaluation.compare(tuned, [rival], true, LABELS, 3)


@pytest.mark.parametrize(
    ("only_first", "only_second", "exact", "middle"),
    # Binomial tails worked out by hand: 2 * P(X <= min), and that less P(X = min).
    [(0, 0, 1.0, 1.0), (5, 0, 0.0625, 0.03125), (1, 9, 22 / 1024, 12 / 1024), (3, 3, 1.0, 1.0)],
)
def test_mcnemar_gives_the_values_of_the_binomial_distribution(
    only_first: int, only_second: int, exact: float, middle: float
) -> None:
    assert evaluation.mcnemar(only_first, only_second) == pytest.approx((exact, middle))


def test_a_better_model_is_called_better_and_an_equal_one_is_not(
    answers: tuple[np.ndarray, Predictions, Predictions],
) -> None:
    true, tuned, rival = answers
    result = evaluation.compare(tuned, [rival, candidate("twin", tuned.probabilities)], true, LABELS, seed=1)
    versus, twin = result["comparisons"]
    assert versus["better"]
    assert versus["accuracy"]["low"] > 0
    assert versus["macro_f1"]["p"] < 0.01
    assert not twin["better"]
    assert twin["accuracy"]["p_mid"] == twin["macro_f1"]["p"] == 1.0
    total = int((tuned.predicted != rival.predicted).sum())
    assert result["disagreements"]["total"] == total
    assert len(result["disagreements"]["shown"]) == min(total, evaluation.SHOWN)
