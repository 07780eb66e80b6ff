"""Steps, conditions, revocation and delegations over the REST API, with tokens as programs use them."""

import datetime

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from governance.models import ApprovalRequest, User
from governance.policy import Role
from governance.services import approvals, tokens
from projects.services import use_cases
from tests import factories
from tests.personas import make_person, make_role

V1 = "/api/v1"


def client_of(person, *scopes) -> APIClient:
    """Return a client that acts for the person with a token of these scopes."""
    client = APIClient()
    owner = User.objects.get(pk=person.pk)
    _token, secret = tokens.create(actor=owner, user=owner, name="test", scopes=list(scopes), days=1)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


@pytest.fixture
def asked(alice, team):
    """Return alice's open request about a use case of the tier "limited"."""
    draft = factories.make_ready_use_case(actor=alice, team=team, tier="limited")
    use_case = use_cases.submit(actor=alice, use_case=draft)
    return ApprovalRequest.objects.about(use_case).open().get()


def decide(client, asked, **body):
    """Decide on exactly what was asked."""
    return client.post(
        f"{V1}/approvals/{asked.pk}/decide/",
        {"verdict": "approve"} | body,
        headers={"If-Match": f'"{asked.digest}"'},
    )


def test_a_request_says_its_steps_its_tier_and_whether_the_caller_may_decide(asked, alice, carol):
    grace = make_role(make_person("grace"), Role.SECURITY_REVIEWER)
    client = client_of(carol, "read", "review")
    body = client.get(f"{V1}/approvals/{asked.pk}/").json()
    assert (body["tier"], body["overdue"], body["steps"][0]["needed"]) == ("limited", False, 2)
    assert {one["name"] for one in body["steps"][0]["candidates"]} == {"Carol", "Grace"}
    assert body["you"]["options"] == [{"step": "review", "on_behalf_of": None}]
    assert [row["id"] for row in client.get(f"{V1}/approvals/", {"waiting": "me"}).json()["results"]] == [asked.pk]
    assert client.get(f"{V1}/approvals/", {"waiting": "you"}).status_code == 400
    own = client_of(alice, "read", "review").get(f"{V1}/approvals/{asked.pk}/").json()["you"]
    assert (own["may_decide"], own["code"]) == (False, "own_request")
    assert client_of(carol, "read").get(f"{V1}/approvals/{asked.pk}/").json()["you"]["code"] == "token_scope"
    last = (timezone.localdate() + datetime.timedelta(days=9)).isoformat()
    decided = decide(client, asked, conditions="Report.\nName somebody.", expires_on=last, step="review")
    assert decided.status_code == 200, decided.json()
    assert decided.json()["state"] == "open"
    assert client.get(f"{V1}/approvals/", {"waiting": "me"}).json()["results"] == []
    done = decide(client_of(grace, "read", "review"), asked).json()
    assert done["state"] == "approved"
    assert done["expires_at"].startswith(last)
    assert [one["text"] for one in done["conditions"]] == ["Report.", "Name somebody."]


def test_a_condition_is_met_and_an_approval_revoked(asked, carol, bob):
    grace = make_role(make_person("grace"), Role.SECURITY_REVIEWER)
    client, second = client_of(carol, "read", "review"), client_of(grace, "read", "review")
    decide(client, asked, conditions="Report.")
    decide(second, asked)
    condition = asked.conditions.get()
    url = f"{V1}/approvals/{asked.pk}"
    met = second.post(f"{url}/meet/", {"condition": condition.pk, "note": "Read it."})
    assert met.json()["conditions"][0]["met_by"]["id"] == grace.pk
    assert second.post(f"{url}/meet/", {"condition": 999_999}).status_code == 400
    body, tag = {"reason": "It harms somebody."}, {"If-Match": f'"{asked.digest}"'}
    assert client.post(f"{url}/revoke/", body).status_code == 428
    assert client.post(f"{url}/revoke/", body, headers={"If-Match": '"0"'}).status_code == 412
    assert client.post(f"{url}/revoke/", {"reason": ""}, headers=tag).status_code == 400
    assert client_of(bob, "read", "review").post(f"{url}/revoke/", body, headers=tag).status_code == 403
    revoked = client.post(f"{url}/revoke/", body, headers=tag)
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert client.post(f"{url}/revoke/", body, headers=tag).status_code == 409


def test_a_review_is_delegated_and_the_delegation_ended(asked, carol, eve, bob):
    client = client_of(carol, "read", "review")
    body = {"delegate": eve.pk, "ends_at": (timezone.now() + datetime.timedelta(days=3)).isoformat()}
    assert client_of(bob, "read", "review").post(f"{V1}/delegations/", body).status_code == 403
    assert client_of(carol, "read").post(f"{V1}/delegations/", body).status_code == 403
    made = client.post(f"{V1}/delegations/", body)
    assert made.status_code == 201, made.json()
    assert client.post(f"{V1}/delegations/", body).status_code == 400
    stand_in = client_of(eve, "read", "review")
    you = stand_in.get(f"{V1}/approvals/{asked.pk}/").json()["you"]
    assert you["options"] == [{"step": "review", "on_behalf_of": carol.pk}]
    decided = decide(stand_in, asked).json()
    assert decided["decisions"][0]["on_behalf_of"]["id"] == carol.pk
    url = f"{V1}/delegations/{made.json()['id']}"
    assert client_of(bob, "read").get(f"{url}/").status_code == 404
    assert stand_in.get(f"{V1}/delegations/").json()["results"][0]["delegator"]["id"] == carol.pk
    assert client.post(f"{url}/end/").status_code == 200
    assert client_of(eve, "read", "review").get(f"{V1}/approvals/{asked.pk}/").status_code == 200  # they decided it
    assert not approvals.waiting_for(User.objects.get(pk=eve.pk)).exists()


def test_the_tier_of_a_use_case_is_read_and_changed(alice, team):
    draft = factories.make_ready_use_case(actor=alice, team=team)
    client = client_of(alice, "read", "write")
    url = f"{V1}/use-cases/{draft.pk}/"
    shown = client.get(url).json()
    assert (shown["risk_tier"], shown["risk_tier_set_by"]["id"]) == ("minimal", alice.pk)
    refused = client.patch(url, {"risk_tier": "high"}, format="json")
    assert refused.status_code == 400
    assert "risk_tier_reason" in refused.json()["errors"]
    body = {"risk_tier": "high", "risk_tier_reason": "It bears on pay."}
    assert client.patch(url, body, format="json").json()["risk_tier"] == "high"
