"""Who is signed in where: one row for each browser in which a person is signed in."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from governance.models.governed import Governed


class BrowserSessionQuerySet(models.QuerySet):
    """Selections of sessions."""

    def visible_to(self, user):
        """Return the sessions of `user`; through a token only where it has the scope "admin"."""
        from governance.services import access

        if not user.is_authenticated or not access.token_permits(user, "person.manage"):
            return self.none()
        return self.filter(user=user)

    def manageable_by(self, user):
        """Return the sessions that `user` may end: everybody's for who manages people."""
        from governance.services import access

        return self if access.organisation_allows(user, "person.manage") else self.none()

    def live(self):
        """Return those that have not run out."""
        return self.filter(expires_at__gt=timezone.now())


class BrowserSession(models.Model):
    """A person is signed in with one browser until `expires_at`, or until the row is deleted together with the session.

    `key` is the key of Django's session, which the person's cookie holds; it is never shown. `address` and `device` are
    what the browser said when it signed in; the person recognises their own by them, and they prove nothing.
    """

    class Method(models.TextChoices):
        """How the person proved who they are."""

        PASSWORD = "password", "Password"
        CODE = "code", "Password and second factor"
        PASSKEY = "passkey", "Passkey"
        PROVIDER = "provider", "Single sign-on"
        LINK = "link", "Sign-in link"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="browser_sessions")
    key = models.CharField(max_length=40, unique=True)
    method = models.CharField(max_length=16, choices=Method.choices, default=Method.PASSWORD)
    started_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    address = models.GenericIPAddressField(null=True, blank=True)
    device = models.CharField(max_length=200, blank=True)

    objects = BrowserSessionQuerySet.as_manager()
    governed = Governed(operational=("last_seen_at", "key"))

    class Meta:
        ordering = ["-last_seen_at", "-id"]

    def __str__(self) -> str:
        return f"{self.user} since {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def browser(self) -> str:
        """Return the browser and system in words, as far as the device's own description tells: "Firefox on Linux"."""
        return described(self.device)


_BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def described(device: str) -> str:
    """Return a few words for a browser's description of itself; its beginning where nothing in it is known."""
    browser = next((word for mark, word in _BROWSERS if mark in device), "")
    system = next((word for mark, word in _SYSTEMS if mark in device), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or device[:60] or "Unknown browser"
