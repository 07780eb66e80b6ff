"""Sessions: begun when somebody signs in, shown to them, and ended by them or by an administrator, at once."""

from __future__ import annotations

import datetime
from importlib import import_module

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import BrowserSession, User
from governance.policy import Permission
from governance.services import access, ledger

DEVICE_LENGTH = 200


@transaction.atomic
def begin(*, actor: User, key: str, method: str, address: str | None, device: str) -> BrowserSession:
    """Note that `actor` has signed in with the browser that holds the session `key`, and forget what ran out."""
    now = timezone.now()
    BrowserSession.objects.filter(user=actor, expires_at__lte=now).delete()
    session, _made = BrowserSession.objects.update_or_create(
        key=key,
        defaults={
            "user": actor,
            "method": method,
            "started_at": now,
            "last_seen_at": now,
            "expires_at": now + datetime.timedelta(seconds=settings.SESSION_COOKIE_AGE),
            "address": address,
            "device": device[:DEVICE_LENGTH],
        },
    )
    ledger.record(
        Action.SIGNED_IN,
        actor=actor,
        subject=actor,
        details={"method": method},
        texts={"address": address or "", "device": session.device},
    )
    return session


def seen(*, key: str, new_key: str | None = None) -> None:
    """Note that the browser was seen now; `new_key` follows a session whose key was changed, as a password does."""
    changed = {"last_seen_at": timezone.now()} | ({"key": new_key} if new_key else {})
    BrowserSession.objects.filter(key=key).update(**changed)


@transaction.atomic
def close(*, actor: User, key: str) -> None:
    """Note that `actor` has signed out of the browser that holds the session `key`."""
    BrowserSession.objects.filter(user=actor, key=key).delete()
    ledger.record(Action.SIGNED_OUT, actor=actor, subject=actor)


@transaction.atomic
def end(*, actor: User, session: BrowserSession) -> None:
    """Sign one browser out at once: a person's own, or anybody's for who manages people. Raises Denied."""
    _require(actor, session.user)
    _end(actor, session.user, BrowserSession.objects.filter(pk=session.pk), why="one")


@transaction.atomic
def end_all(*, actor: User, user: User, but: str | None = None, why: str = "all") -> int:
    """Sign every browser of a person out at once, all but the one that holds the session `but`; return how many.

    A person does so with their own, and who manages people with anybody's. `why` is the word that the ledger keeps.
    Raises Denied.
    """
    _require(actor, user)
    return _end(actor, user, BrowserSession.objects.filter(user=user).exclude(key=but or ""), why=why)


def _require(actor: User, user: User) -> None:
    if actor.pk != user.pk:
        access.require(actor, Permission.PERSON_MANAGE)
    elif not access.token_permits(actor, Permission.PERSON_MANAGE):
        raise access.Denied(
            "This token may not end sessions: that needs the scope “admin”. Sign in to do it.", code="token_scope"
        )


def _end(actor: User, user: User, sessions, *, why: str) -> int:
    keys = list(sessions.values_list("key", flat=True))
    if not keys:
        return 0
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for key in keys:
        store(key).delete()
    sessions.delete()
    ledger.record(Action.SESSION_ENDED, actor=actor, subject=user, details={"ended": len(keys), "why": why})
    return len(keys)
