"""Answers every text with the most frequent class: what accuracy costs nothing."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.predictions import Context, Predictions

BASELINE = Baseline(
    name="majority",
    title="Majority class",
    help="Always answers with the most frequent class. A model that is not clearly better has learned nothing.",
)


def fit_predict(context: "Context") -> "Predictions":
    """Return the class shares of the training split as the answer to every text."""
    import numpy as np

    from training.engine.predictions import Predictions, measure

    shares = np.bincount(context.train.labels, minlength=context.classes) / len(context.train)
    probabilities, latencies, throughput = measure(lambda texts: np.tile(shares, (len(texts), 1)), context.test_texts)
    return Predictions(BASELINE.name, probabilities, latencies, throughput, size=shares.nbytes)
