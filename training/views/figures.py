"""Turns an evaluation of anything but classes into what its page draws; see `reports` for classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from training.models import Evaluation, TrainingJob
from training.models.evaluations import Figure, figures_of
from training.services import cards

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Rival:
    """One baseline beside the tuned model; `found` is {difference, low, high, p} of the deciding figure, or None."""

    name: str
    higher: bool
    found: dict[str, Any] | None

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "no_difference" at the 5 % level of the paired bootstrap."""
        if self.found is None or self.found["p"] >= SIGNIFICANT:
            return "no_difference"
        return "better" if (self.found["difference"] > 0) == self.higher else "worse"


@dataclass(frozen=True)
class Report:
    """An evaluation as its page reads it; `figures` are the tuned model's, the one that decides first."""

    job: TrainingJob
    digest: str
    measure: str
    rows: int
    resamples: int
    figures: list[Figure]
    candidates: list[dict[str, Any]]
    rivals: list[Rival]
    intervals: list[dict[str, Any]]
    details: dict[str, Any]
    by_label: list[dict[str, Any]] = field(default_factory=list)
    spreads: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tuned(self) -> dict[str, Any]:
        """Return the tuned model's figures as the engine wrote them."""
        return self.candidates[0]

    @property
    def first(self) -> Figure:
        """Return the figure that decides."""
        return self.figures[0]

    @property
    def axis(self) -> str:
        """Return what stands under the chart of the deciding figure."""
        return _("%(name)s, per cent") % {"name": self.first.title} if self.first.unit == "share" else self.first.title

    @property
    def test_sha256(self) -> str:
        """Return the digest of the frozen test split, which tells whether two reports may be compared."""
        return self.job.spec["dataset"]["files"]["test"]["sha256"]

    @property
    def read_url(self) -> str:
        """Return the page that shows single answers to those who may see them."""
        return f"{reverse('training:compare')}?job={self.job.pk}"

    @property
    def verdict(self) -> dict[str, str]:
        """Return the answer to "was it worth it?" as a tone, a headline and a sentence, from the paired tests alone."""
        compared = [rival for rival in self.rivals if rival.found is not None]
        if not compared:
            return {
                "tone": "warn",
                "title": _("Not compared with any baseline"),
                "text": _("A figure alone does not say whether a cheaper way does as well."),
            }
        named = {"name": self.first.title, "rows": self.rows}
        worse = [rival.name for rival in compared if rival.verdict == "worse"]
        level = [rival.name for rival in compared if rival.verdict == "no_difference"]
        if worse:
            return {
                "tone": "bad",
                "title": _("Worse than a baseline"),
                "text": _("By %(name)s significantly worse on the same rows than: %(names)s. Prefer that.")
                % (named | {"names": ", ".join(worse)}),
            }
        if level:
            return {
                "tone": "warn",
                "title": _("Not shown to be better than every baseline"),
                "text": _(
                    "By %(name)s no significant difference on these %(rows)s rows from: %(names)s. A cheaper way may "
                    "do as well; more test rows would tell."
                )
                % (named | {"names": ", ".join(level)}),
            }
        return {
            "tone": "good",
            "title": _("Significantly better than every baseline"),
            "text": _("By %(name)s, on the same %(rows)s test rows.") % named,
        }


def read(evaluation: Evaluation) -> Report:
    """Return the report of an evaluation whose answers are no single classes."""
    held = evaluation.report
    figures = evaluation.figures
    first, order = figures[0], [figure.name for figure in figures]
    candidates = []
    for candidate in held["candidates"]:
        own = {figure.name: figure for figure in figures_of(held, candidate)}
        title = cards.title_of(candidate["name"])
        candidates.append({**candidate, "title": title, "figures": [own.get(name) for name in order]})
    details = held.get("details") or {}
    return Report(
        job=evaluation.job,
        digest=evaluation.digest,
        measure=held["measure"],
        rows=held["rows"],
        resamples=held["resamples"],
        figures=figures,
        candidates=candidates,
        rivals=[
            Rival(cards.title_of(row["baseline"]), first.higher, row["metrics"].get(first.name))
            for row in held["comparisons"]
        ],
        intervals=[interval(one["title"], one["figures"][0], one["name"] == "tuned") for one in candidates],
        details=details,
        by_label=sorted(details.get("by_label") or [], key=lambda row: (row["f1"], row["label"])),
        spreads=[
            {"title": title, **details[name]}
            for title, name in ((_("True"), "true"), (_("Estimated"), "estimated"))
            if name in details
        ],
    )


def interval(label: str, figure: Figure | None, highlight: bool) -> dict[str, Any]:
    """Return a row of a chart of intervals; a share in per cent, as everything beside it is written."""
    if figure is None:
        return {"label": label, "value": None, "low": None, "high": None, "highlight": highlight}
    scale, digits = (100, 1) if figure.unit == "share" else (1, 6)
    low, value, high = (round(number * scale, digits) for number in (figure.low, figure.value, figure.high))
    return {"label": label, "value": value, "low": low, "high": high, "highlight": highlight}
