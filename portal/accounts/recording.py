"""What happens at the door, put into the ledger, and the sessions that follow from it.

allauth says what happened through signals; each becomes one entry with an actor. What it lets happen without a signal
is caught by `RecordingMiddleware`: no unsafe request to its pages leaves without an entry.
"""

from __future__ import annotations

from functools import wraps

from allauth.account import signals as account_signals
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.internal.httpkit import get_client_ip
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver

from governance.actions import Action
from governance.models import BrowserSession, LedgerEntry, User
from governance.services import ledger, people, sessions

_SAFE = {"GET", "HEAD", "OPTIONS"}


def method_of(request, user) -> str:
    """Return how this person has proved who they are in this session, as one of BrowserSession.Method."""
    records = get_authentication_records(request, user)
    if not records:
        return BrowserSession.Method.LINK
    if any(record["method"] == "mfa" and record.get("passwordless") for record in records):
        return BrowserSession.Method.PASSKEY
    if any(record["method"] == "socialaccount" for record in records):
        return BrowserSession.Method.PROVIDER
    if any(record["method"] == "mfa" for record in records):
        return BrowserSession.Method.CODE
    return BrowserSession.Method.PASSWORD


@receiver(user_logged_in)
def _signed_in(sender, request, user, **_):
    if not request.session.session_key:
        request.session.create()
    sessions.begin(
        actor=user,
        key=request.session.session_key,
        method=method_of(request, user),
        address=get_client_ip(request),
        device=request.META.get("HTTP_USER_AGENT", ""),
    )


@receiver(user_logged_out)
def _signed_out(sender, request, user, **_):
    if user is not None:
        sessions.close(actor=user, key=request.session.session_key or "")


@receiver(user_login_failed)
def _sign_in_failed(sender, credentials, request=None, **_):
    address = str(credentials.get("email") or credentials.get("username") or "").lower()[:254]
    with transaction.atomic():
        ledger.record(
            Action.SIGN_IN_FAILED,
            actor=User.objects.system(),
            subject=User.objects.filter(email=address).first(),
            texts={"email": address, "address": (get_client_ip(request) or "") if request else ""},
        )


def follow_key(request) -> None:
    """Let the row of this session follow a key that was changed since the request began, as a new password does."""
    before, now = getattr(request, "session_key_before", None), request.session.session_key
    if before and now and before != now:
        sessions.seen(key=before, new_key=now)
        request.session_key_before = now


def _password_changed(how: str):
    def note(sender, request, user, **_):
        follow_key(request)
        people.password_changed(actor=user, how=how, session=request.session.session_key)

    return note


# Kept by name: a signal holds its receivers weakly.
_changed, _set, _reset = (_password_changed(how) for how in ("changed", "set", "reset"))
account_signals.password_changed.connect(_changed)
account_signals.password_set.connect(_set)
account_signals.password_reset.connect(_reset)


@receiver(account_signals.authentication_step_completed)
def _confirmed(sender, request, method, user, reauthenticated=False, **_):
    if reauthenticated:
        with transaction.atomic():
            ledger.record(Action.SESSION_CONFIRMED, actor=user, subject=user, details={"method": method})


def together(view):
    """Return the view with a new password and its entry in one transaction; the database refuses one without the other.

    allauth writes the password first and tells through a signal afterwards.
    """

    @wraps(view)
    def bound(request, *args, **kwargs):
        with transaction.atomic():
            return view(request, *args, **kwargs)

    return bound


class RecordingMiddleware:
    """An unsafe request to a page of allauth that made no entry of its own gets one: who, where, and the answer."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response):
        self.get_response = get_response

    def process_view(self, request, callback, args, kwargs):
        """Note, for an unsafe request to allauth, who makes it and where the ledger ends."""
        if request.method not in _SAFE and callback.__module__.startswith("allauth."):
            newest = LedgerEntry.objects.order_by("-pk").values_list("pk", flat=True).first()
            request.door = (newest or 0, request.user if request.user.is_authenticated else None)

    def __call__(self, request):
        """Answer, and record what nothing else has recorded."""
        response = self.get_response(request)
        newest, actor = getattr(request, "door", (None, None))
        if newest is not None and not self._recorded(request, newest):
            self._record(request, actor, response.status_code)
        return response

    @staticmethod
    def _recorded(request, newest: int) -> bool:
        return LedgerEntry.objects.filter(pk__gt=newest, request_id=request.request_id).exists()

    @staticmethod
    def _record(request, actor, status):
        with transaction.atomic():
            ledger.record(
                Action.PASSWORD_RESET_ASKED
                if request.resolver_match.url_name == "account_reset_password" and status == 302
                else Action.REFUSED,
                actor=actor or User.objects.system(),
                details={"code": str(status), "method": request.method, "path": request.path[:300]},
            )
