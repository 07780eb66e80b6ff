"""Turns an evaluation into what its page draws. Nothing is computed here that the engine has not measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from training.models import Evaluation, TrainingJob

NAMES = {
    "tuned": "Tuned model",
    "majority": "Majority rule",
    "tfidf_linear": "TF-IDF and a linear model",
    "frozen_embeddings": "Untuned model with a linear head",
}


@dataclass(frozen=True)
class Rival:
    """One baseline beside the tuned model: the difference, its interval, and whether it is significant."""

    name: str
    accuracy: dict[str, Any]
    macro_f1: dict[str, Any]
    better: bool

    @property
    def verdict(self) -> str:
        """Return "better", "worse" or "no_difference" at the 5 % level of McNemar's mid-p test."""
        if self.accuracy["p_mid"] >= 0.05:
            return "no_difference"
        return "better" if self.accuracy["difference"] > 0 else "worse"


@dataclass(frozen=True)
class Report:
    """An evaluation as its page reads it."""

    job: TrainingJob
    digest: str
    rows: int
    labels: list[str]
    candidates: list[dict[str, Any]]
    rivals: list[Rival]
    shown: list[dict[str, Any]]
    disagreements: int
    resamples: int
    intervals: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tuned(self) -> dict[str, Any]:
        """Return the tuned model's figures."""
        return self.candidates[0]

    @property
    def test_sha256(self) -> str:
        """Return the digest of the frozen test split, which tells whether two reports may be compared."""
        return self.job.spec["dataset"]["files"]["test"]["sha256"]


def title_of(name: str) -> str:
    """Return a candidate's name in words."""
    return NAMES.get(name, name.replace("_", " ").capitalize())


def read(evaluation: Evaluation) -> Report:
    """Return the report of an evaluation."""
    held = evaluation.report
    candidates = [{**candidate, "title": title_of(candidate["name"])} for candidate in held["candidates"]]
    return Report(
        job=evaluation.job,
        digest=evaluation.digest,
        rows=held["rows"],
        labels=held["classes"],
        candidates=candidates,
        rivals=[
            Rival(title_of(row["baseline"]), row["accuracy"], row["macro_f1"], row["better"])
            for row in held["comparisons"]
        ],
        shown=held["disagreements"]["shown"][:25],
        disagreements=held["disagreements"]["total"],
        resamples=held["resamples"],
        intervals=[
            {
                "label": candidate["title"],
                "value": candidate["accuracy"]["value"],
                "low": candidate["accuracy"]["low"],
                "high": candidate["accuracy"]["high"],
                "highlight": place == 0,
            }
            for place, candidate in enumerate(candidates)
        ],
    )


def rows_of(sides: list[Report]) -> list[dict[str, Any]]:
    """Return one row for each candidate of each report, the tuned ones first, for a chart of intervals."""
    return [
        {
            "label": f"{side.job.model_name} · job {side.job.pk}"
            if place == 0
            else f"{c['title']} · job {side.job.pk}",
            "value": c["accuracy"]["value"],
            "low": c["accuracy"]["low"],
            "high": c["accuracy"]["high"],
            "highlight": place == 0,
        }
        for side in sides
        for place, c in enumerate(side.candidates)
    ]
