"""The untuned base model's vectors with a logistic regression: what fine-tuning has to improve upon."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.predictions import Context, Predictions

BASELINE = Baseline(
    name="frozen_embeddings",
    title="Untuned base model with a linear head",
    help="Uses the base model as it is. If the tuned model is not better, fine-tuning was not worth its price.",
)


def fit_predict(context: "Context") -> "Predictions":
    """Fit a linear head on the base model's mean-pooled vectors and return the answers for the test split."""
    from training.engine.inference import softmax
    from training.engine.predictions import Predictions, measure
    from training.engine.probe import fit_linear_head

    head = fit_linear_head(context.embed_train(), context.train.labels, context.classes, balanced=context.balanced)
    probabilities, latencies, throughput = measure(
        lambda texts: softmax(head.logits(context.embed(texts))), context.test_texts
    )
    size = context.base_model_size + head.weight.nbytes + head.bias.nbytes
    return Predictions(BASELINE.name, probabilities, latencies, throughput, size=size)
