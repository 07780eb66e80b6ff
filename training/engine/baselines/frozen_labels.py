"""The untuned base model's vectors with a logistic regression for each label: what tuning has to improve upon."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="frozen_labels",
    title="Untuned base model with a linear model for each label",
    help="Uses the base model as it is. If the tuned model is not better, fine-tuning was not worth its price.",
    measure="tag_sets",
)


def fit_predict(context: "Context") -> "Estimates":
    """Fit linear heads on the base model's mean-pooled vectors and answer for the test split."""
    from training.engine.estimates import Estimates
    from training.engine.inference import sigmoid
    from training.engine.predictions import measure
    from training.engine.probe import fit_tag_head

    head = fit_tag_head(context.embed_train(), context.train.labels)
    values, latencies, throughput = measure(
        lambda texts: sigmoid(head.logits(context.embed(texts))), context.test_texts
    )
    size = context.base_model_size + head.weight.nbytes + head.bias.nbytes
    return Estimates(BASELINE.name, values, latencies, throughput, size=size)
