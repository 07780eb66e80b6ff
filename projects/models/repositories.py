"""The content-addressed store: repositories hold commits, commits list files, bytes are stored once by sha256."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.models.governed import Exempt, Governed
from governance.services import access
from projects.models.teams import SLUG, Team


class Blob(models.Model):
    """Bytes that are in the store, known by their sha256; `git_oid` is the sha1 that git would give them."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    git_oid = models.CharField(max_length=40)
    size = models.BigIntegerField()
    stored_at = models.DateTimeField(default=timezone.now)

    governed = Exempt("Bytes that nothing names decide nothing; the commit that names them is governed.")

    def __str__(self) -> str:
        return self.sha256[:12]


class RepositoryQuerySet(models.QuerySet):
    """Selections of repositories."""

    def visible_to(self, user):
        """Return the repositories of the user's teams; base models belong to the organisation."""
        rows = access.visible(self, user, "dataset.view").filter(kind=Repository.Kind.DATASET) | access.visible(
            self, user, "model.view"
        ).filter(kind__in=[Repository.Kind.MODEL, Repository.Kind.EVIDENCE])
        if user.is_authenticated and user.is_active:
            rows |= self.filter(team=None, kind=Repository.Kind.BASE_MODEL)
        return rows


class Repository(models.Model):
    """A named line of commits: one dataset, one model, one base model or one body of evidence."""

    class Kind(models.TextChoices):
        """What the repository holds."""

        DATASET = "dataset", "Dataset"
        MODEL = "model", "Model"
        BASE_MODEL = "base_model", "Base model"
        EVIDENCE = "evidence", "Evidence"

    kind = models.CharField(max_length=12, choices=Kind.choices)
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="repositories")
    name = models.CharField(max_length=64, validators=[SLUG])
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = RepositoryQuerySet.as_manager()
    governed = Governed()

    class Meta:
        verbose_name_plural = "repositories"
        constraints = [
            models.UniqueConstraint(fields=["kind", "team", "name"], name="repository_name_in_team"),
            models.UniqueConstraint(
                fields=["kind", "name"], condition=Q(team=None), name="repository_name_in_organisation"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team.slug}/{self.name}" if self.team_id else self.name

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team, or None for what belongs to the organisation."""
        return self.team_id


class CommitQuerySet(models.QuerySet):
    """Selections of commits."""

    def visible_to(self, user):
        """Return the commits of the repositories that `user` may see."""
        return self.filter(repository__in=Repository.objects.visible_to(user))


class Commit(models.Model):
    """An immutable state of a repository. `oid`, 40 lowercase hex digits, comes from its content."""

    oid = models.CharField(max_length=40, unique=True)
    repository = models.ForeignKey(Repository, models.PROTECT, related_name="commits")
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    message = models.CharField(max_length=300)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    objects = CommitQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.oid[:10]

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team, or None for what belongs to the organisation."""
        return self.repository.team_id


class CommitFile(models.Model):
    """One file of one commit."""

    commit = models.ForeignKey(Commit, models.PROTECT, related_name="files")
    path = models.CharField(max_length=400)
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="+", db_column="sha256")
    git_oid = models.CharField(max_length=40)
    size = models.BigIntegerField()

    governed = Governed()

    class Meta:
        ordering = ["path"]
        constraints = [models.UniqueConstraint(fields=["commit", "path"], name="one_file_per_path")]

    def __str__(self) -> str:
        return self.path

    @property
    def sha256(self) -> str:
        """Return the digest of the file's bytes."""
        return self.blob_id


class Ref(models.Model):
    """A movable name for a commit, such as `main` or an alias."""

    repository = models.ForeignKey(Repository, models.PROTECT, related_name="refs")
    name = models.CharField(max_length=100)
    commit = models.ForeignKey(Commit, models.PROTECT, related_name="+")

    governed = Governed()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "name"], name="one_commit_per_ref")]

    def __str__(self) -> str:
        return self.name
