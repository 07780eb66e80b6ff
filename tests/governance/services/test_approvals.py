"""Approvals, on use cases: asked for, decided by someone else, bound to a digest, void when it changes."""

import dataclasses
import threading

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, Decision, LedgerEntry
from governance.policy import GATES, Gate, RiskTier, Role
from governance.services import access, approvals, roles
from projects.services import use_cases
from tests import factories
from tests.personas import make_person, make_role

GATE = Gate.USE_CASE_DEVELOPMENT
pytestmark = pytest.mark.postgres


@pytest.fixture
def use_case(alice, team):
    """Return a use case that alice has put before the gate."""
    draft = factories.make_ready_use_case(actor=alice, team=team)
    return use_cases.submit(actor=alice, use_case=draft)


@pytest.fixture
def asked(use_case):
    """Return the open request about it."""
    return ApprovalRequest.objects.about(use_case).open().get()


def decide(reviewer, asked, verdict="approve", **more):
    """Decide on exactly what was asked."""
    return approvals.decide(actor=reviewer, request=asked, verdict=verdict, digest=asked.digest, **more)


@pytest.fixture
def two_reviewers(monkeypatch):
    """Let the gate need two people."""
    rule = GATES[GATE]
    steps = rule.steps | {RiskTier.MINIMAL: rule.steps[RiskTier.LIMITED]}
    monkeypatch.setitem(GATES, GATE, dataclasses.replace(rule, steps=steps))


def test_approving_opens_the_gate_and_is_recorded(use_case, asked, carol):
    decided = decide(carol, asked, conditions="Report after a month.")
    assert decided.state == "approved"
    use_case.refresh_from_db()
    assert approvals.standing(GATE, use_case).open
    entry = LedgerEntry.objects.about(asked).get(action=Action.APPROVAL_APPROVED)
    assert entry.actor == carol
    assert entry.subject_digest == asked.digest
    assert asked.decisions.get().conditions == "Report after a month."


def test_request_refuses_what_is_not_ready_and_says_what_is_missing(alice, team):
    draft = factories.make_use_case(actor=alice, team=team)
    with pytest.raises(approvals.NotReady) as refused:
        approvals.request(actor=alice, gate=GATE, subject=draft)
    assert any("objective" in line.lower() for line in refused.value.missing)
    assert not ApprovalRequest.objects.exists()


def test_request_refuses_who_may_not_ask(use_case, eve, carol, dan, frank):
    for person in (eve, carol, dan, frank):
        with pytest.raises(access.Denied) as refused:
            approvals.request(actor=person, gate=GATE, subject=use_case)
        assert refused.value.code == "missing_permission"


def test_request_is_asked_once(use_case, asked, alice):
    with pytest.raises(approvals.Closed) as refused:
        approvals.request(actor=alice, gate=GATE, subject=use_case)
    assert refused.value.code == "already_requested"
    assert ApprovalRequest.objects.count() == 1


def test_request_refuses_to_reopen_what_is_approved_as_it_is(use_case, asked, alice, carol):
    decide(carol, asked)
    use_case.refresh_from_db()
    with pytest.raises(approvals.Closed) as refused:
        approvals.request(actor=alice, gate=GATE, subject=use_case)
    assert refused.value.code == "already_approved"
    assert approvals.standing(GATE, use_case).open


def test_the_snapshot_and_the_digest_are_of_one_reading(use_case, asked):
    assert asked.digest == approvals.digest_of(use_case, GATE)
    assert asked.snapshot["order"] == [part for part, _ in approvals.flatten(use_case.approval_material(GATE))]
    assert dict(approvals.parts(asked))["Title"] == use_case.title


def test_the_requester_never_approves_even_with_the_reviewer_role(use_case, asked, alice):
    make_role(alice, Role.REVIEWER)
    with pytest.raises(access.Denied) as refused:
        decide(alice, asked)
    assert refused.value.code == "own_request"
    asked.refresh_from_db()
    assert asked.state == "open"
    assert not Decision.objects.exists()


def test_only_reviewers_decide(asked, bob, dan, eve, frank, system):
    for person in (bob, dan, eve, frank):
        with pytest.raises(access.Denied) as refused:
            decide(person, asked)
        assert refused.value.code == "missing_permission"
    with pytest.raises(access.Denied) as refused:
        decide(system, asked)
    assert refused.value.code == "not_a_person"


def test_a_superuser_who_is_no_reviewer_does_not_decide(asked, eve):
    eve.is_superuser = eve.is_staff = True
    eve.save()
    with pytest.raises(access.Denied):
        decide(eve, asked)


@pytest.mark.parametrize(
    ("approver", "requester"),
    [("alice", "alice"), ("carol", "bob"), ("alice", "carol")],
    ids=["herself", "a-lie-about-who-asked", "herself-with-a-lie"],
)
def test_the_database_refuses_a_decision_by_or_about_the_wrong_person(asked, personas, approver, requester):
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(
            request=asked,
            approver=personas[approver],
            requester=personas[requester],
            verdict="approve",
            digest=asked.digest,
        )


def test_the_database_refuses_a_decision_about_another_digest(asked, alice, carol):
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(request=asked, approver=carol, requester=alice, verdict="approve", digest="0" * 64)


def test_the_database_refuses_to_change_or_delete_a_decision(asked, carol):
    decide(carol, asked)
    decision = asked.decisions.get()
    decision.verdict = "reject"
    for act in (decision.save, decision.delete, lambda: Decision.objects.update(conditions="")):
        with pytest.raises(IntegrityError), transaction.atomic():
            act()
    assert Decision.objects.get().verdict == "approve"


def test_the_database_refuses_an_approval_that_nobody_gave(asked):
    asked.state = "approved"
    with pytest.raises(IntegrityError), transaction.atomic():
        asked.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=asked.pk).update(state="approved")


def test_the_database_refuses_to_change_what_was_asked(asked, carol):
    for change in ({"digest": "0" * 64}, {"requester": carol}, {"snapshot": {"material": {}}}, {"object_id": 7}):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApprovalRequest.objects.filter(pk=asked.pk).update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=asked.pk)._raw_delete("default")


def test_the_database_refuses_to_reopen_a_closed_request(asked, carol):
    decide(carol, asked, "reject", comment="Too vague.")
    for state in ("open", "approved", "lapsed"):
        with pytest.raises(IntegrityError), transaction.atomic():
            ApprovalRequest.objects.filter(pk=asked.pk).update(state=state)


def test_decide_refuses_a_digest_that_was_not_asked(asked, carol):
    with pytest.raises(approvals.Stale):
        approvals.decide(actor=carol, request=asked, verdict="approve", digest="0" * 64)


def test_decide_refuses_when_the_subject_changed_behind_the_request(use_case, asked, carol):
    type(use_case).objects.filter(pk=use_case.pk).update(problem="Something else entirely goes wrong now.")
    with pytest.raises(approvals.Stale):
        decide(carol, asked)
    assert approvals.outstanding(ApprovalRequest.objects.get(pk=asked.pk))[-1].startswith("The subject changed")


def test_decide_refuses_an_unknown_verdict_and_a_refusal_without_a_comment(asked, carol):
    for verdict, field in (("perhaps", "verdict"), ("reject", "comment"), ("request_changes", "comment")):
        with pytest.raises(approvals.Invalid) as refused:
            decide(carol, asked, verdict, comment="  ")
        assert refused.value.field == field


@pytest.mark.parametrize(("verdict", "state"), [("request_changes", "changes_requested"), ("reject", "rejected")])
def test_a_refusal_closes_the_request_and_keeps_the_gate_shut(use_case, asked, carol, verdict, state):
    assert decide(carol, asked, verdict, comment="Name a number.").state == state
    standing = approvals.standing(GATE, use_case)
    assert not standing.open
    with pytest.raises(approvals.Closed):
        decide(carol, asked)


def test_an_approval_lapses_when_the_subject_changes(use_case, asked, alice, carol):
    decide(carol, asked)
    type(use_case).objects.filter(pk=use_case.pk).update(problem="Something else entirely goes wrong now.")
    use_case.refresh_from_db()
    standing = approvals.standing(GATE, use_case)
    assert not standing.open
    with transaction.atomic():
        (lapsed,) = approvals.lapse_changed(actor=alice, subject=use_case)
    assert lapsed.state == "lapsed"
    assert "Problem" in lapsed.closed_because
    assert LedgerEntry.objects.about(lapsed).filter(action=Action.APPROVAL_LAPSED).count() == 1


def test_lapse_changed_leaves_alone_what_did_not_change(use_case, asked, alice):
    with transaction.atomic():
        assert approvals.lapse_changed(actor=alice, subject=use_case) == []
    asked.refresh_from_db()
    assert asked.state == "open"


def test_a_quorum_needs_different_people(two_reviewers, use_case, asked, carol):
    second = make_role(make_person("grace"), Role.REVIEWER)
    assert decide(carol, asked).state == "open"
    assert "1 more reviewer" in approvals.outstanding(asked)[0]
    with pytest.raises(approvals.Closed) as refused:
        decide(carol, asked)
    assert refused.value.code == "already_decided"
    assert decide(second, asked).state == "approved"


def test_withdraw_is_for_the_requester_while_it_is_open(use_case, asked, alice, bob, carol):
    for person in (bob, carol):
        with pytest.raises(access.Denied):
            approvals.withdraw(actor=person, request=asked)
    assert approvals.withdraw(actor=alice, request=asked).state == "withdrawn"
    with pytest.raises(approvals.Closed):
        approvals.withdraw(actor=alice, request=asked)
    with pytest.raises(approvals.Closed):
        decide(carol, asked)


def test_comments_name_a_part_that_exists(asked, alice, carol, dan, eve):
    said = approvals.comment(actor=carol, request=asked, text=" Which queue? ", part="Problem")
    assert said.text == "Which queue?"
    assert approvals.comment(actor=alice, request=asked, text="The first one.").part == ""
    for text, part, field in (("  ", "", "text"), ("Hello", "Nowhere", "part")):
        with pytest.raises(approvals.Invalid) as refused:
            approvals.comment(actor=carol, request=asked, text=text, part=part)
        assert refused.value.field == field
    for person in (dan, eve):
        with pytest.raises(access.Denied):
            approvals.comment(actor=person, request=asked, text="Hello")
    entry = LedgerEntry.objects.about(asked).filter(action=Action.APPROVAL_COMMENTED).last()
    assert b"queue?" not in bytes(entry.canonical)


def test_the_comparison_is_with_what_was_last_approved(use_case, asked, alice, carol):
    assert approvals.previous(asked) is None
    decide(carol, asked)
    use_case.refresh_from_db()
    changed = use_cases.change(
        actor=alice, use_case=use_case, problem="Requests wait six hours in the wrong queue now."
    )
    if changed.stage == "draft":
        changed = use_cases.submit(actor=alice, use_case=changed)
    again = ApprovalRequest.objects.about(changed).open().get()
    before = approvals.previous(again)
    assert before == asked
    (difference,) = approvals.differences(before, again)
    assert difference.part == "Problem"
    assert "four hours" in difference.before
    assert "six hours" in difference.after


def test_what_reads_alike_and_is_not_counts_as_changed(use_case, asked, monkeypatch):
    assert approvals.drift(asked) == []
    material = use_case.approval_material(GATE)
    other = material | {"Stakeholders": "\n".join(material["Stakeholders"])}
    monkeypatch.setattr(type(use_case), "approval_material", lambda self, gate: other)
    assert approvals.digest_of(use_case, GATE) != asked.digest
    assert [d.part for d in approvals.drift(asked)] == ["Form of the record"]


def test_compare_shows_added_removed_and_moved_parts():
    before = {"A": "one", "B": {"x": 1, "y": True}, "C": ["p", "q"], "D": {}}
    after = {"A": "one", "B": {"x": 2}, "C": ["p, q"], "D": [], "E": None, "F": "new"}
    found = {d.part: (d.before, d.after) for d in approvals.compare(before, after)}
    assert found == {"B › x": ("1", "2"), "B › y": ("yes", ""), "C": ("p\nq", "p, q"), "E": ("", ""), "F": ("", "new")}


@pytest.mark.django_db(transaction=True)
def test_two_reviewers_at_the_same_moment_give_one_outcome(use_case, asked, carol):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time; the race needs PostgreSQL")
    second = make_role(make_person("grace"), Role.REVIEWER)
    barrier, outcomes = threading.Barrier(2), []

    def act(reviewer, verdict):
        try:
            barrier.wait(timeout=20)
            outcomes.append(decide(reviewer, asked, verdict, comment="So it is.").state)
        except approvals.Closed as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [
        threading.Thread(target=act, args=(carol, "approve")),
        threading.Thread(target=act, args=(second, "reject")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert "closed" in outcomes
    assert len(outcomes) == 2
    assert Decision.objects.filter(request=asked).count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_reviewer_who_presses_twice_decides_once(two_reviewers, use_case, asked, carol):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time; the race needs PostgreSQL")
    barrier, outcomes = threading.Barrier(2), []

    def act():
        try:
            barrier.wait(timeout=20)
            outcomes.append(decide(carol, asked).state)
        except approvals.Closed as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=act) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcomes) == ["already_decided", "open"]


def test_a_reviewer_whose_role_ended_does_not_decide(asked, carol, system):
    assignment = carol.role_assignments.get(role=Role.REVIEWER)
    type(assignment).objects.filter(pk=assignment.pk).update(expires_at=timezone.now())
    access.forget(carol)
    with pytest.raises(access.Denied):
        decide(carol, asked)
    assert roles.expire(actor=system) == 1


def test_material_with_lists_of_parts_is_laid_out_part_by_part():
    material = {"Objectives": [{"KPI": "Right queue", "Target": 90}, {"KPI": "Minutes", "Target": None}], "Goals": []}
    material |= {"Personal data": True, "Shared": False}
    assert approvals.flatten(material) == [
        ("Objectives › 1 › KPI", "Right queue"),
        ("Objectives › 1 › Target", "90"),
        ("Objectives › 2 › KPI", "Minutes"),
        ("Objectives › 2 › Target", ""),
        ("Goals", ""),
        ("Personal data", "yes"),
        ("Shared", "no"),
    ]
