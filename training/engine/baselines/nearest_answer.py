"""Looks up the training question that shares most words with the one at hand and repeats its answer."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.answers import Answers, Context

BASELINE = Baseline(
    name="nearest_answer",
    title="Answer of the nearest training question",
    help="A search in the training rows. If it does as well, a page of frequent questions is all that is needed.",
    measure="generation",
    layouts=("prompts", "conversations"),
)


def fit_predict(context: "Context") -> "Answers":
    """Weigh words and word pairs by rarity, and give each question the answer of its nearest neighbour by cosine."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from training.engine.answers import Answers
    from training.engine.predictions import measure

    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106  (a pattern, no secret)
    known = vectoriser.fit_transform(context.train.questions)
    wanted = context.train.wanted

    def answer(questions: list[str]) -> list[str]:
        # Rows have unit length, so the product is the cosine; the first of several nearest ones is taken.
        likeness = vectoriser.transform(questions) @ known.T
        return [wanted[int(row.toarray().argmax())] for row in likeness]

    texts, latencies, throughput = measure(answer, context.questions)
    size = known.data.nbytes + known.indices.nbytes + sum(len(text.encode()) for text in wanted)
    return Answers(BASELINE.name, texts, latencies, throughput, size=int(size))
