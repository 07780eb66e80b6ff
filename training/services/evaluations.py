"""Evaluations side by side: candidates of one or several jobs on the same frozen test split, and where they disagree.

Changes nothing. The report that the engine wrote is the source of every figure but one: the paired comparison of
candidates of different jobs, which is computed here from the predictions in the versions' commits.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from governance.models import User
from governance.policy import Permission
from governance.services import access
from projects.services import repositories
from projects.services.fields import Invalid
from training.models import Evaluation
from training.services import cards
from training.services.jobs.plans import columns_of

MAX_EVALUATIONS = 6
MAX_PREDICTIONS = 512 * 1024 * 1024
RESAMPLES = 2000
SIGNIFICANT = 0.05
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Against:
    """A candidate compared with the reference on the same rows: `difference` in accuracy with its 95 % interval.

    `p` is McNemar's mid-p value; `verdict` is "better", "worse" or "no significant difference".
    """

    difference: float
    low: float
    high: float
    p: float
    verdict: str


@dataclass(frozen=True)
class Candidate:
    """One row of the table; `key` is `<job id>:<name>`, figures are as in evaluation.json."""

    key: str
    title: str
    job_id: int
    url: str
    accuracy: dict[str, float]
    macro_f1: dict[str, float]
    calibration_error: float
    latency_ms: float
    size: int
    per_class: dict[str, dict[str, float]]
    against: Against | None = None


@dataclass(frozen=True)
class Disagreement:
    """One test row on which candidates differ: `row` counts from 1, `text` is empty where the reader may not see it."""

    row: int
    true: str
    predicted: dict[str, str]
    text: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything the compare page shows; `total_disagreements` counts them all, `disagreements` holds the first."""

    reference: str
    candidates: list[Candidate]
    classes: list[str]
    test_rows: int
    total_disagreements: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)


def compare(*, user: User, evaluations: Sequence[Evaluation], reference: str = "", shown: int = 50) -> Comparison:
    """Return candidates side by side, each against `reference` (a key; by default the first tuned model).

    Baselines come from the first evaluation: on the same split and seed those of the others are the same rivals. Raises
    Invalid where the evaluations are too many or not about the same test split, or for an unknown reference.
    """
    chosen = _checked(evaluations)
    rows: list[Candidate] = []
    answers: dict[str, NDArray[Any]] = {}
    true: NDArray[Any] | None = None
    for index, evaluation in enumerate(chosen):
        table = _predictions(evaluation)
        for candidate in evaluation.report["candidates"]:
            if index and candidate["name"] != "tuned":
                continue
            row = _candidate(evaluation, candidate, several=len(chosen) > 1)
            rows.append(row)
            if table is not None:
                true = table["true"] if true is None else true
                answers[row.key] = table[f"predicted_{candidate['name']}"]
    reference = reference or rows[0].key
    if reference not in {row.key for row in rows}:
        raise Invalid("There is no such candidate to compare with.", field="reference")
    comparable = true is not None and reference in answers
    if comparable:
        rows = [_with_against(row, reference, answers, true) for row in rows]
    total, found = _disagreements(user, chosen[0], answers, true, shown) if comparable else (0, [])
    return Comparison(
        reference=reference,
        candidates=rows,
        classes=list(chosen[0].report["classes"]),
        test_rows=chosen[0].test_rows,
        total_disagreements=total,
        disagreements=found,
    )


def _checked(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    chosen = list(evaluations)
    if not 1 <= len(chosen) <= MAX_EVALUATIONS:
        raise Invalid(f"Choose one to {MAX_EVALUATIONS} evaluations to compare.", field="evaluations")
    splits = {_split(evaluation) for evaluation in chosen}
    if len(splits) > 1:
        raise Invalid(
            "These jobs were tested on different rows, so their figures cannot be compared. "
            "Choose jobs on the same test split.",
            field="evaluations",
        )
    return chosen


def _split(evaluation: Evaluation) -> tuple[str, str]:
    dataset = evaluation.job.spec["dataset"]
    return dataset["files"]["test"]["sha256"], "\n".join(dataset["labels"])


def _candidate(evaluation: Evaluation, candidate: dict[str, Any], *, several: bool) -> Candidate:
    tuned = candidate["name"] == "tuned"
    title = cards.title_of(candidate["name"])
    if tuned and several:
        job = evaluation.job
        title = f"{job.model_name}, job {job.pk} ({job.method})"
    return Candidate(
        key=f"{evaluation.job_id}:{candidate['name']}",
        title=title,
        job_id=evaluation.job_id,
        url=evaluation.job.get_absolute_url() if tuned else "",
        accuracy=candidate["accuracy"],
        macro_f1=candidate["macro_f1"],
        calibration_error=candidate["calibration"]["ece"],
        latency_ms=candidate["latency_ms"]["p50"],
        size=candidate["size"],
        per_class={entry["label"]: entry for entry in candidate["per_class"]},
    )


def _predictions(evaluation: Evaluation) -> dict[str, NDArray[Any]] | None:
    """Return the columns of predictions.parquet as arrays, or None where the job has no version or no such file."""
    version = getattr(evaluation.job, "model_version", None)
    if version is None:
        return None
    try:
        data = repositories.read_blob(repositories.file_of(version.commit, PREDICTIONS).blob, limit=MAX_PREDICTIONS)
    except repositories.Missing:
        return None
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def _with_against(
    row: Candidate, reference: str, answers: dict[str, NDArray[Any]], true: NDArray[Any] | None
) -> Candidate:
    from dataclasses import replace

    if row.key == reference or row.key not in answers or true is None:
        return row
    return replace(row, against=paired(true, answers[row.key], answers[reference]))


def paired(true: NDArray[Any], answers: NDArray[Any], reference: NDArray[Any]) -> Against:
    """Return how a candidate's accuracy differs from the reference's on the same rows.

    Resampling rows with replacement only moves how often each of "only the one right", "only the other right" and
    "both or neither" is drawn, so the bootstrap draws from that multinomial; the result is the same distribution.
    """
    from training.engine.evaluation import mcnemar

    right, other = answers == true, reference == true
    rows = len(true)
    gained, lost = int((right & ~other).sum()), int((~right & other).sum())
    rng = np.random.default_rng(rows)
    draws = rng.multinomial(rows, [gained / rows, lost / rows, (rows - gained - lost) / rows], size=RESAMPLES)
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / rows, [0.025, 0.975])
    _exact, middle = mcnemar(gained, lost)
    difference = (gained - lost) / rows
    verdict = "no significant difference"
    if middle < SIGNIFICANT:
        verdict = "better" if difference > 0 else "worse"
    return Against(difference, float(low), float(high), middle, verdict)


def _disagreements(
    user: User,
    evaluation: Evaluation,
    answers: dict[str, NDArray[Any]],
    true: NDArray[Any] | None,
    shown: int,
) -> tuple[int, list[Disagreement]]:
    assert true is not None
    if len(answers) < 2:
        return 0, []
    keys = list(answers)
    first = answers[keys[0]]
    differ = np.zeros(len(true), dtype=bool)
    for key in keys[1:]:
        differ |= answers[key] != first
    rows = np.flatnonzero(differ)
    texts = _texts(user, evaluation, rows[:shown].tolist())
    return len(rows), [
        Disagreement(
            row=int(row) + 1,
            true=str(true[row]),
            predicted={key: str(answers[key][row]) for key in keys},
            text=texts.get(int(row), ""),
        )
        for row in rows[:shown]
    ]


def _texts(user: User, evaluation: Evaluation, rows: Iterable[int]) -> dict[int, str]:
    """Return the texts of these rows of the test split, or nothing where the user may not see the data."""
    version = evaluation.job.dataset_version
    if not access.allows(user, Permission.DATASET_VIEW, version.dataset) or version.commit is None:
        return {}
    wanted = sorted(rows)
    column, _label = columns_of(version)
    file = repositories.file_of(version.commit, evaluation.job.spec["dataset"]["files"]["test"]["path"])
    found: dict[int, str] = {}
    start = 0
    with repositories.open_blob(file.blob) as source:
        for batch in pyarrow.parquet.ParquetFile(source).iter_batches(columns=[column]):
            inside = [row for row in wanted if start <= row < start + len(batch)]
            for row in inside:
                found[row] = str(batch[column][row - start].as_py() or "")
            start += len(batch)
            if len(found) == len(wanted):
                break
    return found
