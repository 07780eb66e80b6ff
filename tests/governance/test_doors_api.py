"""Signing in, for programs: one's own sessions and factors, and what an administrator does for others."""

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from axes.models import AccessAttempt
from rest_framework.test import APIClient

from governance.models import BrowserSession, User
from governance.services import sessions, tokens

V1 = "/api/v1"
pytestmark = pytest.mark.django_db


def client_of(person, *scopes) -> APIClient:
    """Return a client that acts for the person with a token of these scopes (or a session without any)."""
    client = APIClient()
    if not scopes:
        client.force_login(person)
        return client
    actor = User.objects.get(pk=person.pk)
    _token, secret = tokens.create(actor=actor, user=actor, name="test", scopes=list(scopes), days=1)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def begin(user, key: str) -> BrowserSession:
    """Return a session of the person."""
    return sessions.begin(actor=user, key=key, method="password", address="192.0.2.1", device="curl/8")


def test_one_lists_and_ends_ones_own_sessions(eve, alice):
    client = client_of(eve)
    other = begin(eve, "other")
    foreign = begin(alice, "foreign")
    rows = client.get(f"{V1}/sessions/").json()["results"]
    assert sorted((row["current"], row["browser"]) for row in rows) == [(False, "curl/8"), (True, "Unknown browser")]
    assert not any("key" in row for row in rows)
    assert client.delete(f"{V1}/sessions/{foreign.pk}/").status_code == 404
    assert client.delete(f"{V1}/sessions/{other.pk}/").status_code == 204
    begin(eve, "third")
    assert client.post(f"{V1}/sessions/end-others/").json() == {"ended": 1}
    assert client.get(f"{V1}/me/").status_code == 200


def test_a_token_needs_the_scope_admin_for_sessions(eve):
    begin(eve, "laptop")
    for method, address in (("get", "sessions/"), ("post", "sessions/end-others/")):
        refused = getattr(client_of(eve, "read", "write"), method)(f"{V1}/{address}")
        assert (refused.status_code, refused.json()["code"]) == (403, "token_scope"), address
    client = client_of(eve, "admin")
    assert len(client.get(f"{V1}/sessions/").json()["results"]) == 1
    assert client.post(f"{V1}/sessions/end-others/").json() == {"ended": 1}


def test_me_tells_of_my_factors_without_their_secrets(eve):
    secret = generate_totp_secret()
    TOTP.activate(eve, secret)
    me = client_of(eve).get(f"{V1}/me/")
    assert [factor["type"] for factor in me.json()["second_factors"]] == ["totp"]
    assert secret not in me.content.decode()


def test_an_administrator_sees_and_ends_what_opens_an_account(frank, eve):
    begin(eve, "laptop")
    TOTP.activate(eve, generate_totp_secret())
    AccessAttempt.objects.create(username=eve.email, ip_address="192.0.2.1", user_agent="x", failures_since_start=5)
    script = client_of(eve, "read")
    client = client_of(frank, "read", "admin")
    person = f"{V1}/people/{eve.pk}"
    seen = client.get(f"{person}/sign-in/").json()
    assert (seen["sessions"], len(seen["second_factors"]), seen["must_change_password"]) == (1, 1, False)
    assert seen["locked_until"]
    assert client.post(f"{person}/unlock/").json() == {"opened": True}
    assert client.post(f"{person}/unlock/").json() == {"opened": False}
    assert client.post(f"{person}/end-sessions/").json() == {"ended": 1}
    (token,) = client.get(f"{person}/tokens/").json()
    assert "token" not in token
    revoked = client.post(f"{person}/tokens/{token['id']}/revoke/").json()
    assert revoked.get("state") == "revoked", revoked
    assert script.get(f"{V1}/me/").status_code == 401
    assert client.post(f"{person}/remove-factors/", {}).status_code == 400
    assert client.post(f"{person}/remove-factors/", {"reason": "Lost."}).json()["second_factors"] == []
    issued = client.post(f"{person}/issue-password/", {"reason": "Lost."}, headers={"Idempotency-Key": "one"}).json()
    eve.refresh_from_db()
    assert eve.check_password(issued["first_password"])
    again = client.post(f"{person}/issue-password/", {"reason": "Lost."}, headers={"Idempotency-Key": "one"}).json()
    assert "first_password" not in again


def test_locks_are_listed_and_opened(frank):
    AccessAttempt.objects.create(
        username="x@example.org", ip_address="192.0.2.1", user_agent="x", failures_since_start=5
    )
    client = client_of(frank, "admin")
    assert [(lock["kind"], lock["name"]) for lock in client.get(f"{V1}/locks/").json()] == [
        ("account", "x@example.org")
    ]
    assert client.post(f"{V1}/locks/open/", {}).status_code == 400
    assert client.post(f"{V1}/locks/open/", {"account": "a", "address": "192.0.2.1"}).status_code == 400
    assert client.post(f"{V1}/locks/open/", {"account": "x@example.org"}).json() == {"opened": True}
    assert client.get(f"{V1}/locks/").json() == []


@pytest.mark.parametrize("person", ["alice", "bob", "carol", "dan", "eve"])
def test_nobody_else_looks_after_how_people_get_in(personas, person):
    client = client_of(personas[person], "read", "write", "admin")
    about = f"{V1}/people/{personas['frank'].pk}"
    asked = [("get", f"{about}/sign-in/"), ("get", f"{about}/tokens/"), ("get", f"{V1}/locks/")]
    asked += [("post", f"{about}/{act}/") for act in ("end-sessions", "unlock", "issue-password", "remove-factors")]
    asked += [("post", f"{about}/tokens/1/revoke/"), ("post", f"{V1}/locks/open/")]
    for method, address in asked:
        assert getattr(client, method)(address).status_code in {403, 404}, address
