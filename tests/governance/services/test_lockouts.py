"""Lock-outs: counted for the account and the address, ending by themselves, opened by administrators."""

import datetime

import pytest
from axes.models import AccessAttempt
from django.utils import timezone

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import access, ledger, lockouts

pytestmark = pytest.mark.postgres


def fail(account: str, *, address: str = "192.0.2.1", times: int = 1, minutes_ago: float = 0) -> None:
    """Count failures as axes does."""
    row = AccessAttempt.objects.create(
        username=account, ip_address=address, user_agent=f"at {minutes_ago}", failures_since_start=times
    )
    moment = timezone.now() - datetime.timedelta(minutes=minutes_ago)
    AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=moment)


def test_an_account_is_locked_at_its_limit_wherever_the_failures_come_from(eve):
    fail(eve.email, address="192.0.2.1", times=2)
    fail(eve.email, address="192.0.2.2", times=2)
    assert lockouts.of_account(eve.email) is None
    fail(eve.email, address="192.0.2.3", times=1)
    lock = lockouts.of_account(eve.email.upper())
    assert (lock.failures, lock.minutes) == (5, 15)


def test_a_lock_ends_when_enough_failures_have_run_out(eve):
    fail(eve.email, times=3, minutes_ago=10)
    fail(eve.email, times=3, minutes_ago=1)
    assert lockouts.of_account(eve.email).minutes == 5
    fail("other@example.org", times=9, minutes_ago=16)
    assert lockouts.of_account("other@example.org") is None


def test_an_address_has_a_limit_of_its_own(db):
    for number in range(12):
        fail(f"guess-{number}@example.org", times=4)
    assert lockouts.of_address("192.0.2.1") is None
    fail("guess-13@example.org", times=2)
    assert lockouts.of_address("192.0.2.1").failures == 50
    assert [(lock.kind, lock.name) for lock in lockouts.in_force()] == [("address", "192.0.2.1")]


@pytest.mark.parametrize("person", ["alice", "carol", "dan", "eve"])
def test_nobody_but_an_administrator_opens_a_lock(personas, person):
    fail("eve@example.org", times=5)
    with pytest.raises(access.Denied):
        lockouts.unlock(actor=personas[person], account="eve@example.org")
    assert lockouts.of_account("eve@example.org")


def test_opening_is_recorded_once_and_about_the_person(frank, eve):
    fail(eve.email, times=5)
    assert lockouts.unlock(actor=frank, account=eve.email) == 1
    assert lockouts.unlock(actor=frank, account=eve.email) == 0
    entry = LedgerEntry.objects.get(action=Action.SIGN_IN_UNLOCKED)
    assert entry.subject_id == str(eve.pk)
    assert eve.email.encode() not in bytes(entry.canonical)
    fail("x@example.org", address="192.0.2.9", times=50)
    lockouts.unlock(actor=frank, address="192.0.2.9")
    assert lockouts.in_force() == []
    assert ledger.texts_of(LedgerEntry.objects.filter(action=Action.SIGN_IN_UNLOCKED).latest("pk")) == {
        "address": "192.0.2.9"
    }
