"""Answers every question with the most frequent answer of the training rows: what overlap of words costs nothing."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.answers import Answers, Context

BASELINE = Baseline(
    name="frequent_answer",
    title="Most frequent answer",
    help="Always gives the same answer. A model that is not clearly better has learned nothing about the questions.",
    measure="generation",
    layouts=("prompts", "conversations"),
)


def fit_predict(context: "Context") -> "Answers":
    """Return the most frequent training answer, the first of several, for every question."""
    from collections import Counter

    from training.engine.answers import Answers
    from training.engine.predictions import measure

    [(answer, _count)] = Counter(context.train.wanted).most_common(1)
    texts, latencies, throughput = measure(lambda questions: [answer] * len(questions), context.questions)
    return Answers(BASELINE.name, texts, latencies, throughput, size=len(answer.encode()))
