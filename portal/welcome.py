"""One-click sign-in links for the worked example: signed, short-lived, and only in DEBUG on loopback."""

from __future__ import annotations

from django.conf import settings
from django.core import signing

from governance.models import User

SALT = "gatehouse.welcome"
MAX_AGE = 12 * 3600


def are_open() -> bool:
    """Return whether links are honoured at all here."""
    return settings.DEBUG and settings.LOOPBACK


def issue(user: User) -> str:
    """Return a ticket that signs this person in for twelve hours."""
    return signing.dumps(user.pk, salt=SALT)


def redeem(ticket: str) -> User | None:
    """Return the person a ticket is for, or None for a ticket that is forged or too old."""
    try:
        pk = signing.loads(ticket, salt=SALT, max_age=MAX_AGE)
    except signing.BadSignature:
        return None
    return User.objects.people().filter(pk=pk, is_active=True).first()
