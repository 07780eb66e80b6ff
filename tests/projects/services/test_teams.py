"""Teams and goals: who may name them, and what may still change."""

import pytest

from governance.models import LedgerEntry
from governance.services import access, ledger
from projects.models import StrategicGoal, Team
from projects.services import goals, teams
from tests.factories import make_ready_use_case

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def test_an_administrator_creates_a_team_and_the_ledger_says_so(frank):
    team = teams.create(actor=frank, slug="sales", name="  Sales ", description="")
    assert Team.objects.get() == team
    assert team.name == "Sales"
    entry = LedgerEntry.objects.about(team).get()
    assert (entry.action, entry.actor, entry.scope_id) == ("team.created", frank, team.pk)
    assert ledger.body(entry)["details"] == {"slug": "sales"}


@pytest.mark.parametrize("slug", ["api", "use-cases", "Sales", "a b", "-x", "", "x" * 65])
def test_create_refuses_a_slug_that_cannot_be_an_address(frank, slug):
    with pytest.raises(teams.Invalid) as caught:
        teams.create(actor=frank, slug=slug, name="Name")
    assert caught.value.field == "slug"


def test_create_refuses_a_slug_that_is_taken(frank, team):
    with pytest.raises(teams.Invalid, match="already a team"):
        teams.create(actor=frank, slug=team.slug, name="Another")


def test_only_who_may_create_or_edit_teams_does(alice, bob, carol, eve, team, frank):
    for person in (alice, bob, carol, eve):
        with pytest.raises(access.Denied):
            teams.create(actor=person, slug="mine", name="Mine")
    for person in (bob, carol, eve):
        with pytest.raises(access.Denied):
            teams.change(actor=person, team=team, name="Mine")
    assert teams.change(actor=alice, team=team, name="Service desk").name == "Service desk"


def test_change_records_before_and_after_and_nothing_when_nothing_changed(alice, team):
    teams.change(actor=alice, team=team, name="Service desk")
    entry = LedgerEntry.objects.about(team).get(action="team.changed")
    assert [(c.name, c.before, c.after) for c in ledger.changes_of(entry)] == [("name", "Help desk", "Service desk")]
    teams.change(actor=alice, team=team, name="Service desk")
    assert LedgerEntry.objects.about(team).filter(action="team.changed").count() == 1


def test_change_refuses_the_slug(alice, team):
    with pytest.raises(teams.Invalid, match="slug"):
        teams.change(actor=alice, team=team, slug="elsewhere")


def test_goals_are_named_by_administrators_once(frank, alice):
    goal = goals.create(actor=frank, title="Answer faster", description="Within a day.")
    with pytest.raises(goals.Invalid, match="already a goal"):
        goals.create(actor=frank, title="Answer faster")
    with pytest.raises(access.Denied):
        goals.create(actor=alice, title="Mine")
    goals.change(actor=frank, goal=goal, is_current=False)
    assert not StrategicGoal.objects.get().is_current
    assert LedgerEntry.objects.about(goal).filter(action="goal.changed").exists()


def test_a_goal_keeps_its_title_while_work_under_review_serves_it(frank, alice, team):
    from projects.services import use_cases

    goal = goals.create(actor=frank, title="Answer faster")
    use_case = make_ready_use_case(actor=alice, team=team)
    use_cases.set_goals(actor=alice, use_case=use_case, goals=[goal])
    assert goals.change(actor=frank, goal=goal, title="Answer sooner").title == "Answer sooner"
    use_cases.submit(actor=alice, use_case=use_case)
    with pytest.raises(goals.Invalid, match="title stays"):
        goals.change(actor=frank, goal=goal, title="Answer later")
    assert goals.change(actor=frank, goal=goal, description="Within an hour.").description


def test_no_team_takes_the_first_word_of_an_address_of_the_site(frank):
    import re

    from tests.architecture.test_policies import ROUTES

    words = {re.match(r"\^?([a-z0-9-]*)", path)[1] for path, _callback in ROUTES} - {""}
    assert {"api", "datasets", "models", "healthz"} <= words
    for word in sorted(words | {"v1", "oauth", "spaces", "base", "static"}):
        with pytest.raises(teams.Invalid):
            teams.create(actor=frank, slug=word, name="Clash")
