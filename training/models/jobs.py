"""Training jobs: the row is the truth about a run, whatever any message or process believes."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Exempt, Governed
from governance.policy import Permission
from governance.services import access
from projects.models import DatasetVersion, Team, UseCase
from training.models.base_models import BaseModel


class TrainingJobQuerySet(models.QuerySet):
    """Selections of jobs."""

    def visible_to(self, user):
        """Return the jobs of the user's teams."""
        return access.visible(self, user, "job.view")

    def owned(self, job_id: int, token: int):
        """Return the running job as its owner may write it: no row means that somebody else owns it now."""
        rows = self.filter(pk=job_id)
        # Turned off only by the chaos tests, which must then find duplicates: it shows that they can.
        return rows.filter(token=token, state=TrainingJob.State.RUNNING) if settings.JOB_FENCING else rows


class TrainingJob(models.Model):
    """One frozen run specification on its way to a model version.

    A worker owns the job while it holds `token`, which grows with every claim, and while `lease_until` is ahead.
    """

    class State(models.TextChoices):
        """Where the job stands."""

        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    LONGEST_LINE = 50
    FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

    team = models.ForeignKey(Team, models.PROTECT, related_name="jobs")
    use_case = models.ForeignKey(UseCase, models.PROTECT, related_name="jobs")
    dataset_version = models.ForeignKey(DatasetVersion, models.PROTECT, related_name="jobs")
    base_model = models.ForeignKey(BaseModel, models.PROTECT, related_name="jobs")
    model_name = models.CharField(max_length=64, help_text="The registered model that the result becomes a version of.")
    recipe = models.CharField(max_length=60)
    method = models.CharField(max_length=20)
    preset = models.CharField(max_length=20, blank=True)
    spec = models.JSONField()
    spec_digest = models.CharField(max_length=64)
    dry_run = models.JSONField(default=dict)
    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="training_jobs")
    submission_key = models.CharField(
        max_length=64, blank=True, help_text="The same key from the same person is the same submission, sent twice."
    )
    submitted_at = models.DateTimeField(default=timezone.now)
    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    queued_at = models.DateTimeField(default=timezone.now)
    rung_at = models.DateTimeField(null=True, blank=True)
    token = models.PositiveIntegerField(default=0)
    owner = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    stage = models.CharField(max_length=20, blank=True)
    step = models.PositiveIntegerField(default=0)
    max_steps = models.PositiveIntegerField(default=0)
    eta_at = models.DateTimeField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.TextField(blank=True)
    error_advice = models.TextField(blank=True)
    summary = models.JSONField(default=dict)
    retry_of = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="retries")

    objects = TrainingJobQuerySet.as_manager()
    # Who works on it and how far it is; starting, ending, cancelling and losing it are recorded.
    governed = Governed(
        operational=(
            "queued_at",
            "rung_at",
            "token",
            "owner",
            "lease_until",
            "attempts",
            "stage",
            "step",
            "max_steps",
            "eta_at",
        )
    )

    SEEN_WITH = Permission.JOB_VIEW

    class Meta:
        ordering = ["-submitted_at", "-id"]
        indexes = [
            models.Index(fields=["-submitted_at", "-id"], name="job_submitted"),
            models.Index(fields=["team", "-submitted_at", "-id"], name="job_team"),
            models.Index(fields=["state", "queued_at", "id"], name="job_queue"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["submitted_by", "submission_key"],
                condition=~Q(submission_key=""),
                name="one_job_per_submission",
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(lease_until__isnull=False), name="running_job_has_a_lease"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model_name} · job {self.pk}"

    def get_absolute_url(self) -> str:
        """Return the job's page."""
        return reverse("training:job", args=[self.pk])

    @property
    def scope_id(self) -> int:
        """Return the id of the team, which is where rights are held."""
        return self.team_id

    def line(self) -> list[TrainingJob]:
        """Return the job and, newest first, those that it is a retry of, as far as `LONGEST_LINE` goes."""
        found = [self]
        while found[-1].retry_of is not None and len(found) < self.LONGEST_LINE:
            found.append(found[-1].retry_of)
        return found

    @property
    def is_finished(self) -> bool:
        """Return whether nothing more will happen to the job."""
        return self.state in self.FINISHED


class JobEventQuerySet(models.QuerySet):
    """Selections of job events."""

    def visible_to(self, user):
        """Return the events of the jobs that `user` may see."""
        return self.filter(job__in=TrainingJob.objects.visible_to(user))


class JobEvent(models.Model):
    """One thing that the engine or the supervisor reported; `token` tells which attempt said it."""

    job = models.ForeignKey(TrainingJob, models.CASCADE, related_name="events")
    token = models.PositiveIntegerField()
    type = models.CharField(max_length=20)
    at = models.DateTimeField()
    data = models.JSONField()

    objects = JobEventQuerySet.as_manager()
    governed = Exempt("Progress and log lines of a run; what the run came to is recorded with its digest.")

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["job", "id"], name="event_of_job")]

    def __str__(self) -> str:
        return f"{self.type} of job {self.job_id}"
