"""Lock-outs: who may not try a password now, until when, and opened before that by who manages people.

Failures are counted by django-axes, for the account named and for the address they come from, whether such an account
exists or not. A lock closes the password alone: open sessions, passkeys and single sign-on go on, so that nobody can
keep a colleague out by typing wrong passwords for them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from axes.models import AccessAttempt
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger

MOST = 2000
"""How many counters are looked at for the list of locks; under a flood of names the newest are shown."""


@dataclass(frozen=True)
class Lock:
    """An account (an e-mail address as somebody typed it) or a network address that is locked until a moment."""

    kind: str
    name: str
    failures: int
    until: datetime.datetime

    @property
    def seconds(self) -> int:
        """Return how long it lasts from now on, in whole seconds, at least one."""
        return max(1, int((self.until - timezone.now()).total_seconds()) + 1)

    @property
    def minutes(self) -> int:
        """Return how long it lasts from now on, in minutes, rounded up."""
        return -(-self.seconds // 60)


def _recent():
    return AccessAttempt.objects.filter(attempt_time__gte=timezone.now() - settings.AXES_COOLOFF_TIME)


def _lock(kind: str, name: str, counters: Iterable[tuple[datetime.datetime, int]], limit: int) -> Lock | None:
    """Return the lock that these (moment, failures) make: it ends when enough of them have run out."""
    ordered = sorted(counters)
    failures = total = sum(count for _moment, count in ordered)
    for moment, count in ordered:
        if total < limit:
            break
        total -= count
        if total < limit:
            return Lock(kind, name, failures, moment + settings.AXES_COOLOFF_TIME)
    return None


def of_account(email: str) -> Lock | None:
    """Return the lock of an account, or None."""
    rows = _recent().filter(username=email.lower()).values_list("attempt_time", "failures_since_start")
    return _lock("account", email.lower(), rows, settings.LOCKOUT_FAILURES)


def of_address(address: str | None) -> Lock | None:
    """Return the lock of a network address, or None."""
    if not address:
        return None
    rows = _recent().filter(ip_address=address).values_list("attempt_time", "failures_since_start")
    return _lock("address", address, rows, settings.LOCKOUT_ADDRESS_FAILURES)


def in_force() -> list[Lock]:
    """Return every lock that holds now, the one that lasts longest first."""
    accounts: dict[str, list] = {}
    addresses: dict[str, list] = {}
    rows = (
        _recent()
        .order_by("-attempt_time")
        .values_list("username", "ip_address", "attempt_time", "failures_since_start")
    )
    for name, address, moment, count in rows[:MOST]:
        if name:
            accounts.setdefault(name, []).append((moment, count))
        if address:
            addresses.setdefault(address, []).append((moment, count))
    found = [_lock("account", name, held, settings.LOCKOUT_FAILURES) for name, held in accounts.items()]
    found += [_lock("address", name, held, settings.LOCKOUT_ADDRESS_FAILURES) for name, held in addresses.items()]
    return sorted((lock for lock in found if lock is not None), key=lambda lock: lock.until, reverse=True)


@transaction.atomic
def unlock(*, actor: User, account: str = "", address: str | None = None) -> int:
    """Forget the failures of one account, or of one address, so that it may try again at once. Raises Denied.

    Returns how many counters were forgotten; with none there was no lock, and nothing is recorded.
    """
    access.require(actor, Permission.PERSON_MANAGE)
    if bool(account) == bool(address):
        raise TypeError("unlock one account or one address")
    rows = AccessAttempt.objects.filter(**({"username": account.lower()} if account else {"ip_address": address}))
    count = rows.delete()[0]
    if count:
        ledger.record(
            Action.SIGN_IN_UNLOCKED,
            actor=actor,
            subject=User.objects.people().filter(email=account.lower()).first() if account else None,
            details={"kind": "account" if account else "address"},
            texts={"account": account.lower(), "address": address or ""},
        )
    return count
