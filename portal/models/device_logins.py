"""Logins that a person confirmed for a program without a browser (RFC 8628), such as `hf auth login`."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from governance.models import ApiToken
from governance.models.governed import Governed


class DeviceLogin(models.Model):
    """What a person answered about one code; a program that waits with it gets a token once, if they allowed it.

    A code that nobody answered has no row: asking for one writes nothing.
    """

    class State(models.TextChoices):
        """What became of the code."""

        ALLOWED = "allowed", "Allowed"
        REFUSED = "refused", "Refused"
        USED = "used", "Used"

    code = models.CharField(max_length=8, unique=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    scopes = models.JSONField(default=list)
    state = models.CharField(max_length=8, choices=State.choices)
    decided_at = models.DateTimeField(default=timezone.now)
    token = models.OneToOneField(ApiToken, models.SET_NULL, null=True, blank=True, related_name="+")

    # Each row is a right to a token.
    governed = Governed()

    def __str__(self) -> str:
        return f"{self.code}: {self.get_state_display()}"
