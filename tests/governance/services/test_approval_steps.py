"""Steps, tiers and the one answer to "may this person decide?": who is asked for, who is excluded, and why."""

import datetime

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalInvolvement, ApprovalRequest, ApprovalStep, Decision, LedgerEntry, User
from governance.policy import GATES, REVIEWER_ROLES, Gate, Involvement, RiskTier, Role
from governance.services import access, approvals, ledger, roles, tokens
from projects.services import datasets, use_cases
from tests import factories
from tests.personas import make_person, make_role

GATE = Gate.USE_CASE_DEVELOPMENT
pytestmark = [pytest.mark.django_db, pytest.mark.postgres]
SPECIALISTS = {"rex": Role.LEGAL_REVIEWER, "pia": Role.PRIVACY_REVIEWER, "sam": Role.SECURITY_REVIEWER}


@pytest.fixture
def specialists():
    """Return a legal, a privacy and a security reviewer."""
    return {name: make_role(make_person(name), role) for name, role in SPECIALISTS.items()}


def ask(alice, team, tier, **statement) -> ApprovalRequest:
    """Return alice's open request about a use case of this tier."""
    case = factories.make_ready_use_case(actor=alice, team=team, tier=tier, **statement)
    use_cases.submit(actor=alice, use_case=case)
    return ApprovalRequest.objects.about(case).open().get()


def decide(person, asked, verdict="approve", **more):
    """Decide on exactly what was asked."""
    return approvals.decide(actor=person, request=asked, verdict=verdict, digest=asked.digest, **more)


def needed(asked) -> dict[str, int]:
    """Return how many people each step still asks for."""
    fresh = ApprovalRequest.objects.get(pk=asked.pk)
    return {step.key: step.needed for step in approvals.steps(fresh)}


def test_every_gate_has_steps_for_every_tier_and_somebody_for_every_step():
    for gate in Gate:
        for tier in RiskTier:
            for step in GATES[gate].steps[tier]:
                assert step.quorum >= 1
                assert step.approvers


def test_a_minimal_use_case_needs_one_reviewer_of_any_kind(alice, team, specialists):
    asked = ask(alice, team, "minimal")
    assert decide(specialists["pia"], asked).state == "approved"
    assert approvals.standing(GATE, asked.subject).open


def test_a_limited_one_needs_two_different_people(alice, team, carol, specialists):
    asked = ask(alice, team, "limited")
    assert decide(carol, asked).state == "open"
    assert not approvals.standing(GATE, asked.subject).open
    with pytest.raises(approvals.Closed) as refused:
        decide(carol, asked)
    assert refused.value.code == "already_decided"
    assert decide(specialists["rex"], asked).state == "approved"


def test_a_high_one_needs_governance_law_or_privacy_and_security(alice, team, carol, specialists):
    asked = ask(alice, team, "high")
    assert needed(asked) == {"governance": 1, "law": 1, "security": 1}
    decide(specialists["pia"], asked)
    assert needed(asked) == {"governance": 1, "law": 0, "security": 1}
    # Law or privacy: one of them has spoken, so the other has no part left.
    say = approvals.say(specialists["rex"], ApprovalRequest.objects.get(pk=asked.pk))
    assert (say.allowed, say.code) == (False, "other_step")
    assert "Governance" in say.reason
    with pytest.raises(access.Denied):
        decide(specialists["rex"], asked)
    decide(carol, asked)
    assert decide(specialists["sam"], asked).state == "approved"
    entries = LedgerEntry.objects.about(asked).filter(action=Action.APPROVAL_APPROVED)
    assert {ledger.body(entry)["details"]["step"] for entry in entries} == {"governance", "law", "security"}


def test_one_person_with_two_specialities_satisfies_one_step(alice, team, carol, specialists):
    both = make_role(specialists["sam"], Role.REVIEWER)
    asked = ask(alice, team, "high")
    say = approvals.say(both, asked)
    assert [step.key for step, _for in say.options] == ["governance", "security"]
    with pytest.raises(approvals.Invalid) as refused:
        decide(both, asked, step="law")
    assert refused.value.field == "step"
    decide(both, asked, step="security")
    assert needed(asked)["security"] == 0
    with pytest.raises(approvals.Closed):
        decide(both, asked, step="governance")
    decide(carol, asked)
    assert decide(specialists["rex"], asked).state == "approved"


def test_the_page_can_say_who_is_needed_and_who_could(alice, team, carol, specialists):
    asked = ask(alice, team, "high")
    bench = approvals.bench()
    listed = {step.key: step for step in approvals.steps(asked, bench)}
    assert [c.name for c in listed["law"].candidates] == ["Pia", "Rex"]
    assert [c.name for c in listed["governance"].candidates] == ["Carol"]
    assert listed["security"].role_words == "security reviewer"
    lines = approvals.outstanding(asked)
    assert len(lines) == 3
    assert lines[1].startswith("Law or privacy: 1 more reviewer other than Alice")


def test_the_due_date_and_the_end_follow_the_tier(alice, team, carol, specialists):
    minimal, high = ask(alice, team, "minimal"), ask(alice, team, "high", title="Another question")
    assert (minimal.due_at - minimal.requested_at).days == 5
    assert (high.due_at - high.requested_at).days == 14
    decide(carol, minimal)
    for person in (carol, specialists["rex"], specialists["sam"]):
        decide(person, high)
    minimal.refresh_from_db()
    high.refresh_from_db()
    assert minimal.expires_at is None
    assert (high.expires_at - high.approved_at).days == 365


# Separation of duties


def test_who_proposed_owns_or_described_it_does_not_decide(alice, bob, eve, team, carol):
    proposed = use_cases.propose(actor=eve, team=team, **factories.STATEMENT)
    ready = use_cases.change(
        actor=bob,
        use_case=proposed,
        human_oversight="A person looks.",
        risk_tier="minimal",
        risk_tier_reason="Harmless.",
    )
    use_cases.set_objectives(
        actor=alice,
        use_case=ready,
        objectives=[{"kpi": "Right", "baseline": 1, "target": 2, "direction": "up", "due_on": "2031-01-31"}],
    )
    ready.refresh_from_db()
    use_cases.submit(actor=alice, use_case=ready)
    asked = ApprovalRequest.objects.about(ready).open().get()
    for person, words in ((eve, "proposed"), (bob, "described")):
        make_role(person, Role.REVIEWER)
        say = approvals.say(person, asked)
        assert (say.allowed, say.code) == (False, "involved")
        assert words in say.reason or "risk tier" in say.reason
        with pytest.raises(access.Denied) as refused:
            decide(person, asked)
        assert refused.value.code == "involved"
        assert asked not in approvals.waiting_for(User.objects.get(pk=person.pk))
    assert asked in approvals.waiting_for(carol)
    assert decide(carol, asked).state == "approved"


def test_who_prepared_the_data_does_not_clear_it(alice, bob, team, carol):
    case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_version(actor=bob, dataset=factories.make_dataset(actor=alice, team=team))
    asked = datasets.request_clearance(actor=alice, version=version, use_case=case, purpose="Train.")
    make_role(bob, Role.REVIEWER)
    with pytest.raises(access.Denied) as refused:
        decide(bob, asked)
    assert "uploaded" in refused.value.reason
    assert decide(carol, asked).state == "approved"


def test_no_flag_token_or_administrators_role_gives_a_say(alice, team, frank, eve, carol):
    asked = ask(alice, team, "minimal")
    User.objects.filter(pk__in=[frank.pk, eve.pk]).update(is_superuser=True, is_staff=True)
    for person in (User.objects.get(pk=frank.pk), User.objects.get(pk=eve.pk)):
        assert approvals.say(person, asked).code == "missing_permission"
    _row, secret = tokens.create(actor=carol, user=carol, name="narrow", scopes=["read", "write"], days=1)
    narrow = tokens.authenticate(secret).user
    narrow.token = tokens.authenticate(secret)
    assert approvals.say(narrow, asked).code == "token_scope"
    assert approvals.may_revoke(narrow, asked).startswith("This token")
    assert approvals.may_meet(narrow, asked).startswith("This token")


def test_a_reviewer_is_made_by_another_administrator(frank):
    for role in REVIEWER_ROLES:
        with pytest.raises(access.Denied):
            roles.grant(actor=frank, user=frank, role=role)
    with pytest.raises(roles.Invalid, match="delegates"):
        roles.grant(actor=frank, user=make_person("grace"), role=Role.REVIEW_DELEGATE)


@pytest.mark.parametrize("lie", ["involved", "no-role", "no-step", "closed", "nobody-delegated", "for-the-requester"])
def test_the_database_refuses_what_say_refuses(lie, alice, bob, team, carol, dan, specialists):
    asked = ask(alice, team, "high")
    values = {"approver": carol, "step": "governance", "on_behalf_of": None}
    if lie == "involved":
        ApprovalInvolvement.objects.create(request=asked, user=carol, kind="trained", sentence="trained it")
    elif lie == "no-role":
        values["step"] = "security"
    elif lie == "no-step":
        values["step"] = "nowhere"
    elif lie == "closed":
        approvals.withdraw(actor=alice, request=asked)
    elif lie == "nobody-delegated":
        values |= {"approver": bob, "on_behalf_of": carol}
    else:
        values["on_behalf_of"] = alice
    with pytest.raises(IntegrityError), transaction.atomic():
        Decision.objects.create(request=asked, requester=alice, verdict="approve", digest=asked.digest, **values)
    assert not Decision.objects.exists()


def test_the_database_opens_no_gate_before_every_step_has_its_people(alice, team, carol, specialists):
    asked = ask(alice, team, "high")
    decide(carol, asked)
    decide(specialists["rex"], asked)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=asked.pk).update(state="approved")
    # What is missing was given by the right person; by whom the state is written does not matter then.
    Decision.objects.create(
        request=asked,
        approver=specialists["sam"],
        requester=alice,
        step="security",
        verdict="approve",
        digest=asked.digest,
    )
    ApprovalRequest.objects.filter(pk=asked.pk).update(state="approved")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE governance_approvalstep SET quorum = 0",
        "UPDATE governance_approvalstep SET roles = ' administrator '",
        "DELETE FROM governance_approvalstep",
        "UPDATE governance_approvalinvolvement SET user_id = NULL",
        "DELETE FROM governance_approvalinvolvement",
        "UPDATE governance_approvalrequest SET tier = 'minimal'",
        "UPDATE governance_approvalrequest SET state = 'revoked'",
        "UPDATE governance_approvalrequest SET due_at = NULL",
        "INSERT INTO governance_approvalstep (request_id, key, label, roles, quorum) "
        "SELECT request_id, key || '2', label, roles, quorum FROM governance_approvalstep",
    ],
)
def test_the_database_keeps_the_terms_of_a_request(statement, alice, team, carol, specialists):
    asked = ask(alice, team, "high")
    decide(carol, asked)
    before = list(ApprovalStep.objects.filter(request=asked).values_list("key", "roles", "quorum"))
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert list(ApprovalStep.objects.filter(request=asked).values_list("key", "roles", "quorum")) == before


def test_what_waits_is_what_may_be_decided(alice, bob, team, carol, dan, specialists):
    minimal, high = ask(alice, team, "minimal"), ask(alice, team, "high", title="Another question")
    decide(specialists["rex"], high)
    people = [alice, bob, carol, dan, *specialists.values()]
    for person in people:
        waiting = set(approvals.waiting_for(person))
        for asked in (minimal, high):
            may = approvals.say(person, ApprovalRequest.objects.get(pk=asked.pk)).allowed
            assert (asked in waiting) == may, (person, asked.tier)
    assert set(approvals.waiting_for(specialists["pia"])) == {minimal}


# Tiers


def test_a_new_tier_needs_a_new_reason_and_voids_what_was_approved(alice, team, carol):
    case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_cleared_version(
        actor=alice, reviewer=carol, dataset=factories.make_dataset(actor=alice, team=team), use_case=case
    )
    for values, field in (
        ({"risk_tier": "high"}, "risk_tier_reason"),
        ({"risk_tier": ""}, "risk_tier"),
        ({"risk_tier_reason": ""}, "risk_tier_reason"),
        ({"risk_tier": "enormous"}, "risk_tier"),
    ):
        with pytest.raises(use_cases.Invalid) as refused:
            use_cases.change(actor=alice, use_case=case, **values)
        assert refused.value.field == field
    case = use_cases.move(actor=alice, use_case=case, target="live")
    changed = use_cases.change(
        actor=alice, use_case=case, risk_tier="high", risk_tier_reason="It turned out to bear on people's pay."
    )
    assert (changed.stage, changed.risk_tier_set_by) == ("draft", alice)
    standing = approvals.standing(GATE, changed)
    assert not standing.open
    assert "Risk tier" in standing.reason
    assert not datasets.clearance_standing(version=version, use_case=changed).open
    again = use_cases.submit(actor=alice, use_case=changed)
    assert ApprovalRequest.objects.about(again).open().get().tier == "high"


def test_a_tier_without_a_reason_or_a_reason_without_a_tier_is_refused(alice, team):
    draft = factories.make_use_case(actor=alice, team=team)
    for values, field in (
        ({"risk_tier_reason": "Harmless."}, "risk_tier"),
        ({"risk_tier": "minimal"}, "risk_tier_reason"),
    ):
        with pytest.raises(use_cases.Invalid) as refused:
            use_cases.change(actor=alice, use_case=draft, **values)
        assert refused.value.field == field


# Material and immaterial


def test_an_immaterial_change_is_listed_and_voids_nothing(alice, team, carol):
    case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    dataset = factories.make_dataset(actor=alice, team=team)
    version = factories.make_cleared_version(actor=alice, reviewer=carol, dataset=dataset, use_case=case)
    asked = ApprovalRequest.objects.about(version.clearances.get()).get()
    datasets.change(actor=alice, dataset=dataset, description="What employees write to the help desk!")
    asked = ApprovalRequest.objects.get(pk=asked.pk)
    assert asked.state == "approved"
    (found,) = approvals.drift(asked)
    assert (found.part, found.material) == ("Description", False)
    assert datasets.clearance_standing(version=version, use_case=case).open
    datasets.change(actor=alice, dataset=dataset, licence="CC-BY-4.0")
    asked.refresh_from_db()
    assert asked.state == "lapsed"
    assert asked.closed_because == "Changed after it was shown: Licence."


def test_standing_names_what_changed_behind_its_back(alice, team, carol):
    case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    type(case).objects.filter(pk=case.pk).update(benefit="Something else.", problem="And another.")
    case.refresh_from_db()
    reason = approvals.standing(GATE, case).reason
    assert "Problem, Expected benefit" in reason


# Corners


def test_a_request_from_before_there_were_steps_asks_for_one_reviewer(alice, team, carol):
    asked = ask(alice, team, "minimal")
    del asked.snapshot["steps"], asked.snapshot["involved"]
    (step,) = approvals.steps(asked, approvals.bench())
    assert (step.key, step.quorum, [one.name for one in step.candidates]) == ("review", 1, ["Carol"])


def test_a_request_whose_subject_is_gone_shows_no_drift(alice, team):
    asked = ask(alice, team, "minimal")
    orphan = ApprovalRequest(gate=asked.gate, content_type=asked.content_type, object_id=0, snapshot=asked.snapshot)
    assert approvals.drift(orphan) == []


def test_what_the_database_refuses_is_a_refusal_and_no_fault(alice, team, carol, specialists, monkeypatch):
    asked = ask(alice, team, "limited")
    decide(carol, asked)
    allowed = approvals.say(specialists["rex"], ApprovalRequest.objects.get(pk=asked.pk))
    # As if somebody had found a way round it.
    monkeypatch.setattr("governance.services.approvals.reviewers.say", lambda user, request: allowed)
    with pytest.raises(approvals.Closed) as refused:
        decide(carol, asked)
    assert refused.value.code == "already_decided"
    assert asked.decisions.count() == 1


def test_one_hand_does_one_duty_and_the_page_knows(alice, team, carol, specialists):
    both = make_role(specialists["sam"], Role.REVIEWER)
    ends = timezone.now() + datetime.timedelta(days=3)
    approvals.delegate(actor=both, delegate=carol, ends_at=ends)
    access.forget(carol)
    asked = ask(alice, team, "high")
    assert [(h.delegator_id, h.delegate_id) for h in approvals.bench().handovers] == [(both.pk, carol.pk)]
    decide(carol, asked, step="security")
    assert asked.decisions.get().on_behalf_of == both
    fresh = ApprovalRequest.objects.get(pk=asked.pk)
    listed = {step.key: step for step in approvals.steps(fresh, approvals.bench())}
    assert listed["governance"].candidates == ()
    assert approvals.say(carol, fresh).code == "already_decided"
    assert "on your behalf" in approvals.say(both, fresh).reason


def test_a_request_that_no_longer_says_what_is_there_gives_way_to_a_new_one(alice, team):
    first = ask(alice, team, "minimal")
    case = first.subject
    type(case).objects.filter(pk=case.pk).update(problem="Requests wait six hours in the wrong queue.")
    case.refresh_from_db()
    second = approvals.request(actor=alice, gate=GATE, subject=case)
    first.refresh_from_db()
    assert (first.state, second.state) == ("lapsed", "open")
    assert approvals.outstanding(first) == []
    assert len(approvals.outstanding(second, changed=True)) == 2


def test_a_part_that_the_policy_does_not_name_excludes_nobody(alice, carol, team, monkeypatch):
    case = factories.make_ready_use_case(actor=alice, team=team)
    trained = approvals.Involved(carol.pk, Involvement.TRAINED, "trained something")
    monkeypatch.setattr(type(case), "approval_involved", lambda self, gate: [trained])
    assert not approvals.standing(GATE, case).open
    use_cases.submit(actor=alice, use_case=case)
    asked = ApprovalRequest.objects.about(case).open().get()
    assert approvals.say(carol, asked).allowed


def test_two_who_ask_at_the_same_moment_make_one_request(alice, team, monkeypatch):
    case = factories.make_ready_use_case(actor=alice, team=team)

    def lost(*_):
        raise IntegrityError("one_open_request_per_gate_and_subject")

    monkeypatch.setattr("governance.services.approvals.materials.last_approved", lost)
    with pytest.raises(approvals.Closed) as refused:
        approvals.request(actor=alice, gate=GATE, subject=case)
    assert refused.value.code == "already_requested"


def test_lists_of_records_are_compared_record_by_record():
    (found,) = approvals.compare({"A": [{"x": 1}, {"x": 2}]}, {"A": [{"x": 1}, {"x": 3}]}, {"B"})
    assert (found.part, found.before, found.after, found.material) == ("A › 2 › x", "2", "3", True)


def test_roles_are_named_in_words(alice, team):
    assert approvals.steps(ask(alice, team, "minimal"))[0].role_words == "reviewer of any kind"


def test_what_is_outstanding_names_the_steps_that_are_still_to_be_taken(alice, team, carol):
    use_case = factories.make_ready_use_case(actor=alice, team=team, tier="high", title="Rank applications")
    use_cases.submit(actor=alice, use_case=use_case)
    asked = ApprovalRequest.objects.about(use_case).open().get()
    assert len(approvals.outstanding(asked)) == 3
    approvals.decide(actor=carol, request=asked, verdict="approve", digest=asked.digest)
    left = approvals.outstanding(ApprovalRequest.objects.get(pk=asked.pk))
    assert [line.partition(":")[0] for line in left] == ["Law or privacy", "Security"]
