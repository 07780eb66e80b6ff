"""The review page of gates with several steps: who is needed, conditions, revocation, delegation, what is overdue."""

import datetime

import pytest
from django.urls import reverse
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, LedgerEntry, User
from governance.policy import Role
from governance.services import approvals
from projects.services import use_cases
from tests import factories
from tests.personas import make_person, make_role


@pytest.fixture
def asked(alice, team):
    """Return alice's open request about a use case."""
    draft = factories.make_ready_use_case(actor=alice, team=team)
    use_case = use_cases.submit(actor=alice, use_case=draft)
    return ApprovalRequest.objects.about(use_case).open().get()


@pytest.fixture
def as_person(client):
    """Return a function that signs a person in and gives the client."""

    def sign_in(person):
        client.force_login(person)
        return client

    return sign_in


def press(client, asked, verdict="approve", **more):
    """Press a button of the review page."""
    data = {"verdict": verdict, "digest": asked.digest, "comment": "", "conditions": ""} | more
    return client.post(reverse("governance:decide", args=[asked.pk]), data)


@pytest.fixture
def high(alice, team):
    """Return alice's open request about a use case of the highest tier."""
    draft = factories.make_ready_use_case(actor=alice, team=team, tier="high", title="Rank applications")
    use_case = use_cases.submit(actor=alice, use_case=draft)
    return ApprovalRequest.objects.about(use_case).open().get()


@pytest.mark.parametrize("state", ["open", "half", "approved", "revoked"])
def test_the_page_costs_at_most_twelve_queries_whatever_the_steps(
    high, state, personas, as_person, django_assert_max_num_queries
):
    people = [personas["carol"], *(make_person(name) for name in ("rex", "sam"))]
    for person, role in zip(people[1:], (Role.LEGAL_REVIEWER, Role.SECURITY_REVIEWER), strict=True):
        make_role(person, role)
    approvals.delegate(actor=people[1], delegate=personas["eve"], ends_at=timezone.now() + datetime.timedelta(days=3))
    for person in people[: {"open": 0, "half": 1}.get(state, 3)]:
        approvals.decide(actor=person, request=high, verdict="approve", digest=high.digest, conditions="Report.")
    if state == "revoked":
        approvals.revoke(actor=people[0], request=high, reason="It harms somebody.")
    url = reverse("governance:review", args=[high.pk])
    for reader in (personas["carol"], personas["alice"], personas["dan"], User.objects.get(pk=personas["eve"].pk)):
        client = as_person(reader)
        client.get(url)  # once a minute a session notes that it was seen
        with django_assert_max_num_queries(12):
            page = client.get(url).content.decode()
        assert "Law or privacy" in page


def test_the_page_says_who_is_needed_and_who_could(high, carol, as_person):
    make_role(make_person("sam"), Role.SECURITY_REVIEWER)
    page = as_person(carol).get(reverse("governance:review", args=[high.pk]))
    steps = {step.key: step for step in page.context["steps"]}
    assert [one.name for one in steps["security"].candidates] == ["Sam"]
    assert steps["law"].candidates == ()
    assert "Nobody could decide it now" in page.content.decode()
    assert len(page.context["outstanding"]) == 3


def test_who_had_a_part_in_it_reads_so(asked, alice, bob, team, carol, as_person):
    use_case = asked.subject
    changed = use_cases.change(actor=bob, use_case=use_case, benefit="Nine of ten, as bob wrote.")
    use_cases.submit(actor=alice, use_case=changed)
    again = ApprovalRequest.objects.about(changed).open().get()
    make_role(bob, Role.REVIEWER)
    page = as_person(bob).get(reverse("governance:review", args=[again.pk]))
    assert page.context["why_not"] == "You described the use case, so someone else has to decide it."
    assert press(as_person(bob), again).status_code == 403


def test_a_person_with_two_specialities_chooses_the_step(high, carol, as_person):
    both = make_role(make_role(make_person("sam"), Role.SECURITY_REVIEWER), Role.REVIEWER)
    client = as_person(both)
    assert 'name="step"' in client.get(reverse("governance:review", args=[high.pk])).content.decode()
    assert press(client, high, step="security").status_code == 302
    assert high.decisions.get().step == "security"
    assert press(as_person(carol), high, step="security").status_code == 422


def test_revoking_says_what_will_happen_and_needs_a_reason(asked, carol, bob, as_person):
    press(as_person(carol), asked)
    url = reverse("governance:revoke", args=[asked.pk])
    page = as_person(carol).get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert "its queued and running training is cancelled" in page
    assert as_person(bob).post(url, {"reason": "No."}).status_code == 403
    refused = as_person(carol).post(url, {"reason": " "})
    assert refused.status_code == 422
    assert "whoever relied on it will read it" in refused.content.decode()
    assert as_person(carol).post(url, {"reason": "It harms somebody."}).status_code == 302
    asked.refresh_from_db()
    assert asked.state == "revoked"
    page = as_person(carol).get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert "revoked the approval" in page
    assert "It harms somebody." in page


def test_a_condition_is_marked_as_met_on_the_page(asked, carol, alice, as_person):
    press(as_person(carol), asked, conditions="Report after a month.\nName who counts.")
    first = asked.conditions.first()
    url = reverse("governance:condition_meet", args=[asked.pk])
    client = as_person(carol)
    assert client.post(url, {"condition": ""}).status_code == 400
    assert client.post(url, {"condition": 999_999}).status_code == 404
    assert client.post(url, {"condition": first.pk, "note": "It is there."}).status_code == 302
    page = as_person(alice).get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert "It is there." in page
    shown = as_person(alice).get(reverse("projects:use_case_reviews", args=[asked.object_id])).content.decode()
    assert "Name who counts." in shown


def test_each_decision_leads_to_its_entry_in_the_ledger(asked, carol, dan, eve, as_person):
    press(as_person(carol), asked)
    decision = asked.decisions.get()
    url = reverse("governance:decision_entry", args=[asked.pk, decision.pk])
    entry = LedgerEntry.objects.about(asked).get(action=Action.APPROVAL_APPROVED)
    for person in (carol, dan):
        assert as_person(person).get(url).url == reverse("governance:ledger_entry", args=[entry.pk])
    assert url in as_person(carol).get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert as_person(eve).get(url).status_code == 404
    assert as_person(dan).get(reverse("governance:decision_entry", args=[asked.pk, 999_999])).status_code == 404


def test_an_overdue_request_is_flagged_and_listed_first(asked, alice, carol, team, as_person, monkeypatch):
    late = factories.make_ready_use_case(actor=alice, team=team, tier="limited", title="Decided by more people")
    use_cases.submit(actor=alice, use_case=late)
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + datetime.timedelta(days=6))
    page = as_person(carol).get(reverse("governance:reviews"))
    assert page.context["page"].items[0].subject_label == asked.subject_label
    assert "Overdue" in page.content.decode()
    assert "Overdue" in as_person(carol).get(reverse("governance:review", args=[asked.pk])).content.decode()


def test_a_reviewer_delegates_on_the_page_and_ends_it(asked, carol, eve, as_person):
    url = reverse("governance:delegations")
    soon = (timezone.localdate() + datetime.timedelta(days=5)).isoformat()
    client = as_person(carol)
    assert client.get(url).status_code == 200
    for data, sentence in (
        ({"email": "nobody@example.org", "until": soon}, "Nobody has this address"),
        ({"email": carol.email, "until": soon}, "somebody else than yourself"),
        ({"email": eve.email, "until": "2020-01-01"}, "in the past"),
    ):
        answer = client.post(url, data)
        assert answer.status_code == 422
        assert sentence in answer.content.decode()
    assert client.post(url, {"email": eve.email, "until": soon, "reason": "Away."}).status_code == 302
    reader = as_person(User.objects.get(pk=eve.pk))
    assert "Carol" in reader.get(url).content.decode()
    assert asked.subject_label in reader.get(reverse("governance:reviews")).content.decode()
    assert asked.subject_label in reader.get(reverse("portal:home")).content.decode()
    page = reader.get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert "on behalf of Carol" in page
    assert press(reader, asked).status_code == 302
    made = carol.delegations_given.get()
    assert as_person(carol).post(reverse("governance:delegation_end", args=[made.pk])).status_code == 302
    assert as_person(carol).post(reverse("governance:delegation_end", args=[999_999])).status_code == 404


def test_home_and_the_count_leave_out_what_one_may_not_decide(high, carol, as_person):
    legal = make_role(make_person("rex"), Role.LEGAL_REVIEWER)
    approvals.decide(actor=legal, request=high, verdict="approve", digest=high.digest)
    second = make_role(make_person("pia"), Role.PRIVACY_REVIEWER)
    assert high.subject_label in as_person(carol).get(reverse("portal:home")).content.decode()
    assert high.subject_label not in as_person(second).get(reverse("portal:home")).content.decode()
    assert high.subject_label not in as_person(second).get(reverse("governance:reviews")).content.decode()
