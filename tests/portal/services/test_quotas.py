"""Quotas are set by who looks after what they cover, and only as something that can be counted."""

from __future__ import annotations

from decimal import Decimal

import pytest

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import access, ledger
from portal.models import Quota
from portal.services import quotas
from projects.services.fields import Invalid
from tests.portal.gateway.models import make_model

pytestmark = pytest.mark.django_db

DAILY = {"unit": "calls", "window": "day", "amount": 100}


@pytest.fixture
def model(alice, team):
    return make_model(alice, team)


def test_an_owner_sets_quotas_of_their_team_and_no_others(alice, bob, frank, model, team, other_team, eve):
    made = quotas.create(actor=alice, subject="model", model=model, each_person=True, reason=" A  pilot. ", **DAILY)
    assert (made.team, made.limit, made.reason) == (team, 100, "A pilot.")
    assert str(made) == "100 calls a day for each person in helpdesk/router"
    quotas.create(actor=alice, subject="use_case", use_case=model.use_case, **DAILY)
    quotas.create(actor=alice, subject="team", team=team, unit="money", window="month", amount="12.5")
    for what in (
        {"subject": "organisation"},
        {"subject": "person", "person": eve},
        {"subject": "team", "team": other_team},
    ):
        with pytest.raises(access.Denied):
            quotas.create(actor=alice, **what, **DAILY)
        quotas.create(actor=frank, **what, **DAILY)
    with pytest.raises(access.Denied):
        quotas.create(actor=bob, subject="team", team=team, **DAILY)
    entry = LedgerEntry.objects.filter(action=Action.QUOTA_SET).earliest("pk")
    assert ledger.body(entry)["details"] == {
        "covers": "model", "of": model.pk, "each_person": True, "amount": "100", "unit": "calls", "window": "day",
    }  # fmt: skip
    assert ledger.texts_of(entry) == {"reason": "A pilot."}
    assert entry.scope_id == team.pk


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"subject": "planet"}, "subject"),
        ({"unit": "cups"}, "unit"),
        ({"window": "year"}, "window"),
        ({"amount": "many"}, "amount"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"amount": "1e13"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": "0.0000001", "unit": "money"}, "amount"),
        ({"reason": "x" * 301}, "reason"),
        ({"subject": "team"}, "team"),
        ({"subject": "person"}, "person"),
        ({"each_person": True, "subject": "person", "person": "frank"}, "each_person"),
        ({"person": "frank"}, "person"),
    ],
)
def test_what_cannot_be_counted_is_refused_beside_its_field(frank, wrong, field):
    given = {"subject": "organisation"} | DAILY | wrong
    if "person" in given:
        given["person"] = frank
    with pytest.raises(Invalid) as refused:
        quotas.create(actor=frank, **given)
    assert refused.value.field == field
    assert not Quota.objects.exists()


def test_a_second_of_a_kind_is_refused_until_the_first_has_ended(frank):
    first = quotas.create(actor=frank, subject="organisation", **DAILY)
    with pytest.raises(Invalid, match="change that one"):
        quotas.create(actor=frank, subject="organisation", **DAILY | {"amount": 5})
    quotas.end(actor=frank, quota=first)
    quotas.create(actor=frank, subject="organisation", **DAILY | {"amount": 5})


def test_a_quota_is_changed_and_ended_with_entries(alice, bob, team):
    quota = quotas.create(actor=alice, subject="team", team=team, **DAILY)
    assert quotas.change(actor=alice, quota=quota, amount="100.0").changed_at == quota.changed_at
    changed = quotas.change(actor=alice, quota=quota, amount=250, reason="More people.")
    assert changed.amount == Decimal(250)
    entry = LedgerEntry.objects.get(action=Action.QUOTA_CHANGED)
    held = {one.name: (one.before, one.after) for one in ledger.changes_of(entry)}
    assert held == {"amount": ("100.000000", "250.000000"), "reason": ("", "More people.")}
    assert quotas.change(actor=alice, quota=quota, reason="Many more.").amount == Decimal(250)
    with pytest.raises(Invalid, match="another"):
        quotas.change(actor=alice, quota=quota, unit="tokens")
    for act in (quotas.change, quotas.end):
        with pytest.raises(access.Denied):
            act(actor=bob, quota=quota)
    assert quotas.end(actor=alice, quota=quota).ended_at
    for act in (quotas.change, quotas.end):
        with pytest.raises(quotas.Ended):
            act(actor=alice, quota=quota)
    assert LedgerEntry.objects.filter(action=Action.QUOTA_ENDED).count() == 1


def test_who_sees_which_quota(personas, team, other_team, frank):
    quotas.create(actor=frank, subject="organisation", **DAILY)
    quotas.create(actor=frank, subject="team", team=team, **DAILY)
    quotas.create(actor=frank, subject="team", team=other_team, **DAILY)
    quotas.create(actor=frank, subject="person", person=personas["eve"], **DAILY)
    seen = {name: Quota.objects.visible_to(person).count() for name, person in personas.items()}
    assert seen == {"alice": 2, "bob": 2, "carol": 4, "dan": 4, "eve": 2, "frank": 4}
