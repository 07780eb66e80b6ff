"""Turns an evaluation into what its page draws. Nothing is computed here that the engine has not measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from training.models import Evaluation, TrainingJob
from training.services import cards, evaluations
from training.views import figures

SIGNIFICANT = 0.05
CONFUSIONS = 6
SHOWN = 25
CONSTANT = "majority"
"""The rival that gives every row the same answer, so that its disagreements say nothing."""


@dataclass(frozen=True)
class Rival:
    """One baseline beside the tuned model: the difference, its interval, and whether it is significant."""

    name: str
    accuracy: dict[str, Any]
    macro_f1: dict[str, Any]

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "no_difference" at the 5 % level of McNemar's mid-p test."""
        if self.accuracy["p_mid"] >= SIGNIFICANT:
            return "no_difference"
        return "better" if self.accuracy["difference"] > 0 else "worse"


@dataclass(frozen=True)
class Confusion:
    """How often one label is taken for another: `count` of the `support` test rows that truly have the label."""

    true: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Report:
    """An evaluation as its page reads it; `labels` run as in the confusion matrix, `by_label` the weakest first."""

    job: TrainingJob
    digest: str
    rows: int
    labels: list[str]
    candidates: list[dict[str, Any]]
    rivals: list[Rival]
    shown: list[dict[str, Any]]
    disagreements: int
    resamples: int
    answering: list[str] = field(default_factory=list)
    confusions: list[Confusion] = field(default_factory=list)
    by_label: list[dict[str, Any]] = field(default_factory=list)
    intervals: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tuned(self) -> dict[str, Any]:
        """Return the tuned model's figures."""
        return self.candidates[0]

    @property
    def errors(self) -> int:
        """Return how many test rows the tuned model got wrong."""
        matrix = self.tuned["confusion"]
        return self.rows - sum(matrix[place][place] for place in range(len(matrix)))

    @property
    def weakest(self) -> dict[str, Any] | None:
        """Return the label that is found least often, where any is missed."""
        found = min((row for row in self.by_label if row["support"]), key=lambda row: row["recall"], default=None)
        return found if found is not None and found["recall"] < 1 else None

    @property
    def test_sha256(self) -> str:
        """Return the digest of the frozen test split, which tells whether two reports may be compared."""
        return self.job.spec["dataset"]["files"]["test"]["sha256"]

    @property
    def read_url(self) -> str:
        """Return the page that shows the texts on which candidates disagree, to those who may see the data."""
        return f"{reverse('training:compare')}?job={self.job.pk}"

    @property
    def verdict(self) -> dict[str, str]:
        """Return the answer to "was it worth it?" as a tone, a headline and a sentence, from the paired tests alone."""
        worse = [rival.name for rival in self.rivals if rival.verdict == "worse"]
        level = [rival.name for rival in self.rivals if rival.verdict == "no_difference"]
        if not self.rivals:
            return {
                "tone": "warn",
                "title": _("Not compared with any baseline"),
                "text": _("A figure alone does not say whether a cheaper way does as well."),
            }
        if worse:
            return {
                "tone": "bad",
                "title": _("Worse than a baseline"),
                "text": _("Significantly less accurate on the same rows than: %s. Prefer that, or train differently.")
                % ", ".join(worse),
            }
        if level:
            return {
                "tone": "warn",
                "title": _("Not shown to be better than every baseline"),
                "text": _(
                    "On these %(rows)s rows no significant difference from: %(names)s. A cheaper way may do as well; "
                    "more test rows would tell."
                )
                % {"rows": self.rows, "names": ", ".join(level)},
            }
        closest = min(self.rivals, key=lambda rival: rival.accuracy["difference"])
        return {
            "tone": "good",
            "title": _("Significantly better than every baseline"),
            "text": _("The closest, %(name)s, gets %(points)s percentage points fewer right on the same %(rows)s rows.")
            % {
                "name": closest.name,
                "points": f"{closest.accuracy['difference'] * 100:.1f}",
                "rows": self.rows,
            },
        }


def title_of(name: str) -> str:
    """Return a candidate's name in words."""
    return cards.title_of(name)


def read(evaluation: Evaluation) -> Report | figures.Report:
    """Return the report of an evaluation."""
    held = evaluation.report
    if held.get("version", 1) != 1:
        return figures.read(evaluation)
    candidates = [{**candidate, "title": title_of(candidate["name"])} for candidate in held["candidates"]]
    tuned = candidates[0]
    return Report(
        job=evaluation.job,
        digest=evaluation.digest,
        rows=held["rows"],
        labels=held["classes"],
        candidates=candidates,
        rivals=[Rival(title_of(row["baseline"]), row["accuracy"], row["macro_f1"]) for row in held["comparisons"]],
        shown=_disagreements(held["disagreements"]["shown"], [one["name"] for one in candidates]),
        answering=[one["title"] for one in candidates if one["name"] != CONSTANT],
        disagreements=held["disagreements"]["total"],
        resamples=held["resamples"],
        confusions=_confusions(tuned["confusion"], held["classes"]),
        by_label=sorted(tuned["per_class"], key=lambda row: (row["f1"], row["label"])),
        intervals=[_interval(candidate["title"], candidate, place == 0) for place, candidate in enumerate(candidates)],
    )


def _disagreements(shown: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return the rows on which candidates that read the text differ; the constant rival disagrees with nearly all."""
    reading = [name for name in names if name != CONSTANT]
    rows = []
    for row in shown:
        answers = [row["predicted"].get(name, "") for name in reading]
        if len(set(answers)) > 1:
            rows.append({"row": row["row"] + 1, "true": row["true"], "answers": answers})
    return rows[:SHOWN]


def differing(compared: evaluations.Comparison) -> list[dict[str, Any]]:
    """Return the disagreements of a comparison as (candidate, answer, right), without those of the constant rival."""
    reading = [one for one in compared.candidates if not one.key.endswith(f":{CONSTANT}")]
    rows = []
    for row in compared.disagreements:
        answers = [(one.title, row.predicted[one.key]) for one in reading if one.key in row.predicted]
        if len({said for _title, said in answers}) > 1:
            rows.append(
                {
                    "row": row.row,
                    "text": row.text,
                    "true": row.true,
                    "answers": [(title, said, said == row.true) for title, said in answers],
                }
            )
    return rows[:SHOWN]


def _confusions(matrix: list[list[int]], labels: list[str]) -> list[Confusion]:
    found = [
        Confusion(labels[true], labels[predicted], count, sum(row))
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    return sorted(found, key=lambda one: (-one.count, -one.count / one.support, one.true, one.predicted))[:CONFUSIONS]


def _interval(label: str, candidate: dict[str, Any], highlight: bool) -> dict[str, Any]:
    held = candidate["accuracy"]
    # In per cent, as everything beside it is written.
    low, value, high = (round(held[name] * 100, 1) for name in ("low", "value", "high"))
    return {"label": label, "value": value, "low": low, "high": high, "highlight": highlight}


def intervals_of(candidates: list) -> list[dict[str, Any]]:
    """Return the rows of a chart of intervals for the candidates of `evaluations.compare`."""
    return [
        figures.interval(one.title, one.figures[0] if one.figures else None, one.key.endswith(":tuned"))
        for one in candidates
    ]
