"""Signing in over HTTP: passwords, first passwords, locks, sessions, and that nothing leaves without an entry."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import NoReverseMatch, reverse

from governance.actions import Action
from governance.models import BrowserSession, LedgerEntry, User
from governance.services import people
from tests.personas import PASSWORD

pytestmark = pytest.mark.django_db
LOGIN = "/account/login/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def sign_in(email: str, password: str = PASSWORD, **extra) -> tuple[Client, object]:
    """Return a client and the answer to its sign-in."""
    client = Client(headers={"user-agent": FIREFOX}, **extra)
    return client, client.post(LOGIN, {"login": email, "password": password})


def actions() -> list[str]:
    """Return the actions of the ledger since the personas were made."""
    return list(LedgerEntry.objects.order_by("pk").values_list("action", flat=True))


def test_a_password_opens_and_the_session_is_listed(eve):
    client, answer = sign_in(eve.email)
    assert answer.status_code == 302
    page = client.get(reverse("governance:sessions")).text
    assert "Firefox on Linux" in page
    assert "this browser" in page
    session = BrowserSession.objects.get(user=eve)
    assert (session.method, session.address) == ("password", "127.0.0.1")
    assert actions()[-1] == Action.SIGNED_IN


def test_ending_a_session_sends_that_browser_to_the_door_and_no_other(eve):
    laptop, _ = sign_in(eve.email)
    phone, _ = sign_in(eve.email)
    other = BrowserSession.objects.exclude(key=phone.session.session_key).get()
    phone.post(reverse("governance:session_end", args=[other.pk]))
    assert laptop.get("/").status_code == 302
    assert phone.get("/").status_code == 200


def test_ending_this_session_leads_to_the_sign_in_page(eve):
    client, _ = sign_in(eve.email)
    row = BrowserSession.objects.get()
    assert client.post(reverse("governance:session_end", args=[row.pk])).url == LOGIN
    assert client.get("/").status_code == 302


def test_everywhere_else_is_signed_out_by_one_button(eve):
    others = [sign_in(eve.email)[0] for _ in range(2)]
    here, _ = sign_in(eve.email)
    here.post(reverse("governance:sessions_end_others"))
    assert here.get("/").status_code == 200
    assert [client.get("/").status_code for client in others] == [302, 302]


def test_sessions_of_others_are_not_found(eve, alice):
    client, _ = sign_in(eve.email)
    sign_in(alice.email)
    foreign = BrowserSession.objects.get(user=alice)
    assert client.post(reverse("governance:session_end", args=[foreign.pk])).status_code == 404
    assert BrowserSession.objects.filter(pk=foreign.pk).exists()


def test_a_browser_is_noted_once_a_minute_and_costs_nothing_more(eve, django_assert_max_num_queries):
    client, _ = sign_in(eve.email)
    client.get(reverse("governance:sessions"))
    with django_assert_max_num_queries(5) as seen:
        client.get(reverse("governance:sessions"))
    assert not [query["sql"] for query in seen.captured_queries if query["sql"].startswith("UPDATE")]


def test_changing_the_password_keeps_this_browser_and_signs_out_the_others(eve):
    other, _ = sign_in(eve.email)
    here, _ = sign_in(eve.email)
    new = "a-longer-phrase-for-eve-7"
    answer = here.post(
        reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new}
    )
    assert answer.url == reverse("governance:account")
    assert here.get("/").status_code == 200
    assert other.get("/").status_code == 302
    session = BrowserSession.objects.get(user=eve)
    assert session.key == here.session.session_key
    assert Action.PASSWORD_CHANGED in actions()
    assert here.post(reverse("governance:session_end", args=[session.pk])).status_code == 302
    assert here.get("/").status_code == 302


def test_a_deactivated_person_is_out_at_once_and_stays_out(eve, frank):
    client, _ = sign_in(eve.email)
    people.deactivate(actor=frank, user=eve, reason="Left.")
    assert client.get("/").status_code == 302
    people.reactivate(actor=frank, user=eve)
    assert client.get("/").status_code == 302


# First passwords


@pytest.fixture
def grace(frank) -> tuple[User, str]:
    """Return a person whose password was made by an administrator, and the password."""
    password = people.first_password()
    return people.create(actor=frank, email="grace@example.org", name="Grace", password=password), password


def test_a_first_password_opens_one_page_alone(grace):
    user, password = grace
    client, _ = sign_in(user.email, password)
    change = reverse("account_change_password")
    for address in ("/", "/use-cases/", "/account/", "/account/tokens/", "/account/factors/", "/django-admin/"):
        assert client.get(address).url == change, address
    assert "Somebody else gave you the password" in client.get(change).text
    refused = client.post("/account/tokens/", {"name": "x", "scopes": ["read"], "days": 1})
    assert refused.status_code == 302
    api = client.post("/api/v1/tokens/", {"name": "x", "scopes": ["read"], "days": 1}, content_type="application/json")
    assert (api.status_code, api.json()["code"]) == (403, "first_password")
    assert not user.api_tokens.exists()
    assert actions().count(Action.REFUSED) == 2
    forged = client.get("/", headers={"authorization": "Bearer gh_nothing"})
    assert forged.url == change


def test_choosing_ones_own_password_opens_the_site(grace):
    user, password = grace
    client, _ = sign_in(user.email, password)
    new = "only-grace-knows-this-1"
    client.post(reverse("account_change_password"), {"oldpassword": password, "password1": new, "password2": new})
    assert client.get("/").status_code == 200
    user.refresh_from_db()
    assert not user.must_change_password


def test_one_can_sign_out_before_choosing_a_password(grace):
    client, _ = sign_in(grace[0].email, grace[1])
    assert client.post(reverse("account_logout")).status_code == 302
    assert client.get("/").url.startswith(LOGIN)


# Locks


def test_five_wrong_passwords_lock_the_account_and_the_page_says_how_long(eve, frank):
    for number in range(5):
        _client, answer = sign_in(eve.email, f"wrong-{number}")
    assert answer.status_code == 429
    assert int(answer["Retry-After"]) in range(880, 902)
    assert "15 minutes" in answer.text
    _client, right = sign_in(eve.email)
    assert right.status_code == 429
    recorded = actions()
    assert recorded.count(Action.SIGN_IN_FAILED) == 6
    assert recorded.count(Action.SIGN_IN_LOCKED) == 1
    administrator, _ = sign_in(frank.email)
    assert "wrong passwords" in administrator.get(reverse("governance:person_doors", args=[eve.pk])).text
    administrator.post(reverse("governance:person_unlock", args=[eve.pk]))
    assert sign_in(eve.email)[1].status_code == 302


def test_a_lock_looks_the_same_for_an_account_that_does_not_exist(eve):
    pages = []
    for email in (eve.email, "nobody@example.org"):
        for _ in range(5):
            _client, answer = sign_in(email, "wrong")
        pages.append((answer.status_code, re.sub(r"[A-Za-z0-9]{64}", "", answer.text)))
    assert pages[0] == pages[1]


def test_a_lock_leaves_who_is_inside_alone(eve):
    client, _ = sign_in(eve.email)
    for _ in range(5):
        sign_in(eve.email, "wrong")
    assert client.get("/").status_code == 200


def test_signing_in_forgets_the_failures_of_the_account_and_not_of_the_address(eve, alice, settings):
    settings.LOCKOUT_ADDRESS_FAILURES = 8
    for name in ("nobody", "somebody"):
        for _ in range(4):
            sign_in(f"{name}@example.org", "wrong", REMOTE_ADDR="192.0.2.4")
        answer = sign_in(alice.email, REMOTE_ADDR="192.0.2.4")[1]
    assert answer.status_code == 429
    assert sign_in(alice.email, REMOTE_ADDR="192.0.2.5")[1].status_code == 302


def test_locks_are_listed_and_opened_by_an_administrator_alone(personas):
    for _ in range(5):
        sign_in("stranger@example.org", "wrong", REMOTE_ADDR="192.0.2.8")
    frank, _ = sign_in(personas["frank"].email)
    assert "stranger@example.org" in frank.get(reverse("governance:locks")).text
    for name in ("alice", "carol", "dan", "eve"):
        client = Client()
        client.force_login(personas[name])
        assert client.get(reverse("governance:locks")).status_code == 403
        assert client.post(reverse("governance:unlock"), {"account": "stranger@example.org"}).status_code == 403
    frank.post(reverse("governance:unlock"), {"account": "stranger@example.org"})
    assert "Nobody is locked out" in frank.get(reverse("governance:locks")).text


# Pages of allauth


@pytest.mark.parametrize(
    "path",
    ["signup/", "email/", "confirm-email/", "confirm-email/x/", "login/code/", "factors/trust/", "3rdparty/", "sso/"],
)
def test_pages_that_are_not_wanted_are_not_there(client, eve, path):
    for _ in range(2):
        assert client.get(f"/account/{path}").status_code == 404
        client.force_login(eve)


@pytest.mark.parametrize("name", ["account_signup", "account_email", "socialaccount_signup", "mfa_trust"])
def test_names_that_allauth_could_lead_to_lead_nowhere(name):
    with pytest.raises(NoReverseMatch):
        reverse(name)


def test_a_reset_tells_nobody_whether_an_account_exists_and_sends_mail_to_people_alone(client, eve):
    answers = [client.post("/account/password/reset/", {"email": email}) for email in (eve.email, "no@example.org")]
    assert [answer.url for answer in answers] == ["/account/password/reset/done/"] * 2
    assert [message.to for message in mail.outbox] == [[eve.email]]
    assert actions()[-2:] == [Action.PASSWORD_RESET_ASKED] * 2
    link = re.search(r"http://testserver(\S+)", mail.outbox[0].body)[1]
    form = client.get(link, follow=True)
    new = "another-phrase-for-eve-8"
    client.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    assert actions()[-1] == Action.PASSWORD_CHANGED
    assert sign_in(eve.email, new)[1].status_code == 302


UNSAFE = [
    ("account_login", {"login": "", "password": ""}),
    ("account_logout", {}),
    ("account_reauthenticate", {"password": "wrong"}),
    ("account_change_password", {"oldpassword": "wrong", "password1": "a", "password2": "b"}),
    ("account_set_password", {"password1": "a", "password2": "b"}),
    ("account_reset_password", {"email": "no address"}),
    ("mfa_authenticate", {"code": "1"}),
    ("mfa_reauthenticate", {"code": "1"}),
    ("mfa_activate_totp", {"code": "1"}),
    ("mfa_deactivate_totp", {}),
    ("mfa_generate_recovery_codes", {}),
    ("mfa_add_webauthn", {"credential": "{}"}),
    ("mfa_login_webauthn", {"credential": "{}"}),
    ("mfa_reauthenticate_webauthn", {"credential": "{}"}),
]


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize(("name", "data"), UNSAFE)
def test_every_unsafe_request_to_the_door_makes_an_entry_with_an_actor(client, eve, name, data, signed_in):
    if signed_in:
        client.force_login(eve)
    before = LedgerEntry.objects.count()
    answer = client.post(reverse(name), data)
    assert answer.status_code < 500
    made = list(LedgerEntry.objects.order_by("pk")[before:])
    assert made, f"{name} left no entry ({answer.status_code})"
    if signed_in and name not in {"account_login", "account_logout"}:
        assert {entry.actor for entry in made} <= {eve, User.objects.system()}


def test_sign_in_attempts_are_limited_per_address(client, settings):
    settings.ACCOUNT_RATE_LIMITS = settings.ACCOUNT_RATE_LIMITS | {"login": "3/m/ip"}
    answers = [client.post(LOGIN, {"login": "", "password": ""}) for _ in range(4)]
    assert answers[-1].status_code == 429
    assert answers[-1]["Retry-After"] == "60"
    assert "in a short time" in answers[-1].text


# Django's own admin


def test_the_admin_is_entered_through_our_door_and_shows_only_what_is_read_only(client, eve, system):
    root = people.create_superuser(actor=system, email="root@example.org", name="Root", password=PASSWORD)
    assert client.get("/django-admin/").url.startswith("/django-admin/login/")
    assert client.get("/django-admin/login/").url.startswith(LOGIN)
    assert client.post("/django-admin/login/", {"username": root.email, "password": PASSWORD}).status_code == 302
    assert "_auth_user_id" not in client.session
    client.force_login(eve)
    assert client.get("/django-admin/login/").status_code == 403
    client.force_login(root)
    assert client.post("/django-admin/password_change/", {}).url == reverse("account_change_password")
    from django.contrib import admin

    request = client.get("/django-admin/").wsgi_request
    for model, page in admin.site._registry.items():
        rights = page.get_model_perms(request)
        assert {name for name, given in rights.items() if given} <= {"view"}, model
