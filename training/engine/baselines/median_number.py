"""Answers every text with the median of the training numbers: what an absolute error costs nothing."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="median_number",
    title="Median",
    help="Always answers with the middle of the training numbers. A model that is not clearly closer learned nothing.",
    measure="numbers",
)


def fit_predict(context: "Context") -> "Estimates":
    """Return the median for every text."""
    import numpy as np

    from training.engine.estimates import Estimates
    from training.engine.predictions import measure

    middle = float(np.median(context.train.labels))
    values, latencies, throughput = measure(lambda texts: np.full(len(texts), middle), context.test_texts)
    return Estimates(BASELINE.name, values, latencies, throughput, size=8)
