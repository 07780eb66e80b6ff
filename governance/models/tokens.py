"""API tokens: only a digest is stored; the token itself is shown once. And the keys that make a create repeatable."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from governance.models.governed import Exempt, Governed


class ApiTokenQuerySet(models.QuerySet):
    """Selections of tokens."""

    def visible_to(self, user):
        """Return the tokens of `user`; nobody sees another person's tokens, and a token sees itself alone."""
        token = getattr(user, "token", None)
        if token is not None:
            return self.filter(pk=token.pk)
        return self.filter(user=user) if user.is_authenticated else self.none()

    def manageable_by(self, user):
        """Return the tokens that `user` may list and revoke: everybody's for who manages people."""
        from governance.services import access

        return self if access.organisation_allows(user, "person.manage") else self.none()

    def live(self):
        """Return those that may be used now."""
        return self.filter(revoked_at=None, expires_at__gt=timezone.now())


class ApiToken(models.Model):
    """A credential for programs, acting as `user` within `scopes` (and within one team where `scope_id` is set)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, db_index=True)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    scope_id = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()
    governed = Governed(operational=("last_used_at",))

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def state(self) -> str:
        """Return "live", "expired" or "revoked"."""
        if self.revoked_at:
            return "revoked"
        return "live" if self.expires_at > timezone.now() else "expired"


class IdempotencyKey(models.Model):
    """The first answer to a create that carried an `Idempotency-Key`, given again when the same call is repeated."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=300)
    body_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    body = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    governed = Exempt("A kept answer decides nothing; the call that it answers is recorded.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_answer_per_idempotency_key")]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"
