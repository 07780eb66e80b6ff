"""Gives every text the labels that more than half of the training rows have, or else the most frequent one."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="frequent_labels",
    title="Most frequent labels",
    help="Always gives the same labels. A model that is not clearly better has learned nothing.",
    measure="tag_sets",
)


def fit_predict(context: "Context") -> "Estimates":
    """Return the same answer for every text: the share of rows with each label, the most frequent one raised to yes."""
    import numpy as np

    from training.engine.estimates import Estimates
    from training.engine.predictions import measure

    shares = context.train.labels.mean(axis=0).astype(np.float64)
    if shares.max() <= 0.5:
        shares[int(shares.argmax())] = 1.0
    values, latencies, throughput = measure(lambda texts: np.tile(shares, (len(texts), 1)), context.test_texts)
    return Estimates(BASELINE.name, values, latencies, throughput, size=shares.nbytes)
