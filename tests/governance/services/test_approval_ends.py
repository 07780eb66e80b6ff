"""How approvals end and who stands in: expiry, revocation, escalation, conditions, delegations."""

import datetime

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalCondition, ApprovalRequest, LedgerEntry, ReviewDelegation, RoleAssignment, User
from governance.policy import Gate, Role
from governance.services import access, approvals, ledger, roles
from governance.services.approvals import delegations
from projects.services import datasets, use_cases
from tests import factories
from tests.personas import make_person, make_role

GATE = Gate.USE_CASE_DEVELOPMENT
pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def ask(alice, team, tier="minimal", **statement) -> ApprovalRequest:
    """Return alice's open request about a use case."""
    case = factories.make_ready_use_case(actor=alice, team=team, tier=tier, **statement)
    use_cases.submit(actor=alice, use_case=case)
    return ApprovalRequest.objects.about(case).open().get()


def decide(person, asked, verdict="approve", **more):
    """Decide on exactly what was asked."""
    return approvals.decide(actor=person, request=asked, verdict=verdict, digest=asked.digest, **more)


def later(days: int) -> datetime.datetime:
    """Return a moment so many days ahead."""
    return timezone.now() + datetime.timedelta(days=days)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that moves the clock of the services and models ahead by days."""
    real = timezone.now

    def move(days):
        monkeypatch.setattr(timezone, "now", lambda: real() + datetime.timedelta(days=days))

    return move


# Expiry


def test_an_approval_with_an_end_date_refuses_after_it_and_the_sweep_says_so(alice, team, carol, system, clock):
    asked = ask(alice, team)
    last = timezone.localdate() + datetime.timedelta(days=10)
    decide(carol, asked, expires_on=last)
    assert approvals.standing(GATE, asked.subject).open
    clock(12)
    standing = approvals.standing(GATE, asked.subject)
    assert not standing.open
    assert standing.reason.startswith("Its approval ended on")
    assert approvals.sweep(actor=system)["expired"] == 1
    asked.refresh_from_db()
    assert (asked.state, asked.subject.stage) == ("lapsed", "draft")
    entry = LedgerEntry.objects.about(asked).get(action=Action.APPROVAL_LAPSED)
    assert ledger.body(entry)["details"] == {"expired": True}
    assert approvals.sweep(actor=system)["expired"] == 0


def test_the_earliest_end_that_anybody_set_counts(alice, team, carol):
    second = make_role(make_person("grace"), Role.SECURITY_REVIEWER)
    asked = ask(alice, team, "limited")
    today = timezone.localdate()
    decide(carol, asked, expires_on=today + datetime.timedelta(days=30))
    decide(second, asked, expires_on=today + datetime.timedelta(days=7))
    asked.refresh_from_db()
    assert timezone.localtime(asked.expires_at).date() == today + datetime.timedelta(days=7)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=asked.pk).update(expires_at=None)


def test_an_end_in_the_past_is_refused(alice, team, carol):
    asked = ask(alice, team)
    with pytest.raises(approvals.Invalid) as refused:
        decide(carol, asked, expires_on=timezone.localdate() - datetime.timedelta(days=1))
    assert refused.value.field == "expires_on"


def test_what_ran_out_can_be_asked_again_before_the_sweep(alice, team, carol, clock):
    case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_version(actor=alice, dataset=factories.make_dataset(actor=alice, team=team))
    first = datasets.request_clearance(actor=alice, version=version, use_case=case, purpose="Train.")
    decide(carol, first, expires_on=timezone.localdate())
    clock(2)
    again = datasets.request_clearance(actor=alice, version=version, use_case=case, purpose="Train.")
    assert again.pk != first.pk
    assert again.compared_with == first


# Revocation


def test_a_reviewer_revokes_with_a_reason_and_the_gate_is_shut(alice, bob, team, carol, frank, dan):
    asked = ask(alice, team)
    with pytest.raises(approvals.Closed):
        approvals.revoke(actor=carol, request=asked, reason="Too early.")
    decide(carol, asked)
    for person in (alice, bob, frank, dan):
        with pytest.raises(access.Denied) as refused:
            approvals.revoke(actor=person, request=asked, reason="I do not like it.")
        assert refused.value.code == "not_a_reviewer"
    with pytest.raises(approvals.Invalid):
        approvals.revoke(actor=carol, request=asked, reason="  ")
    revoked = approvals.revoke(actor=carol, request=asked, reason="It harms somebody.")
    assert revoked.state == "revoked"
    standing = approvals.standing(GATE, asked.subject)
    assert not standing.open
    assert "It harms somebody." in standing.reason
    entry = LedgerEntry.objects.about(asked).get(action=Action.APPROVAL_REVOKED)
    assert b"harms" not in bytes(entry.canonical)
    asked = ApprovalRequest.objects.get(pk=asked.pk)
    assert asked.subject.stage == "draft"
    again = use_cases.submit(actor=alice, use_case=asked.subject)
    assert ApprovalRequest.objects.about(again).open().get().compared_with == asked


def test_whoever_approved_it_revokes_it_even_without_the_role(alice, team, carol, frank):
    asked = ask(alice, team)
    decide(carol, asked)
    roles.revoke(actor=frank, assignment=carol.role_assignments.get(role=Role.REVIEWER))
    access.forget(carol)
    assert ApprovalRequest.objects.visible_to(carol).filter(pk=asked.pk).exists()
    assert approvals.revoke(actor=carol, request=asked, reason="I was wrong.").state == "revoked"


# Escalation


def test_an_overdue_request_is_escalated_mailed_and_escalated_again(
    alice, team, carol, system, clock, django_capture_on_commit_callbacks
):
    grace = make_role(make_person("grace"), Role.SECURITY_REVIEWER)
    asked = ask(alice, team)
    assert approvals.sweep(actor=system) == {"escalated": 0, "expired": 0, "begun": 0}
    clock(6)
    assert ApprovalRequest.objects.get(pk=asked.pk).is_overdue
    with django_capture_on_commit_callbacks(execute=True):
        assert approvals.sweep(actor=system)["escalated"] == 1
    assert {address for one in mail.outbox for address in one.to} == {carol.email, grace.email}
    assert f"/reviews/{asked.pk}/" in mail.outbox[0].body
    assert approvals.sweep(actor=system)["escalated"] == 0
    clock(10)
    assert approvals.sweep(actor=system)["escalated"] == 1
    asked.refresh_from_db()
    assert asked.escalations == 2
    assert LedgerEntry.objects.about(asked).filter(action=Action.APPROVAL_ESCALATED).count() == 2


def test_only_the_scheduler_sweeps(alice, carol):
    for person in (alice, carol):
        with pytest.raises(access.Denied):
            approvals.sweep(actor=person)


# Conditions


def test_conditions_are_listed_one_by_one_and_marked_as_met_once(alice, team, carol):
    grace = make_role(make_person("grace"), Role.PRIVACY_REVIEWER)
    asked = ask(alice, team)
    decide(carol, asked, conditions="- Report after a month.\n\n- Name who counts wrong routes.")
    first, second = ApprovalCondition.objects.filter(request=asked)
    assert (first.text, second.text) == ("Report after a month.", "Name who counts wrong routes.")
    with pytest.raises(access.Denied):
        approvals.meet(actor=alice, condition=first)
    met = approvals.meet(actor=grace, condition=first, note="The report is there.")
    assert (met.met_by, met.met_note) == (grace, "The report is there.")
    with pytest.raises(approvals.Closed):
        approvals.meet(actor=carol, condition=first)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalCondition.objects.filter(pk=second.pk).update(text="Nothing.")
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalCondition.objects.filter(pk=second.pk).delete()
    make_role(alice, Role.REVIEWER)
    with pytest.raises(access.Denied, match="part in this"):
        approvals.meet(actor=alice, condition=second)
    approvals.revoke(actor=carol, request=asked, reason="It harms somebody.")
    with pytest.raises(access.Denied, match="does not stand"):
        approvals.meet(actor=grace, condition=second)


# Delegation


def test_a_delegate_decides_on_behalf_and_only_until_the_end(alice, team, carol, eve, clock):
    asked = ask(alice, team)
    assert approvals.say(eve, asked).code == "missing_permission"
    made = approvals.delegate(actor=carol, delegate=eve, ends_at=later(5), reason="On holiday.")
    access.forget(eve)
    assert ApprovalRequest.objects.visible_to(eve).filter(pk=asked.pk).exists()
    assert asked in approvals.waiting_for(eve)
    ((step, principal),) = approvals.say(eve, asked).options
    assert (step.key, principal) == ("review", carol.pk)
    assert [(c.name, c.note) for c in approvals.steps(asked, approvals.bench())[0].candidates] == [
        ("Carol", ""),
        ("Eve", "for Carol"),
    ]
    assert decide(eve, asked).state == "approved"
    decision = asked.decisions.get()
    assert (decision.approver, decision.on_behalf_of) == (eve, carol)
    entry = LedgerEntry.objects.about(asked).get(action=Action.APPROVAL_APPROVED)
    assert (entry.actor, ledger.body(entry)["on_behalf_of"]) == (eve, str(carol.ledger_id))
    other = ask(alice, team, title="Another question")
    clock(6)
    assert approvals.say(eve, other).code == "missing_permission"
    assert made in ReviewDelegation.objects.visible_to(eve)
    assert made not in ReviewDelegation.objects.live()


def test_a_delegation_widens_nothing(alice, bob, team, carol, eve):
    grace = make_role(make_person("grace"), Role.REVIEWER)
    approvals.delegate(actor=carol, delegate=eve, ends_at=later(5))
    approvals.delegate(actor=carol, delegate=alice, ends_at=later(5))
    access.forget(eve)
    access.forget(alice)
    # Not to what one asked for oneself.
    own = ask(alice, team, "limited")
    assert approvals.say(alice, own).code == "own_request"
    # Not handed on.
    with pytest.raises(access.Denied, match="handed on"):
        approvals.delegate(actor=eve, delegate=bob, ends_at=later(5))
    # Not twice: whoever does it, a duty is done once.
    decide(eve, own)
    say = approvals.say(carol, ApprovalRequest.objects.get(pk=own.pk))
    assert not say.allowed
    assert "on your behalf" in say.reason
    assert own not in approvals.waiting_for(carol)
    with pytest.raises(access.Denied):
        decide(carol, own)
    assert decide(grace, own).state == "approved"


def test_a_delegate_is_bound_by_what_the_reviewer_may_not_do(alice, team, carol, eve):
    make_role(carol, Role.TEAM_OWNER, team)
    case = factories.make_ready_use_case(actor=alice, team=team)
    use_cases.submit(actor=carol, use_case=case)
    asked = ApprovalRequest.objects.about(case).open().get()
    make_role(alice, Role.REVIEWER)
    given = [approvals.delegate(actor=reviewer, delegate=eve, ends_at=later(5)) for reviewer in (carol, alice)]
    access.forget(eve)
    say = approvals.say(eve, asked)
    assert not say.allowed
    assert "someone else" in say.reason
    assert asked not in approvals.waiting_for(eve)
    second = ask(alice, team, title="Another question")
    assert approvals.say(eve, second).options[0][1] == carol.pk
    decide(carol, second)
    approvals.end_delegation(actor=alice, delegation=given[1])
    third = ask(alice, team, "limited", title="A third question")
    decide(carol, third)
    assert "is done" in approvals.say(eve, ApprovalRequest.objects.get(pk=third.pk)).reason


@pytest.mark.parametrize(
    ("who", "days", "field"),
    [("carol", 5, "delegate"), ("frank", 5, "delegate"), ("dan", 5, "delegate"), ("gone", 5, "delegate"),
     ("eve", -1, "ends_at"), ("eve", 400, "ends_at"), ("bob", 5, "delegate")],
)  # fmt: skip
def test_a_delegation_that_does_not_fit_is_refused(who, days, field, personas, carol, system):
    gone = make_person("gone")
    gone.is_active = False
    gone.save()
    approvals.delegate(actor=carol, delegate=personas["bob"], ends_at=later(3))
    with pytest.raises(approvals.Invalid) as refused:
        approvals.delegate(actor=carol, delegate=(personas | {"gone": gone})[who], ends_at=later(days))
    assert refused.value.field == field


def test_only_a_reviewer_delegates(alice, bob, eve):
    with pytest.raises(access.Denied):
        approvals.delegate(actor=alice, delegate=eve, ends_at=later(5))


def test_a_delegate_who_becomes_an_auditor_has_no_say(alice, team, carol, eve):
    asked = ask(alice, team)
    approvals.delegate(actor=carol, delegate=eve, ends_at=later(5))
    make_role(eve, Role.AUDITOR)
    assert approvals.say(eve, asked).code == "missing_permission"


def test_a_delegation_ends_early_on_either_side_and_its_role_with_it(alice, bob, team, carol, eve, frank):
    grace = make_role(make_person("grace"), Role.REVIEWER)
    first = approvals.delegate(actor=carol, delegate=eve, ends_at=later(5))
    second = approvals.delegate(actor=grace, delegate=eve, ends_at=later(9))
    with pytest.raises(access.Denied):
        approvals.end_delegation(actor=bob, delegation=first)
    approvals.end_delegation(actor=eve, delegation=first)
    with pytest.raises(approvals.Closed):
        approvals.end_delegation(actor=carol, delegation=first)
    held = RoleAssignment.objects.get(user=eve, role=Role.REVIEW_DELEGATE)
    assert held.expires_at == second.ends_at
    approvals.end_delegation(actor=frank, delegation=second)
    assert not RoleAssignment.objects.filter(user=eve, role=Role.REVIEW_DELEGATE).exists()
    access.forget(eve)
    assert not ApprovalRequest.objects.visible_to(eve).exists()
    actions = LedgerEntry.objects.about(first).values_list("action", flat=True)
    assert set(actions) == {Action.REVIEW_DELEGATED, Action.REVIEW_DELEGATION_ENDED}
    with pytest.raises(IntegrityError), transaction.atomic():
        ReviewDelegation.objects.filter(pk=first.pk).update(ends_at=later(50))


def test_delegations_are_seen_by_those_on_either_side_and_those_who_see_people(personas, carol, eve):
    made = approvals.delegate(actor=carol, delegate=eve, ends_at=later(5))
    seen = {
        name: made in ReviewDelegation.objects.visible_to(User.objects.get(pk=person.pk))
        for name, person in personas.items()
    }
    assert seen == {"alice": False, "bob": False, "carol": True, "dan": True, "eve": True, "frank": True}


def test_a_delegation_ends_also_where_its_role_was_taken_away(carol, eve, frank):
    made = approvals.delegate(actor=carol, delegate=eve, ends_at=later(5))
    roles.revoke(actor=frank, assignment=RoleAssignment.objects.get(user=eve, role=Role.REVIEW_DELEGATE))
    assert approvals.end_delegation(actor=carol, delegation=made).ends_at <= timezone.now()


# Delegations that begin later


def test_a_delegation_for_later_gives_nothing_before_its_time(alice, team, carol, eve, system, clock):
    asked = ask(alice, team)
    made = approvals.delegate(actor=carol, delegate=eve, starts_at=later(3), ends_at=later(9), reason="On holiday.")
    assert (made.state, made.waits) == ("planned", True)
    assert approvals.sweep(actor=system)["begun"] == 0
    access.forget(eve)
    assert approvals.say(eve, asked).code == "missing_permission"
    assert not ApprovalRequest.objects.visible_to(eve).exists()
    assert asked not in approvals.waiting_for(eve)
    clock(4)
    assert approvals.sweep(actor=system)["begun"] == 1
    assert approvals.sweep(actor=system)["begun"] == 0
    access.forget(eve)
    made.refresh_from_db()
    assert (made.state, made.waits) == ("in_force", False)
    assert asked in approvals.waiting_for(eve)
    assert approvals.say(eve, asked).options[0][1] == carol.pk
    began = LedgerEntry.objects.about(made).get(action=Action.REVIEW_DELEGATION_BEGAN)
    assert (began.actor, began.on_behalf_of) == (system, carol)
    clock(10)
    assert made.state == "ended"
    access.forget(eve)
    assert not access.roles_of(eve) & {Role.REVIEW_DELEGATE}


def test_a_planned_delegation_is_ended_before_it_begins(carol, eve, system, clock):
    made = approvals.delegate(actor=carol, delegate=eve, starts_at=later(3), ends_at=later(9))
    assert approvals.end_delegation(actor=eve, delegation=made).state == "ended"
    with pytest.raises(approvals.Closed):
        approvals.end_delegation(actor=carol, delegation=made)
    clock(4)
    assert approvals.sweep(actor=system)["begun"] == 0
    assert not RoleAssignment.objects.filter(user=eve, role=Role.REVIEW_DELEGATE).exists()


def test_who_may_no_longer_stand_in_when_it_begins_does_not(carol, eve, system, clock):
    made = approvals.delegate(actor=carol, delegate=eve, starts_at=later(3), ends_at=later(9))
    make_role(eve, Role.AUDITOR)
    clock(4)
    assert approvals.sweep(actor=system)["begun"] == 1
    made.refresh_from_db()
    assert made.state == "ended"
    assert not RoleAssignment.objects.filter(user=eve, role=Role.REVIEW_DELEGATE).exists()
    ended = LedgerEntry.objects.about(made).get(action=Action.REVIEW_DELEGATION_ENDED)
    assert "no say over approvals" in ledger.texts_of(ended)["because"]


@pytest.mark.parametrize(
    ("first", "last", "field"), [(5, 4, "ends_at"), (100, 120, "starts_at"), (5, 120, "ends_at"), (2, 8, "delegate")]
)
def test_a_planned_delegation_that_does_not_fit_is_refused(first, last, field, carol, eve):
    approvals.delegate(actor=carol, delegate=eve, starts_at=later(7), ends_at=later(9))
    with pytest.raises(approvals.Invalid) as refused:
        approvals.delegate(actor=carol, delegate=eve, starts_at=later(first), ends_at=later(last))
    assert refused.value.field == field
    # Before and after the planned one there is room.
    assert approvals.delegate(actor=carol, delegate=eve, ends_at=later(6)).state == "in_force"


def test_only_the_scheduler_lets_delegations_begin(carol):
    with pytest.raises(access.Denied):
        delegations.begin(actor=carol)
