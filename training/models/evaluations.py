"""How well a candidate did on the frozen test split, beside its baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils import timezone

from governance.models.governed import Governed
from training.engine import measures
from training.engine.measures import Metric
from training.models.jobs import TrainingJob

METRICS: dict[str, Metric] = {metric.name: metric for name in measures.names() for metric in measures.get(name).metrics}
"""Every metric that some kind of training is measured by."""


@dataclass(frozen=True)
class Figure:
    """One figure of one candidate with its interval; `unit` and `higher` are as in `measures.Metric`."""

    name: str
    title: str
    unit: str
    higher: bool
    value: float
    low: float
    high: float
    help: str = ""

    @property
    def text(self) -> str:
        """Return the value as a reviewer reads it, which is what an approval binds to."""
        return f"{self.value:.4f}"


def written(value: float, unit: str) -> str:
    """Return a figure for a list: a share in per cent, a number with four digits."""
    return f"{value * 100:.1f} %" if unit == "share" else f"{value:.4g}"


def figures_of(report: dict[str, Any], candidate: dict[str, Any]) -> list[Figure]:
    """Return the figures of a candidate of either version of the report; what it has not is left out."""
    if report.get("version", 1) == 1:
        held = {metric.name: (metric.to_json(), candidate[metric.name]) for metric in measures.get("classes").metrics}
    else:
        named = sorted(report["metrics"], key=lambda metric: metric["name"] != report["primary"])
        held = {
            metric["name"]: (metric, candidate["metrics"][metric["name"]])
            for metric in named
            if metric["name"] in candidate["metrics"]
        }
    return [
        Figure(
            name, said["title"], said["unit"], said["higher"], found["value"], found["low"], found["high"], said["help"]
        )
        for name, (said, found) in held.items()
    ]


class EvaluationQuerySet(models.QuerySet):
    """Selections of evaluations."""

    def visible_to(self, user):
        """Return the evaluations of the jobs that `user` may see."""
        return self.filter(job__in=TrainingJob.objects.visible_to(user))


class Evaluation(models.Model):
    """The engine's evaluation.json of one job: `report` holds it whole; the columns are what lists show.

    `metric` names the figure that decides for the job's kind of training, `score` is its value; accuracy and macro F1
    are there where rows have one class each.
    """

    job = models.OneToOneField(TrainingJob, models.PROTECT, related_name="evaluation")
    digest = models.CharField(max_length=64)
    report = models.JSONField()
    metric = models.CharField(max_length=40, default="accuracy", db_default="accuracy")
    score = models.FloatField(default=0, db_default=0)
    accuracy = models.FloatField(null=True)
    macro_f1 = models.FloatField(null=True)
    test_rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    objects = EvaluationQuerySet.as_manager()
    governed = Governed()

    def __str__(self) -> str:
        return f"evaluation of job {self.job_id}"

    @property
    def figures(self) -> list[Figure]:
        """Return the tuned model's figures in the order of their measure, the one that decides first."""
        return figures_of(self.report, self.report["candidates"][0])

    @property
    def shown(self) -> str:
        """Return the figure that decides as a list shows it, such as "93.2 % accuracy"."""
        metric = METRICS.get(self.metric)
        return f"{written(self.score, metric.unit)} {metric.title}" if metric else f"{self.score:.4g} {self.metric}"

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.job.team_id
