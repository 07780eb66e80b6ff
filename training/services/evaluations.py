"""Evaluations side by side: candidates of one or several jobs on the same frozen test split, and where they disagree.

Changes nothing. The report that the engine wrote is the source of every figure but one: the paired comparison of
candidates of different jobs, which is computed here from the predictions in the versions' commits.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from governance.models import User
from governance.policy import Permission
from governance.services import access
from projects import tables
from projects.services import repositories
from projects.services.fields import Invalid
from training.engine import chat, measures
from training.models import Evaluation
from training.models.evaluations import Figure, figures_of
from training.services import cards
from training.services.jobs.plans import columns_of

MAX_EVALUATIONS = 6
MAX_PREDICTIONS = 512 * 1024 * 1024
RESAMPLES = 2000
SIGNIFICANT = 0.05
PREDICTIONS = "predictions.parquet"
SHOWN_ANSWERS = 20


@dataclass(frozen=True)
class Against:
    """A candidate compared with the reference on the same rows: `difference` in the deciding figure, with its interval.

    `p` is McNemar's mid-p value for accuracy, that of a paired bootstrap else; `verdict` is "better", "worse" or "no
    significant difference".
    """

    difference: float
    low: float
    high: float
    p: float
    verdict: str


@dataclass(frozen=True)
class Candidate:
    """One row of the table; `key` is `<job id>:<name>`, `figures` begin with the one that decides.

    The fields of classes are None and empty for other kinds of answers.
    """

    key: str
    title: str
    job_id: int
    url: str
    figures: list[Figure]
    accuracy: dict[str, float] | None
    macro_f1: dict[str, float] | None
    calibration_error: float | None
    latency_ms: float
    size: int
    per_class: dict[str, dict[str, float]]
    columns: list[Figure | None] = field(default_factory=list)
    against: Against | None = None

    @property
    def unit(self) -> str:
        """Return the unit of the figure that decides."""
        return self.columns[0].unit if self.columns and self.columns[0] else "number"


@dataclass(frozen=True)
class Disagreement:
    """One test row on which candidates differ: `row` counts from 1, `text` is empty where the reader may not see it."""

    row: int
    true: str
    predicted: dict[str, str]
    text: str = ""


@dataclass(frozen=True)
class Written:
    """One test row with what the candidates wrote; question and wanted answer are there for who may see the data."""

    row: int
    answers: list[tuple[str, str]]
    question: str = ""
    wanted: str = ""


@dataclass(frozen=True)
class Comparison:
    """Everything the compare page shows; `total_disagreements` counts them all, `disagreements` holds the first."""

    reference: str
    candidates: list[Candidate]
    classes: list[str]
    test_rows: int
    figures: list[Figure]
    total_disagreements: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)


def compare(*, user: User, evaluations: Sequence[Evaluation], reference: str = "", shown: int = 50) -> Comparison:
    """Return candidates side by side, each against `reference` (a key; by default the first tuned model).

    Baselines come from the first evaluation: on the same split and seed those of the others are the same rivals. Raises
    Invalid where the evaluations are too many or not about the same test split, or for an unknown reference.
    """
    chosen = _checked(evaluations)
    rows: list[Candidate] = []
    answers: dict[str, NDArray[Any]] = {}
    sums: dict[str, NDArray[Any]] = {}
    wrote: list[tuple[str, dict[str, NDArray[Any]], str]] = []
    true: NDArray[Any] | None = None
    for index, evaluation in enumerate(chosen):
        table = _predictions(evaluation)
        for candidate in evaluation.report["candidates"]:
            if index and candidate["name"] != "tuned":
                continue
            row = _candidate(evaluation, candidate, several=len(chosen) > 1)
            rows.append(row)
            if table is None:
                continue
            if evaluation.report.get("measure") == "generation" and f"predicted_{candidate['name']}" in table:
                wrote.append((row.title, table, f"predicted_{candidate['name']}"))
            if f"sums_{candidate['name']}" in table:
                sums[row.key] = np.stack(list(table[f"sums_{candidate['name']}"]))
            elif "true" in table:
                true = table["true"] if true is None else true
                answers[row.key] = table[f"predicted_{candidate['name']}"]
    names = [figure.name for figure in rows[0].figures]
    rows = [replace(row, columns=[{f.name: f for f in row.figures}.get(name) for name in names]) for row in rows]
    reference = reference or rows[0].key
    if reference not in {row.key for row in rows}:
        raise Invalid("There is no such candidate to compare with.", field="reference")
    if reference in sums:
        rows = [_with_sums(row, reference, sums, chosen[0].report) for row in rows]
    comparable = true is not None and reference in answers
    if comparable:
        rows = [_with_against(row, reference, answers, true) for row in rows]
    total, found = _disagreements(user, chosen[0], answers, true, shown) if comparable else (0, [])
    return Comparison(
        reference=reference,
        candidates=rows,
        classes=list(chosen[0].report.get("classes") or []),
        figures=rows[0].figures,
        test_rows=chosen[0].test_rows,
        total_disagreements=total,
        disagreements=found,
        written=_written(user, chosen[0], wrote),
    )


def _written(
    user: User, evaluation: Evaluation, wrote: list[tuple[str, dict[str, NDArray[Any]], str]]
) -> list[Written]:
    if not wrote:
        return []
    rows = [int(row) for row in wrote[0][1]["row"][:SHOWN_ANSWERS]]
    asked = _questions(user, evaluation, rows)
    return [
        Written(
            row + 1,
            [(title, str(table[column][place])) for title, table, column in wrote],
            *asked.get(row, ("", "")),
        )
        for place, row in enumerate(rows)
    ]


def _questions(user: User, evaluation: Evaluation, rows: list[int]) -> dict[int, tuple[str, str]]:
    """Return question and wanted answer of these test rows, or nothing where the user may not see the data."""
    version = evaluation.job.dataset_version
    if not access.allows(user, Permission.DATASET_VIEW, version.dataset) or version.commit is None:
        return {}
    file = repositories.file_of(version.commit, evaluation.job.spec["dataset"]["files"]["test"]["path"])
    roles = evaluation.job.spec["dataset"]["columns"]
    cells = tables.take(repositories.local_path(file.blob), rows, sorted(set(roles.values())))
    found = {}
    for row, held in zip(rows, cells, strict=True):
        messages = chat.messages_of(version.layout, {role: held[column] for role, column in roles.items()})
        said = [f"{message['role']}: {message['content']}" for message in messages[:-1]]
        question = messages[0]["content"] if len(messages) == 2 else "\n".join(said)
        found[row] = question, messages[-1]["content"]
    return found


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


def _split(evaluation: Evaluation) -> tuple[str, ...]:
    """Return what must be equal for figures to be of the same rows: the test split, and the sample of it if any."""
    dataset, report = evaluation.job.spec["dataset"], evaluation.report
    alike = dataset["files"]["test"]["sha256"], "\n".join(dataset["labels"])
    if report.get("version", 1) == 1:
        return alike
    sampled = report["rows"] < dataset["files"]["test"]["rows"]
    return (*alike, report["measure"], str(report["rows"]), str(report["seed"]) if sampled else "")


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
        figures=figures_of(evaluation.report, candidate),
        accuracy=candidate.get("accuracy"),
        macro_f1=candidate.get("macro_f1"),
        calibration_error=(candidate.get("calibration") or {}).get("ece"),
        latency_ms=candidate["latency_ms"]["p50"],
        size=candidate["size"],
        per_class={entry["label"]: entry for entry in candidate.get("per_class") or []},
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


def _higher(report: dict[str, Any]) -> bool:
    return bool(measures.get(report["measure"]).metric(report["primary"]).higher)


def _with_sums(row: Candidate, reference: str, sums: dict[str, NDArray[Any]], report: dict[str, Any]) -> Candidate:
    from training.engine import comparison

    if row.key == reference or row.key not in sums:
        return row
    formula = measures.load(report["measure"]).ANSWERS[report["primary"]]
    found = comparison.difference(sums[row.key], sums[reference], formula, len(sums[reference]))
    verdict = "no significant difference"
    if found["p"] < SIGNIFICANT:
        verdict = "better" if (found["difference"] > 0) == _higher(report) else "worse"
    return replace(row, against=Against(found["difference"], found["low"], found["high"], found["p"], verdict))


def _with_against(
    row: Candidate, reference: str, answers: dict[str, NDArray[Any]], true: NDArray[Any] | None
) -> Candidate:
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
