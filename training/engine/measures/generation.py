"""Generated text: how much of the wanted answer is in it, how surprised the model is by it, and how long it gets.

Exact match and token F1 are those of Rajpurkar et al., "SQuAD" (EMNLP 2016), case and punctuation aside, without their
removal of English articles. ROUGE-L is the F-measure of the longest common subsequence of words (Lin, "ROUGE", 2004,
section 3.1). Perplexity is the exponential of the mean cross-entropy of the answers' tokens, the closing one included;
it depends on the tokenizer, so only candidates of one base model can be compared by it.
"""

import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.engine.measures import Measure, Metric

if TYPE_CHECKING:
    import numpy as np

    from training.engine.answers import Answers, Context, Dialogues
    from training.engine.run import Run
    from training.engine.spec import DatasetSource

MEASURE = Measure(
    name="generation",
    title="A written answer",
    metrics=(
        Metric("rouge_l", "ROUGE-L", "How much of the wanted answer is there in the same order of words."),
        Metric("token_f1", "Token F1", "How many words are the same, in any order."),
        Metric("exact_match", "Exact match", "The share of answers that are word for word the wanted one."),
        Metric(
            "perplexity",
            "Perplexity",
            "How surprised the model is by each token of the wanted text; 1 is not at all.",
            "number",
            higher=False,
        ),
        Metric("length", "Length", "Words of an answer divided by words of the wanted one; 1 is as long.", "number"),
    ),
    validation=("validation_loss", "validation_token_accuracy"),
    primary=(("texts", "perplexity"),),
    limits=(
        "It writes what is likely, which may be false: an answer is no evidence.",
        "Overlap of words with one wanted answer is a rough measure; people have to read examples.",
    ),
)

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def token_f1(given: list[str], wanted: list[str]) -> float:
    """Return the F1 of the words in common; two texts without words are equal."""
    if not given or not wanted:
        return float(given == wanted)
    same = sum((Counter(given) & Counter(wanted)).values())
    return 2 * same / (len(given) + len(wanted))


def rouge_l(given: list[str], wanted: list[str]) -> float:
    """Return the F-measure of the longest common subsequence of words."""
    if not given or not wanted:
        return float(given == wanted)
    row = [0] * (len(wanted) + 1)
    for word in given:
        diagonal = 0
        for place, other in enumerate(wanted, start=1):
            diagonal, row[place] = row[place], diagonal + 1 if word == other else max(row[place], row[place - 1])
    return 2 * row[-1] / (len(given) + len(wanted))


def _mean(sums: "np.ndarray") -> "np.ndarray":
    return sums[..., 0] / sums[..., 1]


def _perplexity(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.exp(np.minimum(sums[..., 0] / sums[..., 1], 100.0))


ANSWERS = {"rouge_l": _mean, "token_f1": _mean, "exact_match": _mean, "perplexity": _perplexity, "length": _mean}


def read(folder: Path, source: "DatasetSource", seed: int) -> "dict[str, Dialogues]":
    """Return the splits as messages."""
    from training.engine.answers import read_dialogues
    from training.engine.data import read_all

    return read_all(folder, source, seed, read_dialogues)


def context(run: "Run") -> "Context":
    """Return what the baselines work with."""
    from training.engine.answers import context_of

    return context_of(run)


def compare(run: "Run", tuned: "Answers", rivals: "list[Answers]") -> dict[str, Any]:
    """Return the content of evaluation.json, over the test rows that were answered."""
    from training.engine import comparison
    from training.engine.answers import asked

    wanted = asked(run).wanted
    candidates = [
        comparison.Candidate(one.name, sums_of(one, wanted), one.latencies_ms, one.throughput, one.size, one.details)
        for one in (tuned, *rivals)
    ]
    primary = MEASURE.primary_for(run.spec.dataset.layout).name
    metrics = [metric.to_json() for metric in MEASURE.metrics]
    report = comparison.compare(metrics, primary, ANSWERS, candidates, run.spec.seed)
    return report | {
        "measure": MEASURE.name,
        "layout": run.spec.dataset.layout,
        "details": {
            "test_rows": len(run.splits["test"]),
            "longest_answer": run.hyperparameters["answer_tokens"],
            "empty": sum(not text.strip() for text in tuned.texts or ()),
        },
    }


def sums_of(answers: "Answers", wanted: list[str]) -> "dict[str, np.ndarray]":
    """Return for each metric that the candidate has what is summed over rows."""
    import numpy as np

    found: dict[str, np.ndarray] = {}
    if answers.losses is not None and answers.tokens is not None:
        found["perplexity"] = np.stack([answers.losses, answers.tokens], axis=1)
    if answers.texts is None:
        return found
    pairs = [(words_of(text), words_of(right)) for text, right in zip(answers.texts, wanted, strict=True)]
    one = np.ones(len(pairs))
    found["rouge_l"] = np.stack([np.array([rouge_l(*pair) for pair in pairs]), one], axis=1)
    found["token_f1"] = np.stack([np.array([token_f1(*pair) for pair in pairs]), one], axis=1)
    found["exact_match"] = np.stack([np.array([float(a == b) for a, b in pairs]), one], axis=1)
    found["length"] = np.array([[len(a), len(b)] for a, b in pairs], dtype=np.float64)
    return found


def write(run: "Run", folder: Path, report: dict[str, Any], tuned: "Answers", rivals: "list[Answers]") -> None:
    """Write evaluation.json and predictions.parquet: row, scores, and what the model wrote.

    Wanted answers and those of rivals that repeat training rows stay in the dataset, whose rules they stand under.
    """
    from training.engine import comparison
    from training.engine.answers import asked

    rows = asked(run)
    columns: dict[str, Any] = {"row": rows.rows}
    sums = {}
    for one in (tuned, *rivals):
        found = sums_of(one, rows.wanted)
        if report["primary"] in found:
            sums[one.name] = found[report["primary"]]
        if one.texts is not None and one.wrote:
            columns[f"predicted_{one.name}"] = one.texts
    comparison.write(folder, report, columns, sums)


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the summary."""
    from training.engine import comparison

    return comparison.summary(report)
