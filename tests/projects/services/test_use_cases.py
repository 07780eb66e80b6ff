"""Use cases: proposed by anyone, described by their team, moved only along the table and through the gate."""

import datetime
from decimal import Decimal

import pytest

from governance.models import ApprovalRequest, LedgerEntry
from governance.policy import Gate
from governance.services import access, approvals, ledger
from projects.models import Objective, UseCase
from projects.models.use_cases import TRANSITIONS, Stage
from projects.services import goals, use_cases
from tests.factories import STATEMENT, approve, make_approved_use_case, make_ready_use_case, make_use_case

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

GATE = Gate.USE_CASE_DEVELOPMENT


def actions(subject):
    return list(LedgerEntry.objects.about(subject).order_by("id").values_list("action", flat=True))


# Proposing


def test_an_employee_proposes_to_a_team_they_are_not_in(eve, team):
    use_case = make_use_case(actor=eve, team=team)
    assert (use_case.stage, use_case.proposer, use_case.owner) == (Stage.DRAFT, eve, eve)
    assert list(UseCase.objects.visible_to(eve)) == [use_case]
    entry = LedgerEntry.objects.about(use_case).get()
    assert entry.action == "use_case.proposed"
    assert b"Requests wait" not in bytes(entry.canonical)
    assert entry.texts.get(name="problem").text == STATEMENT["problem"]


@pytest.mark.parametrize("field", ["title", "problem", "people", "benefit"])
def test_propose_refuses_an_empty_field(eve, team, field):
    with pytest.raises(use_cases.Invalid) as caught:
        make_use_case(actor=eve, team=team, **{field: "   "})
    assert caught.value.field == field
    assert not UseCase.objects.exists()


def test_propose_refuses_people_who_may_not(carol, dan, team):
    # Reviewers and auditors are employees too, so they may propose; a person without any role may not.
    from governance.models import User

    stranger = User.objects.create_user("stranger@example.org", "x")
    with pytest.raises(access.Denied):
        make_use_case(actor=stranger, team=team)
    assert make_use_case(actor=carol, team=team).proposer == carol


# Changing


def test_the_proposer_edits_their_own_draft_and_no_other(eve, alice, carol, team):
    mine = make_use_case(actor=eve, team=team)
    assert use_cases.change(actor=eve, use_case=mine, title="Route requests").version == 2
    theirs = make_use_case(actor=alice, team=team, title="Something else")
    for person in (eve, carol):
        with pytest.raises(access.Denied):
            use_cases.change(actor=person, use_case=theirs, title="Taken over")


def test_change_bumps_the_version_only_for_what_reviewers_are_shown(alice, bob, team):
    use_case = make_use_case(actor=alice, team=team)
    assert use_cases.change(actor=alice, use_case=use_case, owner=bob).version == 1
    assert use_cases.change(actor=alice, use_case=use_case, title=STATEMENT["title"]).version == 1
    assert use_cases.change(actor=alice, use_case=use_case, benefit="Half the time").version == 2
    assert actions(use_case) == ["use_case.proposed", "use_case.changed", "use_case.changed"]


def test_change_refuses_an_owner_without_a_role_in_the_team(alice, eve, team):
    use_case = make_use_case(actor=alice, team=team)
    with pytest.raises(use_cases.Invalid) as caught:
        use_cases.change(actor=alice, use_case=use_case, owner=eve)
    assert caught.value.field == "owner"


@pytest.mark.parametrize("field", ["stage", "version", "team", "proposer", "id", "nonsense"])
def test_change_refuses_fields_that_are_not_for_people(alice, team, field):
    use_case = make_use_case(actor=alice, team=team)
    with pytest.raises(use_cases.Invalid) as caught:
        use_cases.change(actor=alice, use_case=use_case, **{field: "approved"})
    assert caught.value.field == field


def test_objectives_are_replaced_as_a_whole_and_keep_their_rows(alice, team):
    use_case = make_ready_use_case(actor=alice, team=team)
    row = use_case.objectives.get()
    use_cases.set_objectives(
        actor=alice,
        use_case=use_case,
        objectives=[{"id": row.pk, "target": Decimal("95")}, {"kpi": "Hours waited", "direction": "down"}],
    )
    assert [(o.pk == row.pk, o.as_text()) for o in use_case.objectives.all()] == [
        (True, "Requests in the right queue: up from 62 to 95 % by 2030-01-31"),
        (False, "Hours waited: down from ? to ?"),
    ]
    use_cases.set_objectives(actor=alice, use_case=use_case, objectives=[])
    assert not use_case.objectives.exists()


@pytest.mark.parametrize(
    "item",
    [
        {"kpi": ""},
        {"kpi": "K", "direction": "sideways"},
        {"kpi": "K", "target": "many"},
        {"kpi": "K", "due_on": "tomorrow"},
        {"kpi": "K", "use_case": 1},
        {"baseline": 1},
    ],
)
def test_a_bad_objective_is_refused_and_changes_nothing(alice, team, item):
    use_case = make_ready_use_case(actor=alice, team=team)
    with pytest.raises(use_cases.Invalid):
        use_cases.set_objectives(actor=alice, use_case=use_case, objectives=[{"kpi": "Good"}, item])
    assert Objective.objects.count() == 1


def test_an_objective_of_another_use_case_cannot_be_taken(alice, team, frank, other_team):
    theirs = make_ready_use_case(actor=alice, team=team)
    mine = make_use_case(actor=alice, team=team, title="Another one")
    foreign = theirs.objectives.get()
    with pytest.raises(use_cases.Invalid, match="does not belong"):
        use_cases.set_objectives(actor=alice, use_case=mine, objectives=[{"id": foreign.pk, "kpi": "Mine"}])
    foreign.refresh_from_db()
    assert (foreign.use_case, foreign.kpi) == (theirs, "Requests in the right queue")


def test_stakeholders_and_goals_are_part_of_what_reviewers_see(alice, frank, team):
    use_case = make_use_case(actor=alice, team=team)
    goal = goals.create(actor=frank, title="Answer faster")
    use_case = use_cases.set_stakeholders(
        actor=alice, use_case=use_case, stakeholders=[{"name": "Works council", "role": "consulted"}]
    )
    use_case = use_cases.set_goals(actor=alice, use_case=use_case, goals=[goal])
    assert use_case.version == 3
    material = use_case.approval_material(GATE)
    assert material["Stakeholders"] == ["consulted: Works council"]
    assert material["Goals"] == ["Answer faster"]
    goal = goals.change(actor=frank, goal=goal, is_current=False)
    other = make_use_case(actor=alice, team=team, title="Later")
    with pytest.raises(use_cases.Invalid, match="no longer"):
        use_cases.set_goals(actor=alice, use_case=other, goals=[goal])


# The gate


def test_submit_refuses_what_is_not_ready_and_says_what_is_missing(alice, team):
    use_case = make_use_case(actor=alice, team=team)
    with pytest.raises(approvals.NotReady) as caught:
        use_cases.submit(actor=alice, use_case=use_case)
    assert len(caught.value.missing) == 3
    use_case.refresh_from_db()
    assert use_case.stage == Stage.DRAFT


def test_submit_asks_for_review_and_approval_moves_on(alice, carol, team):
    use_case = make_ready_use_case(actor=alice, team=team)
    use_case = use_cases.submit(actor=alice, use_case=use_case, note="Please")
    assert use_case.stage == Stage.SUBMITTED
    assert not use_cases.standing(use_case=use_case).open
    approve(reviewer=carol, subject=use_case, gate=GATE)
    use_case.refresh_from_db()
    assert use_case.stage == Stage.APPROVED
    assert use_cases.standing(use_case=use_case).open
    assert actions(use_case)[-2:] == ["use_case.submitted", "use_case.moved"]


def test_submit_refuses_a_use_case_that_is_already_under_review(alice, team):
    use_case = use_cases.submit(actor=alice, use_case=make_ready_use_case(actor=alice, team=team))
    with pytest.raises(use_cases.NoSuchMove):
        use_cases.submit(actor=alice, use_case=use_case)


def test_submit_refuses_a_proposer_from_outside(eve, team):
    use_case = make_use_case(actor=eve, team=team)
    with pytest.raises(access.Denied, match=r"review\.request"):
        use_cases.submit(actor=eve, use_case=use_case)


@pytest.mark.parametrize(("verdict", "stage"), [("reject", Stage.REJECTED), ("request_changes", Stage.DRAFT)])
def test_a_review_that_does_not_approve_moves_the_use_case_back(alice, carol, team, verdict, stage):
    use_case = use_cases.submit(actor=alice, use_case=make_ready_use_case(actor=alice, team=team))
    asked = ApprovalRequest.objects.get()
    approvals.decide(actor=carol, request=asked, verdict=verdict, digest=asked.digest, comment="Say more.")
    use_case.refresh_from_db()
    assert use_case.stage == stage
    if stage == Stage.REJECTED:
        assert use_cases.move(actor=alice, use_case=use_case, target="draft").stage == Stage.DRAFT


def test_withdrawing_the_request_makes_it_a_draft_again(alice, bob, team):
    use_case = use_cases.submit(actor=alice, use_case=make_ready_use_case(actor=alice, team=team))
    with pytest.raises(access.Denied, match="only they can withdraw"):
        use_cases.move(actor=bob, use_case=use_case, target="draft")
    use_case = use_cases.move(actor=alice, use_case=use_case, target="draft")
    assert use_case.stage == Stage.DRAFT
    assert ApprovalRequest.objects.get().state == "withdrawn"


def test_a_change_under_review_voids_the_request(alice, carol, team):
    use_case = use_cases.submit(actor=alice, use_case=make_ready_use_case(actor=alice, team=team))
    seen = ApprovalRequest.objects.get()
    use_case = use_cases.change(actor=alice, use_case=use_case, people="Everybody.")
    assert use_case.stage == Stage.DRAFT
    with pytest.raises(approvals.Closed):
        approvals.decide(actor=carol, request=seen, verdict="approve", digest=seen.digest)


def test_a_change_after_approval_voids_it_and_makes_a_draft(alice, carol, team):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    use_case = use_cases.set_objectives(actor=alice, use_case=use_case, objectives=[{"kpi": "Vague"}])
    assert use_case.stage == Stage.DRAFT
    assert not use_cases.standing(use_case=use_case).open
    assert ApprovalRequest.objects.get().state == "lapsed"
    assert actions(use_case)[-2:] == ["use_case.changed", "use_case.moved"]


@pytest.mark.parametrize("stages", [["piloting"], ["live"], ["live", "retired"]])
def test_what_people_rely_on_cannot_be_changed_beneath_them(alice, bob, carol, team, stages):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    for stage in stages:
        use_case = use_cases.move(actor=alice, use_case=use_case, target=stage)
    with pytest.raises(use_cases.Fixed, match=r"first|new use case"):
        use_cases.change(actor=alice, use_case=use_case, problem="Something else entirely, quite different.")
    use_case.refresh_from_db()
    assert use_case.stage == stages[-1]
    assert use_cases.change(actor=alice, use_case=use_case, owner=bob).owner == bob


# Moves


def test_every_move_outside_the_table_is_refused_and_names_the_moves_there_are(alice, team):
    use_case = make_ready_use_case(actor=alice, team=team)
    there = {(t.source, t.target) for t in TRANSITIONS}
    for source in Stage:
        for target in Stage:
            if (source, target) in there:
                continue
            UseCase.objects.filter(pk=use_case.pk).update(stage=source)
            use_case.refresh_from_db()
            with pytest.raises(use_cases.NoSuchMove) as caught:
                use_cases.move(actor=alice, use_case=use_case, target=target)
            assert len(caught.value.missing) == sum(t.source == source for t in TRANSITIONS)


@pytest.mark.parametrize("target", ["approved", "rejected"])
def test_a_gated_move_cannot_be_made_by_hand(alice, team, target):
    use_case = use_cases.submit(actor=alice, use_case=make_ready_use_case(actor=alice, team=team))
    with pytest.raises(access.Denied, match="Only a review") as caught:
        use_cases.move(actor=alice, use_case=use_case, target=target)
    assert caught.value.code == "gate"


def test_a_stage_that_does_not_exist_is_refused(alice, team):
    use_case = make_use_case(actor=alice, team=team)
    with pytest.raises(use_cases.Invalid) as caught:
        use_cases.move(actor=alice, use_case=use_case, target="famous")
    assert caught.value.field == "target"


def test_moves_say_who_may_and_why_not(alice, bob, carol, team):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    assert {m.target for m in use_cases.moves(actor=alice, use_case=use_case) if m.allowed} == {
        "draft",
        "piloting",
        "live",
        "on_hold",
    }
    refused = {m.target: m.reason for m in use_cases.moves(actor=bob, use_case=use_case) if not m.allowed}
    assert set(refused) == {"piloting", "live", "on_hold"}
    assert all("use_case.move" in reason for reason in refused.values())
    with pytest.raises(access.Denied):
        use_cases.move(actor=bob, use_case=use_case, target="live")


@pytest.mark.parametrize("target", ["draft", "on_hold"])
def test_stopping_work_voids_the_approval_it_rested_on(alice, carol, team, target):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    use_case = use_cases.move(actor=alice, use_case=use_case, target=target, reason="Budget")
    assert use_case.stage == target
    assert not approvals.standing(GATE, use_case).open
    entry = LedgerEntry.objects.about(use_case).filter(action="use_case.moved").first()
    assert ledger.body(entry)["details"]["to"] == target
    assert entry.texts.get(name="reason").text == "Budget"


def test_retiring_ends_the_approval_and_the_life(alice, carol, team):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    use_case = use_cases.move(actor=alice, use_case=use_case, target="live")
    use_case = use_cases.move(actor=alice, use_case=use_case, target="retired")
    assert use_cases.moves(actor=alice, use_case=use_case) == []
    assert not use_cases.standing(use_case=use_case).open


def test_going_live_needs_an_approval_that_stands(alice, carol, team):
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    # A change that went past the services, for example by hand in the database.
    UseCase.objects.filter(pk=use_case.pk).update(problem="Altered behind the scenes by someone.")
    with pytest.raises(access.Denied, match="does not stand"):
        use_cases.move(actor=alice, use_case=use_case, target="live")


# Pitfalls


def test_pitfalls_name_what_is_vague_and_point_to_a_near_duplicate(alice, eve, team):
    first = make_ready_use_case(actor=alice, team=team)
    second = make_use_case(
        actor=alice, team=team, title="Sort the help-desk requests", benefit="Better.", data_needed=""
    )
    found = {p.code: p for p in use_cases.pitfalls(actor=alice, use_case=second)}
    assert set(found) == {"vague_objective", "vague_benefit", "no_data", "no_goal", "near_duplicate"}
    assert found["near_duplicate"].other == first
    mine = make_use_case(actor=eve, team=team)
    assert "near_duplicate" not in {p.code for p in use_cases.pitfalls(actor=eve, use_case=mine)}


def test_a_different_use_case_is_no_near_duplicate(alice, team):
    make_ready_use_case(actor=alice, team=team)
    other = make_use_case(
        actor=alice, team=team, title="Read invoices", problem="Typing invoices from paper takes two days a month."
    )
    codes = {p.code for p in use_cases.pitfalls(actor=alice, use_case=other)}
    assert "near_duplicate" not in codes


def test_due_dates_given_as_text_are_kept_as_dates(alice, team):
    use_case = make_use_case(actor=alice, team=team)
    use_cases.set_objectives(
        actor=alice, use_case=use_case, objectives=[{"kpi": "K", "target": "90.5", "due_on": "2030-05-01"}]
    )
    row = Objective.objects.get()
    assert (row.target, row.due_on) == (Decimal("90.5"), datetime.date(2030, 5, 1))
