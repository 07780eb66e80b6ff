"""Words and word pairs, weighted by rarity, with a logistic regression for each label: no neural network at all."""

from typing import TYPE_CHECKING

from training.engine.baselines import Baseline

if TYPE_CHECKING:
    import numpy as np

    from training.engine.estimates import Estimates
    from training.engine.predictions import Context

BASELINE = Baseline(
    name="tfidf_labels",
    title="TF-IDF and a linear model for each label",
    help="Counts words and word pairs. Costs almost nothing to run; if it is as good, no language model is needed.",
    measure="tag_sets",
)


def fit_predict(context: "Context") -> "Estimates":
    """Fit one model for each label that some rows have and others have not, and answer for the test split."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    from training.engine.estimates import Estimates
    from training.engine.predictions import measure

    vectoriser = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")  # noqa: S106  (a pattern, no secret)
    features = vectoriser.fit_transform(context.train.texts)
    tags = context.train.labels
    shares = tags.mean(axis=0).astype(np.float64)
    models = {
        place: LogisticRegression(C=10.0, max_iter=200, tol=1e-3, random_state=context.seed).fit(
            features, tags[:, place]
        )
        for place in range(tags.shape[1])
        if 0 < shares[place] < 1
    }

    def answer(texts: list[str]) -> "np.ndarray":
        seen = vectoriser.transform(texts)
        values = np.tile(shares, (len(texts), 1))
        for place, model in models.items():
            values[:, place] = model.predict_proba(seen)[:, 1]
        return values

    values, latencies, throughput = measure(answer, context.test_texts)
    words = sum(len(word.encode()) + 16 for word in vectoriser.vocabulary_)
    size = sum(model.coef_.nbytes for model in models.values()) + words
    return Estimates(BASELINE.name, values, latencies, throughput, size=int(size))
