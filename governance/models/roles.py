"""Who holds which role where, and what is shared with whom. Guardian's rows are derived from these by `access`."""

from __future__ import annotations

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import Q
from django.utils import timezone

from governance.models.governed import Governed
from governance.policy import Role

ROLE_CHOICES = [(role.value, role.value.replace("_", " ").capitalize().replace("Ml ", "ML ")) for role in Role]


class RoleAssignmentQuerySet(models.QuerySet):
    """Selections of role assignments."""

    def live(self):
        """Return those that hold now."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))

    def visible_to(self, user):
        """Return the assignments `user` may see: their own, those of their teams, all for who may see people."""
        from governance.services import access

        if access.organisation_allows(user, "person.view"):
            return self
        return access.visible(self, user, "team.view", scope="scope_id", own=Q(user=user), everywhere=False)


class RoleAssignment(models.Model):
    """`user` holds `role` in the team `scope_id`, or in the whole organisation where `scope_id` is empty."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="role_assignments")
    role = models.CharField(max_length=32, choices=ROLE_CHOICES)
    scope_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)

    objects = RoleAssignmentQuerySet.as_manager()
    governed = Governed()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "role", "scope_id"], name="one_assignment_per_team"),
            models.UniqueConstraint(
                fields=["user", "role"], condition=Q(scope_id=None), name="one_assignment_in_organisation"
            ),
            models.CheckConstraint(
                condition=~Q(role=Role.GUEST.value) | Q(expires_at__isnull=False), name="guest_has_an_end_date"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}"


class ShareQuerySet(models.QuerySet):
    """Selections of shares."""

    def visible_to(self, user):
        """Return the shares `user` may see: their own, those of objects of their teams, all for who may see people."""
        from governance.services import access

        if access.organisation_allows(user, "person.view"):
            return self
        return access.visible(self, user, "team.view", scope="scope_id", own=Q(user=user), everywhere=False)

    def live(self):
        """Return those in force now."""
        return self.filter(expires_at__gt=timezone.now())


class Share(models.Model):
    """One object opened to one person until a date, with a purpose; each permission is a guardian row beneath.

    `scope_id` is the team that the object belongs to, so that the team sees what of its own is open to whom.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="shares")
    permission = models.CharField(max_length=40)
    content_type = models.ForeignKey(ContentType, models.PROTECT, related_name="+")
    object_id = models.BigIntegerField()
    subject = GenericForeignKey("content_type", "object_id")
    scope_id = models.BigIntegerField(null=True, blank=True, db_index=True)
    purpose = models.CharField(max_length=300)
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    objects = ShareQuerySet.as_manager()
    governed = Governed()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "permission", "content_type", "object_id"], name="one_share_per_person_and_object"
            )
        ]

    def __str__(self) -> str:
        return f"{self.permission} for {self.user} until {self.expires_at:%Y-%m-%d}"
