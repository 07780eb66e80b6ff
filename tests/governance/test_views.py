"""The pages of the ground floor: who sees what, what happens on a press, what a mistake is answered with."""

import pytest
from django.contrib.auth import SESSION_KEY
from django.urls import reverse

from governance.actions import Action
from governance.models import ApiToken, ApprovalRequest, Decision, LedgerEntry, RoleAssignment, User
from governance.policy import Role
from governance.services import ledger, roles, tokens
from projects.services import use_cases
from tests import factories
from tests.personas import PASSWORD, make_person


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


# Reviews


def test_the_list_shows_what_waits_and_leaves_out_ones_own(asked, alice, carol, as_person):
    page = as_person(carol).get(reverse("governance:reviews"))
    assert asked.subject_label in page.content.decode()
    page = as_person(alice).get(reverse("governance:reviews"), {"show": "mine"})
    assert asked.subject_label in page.content.decode()


@pytest.mark.parametrize("show", ["waiting", "open", "mine", "decided", "closed", "all"])
def test_every_selection_of_the_list_answers(asked, carol, as_person, show):
    assert as_person(carol).get(reverse("governance:reviews"), {"show": show, "q": "help"}).status_code == 200


@pytest.mark.parametrize("query", [{"show": "nothing"}, {"gate": "nothing"}, {"cursor": "nothing"}])
def test_the_list_refuses_an_address_that_it_does_not_know(asked, carol, as_person, query):
    assert as_person(carol).get(reverse("governance:reviews"), query).status_code == 400


def test_the_list_costs_the_same_for_one_and_for_many(
    asked, alice, carol, team, as_person, django_assert_max_num_queries, django_assert_num_queries
):
    client = as_person(carol)
    client.get(reverse("governance:reviews"))  # once a minute a session notes that it was seen
    with django_assert_max_num_queries(12) as few:
        client.get(reverse("governance:reviews"))
    for number in range(12):
        draft = factories.make_ready_use_case(actor=alice, team=team, title=f"Another idea, number {number}")
        use_cases.submit(actor=alice, use_case=draft)
    with django_assert_num_queries(len(few)):
        page = client.get(reverse("governance:reviews"))
    assert "number 11" in page.content.decode()


def test_an_outsider_does_not_find_the_review(asked, eve, as_person):
    client = as_person(eve)
    assert client.get(reverse("governance:review", args=[asked.pk])).status_code == 404
    there = press(client, asked).status_code
    asked.pk, pk = 999_999, asked.pk
    assert press(client, asked).status_code == there
    assert there in {403, 404}
    assert not Decision.objects.filter(request=pk).exists()
    assert asked.subject_label not in client.get(reverse("governance:reviews"), {"show": "all"}).content.decode()


def test_the_page_shows_all_of_the_material_and_the_digest(asked, carol, as_person, django_assert_max_num_queries):
    client = as_person(carol)
    client.get(reverse("governance:reviews"))  # content types are read once for a process
    with django_assert_max_num_queries(12):
        page = client.get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert factories.STATEMENT["problem"] in page
    assert f'value="{asked.digest}"' in page
    for check in asked.snapshot["checklist"]:
        assert check["label"] in page


def test_the_requester_reads_why_they_cannot_decide(asked, alice, as_person):
    page = as_person(alice).get(reverse("governance:review", args=[asked.pk])).content.decode()
    assert "someone else has to decide" in page
    assert 'name="verdict"' not in page


def test_approving_on_the_page_opens_the_gate(asked, carol, as_person):
    answer = press(as_person(carol), asked, conditions="Report after a month.")
    assert answer.status_code == 302
    asked.refresh_from_db()
    assert asked.state == "approved"
    page = as_person(carol).get(answer.url).content.decode()
    assert "Report after a month." in page


@pytest.mark.parametrize("person", ["bob", "dan", "frank", "alice"])
def test_those_who_may_not_decide_are_refused_and_it_is_recorded(asked, personas, person, as_person):
    answer = press(as_person(personas[person]), asked)
    assert answer.status_code == 403
    assert not Decision.objects.exists()
    assert LedgerEntry.objects.filter(action=Action.REFUSED, actor=personas[person]).exists()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"verdict": "reject", "comment": ""}, "Say in a comment what has to change"),
        ({"verdict": "perhaps"}, "perhaps"),
        ({"verdict": ""}, "Choose a verdict"),
        ({"verdict": "approve", "digest": ""}, "required"),
    ],
)
def test_a_bad_decision_keeps_what_was_typed_and_says_why(asked, carol, as_person, data, sentence):
    answer = press(as_person(carol), asked, **({"conditions": "Kept as typed."} | data))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert sentence in page
    assert "Kept as typed." in page
    assert not Decision.objects.exists()


def test_a_stale_digest_is_refused_and_shows_what_is_different(asked, carol, as_person):
    subject = asked.subject
    type(subject).objects.filter(pk=subject.pk).update(
        problem=subject.problem.replace("four hours", "six hours"),
    )
    answer = press(as_person(carol), asked, comment="Typed before.")
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "It has changed since it was put before you" in page
    assert "six" in page
    assert "Typed before." in page
    assert not Decision.objects.exists()


def test_the_changes_since_the_last_approval_are_marked_word_by_word(asked, alice, carol, as_person):
    press(as_person(carol), asked)
    use_case = asked.subject
    use_case.refresh_from_db()
    changed = use_cases.change(
        actor=alice, use_case=use_case, problem=use_case.problem.replace("four hours", "six hours")
    )
    if changed.stage == "draft":
        changed = use_cases.submit(actor=alice, use_case=changed)
    again = ApprovalRequest.objects.about(changed).open().get()
    page = as_person(carol).get(reverse("governance:review", args=[again.pk])).content.decode()
    assert "four</del>" in "".join(page.replace('<span class="visually-hidden"> [end]</span>', "").split("\n"))
    assert "six</ins>" in "".join(page.replace('<span class="visually-hidden"> [end]</span>', "").split("\n"))


def test_a_comment_on_a_part_stands_beside_it(asked, carol, as_person):
    url = reverse("governance:comment", args=[asked.pk])
    client = as_person(carol)
    answer = client.post(url, {"text": "Which queue?", "part": "Problem"})
    assert answer.status_code == 302
    assert "#part-" in answer.url
    fragment = client.post(url, {"text": "And since when?", "part": "Problem"}, headers={"HX-Request": "true"})
    text = fragment.content.decode()
    assert "Which queue?" in text
    assert "And since when?" in text
    assert "<html" not in text
    assert asked.comments.count() == 2


def test_an_empty_comment_says_so(asked, carol, as_person):
    url = reverse("governance:comment", args=[asked.pk])
    answer = as_person(carol).post(url, {"text": "  ", "part": "Problem"})
    assert answer.status_code == 422
    assert "the comment is empty" in answer.content.decode()
    fragment = as_person(carol).post(url, {"text": "", "part": "Problem"}, headers={"HX-Request": "true"})
    assert "the comment is empty" in fragment.content.decode()
    assert not asked.comments.exists()


def test_the_requester_withdraws(asked, alice, carol, as_person):
    url = reverse("governance:withdraw", args=[asked.pk])
    assert as_person(carol).post(url).status_code == 403
    assert as_person(alice).post(url).status_code == 302
    asked.refresh_from_db()
    assert asked.state == "withdrawn"
    assert as_person(alice).get(reverse("governance:review", args=[asked.pk])).status_code == 200


# Ledger and compliance


def test_the_auditor_sees_everything_and_others_their_own(asked, alice, dan, eve, as_person):
    entry = LedgerEntry.objects.filter(action=Action.APPROVAL_REQUESTED).get()
    assert as_person(dan).get(reverse("governance:ledger_entry", args=[entry.pk])).status_code == 200
    assert as_person(alice).get(reverse("governance:ledger_entry", args=[entry.pk])).status_code == 200
    assert as_person(eve).get(reverse("governance:ledger_entry", args=[entry.pk])).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"action": "approval.requested"},
        {"actor": "alice@example.org"},
        {"actor": "nobody@example.org"},
        {"subject": "governance.approvalrequest"},
        {"subject": "governance.approvalrequest:1", "since": "2020-01-01", "until": "2099-01-01"},
    ],
)
def test_the_explorer_answers_every_filter(asked, dan, as_person, query, django_assert_max_num_queries):
    client = as_person(dan)
    with django_assert_max_num_queries(12):
        assert client.get(reverse("governance:ledger"), query).status_code == 200


@pytest.mark.parametrize("query", [{"action": "x"}, {"since": "soon"}, {"until": "2026-13-45"}, {"cursor": "x"}])
def test_the_explorer_refuses_a_bad_filter_with_a_sentence(dan, as_person, query):
    assert as_person(dan).get(reverse("governance:ledger"), query).status_code == 400


def test_an_entry_shows_before_and_after_and_its_number(eve, frank, dan, as_person):
    as_person(eve).post(reverse("governance:account"), {"name": "Eve Example", "time_zone": "Europe/Paris"})
    ledger.ensure_key()
    ledger.seal()
    entry = LedgerEntry.objects.get(action=Action.PERSON_CHANGED)
    page = as_person(dan).get(reverse("governance:ledger_entry", args=[entry.pk])).content.decode()
    assert "Eve Example" in page
    assert "Europe/Paris" in page
    assert str(entry.sealed.number) in page
    assert "Signed note" in page


def test_the_auditor_verifies_and_it_is_recorded(asked, dan, carol, as_person):
    ledger.ensure_key()
    ledger.seal()
    assert as_person(carol).post(reverse("governance:verify")).status_code == 403
    assert as_person(dan).post(reverse("governance:verify")).status_code == 302
    entry = LedgerEntry.objects.get(action=Action.LEDGER_VERIFIED)
    assert entry.actor == dan
    assert ledger.body(entry)["details"]["sound"] is True
    page = as_person(dan).get(reverse("governance:compliance")).content.decode()
    assert "Verified sound up to" in page


def test_a_large_ledger_is_not_verified_while_the_reader_waits(asked, dan, as_person, monkeypatch):
    from governance.views import ledger as pages

    ledger.ensure_key()
    ledger.seal()
    monkeypatch.setattr(pages, "VERIFY_AT_MOST", 1)
    as_person(dan).post(reverse("governance:verify"))
    assert not LedgerEntry.objects.filter(action=Action.LEDGER_VERIFIED).exists()
    page = as_person(dan).get(reverse("governance:compliance")).content.decode()
    assert "Waiting for a worker" in page
    assert 'hx-trigger="every 2s"' in page


def test_compliance_is_for_those_who_oversee(asked, alice, eve, carol, dan, as_person):
    for person, status in ((alice, 403), (eve, 403), (carol, 200), (dan, 200)):
        assert as_person(person).get(reverse("governance:compliance")).status_code == status


# One's own account


def test_a_token_is_shown_once(eve, as_person):
    url = reverse("governance:tokens")
    client = as_person(eve)
    page = client.post(url, {"name": "script", "scopes": ["read"], "days": 7}).content.decode()
    token = ApiToken.objects.get()
    assert token.prefix in page
    secret = next(
        word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("gh_") and len(word) > 20
    )
    assert tokens.authenticate(secret) == token
    assert secret not in client.get(url).content.decode()


@pytest.mark.parametrize(
    "data", [{"name": ""}, {"scopes": []}, {"scopes": ["all"]}, {"days": 0}, {"days": 9999}, {"team": "finance"}]
)
def test_a_bad_token_is_refused_beside_its_field(eve, other_team, as_person, data):
    answer = as_person(eve).post(reverse("governance:tokens"), {"name": "s", "scopes": ["read"], "days": 7} | data)
    assert answer.status_code == 422
    assert "field-errors" in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_one_revokes_ones_own_token_alone(eve, alice, as_person):
    token, _secret = tokens.create(actor=alice, user=alice, name="script", scopes=["read"], days=7)
    url = reverse("governance:token_revoke", args=[token.pk])
    assert as_person(eve).post(url).status_code == 404
    assert as_person(alice).post(url).status_code == 302
    token.refresh_from_db()
    assert token.state == "revoked"


def test_the_account_page_shows_roles_and_refuses_a_bad_zone(alice, as_person):
    client = as_person(alice)
    page = client.get(reverse("governance:account")).content.decode()
    assert "Team owner" in page
    assert "Help desk" in page
    answer = client.post(reverse("governance:account"), {"name": "Alice", "time_zone": "Mars/Olympus"})
    assert answer.status_code == 422
    alice.refresh_from_db()
    assert alice.time_zone == ""


# People


def test_people_are_listed_for_those_who_may_see_them(personas, as_person, django_assert_max_num_queries):
    for name, status in (("eve", 403), ("bob", 403), ("carol", 200), ("frank", 200)):
        assert as_person(personas[name]).get(reverse("governance:people")).status_code == status
    client = as_person(personas["frank"])
    with django_assert_max_num_queries(12):
        page = client.get(reverse("governance:people"), {"q": "ali", "role": "team_owner", "state": "active"})
    assert "alice@example.org" in page.content.decode()
    assert "bob@example.org" not in page.content.decode()


def test_a_person_is_made_with_a_password_shown_once(frank, client, as_person):
    answer = as_person(frank).post(reverse("governance:person_new"), {"name": "Grace", "email": "Grace@Example.org"})
    made = User.objects.get(email="grace@example.org")
    page = answer.content.decode()
    password = next(
        word for word in page.replace("<", " ").replace(">", " ").split() if word.count("-") == 3 and len(word) == 23
    )
    assert made.check_password(password)
    assert password not in as_person(frank).get(reverse("governance:person", args=[made.pk])).content.decode()
    for entry in LedgerEntry.objects.about(made):
        assert password.encode() not in bytes(entry.canonical)
        assert b"grace" not in bytes(entry.canonical)


def test_a_known_address_is_refused(frank, eve, as_person):
    answer = as_person(frank).post(reverse("governance:person_new"), {"name": "Eve", "email": "EVE@example.org"})
    assert answer.status_code == 422
    assert "already a person" in answer.content.decode()


@pytest.mark.parametrize("person", ["alice", "carol", "dan", "eve"])
def test_only_administrators_make_people(personas, person, as_person):
    answer = as_person(personas[person]).post(
        reverse("governance:person_new"), {"name": "Grace", "email": "grace@example.org"}
    )
    assert answer.status_code == 403
    assert not User.objects.filter(email="grace@example.org").exists()


def test_a_role_is_shown_before_it_is_given(frank, eve, team, as_person):
    url = reverse("governance:person_grant", args=[eve.pk])
    client = as_person(frank)
    page = client.post(url, {"role": "data_steward", "team": "helpdesk"}).content.decode()
    assert "dataset.upload" in page
    assert not eve.role_assignments.filter(role="data_steward").exists()
    assert client.post(url, {"role": "data_steward", "team": "helpdesk", "confirmed": "1"}).status_code == 302
    assert eve.role_assignments.get(role="data_steward").scope_id == team.pk


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"role": "king"}, "role"),
        ({"role": "data_steward"}, "team"),
        ({"role": "reviewer", "team": "helpdesk"}, "team"),
        ({"role": "data_steward", "team": "nowhere"}, "team"),
        ({"role": "guest", "team": "helpdesk"}, "until"),
        ({"role": "guest", "team": "helpdesk", "until": "2020-01-01", "confirmed": "1"}, "until"),
    ],
)
def test_a_role_that_does_not_fit_is_refused_beside_its_field(frank, eve, team, as_person, data, field):
    answer = as_person(frank).post(reverse("governance:person_grant", args=[eve.pk]), data)
    assert answer.status_code == 422
    assert f'data-field="{field}"' in answer.content.decode()
    assert eve.role_assignments.count() == 1


def test_a_role_is_taken_away(frank, bob, team, as_person):
    held = bob.role_assignments.get(role=Role.ML_ENGINEER)
    url = reverse("governance:role_revoke", args=[held.pk])
    assert as_person(bob).post(url).status_code == 403
    assert as_person(frank).post(url).status_code == 302
    assert not RoleAssignment.objects.filter(pk=held.pk).exists()


def test_the_last_administrator_stays(frank, as_person):
    held = frank.role_assignments.get(role=Role.ADMINISTRATOR)
    assert as_person(frank).post(reverse("governance:role_revoke", args=[held.pk])).status_code == 403
    assert RoleAssignment.objects.filter(pk=held.pk).exists()


def test_a_deactivated_person_is_out_at_once_and_can_be_taken_back(frank, eve, client, as_person):
    _token, secret = tokens.create(actor=eve, user=eve, name="script", scopes=["read"], days=7)
    url = reverse("governance:person_deactivate", args=[eve.pk])
    assert as_person(frank).post(url, {"reason": ""}).status_code == 422
    assert as_person(frank).post(url, {"reason": "Left the organisation."}).status_code == 302
    assert tokens.authenticate(secret) is None
    client.logout()
    client.post(reverse("account_login"), {"login": eve.email, "password": PASSWORD})
    assert SESSION_KEY not in client.session
    assert as_person(frank).post(reverse("governance:person_reactivate", args=[eve.pk])).status_code == 302
    assert tokens.authenticate(secret) is not None


def test_nobody_deactivates_themselves(frank, as_person):
    make_person("grace")
    answer = as_person(frank).post(reverse("governance:person_deactivate", args=[frank.pk]), {"reason": "Tired."})
    assert answer.status_code == 403


def test_the_person_page_is_drawn_for_active_and_inactive(frank, eve, team, as_person):
    roles.grant(actor=frank, user=eve, role=Role.DOMAIN_EXPERT, team=team)
    client = as_person(frank)
    assert "Help desk" in client.get(reverse("governance:person", args=[eve.pk])).content.decode()
    eve.is_active = False
    eve.save()
    assert "Take back" in client.get(reverse("governance:person", args=[eve.pk])).content.decode()


@pytest.mark.parametrize("name", ["reviews", "ledger", "compliance", "account", "tokens", "people", "person_new"])
def test_a_stranger_is_sent_to_the_door(db, client, name):
    answer = client.get(reverse(f"governance:{name}"))
    assert answer.status_code == 302
    assert "/account/login/" in answer.url
