"""The base model as it is, asked the same questions: what tuning has to improve upon."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.answers import Answers, Context

BASELINE = Baseline(
    name="untuned",
    title="Untuned base model",
    help="Answers without having seen the data. If the tuned model is not better, tuning was not worth its price.",
    measure="generation",
)


def fit_predict(context: "Context") -> "Answers":
    """Return what the base model answers, and how surprised it is by what was wanted."""
    return context.untuned(BASELINE.name)
