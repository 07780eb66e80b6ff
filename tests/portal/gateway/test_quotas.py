"""Quotas: what a call may take is decided when it takes it, to the last one, however many ask at the same time."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import LedgerEntry, User
from governance.services import ledger
from portal.gateway import metering
from portal.gateway.metering import counts
from portal.models import Quota, QuotaCount, QuotaRefusal, QuotaWarning, Usage, Window
from tests.portal.gateway.models import make_model

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture(params=["database", "redis"])
def where(request, settings):
    """Count in the database, and then again in a real Redis."""
    if request.param == "redis":
        settings.CACHE_URL = f"unix://{request.getfixturevalue('redis_server').socket}"
        counts.of_site()._client.flushall()
    return request.param


@pytest.fixture
def model(alice, team):
    return make_model(alice, team)


@transaction.atomic
def make_quota(frank, subject="organisation", unit="calls", window="day", amount=3, **more) -> Quota:
    quota = Quota.objects.create(
        subject=subject, unit=unit, window=window, amount=Decimal(amount), set_by=frank, **more
    )
    ledger.record(Action.QUOTA_SET, actor=frank, subject=quota)
    return quota


def call(person, model, **more):
    return metering.begin(actor=person, model=model, kind="chat", **more)


def used(quota, person) -> int:
    return metering.standing_of([quota], person)[0].used


def test_a_quota_is_used_up_and_says_so(where, frank, eve, model):
    quota = make_quota(frank, amount=2)
    for left in (1, 0):
        made = call(eve, model)
        assert f'"calls-day-{quota.pk}";r={left};t=' in made.headers()["RateLimit"]
        assert made.headers()["RateLimit-Policy"] == f'"calls-day-{quota.pk}";q=2;w=86400;qu="requests"'
        made.finish("answered")
    with pytest.raises(metering.Exceeded) as refused:
        call(eve, model)
    assert "2 calls a day for the organisation" in refused.value.reason
    assert "used up" in refused.value.reason
    assert refused.value.code == "insufficient_quota"
    tomorrow = Window.DAY.around(timezone.now())[1]
    assert abs(refused.value.retry_after - (tomorrow - timezone.now()).total_seconds()) < 3
    assert refused.value.headers["Retry-After"] == str(refused.value.retry_after)
    assert ";r=0;" in refused.value.headers["RateLimit"]
    assert used(quota, eve) == 2
    assert Usage.objects.count() == 2


def test_what_a_call_did_not_use_is_given_back(where, frank, eve, model):
    quota = make_quota(frank, "model", "tokens", amount=1000, model=model, team=model.team)
    first = call(eve, model, expected_tokens=600)
    with pytest.raises(metering.Exceeded, match=r"up to 600 tokens.*400 tokens are left"):
        call(eve, model, expected_tokens=600)
    first.used(prompt_tokens=5, completion_tokens=95)
    first.finish("answered")
    assert used(quota, eve) == 100
    assert ";r=900;" in first.headers()["RateLimit"]
    call(eve, model, expected_tokens=900).finish("failed")
    assert used(quota, eve) == 100
    with pytest.raises(metering.Exceeded, match="never has as much"):
        call(eve, model, expected_tokens=1001)


def test_a_budget_counts_money_to_the_millionth(where, frank, eve, model, settings):
    settings.PRICES = {"default": {"prompt_tokens": Decimal("0.002"), "completion_tokens": Decimal("0.01")}}
    quota = make_quota(frank, "use_case", "money", "month", "0.05", use_case=model.use_case, team=model.team)
    # 4,000 tokens cost 0.04 at most: two of these at once could overspend.
    first = call(eve, model, expected_tokens=4000)
    with pytest.raises(metering.Exceeded, match=r"0\.01 EUR are left"):
        call(eve, model, expected_tokens=4000)
    assert 'qu="micro-eur"' in first.headers()["RateLimit-Policy"]
    first.used(prompt_tokens=1000, completion_tokens=1)
    first.finish("answered")
    assert used(quota, eve) == 2010
    settings.PRICES = {"default": {"seconds": Decimal("0.001")}}
    # A call may keep the device for a minute, so a minute has to be left.
    with pytest.raises(metering.Exceeded, match=r"0\.06 EUR"):
        call(eve, model)


def test_transfers_count_bytes_and_calls_do_not(where, frank, bob, model):
    volume = make_quota(frank, "team", "bytes", amount=1000, team=model.team)
    rate = make_quota(frank, "team", "calls", "minute", 1, team=model.team)
    copy = metering.begin(actor=bob, model=model, kind="download", expected_bytes=900)
    assert 'qu="content-bytes"' in copy.headers()["RateLimit-Policy"]
    copy.used(bytes=300)
    copy.finish("cancelled")
    with pytest.raises(metering.Exceeded, match="701 bytes"):
        metering.begin(actor=bob, model=model, kind="upload", expected_bytes=701)
    call(bob, model).finish("answered")
    assert (used(volume, bob), used(rate, bob)) == (300, 1)
    with pytest.raises(metering.Exceeded) as refused:
        call(bob, model)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.retry_after <= 60


def test_a_quota_of_each_person_leaves_the_others_theirs(where, frank, eve, bob, model):
    each = make_quota(frank, "model", amount=1, model=model, team=model.team, each_person=True)
    hers = make_quota(frank, "person", amount=5, person=eve)
    call(eve, model).finish("answered")
    call(bob, model).finish("answered")
    with pytest.raises(metering.Exceeded, match="each person in helpdesk/router"):
        call(eve, model)
    # What the first quota refuses is not taken of the other.
    assert (used(each, eve), used(each, bob), used(hers, eve)) == (1, 1, 1)
    assert [one.quota for one in metering.standings(person=eve, team=model.team, model=model)] == [each, hers]


def test_what_binds_somebody_else_does_not_bind(frank, eve, bob, model, alice, team):
    other = make_model(alice, team, "other")
    for what in (
        {"subject": "person", "person": bob},
        {"subject": "model", "model": other, "team": team},
        {"subject": "use_case", "use_case": other.use_case, "team": team},
        {"ended_at": timezone.now()},
    ):
        make_quota(frank, amount=0, **what)
    call(eve, model).finish("answered")
    with pytest.raises(metering.Exceeded):
        call(eve, other)


def test_a_quota_set_in_the_middle_counts_what_was_used_before(where, frank, eve, bob, model, settings):
    settings.PRICES = {"default": {"tokens": Decimal(1)}}
    for person, tokens in ((eve, 100), (bob, 11)):
        made = call(person, model)
        made.used(completion_tokens=tokens)
        made.finish("answered")
    copy = metering.begin(actor=eve, model=model, kind="download")
    copy.used(bytes=50)
    copy.finish("answered")
    found = [
        used(make_quota(frank, amount=1000, **what), eve)
        for what in (
            {"unit": "calls"},
            {"unit": "tokens", "subject": "model", "model": model, "team": model.team},
            {"unit": "tokens", "subject": "organisation", "each_person": True},
            {"unit": "bytes", "subject": "person", "person": eve},
            {"unit": "money", "subject": "team", "team": model.team},
        )
    ]
    assert found == [2, 111, 100, 50, 111_000]
    call(eve, model).finish("answered")
    assert used(Quota.objects.get(unit="calls"), eve) == 3


def test_people_are_told_once_that_a_quota_comes_to_its_end(where, frank, eve, model):
    quota = make_quota(frank, amount=5)
    for number in range(5):
        made = call(eve, model)
        made.finish("answered")
        assert QuotaWarning.objects.count() == (number >= 3)
        assert [one.tone for one in made.standings] == [{3: "warn", 4: "bad"}.get(number, "")]
    entry = LedgerEntry.objects.get(action=Action.QUOTA_NEARED)
    assert (entry.actor, entry.subject_id) == (eve, str(quota.pk))
    assert ledger.body(entry)["details"]["used"] == 4
    standing = metering.standing_of([quota], eve)[0]
    assert (standing.near, standing.share, standing.left) == (True, 100, 0)
    assert standing.sentence.startswith("5 calls of 5 calls a day for the organisation are used")


def test_a_storm_of_retries_is_one_entry_a_minute(frank, eve, bob, model, system):
    quota = make_quota(frank, amount=0)

    def told():
        return [
            (one.actor.name, ledger.body(one)["details"]["refused"])
            for one in LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED).order_by("pk")
        ]

    def a_minute_later():
        QuotaRefusal.objects.update(told_at=timezone.now() - datetime.timedelta(seconds=61))

    for person in (eve, eve, eve, bob):
        with pytest.raises(metering.Exceeded):
            call(person, model)
    assert told() == [("Eve", 1), ("Bob", 1)]
    a_minute_later()
    with pytest.raises(metering.Exceeded):
        call(eve, model)
    assert told() == [("Eve", 1), ("Bob", 1), ("Eve", 3)]
    with pytest.raises(metering.Exceeded):
        call(eve, model)
    assert metering.tell_refusals(actor=system) == 0
    a_minute_later()
    assert metering.tell_refusals(actor=system) == 1
    last = LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED).latest("pk")
    assert (last.actor, last.on_behalf_of, last.subject_id) == (system, eve, str(quota.pk))
    assert metering.tell_refusals(actor=system) == 0


def test_a_refusal_that_somebody_tells_at_the_same_time_is_counted_all_the_same(frank, eve, model, monkeypatch):
    from portal.gateway.metering import quotas

    quota = make_quota(frank, amount=0)
    with transaction.atomic():
        row = QuotaRefusal.objects.create(
            quota=quota, person=eve, told_at=timezone.now() - datetime.timedelta(minutes=5), untold=2
        )
        ledger.record(Action.QUOTA_SET, actor=frank, subject=quota)
    original = quotas._told

    def late(seen, **named):
        # Another process tells between reading the row and locking it.
        QuotaRefusal.objects.filter(pk=row.pk).update(told_at=timezone.now(), untold=0)
        return original(seen, **named)

    monkeypatch.setattr(quotas, "_told", late)
    with transaction.atomic():
        ledger.record(Action.QUOTA_SET, actor=frank, subject=quota)
        with pytest.raises(metering.Exceeded):
            call(eve, model)
    row.refresh_from_db()
    assert row.untold == 1
    assert not LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED).exists()


def test_windows_follow_the_calendar():
    at = datetime.datetime(2028, 2, 29, 23, 59, 59, 5, tzinfo=datetime.UTC)
    bounds = {window: [one.isoformat()[:16] for one in window.around(at)] for window in Window}
    assert bounds == {
        "minute": ["2028-02-29T23:59", "2028-03-01T00:00"],
        "hour": ["2028-02-29T23:00", "2028-03-01T00:00"],
        "day": ["2028-02-29T00:00", "2028-03-01T00:00"],
        "month": ["2028-02-01T00:00", "2028-03-01T00:00"],
    }
    assert Window.MONTH.around(at.replace(month=12))[1].isoformat()[:10] == "2029-01-01"


def test_a_call_is_settled_in_the_window_in_which_it_began(where, frank, eve, model, monkeypatch):
    quota = make_quota(frank, unit="tokens", window="minute", amount=100)
    late = call(eve, model, expected_tokens=60)
    later = timezone.now() + datetime.timedelta(minutes=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert used(quota, eve) == 0
    late.used(completion_tokens=10)
    late.finish("answered")
    assert used(quota, eve) == 0
    assert [one.used for one in QuotaCount.objects.all()] == ([10] if where == "database" else [])


def test_a_count_that_was_cleared_away_ends_a_call_quietly(frank, eve, model):
    make_quota(frank)
    made = call(eve, model)
    QuotaCount.objects.all().delete()
    assert made.finish("answered").pk


def test_two_quotas_of_a_kind_cannot_be(frank):
    make_quota(frank)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_quota(frank, amount=9)
    make_quota(frank, amount=9, each_person=True)


# Redis


def test_redis_away_refuses_what_it_should_count_and_nothing_else(frank, eve, model, settings, tmp_path):
    settings.CACHE_URL = f"unix://{tmp_path}/nobody.sock"
    call(eve, model).finish("answered")
    quota = make_quota(frank)
    with pytest.raises(metering.Uncounted, match="Try again in a minute"):
        call(eve, model)
    # Pages show what the rows of usage add up to.
    assert used(quota, eve) == 1


def test_redis_gone_while_a_call_runs_loses_no_usage(frank, eve, model, settings, redis_server, tmp_path, monkeypatch):
    settings.CACHE_URL = f"unix://{redis_server.socket}"
    counts.of_site()._client.flushall()
    make_quota(frank)
    made = call(eve, model)
    settings.CACHE_URL = f"unix://{tmp_path}/nobody.sock"
    assert made.finish("answered").outcome == "answered"
    assert Usage.objects.count() == 1


def test_redis_that_lost_its_memory_is_told_again(frank, eve, model, settings, redis_server):
    settings.CACHE_URL = f"unix://{redis_server.socket}"
    client = counts.of_site()._client
    client.flushall()
    quota = make_quota(frank, unit="tokens", amount=1000)
    before = call(eve, model, expected_tokens=500)
    done = call(eve, model, expected_tokens=100)
    done.used(completion_tokens=40)
    done.finish("answered")
    client.flushall()
    made = call(eve, model, expected_tokens=10)
    assert used(quota, eve) == 50
    # This one began before: the new count did not know of it, and gets all that it used.
    before.used(completion_tokens=7)
    before.finish("answered")
    made.finish("answered")
    assert used(quota, eve) == 47
    client.flushall()
    last = call(eve, model, expected_tokens=10)
    client.flushall()
    last.used(completion_tokens=2)
    last.finish("answered")
    assert used(quota, eve) == 49


# Many at once


def _race(people, model, callers: int, each: int) -> int:
    """Let so many threads make calls at once, each on a connection of its own; return how many were let through."""

    def run(number: int) -> int:
        person = User.objects.get(pk=people[number % len(people)])
        passed = 0
        try:
            for _ in range(each):
                try:
                    call(person, model, expected_tokens=7).finish("answered")
                    passed += 1
                except metering.Exceeded:
                    pass
        finally:
            connections.close_all()
        return passed

    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(run, range(callers)))


@pytest.mark.django_db(transaction=True)
def test_a_thousand_calls_at_once_do_not_overspend_by_one(where, frank, eve, bob, model):
    """A thousand calls in eight threads, against a quota of calls; and of another that some of them need too."""
    quota = make_quota(frank, amount=60)
    hers = make_quota(frank, "person", amount=20, person=eve)
    # What Redis decides is decided in one place; what the database decides, by locks that have to be tried hard.
    each = 125 if where == "database" else 40
    assert _race([eve.pk, bob.pk], model, 8, each) == 60
    assert used(quota, eve) == 60
    assert used(hers, eve) <= 20
    assert Usage.objects.count() == 60
    assert Usage.objects.filter(person=eve).count() == used(hers, eve)
    # However many were refused, the ledger has one entry for each quota and person in this minute.
    told = LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED).count()
    assert 1 <= told <= 8
    untold = sum(QuotaRefusal.objects.values_list("untold", flat=True))
    assert (
        untold
        + sum(
            ledger.body(one)["details"]["refused"] for one in LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED)
        )
        == 8 * each - 60
    )


@pytest.mark.django_db(transaction=True)
def test_processes_at_once_do_not_overspend_by_one(frank, eve, model):
    """Three processes, as three web servers are: the database decides."""
    quota = make_quota(frank, unit="tokens", amount=7 * 25)
    script = (
        "import django; django.setup()\n"
        "from governance.models import User\n"
        "from portal.gateway import metering\n"
        "from training.models import RegisteredModel\n"
        f"person, model, passed = User.objects.get(pk={eve.pk}), RegisteredModel.objects.get(pk={model.pk}), 0\n"
        "for _ in range(15):\n"
        "    try:\n"
        "        call = metering.begin(actor=person, model=model, kind='chat', expected_tokens=7)\n"
        "        call.used(completion_tokens=7)\n"
        "        call.finish('answered')\n"
        "        passed += 1\n"
        "    except metering.Exceeded:\n"
        "        pass\n"
        "print(passed)\n"
    )
    name = connection.settings_dict["NAME"]
    url = f"sqlite:///{name}"
    if connection.vendor == "postgresql":
        url = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"
    environment = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "portal.settings", "DEBUG": "1"}
    running = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    passed = [int(one.communicate(timeout=120)[0]) for one in running]
    assert sum(passed) == 25, passed
    assert used(quota, eve) == 7 * 25
    assert Usage.objects.count() == 25
