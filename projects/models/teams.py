"""Teams, in which people hold roles, and the organisation's strategic goals, which use cases serve."""

from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Governed
from governance.policy import Permission, team_permissions
from governance.services import access

RESERVED_NAMES = frozenset(
    (
        "access",
        "account",
        "admin",
        "administration",
        "api",
        "base",
        "base-models",
        "chat",
        "compliance",
        "dataset-versions",
        "datasets",
        "django-admin",
        "docs",
        "feedback",
        "goals",
        "healthz",
        "home",
        "kernels",
        "ledger",
        "login",
        "metrics",
        "models",
        "new",
        "oauth",
        "options",
        "predict",
        "publications",
        "quotas",
        "readyz",
        "reviews",
        "search",
        "spaces",
        "static",
        "suggestions",
        "teams",
        "training",
        "usage",
        "use-cases",
        "v1",
        "views",
        "welcome",
    )
)
SLUG = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]$|^[a-z0-9]$",
    "Use lowercase letters, digits, dots, hyphens and underscores, starting and ending with a letter or digit.",
)


class TeamQuerySet(models.QuerySet):
    """Selections of teams."""

    def visible_to(self, user):
        """Return the teams in which `user` may look around."""
        return access.visible(self, user, "team.view", scope="pk")

    def open_to_proposals(self, user):
        """Return the teams to which `user` may propose a use case: all, for an employee."""
        return access.visible(self, user, "use_case.propose", scope="pk")


class Team(models.Model):
    """A group of people who work on use cases together. Its slug is the first half of repository names."""

    slug = models.CharField(max_length=64, unique=True, validators=[SLUG])
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = TeamQuerySet.as_manager()
    governed = Governed()

    SEEN_WITH = Permission.TEAM_VIEW

    class Meta:
        ordering = ["name"]
        permissions = team_permissions()

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the team's page."""
        return reverse("projects:team", args=[self.slug])


class StrategicGoalQuerySet(models.QuerySet):
    """Selections of goals."""

    def visible_to(self, user):
        """Return all: everyone in the organisation may know its goals."""
        return self if user.is_authenticated and user.is_active else self.none()


class StrategicGoal(models.Model):
    """Something that the organisation as a whole wants, which a use case may serve."""

    title = models.CharField(max_length=160, unique=True)
    description = models.TextField(blank=True)
    is_current = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = StrategicGoalQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title
