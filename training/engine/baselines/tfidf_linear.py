"""Words and word pairs, weighted by rarity, with a logistic regression: no neural network at all."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    from training.engine.predictions import Context, Predictions

BASELINE = Baseline(
    name="tfidf_linear",
    title="TF-IDF and linear model",
    help="Counts words and word pairs. Costs almost nothing to run; if it is as good, no language model is needed.",
)


def fit_predict(context: "Context") -> "Predictions":
    """Fit on the training split and return the answers for the test split."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from training.engine.predictions import Predictions, measure

    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106  (a pattern, no secret)
    features = vectoriser.fit_transform(context.train.texts)
    weight = "balanced" if context.balanced else None
    model = LogisticRegression(C=10.0, max_iter=200, tol=1e-3, class_weight=weight, random_state=context.seed)
    model.fit(features, context.train.labels)
    probabilities, latencies, throughput = measure(
        lambda texts: model.predict_proba(vectoriser.transform(texts)), context.test_texts
    )
    words = sum(len(word.encode()) + 16 for word in vectoriser.vocabulary_)
    return Predictions(BASELINE.name, probabilities, latencies, throughput, size=int(model.coef_.nbytes + words))
