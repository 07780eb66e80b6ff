"""How django-axes counts wrong passwords here, and what is shown to who is locked out.

The page is the same for an account that exists and one that does not.
"""

from __future__ import annotations

from allauth.core.internal.httpkit import get_client_ip
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from axes.signals import user_locked_out
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.dispatch import receiver
from django.shortcuts import render

from governance.actions import Action
from governance.models import User
from governance.services import ledger, lockouts


class Counter(AxesDatabaseHandler):
    """Counts failures for the account and for the address, each with a limit of its own.

    A success forgets the failures of the account alone: whoever has one account could otherwise keep the address's
    count low while trying others.
    """

    def get_failures(self, request, credentials=None):
        """Return the failures of the account; or its limit, which locks, once the address has reached its own."""
        by_account, by_address = (
            attempts.aggregate(total=Sum("failures_since_start"))["total"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        if by_address >= settings.LOCKOUT_ADDRESS_FAILURES:
            return max(by_account, settings.LOCKOUT_FAILURES)
        return by_account

    def reset_user_attempts(self, request, credentials=None):
        """Forget the failures of the account that has just signed in."""
        return AccessAttempt.objects.filter(username=name_of(request, credentials)).delete()[0]


def name_of(request, credentials=None) -> str | None:
    """Return the account that was named, in small letters; None where none was."""
    given = credentials or {}
    name = given.get("email") or given.get("username") or (request.POST.get("login") if request is not None else None)
    return str(name).strip().lower()[:254] if name else None


def address_of(request) -> str | None:
    """Return the client's address, past as many proxies as the operator says there are."""
    return get_client_ip(request)


@receiver(user_locked_out)
def _locked(sender, request, username, ip_address, **_):
    # Without a count this is another try during a lock that has been recorded.
    if request.axes_failures_since_start is None:
        return
    with transaction.atomic():
        ledger.record(
            Action.SIGN_IN_LOCKED,
            actor=User.objects.system(),
            subject=User.objects.people().filter(email=username).first() if username else None,
            details={"failures": request.axes_failures_since_start},
            texts={"email": username or "", "address": ip_address or ""},
        )


def locked_out(request, response, credentials):
    """Show how long the lock lasts and what to do; axes puts this in place of the answer."""
    name = name_of(request, credentials)
    lock = (lockouts.of_account(name) if name else None) or lockouts.of_address(address_of(request))
    context = {"lock": lock, "minutes": lock.minutes if lock else settings.LOCKOUT_MINUTES}
    answer = render(request, "account/locked.html", context, status=429)
    answer["Retry-After"] = str(lock.seconds if lock else settings.LOCKOUT_MINUTES * 60)
    return answer
