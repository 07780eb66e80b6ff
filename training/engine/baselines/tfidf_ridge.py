"""Words and word pairs, weighted by rarity, with a ridge regression: no neural network at all."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="tfidf_ridge",
    title="TF-IDF and ridge regression",
    help="Counts words and word pairs. Costs almost nothing to run; if it is as close, no language model is needed.",
    measure="numbers",
)


def fit_predict(context: "Context") -> "Estimates":
    """Fit on the training split and return the estimates for the test split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    from training.engine.estimates import Estimates
    from training.engine.predictions import measure

    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106  (a pattern, no secret)
    features = vectoriser.fit_transform(context.train.texts)
    model = Ridge(alpha=1.0, solver="sparse_cg", random_state=context.seed).fit(features, context.train.labels)
    values, latencies, throughput = measure(
        lambda texts: model.predict(vectoriser.transform(texts)), context.test_texts
    )
    words = sum(len(word.encode()) + 16 for word in vectoriser.vocabulary_)
    return Estimates(BASELINE.name, values, latencies, throughput, size=int(model.coef_.nbytes + words))
