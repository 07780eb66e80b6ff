"""How well a candidate did on the frozen test split, beside its baselines."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from governance.models.governed import Governed
from training.models.jobs import TrainingJob


class EvaluationQuerySet(models.QuerySet):
    """Selections of evaluations."""

    def visible_to(self, user):
        """Return the evaluations of the jobs that `user` may see."""
        return self.filter(job__in=TrainingJob.objects.visible_to(user))


class Evaluation(models.Model):
    """The engine's evaluation.json of one job: `report` holds it whole; the columns are what lists sort by."""

    job = models.OneToOneField(TrainingJob, models.PROTECT, related_name="evaluation")
    digest = models.CharField(max_length=64)
    report = models.JSONField()
    accuracy = models.FloatField()
    macro_f1 = models.FloatField()
    test_rows = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    objects = EvaluationQuerySet.as_manager()
    governed = Governed()

    def __str__(self) -> str:
        return f"evaluation of job {self.job_id}"

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.job.team_id
