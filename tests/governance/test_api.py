"""The REST endpoints of the ground floor, with tokens as programs use them."""

import base64

import pytest
from rest_framework.test import APIClient

from governance.actions import Action
from governance.models import ApiToken, ApprovalRequest, Decision, IdempotencyKey, LedgerEntry, RoleAssignment, User
from governance.policy import Permission
from governance.proofs import merkle
from governance.services import ledger, tokens
from projects.services import use_cases
from tests import factories

V1 = "/api/v1"


def client_of(person, *scopes, team=None) -> APIClient:
    """Return a client that acts for the person with a token of these scopes (or a session without any)."""
    client = APIClient()
    if not scopes:
        client.force_login(person)
        return client
    _token, secret = tokens.create(
        actor=User.objects.get(pk=person.pk), user=person, name="test", scopes=list(scopes), days=1, team=team
    )
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


@pytest.fixture
def asked(alice, team):
    """Return alice's open request about a use case."""
    draft = factories.make_ready_use_case(actor=alice, team=team)
    use_case = use_cases.submit(actor=alice, use_case=draft)
    return ApprovalRequest.objects.about(use_case).open().get()


# Approvals


def test_a_reviewer_reads_and_approves_with_the_etag(asked, carol):
    client = client_of(carol, "read", "review")
    listed = client.get(
        f"{V1}/approvals/", {"state": "open", "gate": asked.gate, "subject": "projects.usecase:" + str(asked.object_id)}
    )
    assert [row["id"] for row in listed.json()["results"]] == [asked.pk]
    shown = client.get(f"{V1}/approvals/{asked.pk}/")
    assert shown["ETag"] == f'"{asked.digest}"'
    body = shown.json()
    assert {"part": "Title", "text": factories.STATEMENT["title"]} in body["material"]
    assert "1 more reviewer" in body["outstanding"][0]
    decided = client.post(
        f"{V1}/approvals/{asked.pk}/decide/",
        {"verdict": "approve", "conditions": "Report."},
        headers={"If-Match": shown["ETag"]},
    )
    assert decided.status_code == 200, decided.json()
    assert decided.json()["state"] == "approved"
    assert decided.json()["decisions"][0]["conditions"] == "Report."


def test_deciding_needs_to_say_what_was_looked_at(asked, carol):
    client = client_of(carol, "read", "review")
    url = f"{V1}/approvals/{asked.pk}/decide/"
    missing = client.post(url, {"verdict": "approve"})
    assert missing.status_code == 428
    other = client.post(url, {"verdict": "approve"}, headers={"If-Match": '"0000"'})
    assert other.status_code == 412
    assert other["Content-Type"] == "application/problem+json"
    assert not Decision.objects.exists()


def test_a_changed_subject_is_a_conflict(asked, carol):
    subject = asked.subject
    type(subject).objects.filter(pk=subject.pk).update(problem="Something else goes wrong here every day.")
    answer = client_of(carol, "read", "review").post(
        f"{V1}/approvals/{asked.pk}/decide/", {"verdict": "approve"}, headers={"If-Match": f'"{asked.digest}"'}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "stale")


@pytest.mark.parametrize(
    ("body", "field"), [({"verdict": "perhaps"}, "verdict"), ({}, "verdict"), ({"verdict": "reject"}, "comment")]
)
def test_a_bad_decision_names_its_field(asked, carol, body, field):
    answer = client_of(carol, "read", "review").post(
        f"{V1}/approvals/{asked.pk}/decide/", body, headers={"If-Match": f'"{asked.digest}"'}
    )
    assert answer.status_code == 400
    assert field in answer.json()["errors"]


@pytest.mark.parametrize(
    ("person", "scopes", "status", "code"),
    [
        ("alice", ("read", "write", "review"), 403, "missing_permission"),
        ("bob", ("read", "review"), 403, "missing_permission"),
        ("dan", ("read", "review"), 403, "missing_permission"),
        ("frank", ("read", "review", "admin"), 403, "missing_permission"),
        ("carol", ("read",), 403, "token_scope"),
        ("carol", ("review",), 404, "not_found"),
    ],
)
def test_those_who_may_not_decide_are_refused_with_the_reason(asked, personas, person, scopes, status, code):
    answer = client_of(personas[person], *scopes).post(
        f"{V1}/approvals/{asked.pk}/decide/", {"verdict": "approve"}, headers={"If-Match": f'"{asked.digest}"'}
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Decision.objects.exists()


def test_an_outsider_cannot_tell_a_request_that_exists_from_one_that_does_not(asked, eve):
    client = client_of(eve, "read", "review")
    answers = [
        client.post(f"{V1}/approvals/{pk}/decide/", {"verdict": "approve"}, headers={"If-Match": f'"{asked.digest}"'})
        for pk in (asked.pk, 999_999)
    ]
    assert {answer.status_code for answer in answers} in ({403}, {404})
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert not Decision.objects.exists()


def test_comments_are_read_and_added(asked, carol, alice, eve):
    client = client_of(carol, "read", "review")
    made = client.post(f"{V1}/approvals/{asked.pk}/comments/", {"text": "Which queue?", "part": "Problem"})
    assert made.status_code == 201
    assert client.post(f"{V1}/approvals/{asked.pk}/comments/", {"text": " "}).status_code == 400
    assert client.post(f"{V1}/approvals/{asked.pk}/comments/", {"text": "x", "part": "y"}).status_code == 400
    said = client_of(alice, "read").get(f"{V1}/approvals/{asked.pk}/comments/").json()
    assert [(one["text"], one["part"]) for one in said] == [("Which queue?", "Problem")]
    assert client_of(alice, "read").post(f"{V1}/approvals/{asked.pk}/comments/", {"text": "x"}).status_code == 403
    assert client_of(eve, "read").get(f"{V1}/approvals/{asked.pk}/comments/").status_code == 404


def test_the_requester_withdraws(asked, alice, carol):
    assert client_of(carol, "read", "write").post(f"{V1}/approvals/{asked.pk}/withdraw/").status_code == 403
    answer = client_of(alice, "read", "write").post(f"{V1}/approvals/{asked.pk}/withdraw/")
    assert answer.json()["state"] == "withdrawn"
    again = client_of(alice, "read", "write").post(f"{V1}/approvals/{asked.pk}/withdraw/")
    assert (again.status_code, again.json()["code"]) == (409, "closed")


@pytest.mark.parametrize(
    "query", [{"state": "x"}, {"gate": "x"}, {"subject": "x"}, {"subject": "a.b:c"}, {"cursor": "x"}, {"limit": "x"}]
)
def test_the_list_refuses_what_it_does_not_know(asked, carol, query):
    answer = client_of(carol, "read").get(f"{V1}/approvals/", query)
    assert answer.status_code == 400
    assert answer.json()["detail"]


# The ledger


def test_the_auditor_reads_entries_with_their_exact_bytes(asked, dan, eve):
    ledger.ensure_key()
    ledger.seal()
    client = client_of(dan, "read")
    listed = client.get(
        f"{V1}/ledger/",
        {
            "action": "approval.requested",
            "actor": asked.requester_id,
            "subject": "governance.approvalrequest",
            "since": "2020-01-01T00:00:00Z",
        },
    )
    (row,) = listed.json()["results"]
    shown = client.get(f"{V1}/ledger/{row['id']}/").json()
    data = base64.b64decode(shown["canonical"])
    assert merkle.leaf_hash(data).hex() == shown["leaf_hash"]
    assert shown["body"]["action"] == "approval.requested"
    assert shown["number"] == row["number"]
    assert client_of(eve, "read").get(f"{V1}/ledger/{row['id']}/").status_code == 404
    mark = client.get(f"{V1}/ledger/checkpoint/").json()
    assert mark["size"] > row["number"]
    assert mark["public_key"] == ledger.public_key().hex()


def test_without_a_checkpoint_it_says_so(dan):
    answer = client_of(dan, "read").get(f"{V1}/ledger/checkpoint/")
    assert answer.status_code == 404
    assert "sealed" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query", [{"action": "x"}, {"actor": "x"}, {"since": "soon"}, {"until": "2026-01-01T00:00:00"}, {"actor": "9" * 40}]
)
def test_the_ledger_refuses_a_bad_filter(dan, query):
    assert client_of(dan, "read").get(f"{V1}/ledger/", query).status_code == 400


def test_a_token_that_may_only_predict_reads_no_ledger(dan, alice, asked):
    for person in (dan, alice):
        assert client_of(person, "predict").get(f"{V1}/ledger/").json()["results"] == []
        assert client_of(person, "predict").get(f"{V1}/approvals/").json()["results"] == []


# People and roles


def test_people_are_made_and_their_password_is_not_kept(frank):
    client = client_of(frank, "read", "admin")
    made = client.post(
        f"{V1}/people/", {"email": "grace@example.org", "name": "Grace"}, headers={"Idempotency-Key": "one"}
    )
    assert made.status_code == 201, made.json()
    password = made.json()["first_password"]
    user = User.objects.get(email="grace@example.org")
    assert user.check_password(password)
    again = client.post(
        f"{V1}/people/", {"email": "grace@example.org", "name": "Grace"}, headers={"Idempotency-Key": "one"}
    )
    assert again.json()["id"] == user.pk
    assert "first_password" not in again.json()
    assert password not in str(list(IdempotencyKey.objects.values()))


@pytest.mark.parametrize("body", [{"email": "x", "name": "X"}, {"email": "eve@example.org", "name": "E"}, {}])
def test_a_bad_person_is_refused(frank, eve, body):
    assert client_of(frank, "admin").post(f"{V1}/people/", body).status_code == 400


def test_people_are_hidden_from_who_may_not_see_them(eve, bob, frank):
    for person in (eve, bob):
        assert client_of(person, "read").get(f"{V1}/people/").status_code == 403
        assert (
            client_of(person, "read", "admin")
            .post(f"{V1}/people/", {"email": "g@example.org", "name": "G"})
            .status_code
            == 403
        )
    assert (
        client_of(frank, "read").get(f"{V1}/people/", {"email": "EVE@example.org"}).json()["results"][0]["id"] == eve.pk
    )


def test_a_person_is_deactivated_and_taken_back(frank, eve):
    client = client_of(frank, "read", "admin")
    assert client.post(f"{V1}/people/{eve.pk}/deactivate/", {}).status_code == 400
    assert client.post(f"{V1}/people/{eve.pk}/deactivate/", {"reason": "Left."}).json()["is_active"] is False
    assert client.post(f"{V1}/people/{eve.pk}/reactivate/").json()["is_active"] is True
    assert client.post(f"{V1}/people/{frank.pk}/deactivate/", {"reason": "Left."}).status_code == 403


def test_a_team_owner_gives_and_takes_roles_in_their_team_alone(alice, eve, team, other_team):
    client = client_of(alice, "read", "admin")
    made = client.post(f"{V1}/roles/", {"user": eve.pk, "role": "domain_expert", "team": team.pk})
    assert made.status_code == 201, made.json()
    assert "use_case.view" in made.json()["permissions"]
    foreign = client.post(f"{V1}/roles/", {"user": eve.pk, "role": "domain_expert", "team": other_team.pk})
    assert foreign.status_code == 400
    assert "team" in foreign.json()["errors"]
    organisation = client.post(f"{V1}/roles/", {"user": eve.pk, "role": "reviewer"})
    assert organisation.status_code == 403
    assert client.post(f"{V1}/roles/", {"user": eve.pk, "role": "guest", "team": team.pk}).status_code == 400
    assert client.delete(f"{V1}/roles/{made.json()['id']}/").status_code == 204
    assert eve.role_assignments.count() == 1


def test_roles_of_others_are_not_found(eve, alice, bob):
    held = bob.role_assignments.first()
    client = client_of(eve, "read", "admin")
    answers = [client.delete(f"{V1}/roles/{pk}/") for pk in (held.pk, 999_999)]
    assert {answer.status_code for answer in answers} in ({403}, {404})
    assert client.get(f"{V1}/roles/{held.pk}/").status_code == 404
    assert {row["user"]["id"] for row in client.get(f"{V1}/roles/").json()["results"]} == {eve.pk}
    assert RoleAssignment.objects.filter(pk=held.pk).exists()


# Shares


@pytest.fixture
def dataset(bob, team):
    """Return a dataset of the team."""
    from projects.services import datasets

    return datasets.register(
        actor=bob,
        team=team,
        name="requests",
        title="Requests",
        provenance="Exported from the ticket system.",
        licence="CC0-1.0",
    )


def test_a_dataset_is_shared_with_one_person_until_a_date(dataset, alice, eve):
    client = client_of(alice, "read", "write")
    body = {
        "user": eve.pk,
        "permission": "dataset.view",
        "subject_type": "projects.dataset",
        "subject_id": dataset.pk,
        "purpose": "Look at the labels.",
        "expires_at": "2099-01-01T00:00:00Z",
    }
    made = client.post(f"{V1}/shares/", body)
    assert made.status_code == 201, made.json()
    assert type(dataset).objects.visible_to(User.objects.get(pk=eve.pk)).get() == dataset
    assert client_of(eve, "read").get(f"{V1}/shares/").json()["results"][0]["id"] == made.json()["id"]
    for change, status in (
        ({"subject_id": 999}, 400),
        ({"permission": "model.use"}, 400),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400),
        ({"purpose": ""}, 400),
        ({"user": 999}, 400),
    ):
        assert client.post(f"{V1}/shares/", body | change).status_code == status, change
    assert client_of(eve, "read", "write").post(f"{V1}/shares/", body).status_code == 403
    assert client.delete(f"{V1}/shares/{made.json()['id']}/").status_code == 204
    assert not type(dataset).objects.visible_to(User.objects.get(pk=eve.pk)).exists()


# Tokens and oneself


def test_a_session_makes_tokens_and_a_token_does_not(eve):
    made = client_of(eve).post(f"{V1}/tokens/", {"name": "script", "scopes": ["read"], "days": 7})
    assert made.status_code == 201, made.json()
    secret = made.json()["token"]
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    me = client.get(f"{V1}/me/").json()
    assert (me["email"], me["token"]["name"]) == (eve.email, "script")
    refused = client.post(f"{V1}/tokens/", {"name": "more", "scopes": ["write"], "days": 7})
    assert (refused.status_code, refused.json()["code"]) == (403, "token_by_token")
    assert secret not in str(client_of(eve).get(f"{V1}/tokens/").json())


def test_a_token_sees_and_ends_itself_alone(eve):
    client = client_of(eve, "read", "write", "admin")
    other, _secret = tokens.create(actor=eve, user=eve, name="other", scopes=["read"], days=1)
    (row,) = client.get(f"{V1}/tokens/").json()["results"]
    assert client.delete(f"{V1}/tokens/{other.pk}/").status_code == 404
    assert client.delete(f"{V1}/tokens/{row['id']}/").status_code == 204
    assert client.get(f"{V1}/me/").status_code == 401
    assert ApiToken.objects.get(pk=other.pk).state == "live"


@pytest.mark.parametrize(
    "body",
    [{"scopes": []}, {"scopes": ["all"]}, {"days": 0}, {"name": ""}, {"team": 999}, {"scopes": "read"}],
)
def test_a_bad_token_is_refused(eve, body):
    answer = client_of(eve).post(f"{V1}/tokens/", {"name": "s", "scopes": ["read"], "days": 7} | body)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path", ["approvals", "ledger", "ledger/checkpoint", "people", "roles", "shares", "tokens", "me"]
)
def test_a_stranger_gets_401_with_the_way_in(db, path):
    answer = APIClient().get(f"{V1}/{path}/")
    assert answer.status_code == 401
    assert "Bearer" in answer["WWW-Authenticate"]


def test_a_refusal_over_the_api_is_recorded(asked, bob):
    client_of(bob, "read", "review").post(
        f"{V1}/approvals/{asked.pk}/decide/", {"verdict": "approve"}, headers={"If-Match": f'"{asked.digest}"'}
    )
    entry = LedgerEntry.objects.get(action=Action.REFUSED)
    assert entry.actor == bob
    assert ledger.body(entry)["details"]["path"].endswith("/decide/")


def test_every_declared_policy_is_a_known_word():
    from governance.api import router

    for _prefix, viewset, _name in router.registry:
        for word in viewset.gatehouse_policy.values():
            assert word in {"signed_in", "public"} or Permission(word)
