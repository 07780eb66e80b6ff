"""The pages of teams, goals and use cases, over HTTP."""

from __future__ import annotations

import pytest
from django.urls import reverse

from governance.models import RoleAssignment
from projects.models import StrategicGoal, Team, UseCase
from projects.services import goals, use_cases
from projects.views import use_cases as use_case_pages
from tests import factories

pytestmark = pytest.mark.django_db

FIVE = dict(factories.STATEMENT)


@pytest.fixture
def as_(client):
    """Return a function that signs the client in as a persona."""

    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


def page(name, *args):
    return reverse(f"projects:{name}", args=args)


def errors_of(response) -> dict:
    return response.context["form"].errors


# Lists


def test_an_outsider_sees_a_list_that_teaches(as_, alice, team, eve):
    factories.make_use_case(actor=alice, team=team)

    answer = as_(eve).get(page("use_cases"))

    assert answer.status_code == 200
    assert FIVE["title"] not in answer.text
    assert page("use_case_new") in answer.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"Sort", "Translate"}),
        ("?q=sort", {"Sort"}),
        ("?stage=draft", {"Sort", "Translate"}),
        ("?stage=live", set()),
        ("?owner=mine", {"Translate"}),
        ("?team=helpdesk&q=translate", {"Translate"}),
        ("?team=nowhere&stage=nonsense", {"Sort", "Translate"}),
    ],
)
def test_the_list_shows_what_the_filters_leave(as_, alice, bob, team, query, found):
    factories.make_use_case(actor=alice, team=team, title="Sort")
    factories.make_use_case(actor=bob, team=team, title="Translate")

    answer = as_(bob).get(page("use_cases") + query)

    assert {row.title for row in answer.context["page"].items} == found


@pytest.mark.parametrize("name", ["use_cases", "datasets"])
def test_a_reader_of_few_teams_chooses_and_one_of_many_searches(as_, alice, dan, team, other_team, name):
    factories.make_use_case(actor=alice, team=team)
    factories.make_dataset(actor=alice, team=team)
    answer = as_(dan).get(page(name))
    assert f'<option value="{team.slug}">' in answer.text

    Team.objects.bulk_create(Team(slug=f"team-{number}", name=f"Team {number}") for number in range(30))
    answer = as_(dan).get(page(name), {"team": team.slug})
    assert f'<option value="{team.slug}"' not in answer.text
    assert f'list="filter-teams" value="{team.slug}"' in answer.text


def test_the_filter_suggests_the_teams_that_the_reader_sees(as_, alice, dan, team, other_team):
    assert as_(dan).get(page("team_options"), {"team": team.name[:4]}).text.count(f'value="{team.slug}"') == 1
    assert other_team.slug not in as_(alice).get(page("team_options")).text
    assert "<option" not in as_(dan).get(page("team_options"), {"team": "nowhere"}).text


def test_the_board_puts_a_card_into_the_column_of_its_stage(as_, alice, carol, team):
    factories.make_use_case(actor=alice, team=team, title="A draft")
    factories.make_approved_use_case(actor=alice, reviewer=carol, team=team, title="An approved one")

    board = as_(alice).get(page("use_cases") + "?view=board").context["board"]

    held = {column["stage"].value: [card.title for card in column["cards"]] for column in board}
    assert held["draft"] == ["A draft"]
    assert held["approved"] == ["An approved one"]
    assert {column["stage"].value: column["words"] for column in board}["draft"] == "1"


def test_the_board_shows_the_newest_cards_of_a_column_and_how_many_there_are(as_, alice, team, monkeypatch):
    monkeypatch.setattr(use_case_pages, "BOARD_CARDS", 2)
    monkeypatch.setattr(use_case_pages, "BOARD_COUNT", 3)
    for number in range(4):
        factories.make_use_case(actor=alice, team=team, title=f"Idea {number}")
    answer = as_(alice).get(page("use_cases") + "?view=board")
    (draft,) = (column for column in answer.context["board"] if column["stage"] == "draft")
    assert [card.title for card in draft["cards"]] == ["Idea 3", "Idea 2"]
    assert "All 3+" in answer.text


def test_the_export_holds_what_the_filters_leave_and_no_formula(as_, alice, team, eve):
    factories.make_use_case(actor=alice, team=team, title='=HYPERLINK("http://example.org")')
    factories.make_use_case(actor=alice, team=team, title="Translate")

    text = b"".join(as_(alice).get(page("use_cases_export") + "?q=hyperlink").streaming_content).decode("utf-8-sig")

    assert "'=HYPERLINK" in text
    assert "Translate" not in text
    assert b"HYPERLINK" not in b"".join(as_(eve).get(page("use_cases_export")).streaming_content)


def test_a_list_goes_on_where_the_page_ended(as_, alice, team):
    for number in range(53):
        factories.make_use_case(actor=alice, team=team, title=f"Use case {number}")
    first = as_(alice).get(page("use_cases"))
    second = as_(alice).get(page("use_cases"), {"cursor": first.context["page"].next})

    shown = [row.pk for answer in (first, second) for row in answer.context["page"].items]
    assert len(shown) == len(set(shown)) == 53


# Intake


def test_an_outsider_proposes_to_a_team_and_leads_on_from_the_draft(as_, eve, team):
    answer = as_(eve).post(page("use_case_new"), FIVE | {"team": team.pk}, follow=True)

    made = UseCase.objects.get()
    assert (made.proposer, made.stage) == (eve, "draft")
    assert answer.redirect_chain[-1][0] == made.get_absolute_url()
    assert "An objective has a number and a date" in answer.text


def test_intake_keeps_what_was_typed_and_says_what_is_missing(as_, eve, team):
    answer = as_(eve).post(page("use_case_new"), FIVE | {"team": team.pk, "problem": ""})

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {"problem"}
    assert FIVE["benefit"] in answer.text
    assert not UseCase.objects.exists()


def test_hints_point_to_a_use_case_that_is_nearly_the_same(as_, alice, bob, team):
    there = factories.make_use_case(actor=alice, team=team)

    answer = as_(bob).post(page("use_case_hints"), FIVE | {"benefit": "Everything is better."})

    assert there.get_absolute_url() in answer.text
    assert {pitfall.code for pitfall in answer.context["pitfalls"]} == {"near_duplicate", "vague_benefit"}
    assert UseCase.objects.count() == 1


def test_hints_do_not_tell_of_a_use_case_that_the_reader_may_not_see(as_, alice, team, eve):
    factories.make_use_case(actor=alice, team=team)

    assert "near_duplicate" not in {p.code for p in as_(eve).post(page("use_case_hints"), FIVE).context["pitfalls"]}


# One use case


@pytest.mark.parametrize(
    "name", ["use_case", "use_case_evidence", "use_case_reviews", "use_case_history", "use_case_edit"]
)
def test_pages_of_a_use_case_are_there_for_the_team_and_not_for_an_outsider(as_, alice, team, eve, name):
    use_case = factories.make_use_case(actor=alice, team=team)

    assert as_(alice).get(page(name, use_case.pk)).status_code == 200
    assert as_(eve).get(page(name, use_case.pk)).status_code == 404


def test_a_draft_that_lacks_something_offers_to_complete_it_rather_than_to_submit(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)
    answer = as_(alice).get(use_case.get_absolute_url())
    assert answer.context["primary"] is None
    assert len(answer.context["missing"]) == 3

    ready = factories.make_ready_use_case(actor=alice, team=team)
    assert as_(alice).get(ready.get_absolute_url()).context["primary"]["target"] == "submitted"


def test_submitting_from_the_page_puts_it_before_the_reviewers(as_, alice, team):
    use_case = factories.make_ready_use_case(actor=alice, team=team)

    answer = as_(alice).post(
        page("use_case_move", use_case.pk), {"target": "submitted", "reason": "Please."}, follow=True
    )

    use_case.refresh_from_db()
    assert use_case.stage == "submitted"
    assert answer.context["primary"] is None
    assert "Please." in as_(alice).get(page("use_case_reviews", use_case.pk)).text


def test_a_move_that_is_not_allowed_is_refused_with_the_reason(as_, alice, bob, team):
    use_case = factories.make_use_case(actor=alice, team=team)

    answer = as_(bob).post(page("use_case_move", use_case.pk), {"target": "on_hold"})

    assert answer.status_code == 403
    assert "use_case.move" in answer.text
    use_case.refresh_from_db()
    assert use_case.stage == "draft"


def test_the_dialog_of_a_move_is_open_where_the_address_asks_for_it(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)

    answer = as_(alice).get(use_case.get_absolute_url() + "?move=on_hold")

    assert [move["target"] for move in answer.context["allowed_moves"] if move["open"]] == ["on_hold"]


def test_history_shows_before_and_after(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)
    as_(alice).post(
        page("use_case_edit", use_case.pk), FIVE | {"benefit": "Forty hours a week.", "owner": "alice@example.org"}
    )

    lines = as_(alice).get(page("use_case_history", use_case.pk)).context["page"].items

    assert {"label": "Benefit", "before": FIVE["benefit"], "after": "Forty hours a week."} in lines[0].changes


def test_history_names_people_instead_of_their_ids(as_, alice, bob, team):
    use_case = factories.make_use_case(actor=alice, team=team)
    as_(alice).post(page("use_case_edit", use_case.pk), FIVE | {"owner": "bob"})

    lines = as_(alice).get(page("use_case_history", use_case.pk)).context["page"].items

    assert lines[0].changes == [{"label": "Owner", "before": "Alice", "after": "Bob"}]


def test_a_reviewer_reads_the_history_and_a_stranger_who_proposed_reads_their_own_part(as_, alice, carol, eve, team):
    use_case = factories.make_use_case(actor=eve, team=team)
    use_cases.change(actor=alice, use_case=use_case, benefit="Forty hours a week.")

    assert len(as_(carol).get(page("use_case_history", use_case.pk)).context["page"].items) == 2
    assert len(as_(eve).get(page("use_case_history", use_case.pk)).context["page"].items) == 1


def test_edit_names_nobody_who_is_not_there(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)

    answer = as_(alice).post(page("use_case_edit", use_case.pk), FIVE | {"owner": "nobody at all"})

    assert answer.status_code == 422
    assert "nobody at all" in errors_of(answer)["owner"][0]


def test_an_owner_without_a_role_in_the_team_is_refused_beside_the_field(as_, alice, team, eve):
    use_case = factories.make_use_case(actor=alice, team=team)

    answer = as_(alice).post(page("use_case_edit", use_case.pk), FIVE | {"owner": eve.email})

    assert "owner" in errors_of(answer)


# Its parts

OBJECTIVE = {
    "kpi": "Right queue",
    "baseline": "62",
    "target": "90",
    "unit": "%",
    "direction": "up",
    "due_on": "2030-01-31",
}


def test_an_objective_is_added_changed_and_removed_from_the_page(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)
    client = as_(alice)

    client.post(page("use_case_part_new", use_case.pk, "objectives"), OBJECTIVE)
    client.post(page("use_case_part_new", use_case.pk, "objectives"), OBJECTIVE | {"kpi": "Second"})
    first = use_case.objectives.get(kpi="Right queue")
    client.post(page("use_case_part", use_case.pk, "objectives", first.pk), OBJECTIVE | {"target": "95"})
    client.post(page("use_case_part_remove", use_case.pk, "objectives", use_case.objectives.get(kpi="Second").pk))

    assert [row.as_text() for row in use_case.objectives.all()] == ["Right queue: up from 62 to 95 % by 2030-01-31"]
    assert use_case.objectives.get().pk == first.pk


def test_an_objective_that_contradicts_itself_is_sent_back_as_typed(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)

    answer = as_(alice).post(page("use_case_part_new", use_case.pk, "objectives"), OBJECTIVE | {"target": "10"})

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {"target"}
    assert 'value="10"' in answer.text


def test_a_part_is_a_fragment_for_htmx_and_a_page_otherwise(as_, alice, team):
    address = page("use_case_part_new", factories.make_use_case(actor=alice, team=team).pk, "stakeholders")

    assert "<html" not in as_(alice).get(address, headers={"HX-Request": "true"}).text
    assert "<html" in as_(alice).get(address).text


def test_a_saved_fragment_asks_the_browser_to_load_the_page_afresh(as_, alice, team):
    use_case = factories.make_use_case(actor=alice, team=team)
    address = page("use_case_part_new", use_case.pk, "stakeholders")

    answer = as_(alice).post(address, {"name": "Works council", "role": "consulted"}, headers={"HX-Request": "true"})

    assert answer.headers["HX-Refresh"] == "true"
    assert use_case.stakeholders.get().name == "Works council"


def test_goals_are_chosen_among_those_that_the_organisation_pursues(as_, alice, frank, team):
    goal = goals.create(actor=frank, title="Answer within a day")
    past = goals.create(actor=frank, title="Be everywhere")
    goals.change(actor=frank, goal=past, is_current=False)
    use_case = factories.make_use_case(actor=alice, team=team)

    refused = as_(alice).post(page("use_case_goals", use_case.pk), {"goals": [past.pk]})
    as_(alice).post(page("use_case_goals", use_case.pk), {"goals": [goal.pk]})

    assert refused.status_code == 422
    assert list(use_case.goals.all()) == [goal]


def test_parts_of_another_use_case_cannot_be_named(as_, alice, team):
    mine, other = (factories.make_use_case(actor=alice, team=team) for _ in range(2))
    as_(alice).post(page("use_case_part_new", other.pk, "objectives"), OBJECTIVE)

    answer = as_(alice).post(page("use_case_part_remove", mine.pk, "objectives", other.objectives.get().pk))

    assert answer.status_code == 404
    assert other.objectives.count() == 1


def test_changing_what_was_approved_is_said_before_and_after(as_, alice, carol, team):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    assert as_(alice).get(page("use_case_edit", use_case.pk)).context["voids"]

    as_(alice).post(page("use_case_part_new", use_case.pk, "stakeholders"), {"name": "Council", "role": "informed"})

    use_case.refresh_from_db()
    assert use_case.stage == "draft"


# Teams and goals


def test_an_administrator_creates_a_team_and_names_its_owner(as_, frank, eve):
    client = as_(frank)
    client.post(page("team_new"), {"name": "Finance", "slug": "finance", "description": ""})
    answer = client.post(
        page("team_grant", "finance"),
        {"person": "eve@example.org", "role": "team_owner", "confirmed": "1"},
        follow=True,
    )

    assert RoleAssignment.objects.filter(user=eve, role="team_owner", scope_id=Team.objects.get().pk).exists()
    assert "Eve" in answer.text


def test_a_reserved_short_name_is_refused_beside_the_field(as_, frank):
    answer = as_(frank).post(page("team_new"), {"name": "Admin", "slug": "admin"})

    assert answer.status_code == 422
    assert "slug" in errors_of(answer)


def test_creating_a_team_is_refused_to_others(as_, alice):
    assert as_(alice).get(page("team_new")).status_code == 403
    assert as_(alice).post(page("team_new"), {"name": "Mine", "slug": "mine"}).status_code == 403
    assert Team.objects.count() == 1


def test_a_guest_needs_an_end_date_and_the_page_says_so_beside_it(as_, alice, team, eve):
    answer = as_(alice).post(page("team_grant", team.slug), {"person": "eve@example.org", "role": "guest"})

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {"until"}


def test_a_role_in_the_organisation_cannot_be_given_from_a_team(as_, alice, team, eve):
    answer = as_(alice).post(page("team_grant", team.slug), {"person": "eve@example.org", "role": "reviewer"})

    assert "role" in errors_of(answer)
    assert RoleAssignment.objects.filter(user=eve).count() == 1


def test_a_member_without_the_right_cannot_give_a_role(as_, bob, team, eve):
    answer = as_(bob).post(
        page("team_grant", team.slug), {"person": "eve@example.org", "role": "guest", "until": "2031-01-01"}
    )

    assert answer.status_code == 403


def test_a_role_of_another_team_cannot_be_revoked_here(as_, alice, team, other_team, frank, eve):
    from governance.services import roles

    held = roles.grant(actor=frank, user=eve, role="domain_expert", team=other_team)

    assert as_(alice).post(page("team_revoke", team.slug, held.pk)).status_code == 404
    assert RoleAssignment.objects.filter(pk=held.pk).exists()


def test_the_owner_takes_a_role_away(as_, alice, bob, team):
    held = RoleAssignment.objects.get(user=bob, role="data_steward")

    as_(alice).post(page("team_revoke", team.slug, held.pk))

    assert set(RoleAssignment.objects.filter(user=bob, scope_id=team.pk).values_list("role", flat=True)) == {
        "ml_engineer"
    }


def test_suggestions_find_people_by_part_of_a_name(as_, alice, eve):
    assert eve.email in as_(alice).get(page("people_suggestions"), {"person": "ev"}).text
    assert eve.email not in as_(alice).get(page("people_suggestions"), {"person": "x9"}).text


def test_goals_are_everybodys_to_read_and_the_administrators_to_name(as_, frank, eve):
    as_(frank).post(page("goal_new"), {"title": "Answer within a day", "description": ""})

    assert "Answer within a day" in as_(eve).get(page("goals")).text
    assert as_(eve).post(page("goal_new"), {"title": "Mine"}).status_code == 403
    assert StrategicGoal.objects.count() == 1


def test_a_goal_keeps_its_title_beside_the_reason_why(as_, alice, frank, team):
    goal = goals.create(actor=frank, title="Answer within a day")
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    use_cases.set_goals(actor=alice, use_case=use_case, goals=[goal])
    use_cases.submit(actor=alice, use_case=use_case)

    answer = as_(frank).post(page("goal_edit", goal.pk), {"title": "Other", "description": "", "is_current": "on"})

    assert answer.status_code == 422
    assert "title" in errors_of(answer)


# What a page costs


def count_queries(client, address, django_assert_max_num_queries) -> int:
    client.get(address)
    with django_assert_max_num_queries(12) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


@pytest.mark.parametrize("name", ["use_cases", "teams", "goals"])
def test_a_list_costs_the_same_at_any_length(as_, carol, frank, alice, team, name, django_assert_max_num_queries):
    def grow(count):
        Team.objects.bulk_create(Team(slug=f"t{count}-{n}", name=f"T {n}") for n in range(count))
        StrategicGoal.objects.bulk_create(StrategicGoal(title=f"Goal {count} {n}") for n in range(count))
        UseCase.objects.bulk_create(
            UseCase(team=team, proposer=alice, owner=alice, **(FIVE | {"title": f"{count} {n}"})) for n in range(count)
        )

    client = as_(carol)
    grow(10)
    few = count_queries(client, page(name), django_assert_max_num_queries)
    grow(1000)
    assert count_queries(client, page(name), django_assert_max_num_queries) == few


@pytest.mark.parametrize("state", ["draft", "submitted", "approved"])
@pytest.mark.parametrize("name", ["use_case", "use_case_evidence", "use_case_reviews", "use_case_history"])
def test_a_page_of_a_use_case_costs_at_most_twelve_queries(
    as_, alice, carol, team, name, state, django_assert_max_num_queries
):
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    if state != "draft":
        use_cases.submit(actor=alice, use_case=use_case)
    if state == "approved":
        factories.approve(reviewer=carol, subject=use_case, gate=use_cases.GATE)

    for person in (alice, carol):
        count_queries(as_(person), page(name, use_case.pk), django_assert_max_num_queries)


def test_a_team_page_costs_at_most_twelve_queries(as_, alice, bob, team, django_assert_max_num_queries):
    for number in range(3):
        factories.make_use_case(actor=alice, team=team, title=f"Use case {number}")

    count_queries(as_(alice), page("team", team.slug), django_assert_max_num_queries)
