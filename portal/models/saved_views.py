"""Views of lists that people keep: a name for filters, an order and columns; and which of them somebody starts with."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from governance.models.governed import Exempt, Governed
from governance.policy import Permission
from governance.services import access
from projects.models import Team


class SavedViewQuerySet(models.QuerySet):
    """Selections of saved views."""

    def visible_to(self, user):
        """Return the person's own views, those of their teams, and those of the organisation.

        Opening a view shows nothing by itself: the list that it leads to asks who is reading.
        """
        if not (user.is_authenticated and user.is_active):
            return self.none()
        shared = Q(audience=SavedView.Audience.ORGANISATION)
        in_team = Q(audience=SavedView.Audience.TEAM)
        if not access.organisation_allows(user, Permission.TEAM_VIEW):
            in_team &= Q(team__in=access.scope_ids(user, Permission.TEAM_VIEW))
        return self.filter(Q(owner=user) | shared | in_team)


class SavedView(models.Model):
    """A way of looking at one list that somebody gave a name: it narrows, sorts, chooses columns, grants nothing."""

    class Audience(models.TextChoices):
        """Who finds it."""

        PRIVATE = "private", "Only me"
        TEAM = "team", "A team"
        ORGANISATION = "organisation", "Everybody"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="saved_views")
    listing = models.CharField(max_length=40)
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=2000, blank=True)
    audience = models.CharField(max_length=12, choices=Audience.choices, default=Audience.PRIVATE)
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True, related_name="saved_views")
    created_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(default=timezone.now)

    objects = SavedViewQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["name", "id"]
        indexes = [models.Index(fields=["listing", "name", "id"], name="saved_view_listing")]
        constraints = [
            models.UniqueConstraint(fields=["owner", "listing", "name"], name="one_view_per_name"),
            models.CheckConstraint(
                condition=Q(audience="team", team__isnull=False) | (~Q(audience="team") & Q(team__isnull=True)),
                name="team_view_has_a_team",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address that opens it, which can be passed on."""
        return reverse("portal:saved_view", args=[self.pk])

    @property
    def scope_id(self) -> int | None:
        """Return the id of the team that it is shared with."""
        return self.team_id


class UsualView(models.Model):
    """The view with which a person starts when they open a list."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="usual_views")
    listing = models.CharField(max_length=40)
    view = models.ForeignKey(SavedView, models.CASCADE, related_name="usual_for")

    governed = Exempt("With which view a person starts is their own convenience; it shows them nothing new.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "listing"], name="one_usual_view_per_list")]

    def __str__(self) -> str:
        return f"{self.listing} of {self.user_id}"
