"""The temperature makes probabilities honest and changes no answer."""

import numpy as np
import pytest

from training.engine.calibration import HIGHEST, LOWEST, apply_temperature, fit_temperature
from training.engine.evaluation import calibration
from training.engine.inference import softmax


def draw(rows: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that are ``sharpness`` times too large, and labels drawn from the honest ones."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(scale=2, size=(rows, 5))
    labels = np.array([rng.choice(5, p=chances) for chances in softmax(honest)])
    return honest * sharpness, labels


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_how_much_too_sharp_the_logits_are(sharpness: float) -> None:
    logits, labels = draw(20_000, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.05)


def test_scaling_lowers_the_calibration_error_on_other_rows() -> None:
    temperature = fit_temperature(*draw(1_000, 3.0, seed=1))
    logits, labels = draw(5_000, 3.0, seed=2)
    before, after = (calibration(softmax(logits / by), labels) for by in (1.0, temperature))
    assert after["ece"] < before["ece"] / 3
    assert after["log_loss"] < before["log_loss"]


def test_a_small_split_without_error_does_not_ask_for_certainty() -> None:
    logits = np.eye(3)[[0, 1, 2, 0]] * 2.0
    temperature = fit_temperature(logits, np.array([0, 1, 2, 0]))
    assert LOWEST < temperature < HIGHEST
    assert softmax(logits / temperature).max() < 0.95


def test_the_head_answers_as_if_its_logits_were_divided() -> None:
    import torch

    head = torch.nn.Linear(4, 3)
    vectors = torch.randn(6, 4)
    before = head(vectors)
    apply_temperature(head, 2.5)
    assert torch.allclose(head(vectors) * 2.5, before, atol=1e-6)
