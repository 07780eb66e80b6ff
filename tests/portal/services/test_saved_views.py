"""Saved views: who keeps, finds, changes and starts with them, and what the ledger says of it."""

from __future__ import annotations

import pytest

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import access, ledger, roles
from portal.models import SavedView, UsualView
from portal.services import saved_views
from projects.services.fields import Invalid

pytestmark = pytest.mark.django_db


def keep(actor, name="Mine", **more) -> SavedView:
    return saved_views.save(actor=actor, **({"listing": "use-cases", "name": name, "query": "stage=live"} | more))


def visible(user) -> set[str]:
    access.forget(user)
    return set(SavedView.objects.visible_to(user).values_list("name", flat=True))


@pytest.mark.postgres
def test_a_view_is_found_by_those_it_is_for(alice, bob, dan, eve, team):
    keep(alice, "Mine")
    keep(alice, "Ours", audience="team", team=team)
    keep(alice, "All", audience="organisation")

    assert visible(alice) == {"Mine", "Ours", "All"}
    assert visible(bob) == {"Ours", "All"}
    assert visible(dan) == {"Ours", "All"}
    assert visible(eve) == {"All"}


def test_save_keeps_what_the_list_knows_and_nothing_else(alice):
    made = keep(alice, query="?stage=live&cursor=abc&saved=4&evil=1&columns=title&columns=team&sort=-title&q=")

    assert made.query == "stage=live&sort=-title&columns=title,team"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "  "}, "name"),
        ({"name": "n" * 81}, "name"),
        ({"listing": "nonsense"}, "listing"),
        ({"audience": "world"}, "audience"),
        ({"audience": "team"}, "team"),
        ({"query": "q=" + "x" * 2500}, "query"),
    ],
)
def test_save_says_what_is_wrong(alice, wrong, field):
    with pytest.raises(Invalid) as caught:
        keep(alice, **wrong)
    assert caught.value.field == field


def test_a_name_is_used_once_for_a_list(alice, bob):
    keep(alice)
    keep(alice, listing="jobs")
    keep(bob)
    with pytest.raises(Invalid, match="called “Mine” already"):
        keep(alice, name=" Mine ")


def test_a_view_is_shared_with_a_team_by_its_people_alone(alice, eve, other_team):
    for actor in (alice, eve):
        with pytest.raises(access.Denied, match=r"team\.view"):
            keep(actor, audience="team", team=other_team)


def test_only_its_owner_changes_or_deletes_a_view(alice, bob, team):
    view = keep(alice, audience="team", team=team)
    for act in (
        lambda: saved_views.change(actor=bob, view=view, name="Theirs"),
        lambda: saved_views.delete(actor=bob, view=view),
    ):
        with pytest.raises(access.Denied, match="belongs to Alice"):
            act()

    assert saved_views.change(actor=alice, view=view, name="Ours", audience="private").team is None
    saved_views.delete(actor=alice, view=view)
    assert not SavedView.objects.exists()


def test_whoever_no_longer_finds_a_view_does_not_start_with_it(alice, bob, team):
    view = keep(alice, audience="team", team=team)
    for user in (alice, bob):
        saved_views.make_usual(actor=user, listing="use-cases", view=view)

    saved_views.change(actor=alice, view=view, audience="private")

    assert [usual.user for usual in UsualView.objects.all()] == [alice]


def test_make_usual_replaces_and_forgets(alice, eve):
    first, second = keep(alice), keep(alice, "Other", audience="organisation")
    for view in (first, second):
        saved_views.make_usual(actor=alice, listing="use-cases", view=view)
    assert UsualView.objects.get().view == second

    saved_views.make_usual(actor=alice, listing="use-cases", view=None)
    assert not UsualView.objects.exists()

    with pytest.raises(access.Denied, match="no such view"):
        saved_views.make_usual(actor=eve, listing="use-cases", view=first)
    with pytest.raises(access.Denied, match="no such view"):
        saved_views.make_usual(actor=eve, listing="jobs", view=second)


def test_the_ledger_holds_each_act_and_no_words_among_the_details(alice):
    view = keep(alice, name="Contracts of Miller", query="q=miller")
    saved_views.change(actor=alice, view=view, name="Contracts of Smith", query="q=smith")
    saved_views.make_usual(actor=alice, listing="use-cases", view=view)
    saved_views.delete(actor=alice, view=view)

    entries = LedgerEntry.objects.filter(subject_type="portal.savedview").order_by("pk")
    assert [entry.action for entry in entries] == [
        Action.VIEW_SAVED, Action.VIEW_CHANGED, Action.VIEW_MADE_USUAL, Action.VIEW_DELETED,
    ]  # fmt: skip
    for entry in entries:
        assert b"iller" not in bytes(entry.canonical)
        assert b"mith" not in bytes(entry.canonical)
    assert ledger.texts_of(entries[0])["name"] == "Contracts of Miller"


def test_a_person_who_left_the_team_no_longer_finds_its_views(alice, bob, team):
    keep(alice, audience="team", team=team)
    for assignment in bob.role_assignments.filter(scope_id=team.pk):
        roles.revoke(actor=alice, assignment=assignment)

    assert visible(bob) == set()
