"""The untuned base model's vectors with a ridge regression: what fine-tuning has to improve upon."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="frozen_ridge",
    title="Untuned base model with a ridge regression",
    help="Uses the base model as it is. If the tuned model is not closer, fine-tuning was not worth its price.",
    measure="numbers",
)


def fit_predict(context: "Context") -> "Estimates":
    """Fit a linear head on the base model's mean-pooled vectors and return the estimates for the test split."""
    import numpy as np

    from training.engine.estimates import Estimates
    from training.engine.predictions import measure
    from training.engine.probe import fit_number_head

    middle, spread = float(context.train.labels.mean()), float(context.train.labels.std()) or 1.0
    head = fit_number_head(context.embed_train(), (context.train.labels - middle) / spread)
    values, latencies, throughput = measure(
        lambda texts: head.logits(context.embed(texts))[:, 0].astype(np.float64) * spread + middle, context.test_texts
    )
    size = context.base_model_size + head.weight.nbytes + head.bias.nbytes
    return Estimates(BASELINE.name, values, latencies, throughput, size=size)
