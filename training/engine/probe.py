"""A linear classifier on fixed vectors: the head of a baseline, and a good place for a tuned head to start.

Starting the head from a probe keeps the first steps from distorting the base model's features to fit random weights
(Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge


@dataclass(frozen=True)
class LinearHead:
    """``logits = vectors @ weight.T + bias``; ``weight`` is classes x width."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return one row of logits per vector."""
        return vectors @ self.weight.T + self.bias


def fit_linear_head(
    vectors: np.ndarray, labels: np.ndarray, classes: int, balanced: bool = False, strength: float = 0.1
) -> LinearHead:
    """Return the multinomial logistic regression of ``labels`` on ``vectors``; every class must occur in ``labels``.

    ``strength`` is sklearn's C for vectors scaled to unit average variance; the scale is folded into the weight.
    """
    scale = float(vectors.std(axis=0).mean()) or 1.0
    model = LogisticRegression(C=strength, max_iter=300, class_weight="balanced" if balanced else None)
    model.fit(vectors / scale, labels)
    weight, bias = model.coef_ / scale, model.intercept_
    if classes == 2:
        # sklearn gives one row for two classes: the difference of their logits.
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def fit_number_head(vectors: np.ndarray, numbers: np.ndarray, strength: float = 1.0) -> LinearHead:
    """Return the ridge regression of ``numbers`` (about unit spread) on ``vectors``; ``strength`` is its penalty."""
    scale = float(vectors.std(axis=0).mean()) or 1.0
    model = Ridge(alpha=strength).fit(vectors / scale, numbers)
    weight = np.atleast_2d(model.coef_) / scale
    return LinearHead(weight.astype(np.float32), np.atleast_1d(model.intercept_).astype(np.float32))


def fit_tag_head(vectors: np.ndarray, tags: np.ndarray, strength: float = 0.1) -> LinearHead:
    """Return a logistic regression for each column of ``tags`` (rows x tags of 0 and 1) on ``vectors``.

    A tag that all rows or none have gets no weight, and a bias that says so.
    """
    scale = float(vectors.std(axis=0).mean()) or 1.0
    weight = np.zeros((tags.shape[1], vectors.shape[1]), dtype=np.float32)
    bias = np.zeros(tags.shape[1], dtype=np.float32)
    for place in range(tags.shape[1]):
        share = tags[:, place].mean()
        if share in (0.0, 1.0):
            bias[place] = 6.0 if share else -6.0
            continue
        model = LogisticRegression(C=strength, max_iter=300).fit(vectors / scale, tags[:, place])
        weight[place], bias[place] = model.coef_[0] / scale, model.intercept_[0]
    return LinearHead(weight, bias)
