"""Whatever people, tokens, administrators and raw SQL try in whatever order, nobody opens a gate who must not.

A state machine: its rules go through the services and around them (the ORM, SQL); its model of what is true is kept
here and knows nothing of how the product decides. APPROVAL_RUNS sets how many runs of 50 steps are tried. CI tries
few; 500 take some minutes and are tried by hand.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import dataclass, field

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from governance.models import (
    ApprovalInvolvement,
    ApprovalRequest,
    ApprovalStep,
    Decision,
    ReviewDelegation,
    RoleAssignment,
    User,
)
from governance.policy import REVIEWER_ROLES, Gate, Role
from governance.services import access, approvals, roles
from projects.services import use_cases
from tests import factories
from tests.personas import make_person, make_role

GATE = Gate.USE_CASE_DEVELOPMENT
RUNS = int(os.environ.get("APPROVAL_RUNS", "12"))
STEPS = 50
PEOPLE = ("alice", "bob", "carol", "rex", "pia", "sam", "frank", "root", "eve")
WANTED = {
    "minimal": {"review": (REVIEWER_ROLES, 1)},
    "limited": {"review": (REVIEWER_ROLES, 2)},
    "high": {
        "governance": ({Role.REVIEWER}, 1),
        "law": ({Role.LEGAL_REVIEWER, Role.PRIVACY_REVIEWER}, 1),
        "security": ({Role.SECURITY_REVIEWER}, 1),
    },
}
REFUSALS = (access.Denied, approvals.Invalid, roles.Invalid, DatabaseError)

people = st.sampled_from(PEOPLE)
tiers = st.sampled_from(sorted(WANTED))
verdicts = st.sampled_from(["approve", "approve", "approve", "request_changes", "reject"])
step_keys = st.sampled_from(["", "review", "governance", "law", "security"])


@dataclass
class Asked:
    """What is true of one request, as this test sees it."""

    request: ApprovalRequest
    tier: str
    requester: str
    excluded: set[str]
    # hand -> (for whom, roles that they held then, step)
    approvals: dict[str, tuple[str, set[Role], str]] = field(default_factory=dict)


class Approvals(RuleBasedStateMachine):
    """Everything that may be tried, and what must hold after each attempt."""

    world: dict

    @initialize(tier=tiers, asker=st.sampled_from(["alice", "carol"]))
    def begin(self, tier, asker):
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.people = {name: User.objects.get(pk=pk) for name, pk in self.world["people"].items()}
        self.names = {user.pk: name for name, user in self.people.items()}
        self.roles = {
            "carol": {Role.REVIEWER}, "rex": {Role.LEGAL_REVIEWER}, "pia": {Role.PRIVACY_REVIEWER},
            "sam": {Role.SECURITY_REVIEWER, Role.REVIEWER},
        }  # fmt: skip
        self.delegations: dict[tuple[str, str], ReviewDelegation] = {}
        self.seen: dict[int, str] = {}
        self.asked = self.ask(tier, asker)

    def teardown(self):
        if hasattr(self, "atomic"):
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    # What people do

    def ask(self, tier, asker) -> Asked:
        alice, actor = self.person("alice"), self.person(asker)
        case = factories.make_ready_use_case(actor=alice, team=self.world["team"], tier=tier)
        use_cases.submit(actor=actor, use_case=case)
        request = ApprovalRequest.objects.about(case).open().get()
        return Asked(request, tier, asker, {"alice", asker})

    def person(self, name) -> User:
        user = self.people[name]
        access.forget(user)
        return user

    def attempt(self, act):
        """Do something that may be refused; return what came of it, or None."""
        try:
            with transaction.atomic():
                return act()
        except REFUSALS:
            return None

    def held(self, name) -> set[Role]:
        return set(self.roles.get(name, set()))

    def note(self, decision: Decision | None) -> None:
        """Check a decision that exists against what is true, and remember it."""
        if decision is None:
            return
        hand = self.names[decision.approver_id]
        duty = self.names[decision.on_behalf_of_id] if decision.on_behalf_of_id else hand
        facts = (hand, duty, decision.step, decision.verdict)
        assert not {hand, duty} & self.asked.excluded, f"somebody who had a part in it decided: {facts}"
        assert self.held(duty) & REVIEWER_ROLES, f"no reviewer decided: {facts}"
        assert hand == duty or (duty, hand) in self.delegations, f"no delegation: {facts}"
        assert hand == duty or hand != "frank", f"an administrator decided: {facts}"
        assert hand not in self.asked.approvals, f"twice by the same hand: {facts}"
        assert duty not in {other for other, _held, _step in self.asked.approvals.values()}, (
            f"a duty done twice: {facts}"
        )
        if decision.verdict == "approve":
            self.asked.approvals[hand] = (duty, self.held(duty), decision.step)

    def newest(self) -> Decision | None:
        return Decision.objects.filter(request=self.asked.request).order_by("-pk").first()

    @rule(name=people, verdict=verdicts, step=step_keys)
    def decide(self, name, verdict, step):
        before = Decision.objects.count()
        self.attempt(
            lambda: approvals.decide(
                actor=self.person(name),
                request=self.asked.request,
                verdict=verdict,
                digest=self.asked.request.digest,
                comment="So it is.",
                step=step,
            )
        )
        if Decision.objects.count() > before:
            self.note(self.newest())

    @rule(name=people, other=people, days=st.integers(1, 30))
    def delegate(self, name, other, days):
        ends = timezone.now() + datetime.timedelta(days=days)
        made = self.attempt(
            lambda: approvals.delegate(actor=self.person(name), delegate=self.person(other), ends_at=ends)
        )
        if made is not None:
            assert self.held(name), f"{name} reviews nothing and delegated it"
            assert other != "frank"
            self.delegations[name, other] = made

    @precondition(lambda self: self.delegations)
    @rule(data=st.data(), name=people)
    def end_delegation(self, data, name):
        pair = data.draw(st.sampled_from(sorted(self.delegations)))
        ended = self.attempt(
            lambda: approvals.end_delegation(actor=self.person(name), delegation=self.delegations[pair])
        )
        if ended is not None:
            del self.delegations[pair]

    @rule(name=st.sampled_from(["alice", "bob", "eve", "carol"]), role=st.sampled_from(sorted(REVIEWER_ROLES)))
    def grant(self, name, role):
        self.attempt(lambda: roles.grant(actor=self.person("frank"), user=self.person(name), role=role))
        if RoleAssignment.objects.filter(user=self.people[name], role=role).exists():
            self.roles.setdefault(name, set()).add(Role(role))

    @rule(name=st.sampled_from(["carol", "rex", "sam", "bob"]), role=st.sampled_from(sorted(REVIEWER_ROLES)))
    def take_away(self, name, role):
        row = RoleAssignment.objects.filter(user=self.people[name], role=role).first()
        if row is not None:
            roles.revoke(actor=self.person("frank"), assignment=row)
            self.roles[name].discard(Role(role))

    @rule(name=people)
    def revoke(self, name):
        done = self.attempt(
            lambda: approvals.revoke(actor=self.person(name), request=self.asked.request, reason="It harms somebody.")
        )
        assert done is None or self.held(name) or name in self.asked.approvals

    @rule(name=people)
    def withdraw(self, name):
        done = self.attempt(lambda: approvals.withdraw(actor=self.person(name), request=self.asked.request))
        assert done is None or name == self.asked.requester

    @rule(text=st.sampled_from(["Requests wait six hours in the wrong queue now.", "Requests wait for two days now."]))
    def change(self, text):
        subject = self.asked.request.subject
        subject.refresh_from_db()
        self.attempt(lambda: use_cases.change(actor=self.person("alice"), use_case=subject, problem=text))

    @precondition(lambda self: self.state() not in {"open", "approved"})
    @rule(tier=tiers, asker=st.sampled_from(["alice", "carol"]))
    def ask_again(self, tier, asker):
        self.asked = self.ask(tier, asker)

    # What goes round the services

    @rule(
        name=people,
        duty=st.one_of(st.none(), people),
        step=st.sampled_from(["review", "governance", "law", "security"]),
        lie=st.sampled_from(["", "requester", "digest", "superuser"]),
    )
    def write_a_decision(self, name, duty, step, lie):
        request = self.asked.request
        if lie == "superuser":
            User.objects.filter(pk=self.people[name].pk).update(is_superuser=True, is_staff=True)
        self.note(
            self.attempt(
                lambda: Decision.objects.create(
                    request=request,
                    approver=self.people[name],
                    requester=self.people["bob"] if lie == "requester" else request.requester,
                    on_behalf_of=self.people[duty] if duty else None,
                    step=step,
                    verdict="approve",
                    digest="0" * 64 if lie == "digest" else request.digest,
                )
            )
        )

    @rule(state=st.sampled_from(["approved", "open", "revoked", "lapsed"]), silent=st.booleans())
    def write_a_state(self, state, silent):
        values = {"state": state} | ({} if silent else {"approved_at": timezone.now()})
        self.attempt(lambda: ApprovalRequest.objects.filter(pk=self.asked.request.pk).update(**values))

    @rule(what=st.sampled_from([
        "UPDATE governance_approvalstep SET quorum = 0",
        "UPDATE governance_approvalstep SET roles = ' administrator reviewer '",
        "DELETE FROM governance_approvalstep",
        "DELETE FROM governance_approvalinvolvement",
        "UPDATE governance_approvalinvolvement SET user_id = user_id + 1000",
        "DELETE FROM governance_decision",
        "UPDATE governance_decision SET verdict = 'approve'",
        "UPDATE governance_approvalrequest SET tier = 'minimal', requester_id = requester_id + 1",
        "UPDATE governance_approvalrequest SET requester_id = requester_id + 1",
        "UPDATE governance_reviewdelegation SET ends_at = '2099-01-01 00:00:00'",
        "DELETE FROM governance_reviewdelegation",
        "INSERT INTO governance_approvalstep (request_id, key, label, roles, quorum) "
        "SELECT id, 'free', 'Free', ' administrator ', 1 FROM governance_approvalrequest",
    ]))  # fmt: skip
    def write_sql(self, what):
        # Where there is no row to change, the statement succeeds and changes nothing.
        def act():
            with connection.cursor() as cursor:
                cursor.execute(what)

        self.attempt(act)

    # What must hold

    def state(self) -> str:
        return ApprovalRequest.objects.values_list("state", flat=True).get(pk=self.asked.request.pk)

    @invariant()
    def an_approval_has_everybody_that_its_tier_asks_for(self):
        if not hasattr(self, "asked"):
            return
        state = self.state()
        before = self.seen.get(self.asked.request.pk, "open")
        ends = {"open": None, "approved": {"approved", "lapsed", "revoked"}}
        assert before == "open" or state in ends.get(before, {before}), f"{before} became {state}"
        self.seen[self.asked.request.pk] = state
        if state != "approved":
            return
        for key, (wanted, quorum) in WANTED[self.asked.tier].items():
            given = [held for _duty, held, step in self.asked.approvals.values() if step == key]
            assert sum(bool(held & set(wanted)) for held in given) >= quorum, (self.asked.tier, self.asked.approvals)

    @invariant()
    def the_rows_that_bind_are_as_they_were(self):
        if not hasattr(self, "asked"):
            return
        request = ApprovalRequest.objects.get(pk=self.asked.request.pk)
        assert (request.tier, request.requester_id) == (self.asked.tier, self.people[self.asked.requester].pk)
        steps = ApprovalStep.objects.filter(request=request).values_list("quorum", flat=True)
        assert sorted(steps) == sorted(quorum for _roles, quorum in WANTED[self.asked.tier].values())
        excluded = set(ApprovalInvolvement.objects.filter(request=request).values_list("user_id", flat=True))
        assert self.people["alice"].pk in excluded

    @invariant()
    def the_gate_says_what_is_true(self):
        if not hasattr(self, "asked"):
            return
        request = ApprovalRequest.objects.get(pk=self.asked.request.pk)
        found = approvals.standing(GATE, request.subject)
        assert found.open == (request.state == "approved"), found.reason


@pytest.fixture
def world(db, frank, team, alice, bob, carol, eve):
    """Return nine people, three of them specialists, one of them with two specialities, one a superuser."""
    # She may ask for reviews of the team and reviews: two hats on one head.
    make_role(carol, Role.PROJECT_MANAGER, team)
    made = {"alice": alice, "bob": bob, "carol": carol, "frank": frank, "eve": eve}
    for name, held in (
        ("rex", [Role.LEGAL_REVIEWER]), ("pia", [Role.PRIVACY_REVIEWER]),
        ("sam", [Role.SECURITY_REVIEWER, Role.REVIEWER]), ("root", []),
    ):  # fmt: skip
        made[name] = make_person(name)
        for role in held:
            make_role(made[name], role)
    User.objects.filter(pk=made["root"].pk).update(is_superuser=True, is_staff=True)
    return {"team": team, "people": {name: user.pk for name, user in made.items()}}


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(3600)
def test_no_order_of_acts_opens_a_gate_that_must_stay_shut(world):
    machine = type("Machine", (Approvals,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize="APPROVAL_RUNS" not in os.environ,
            suppress_health_check=list(HealthCheck),
            # Making a failing run shorter would try thousands more of them; it is printed as it is.
            phases=[Phase.generate],
        ),
    )
