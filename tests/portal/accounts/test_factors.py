"""Second factors over HTTP: set up, asked for, removed, demanded by role; each act recorded."""

from __future__ import annotations

import re
import time

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client
from django.urls import reverse

from governance.actions import Action
from governance.models import BrowserSession, LedgerEntry
from tests.personas import PASSWORD

# allauth tells of what it did when the transaction commits.
pytestmark = pytest.mark.django_db(transaction=True)


def code_of(secret: str, *, step: int = 0) -> str:
    """Return the code that an app shows for the secret (RFC 6238), `step` periods from now."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step))


def sign_in(user) -> tuple[Client, object]:
    client = Client()
    return client, client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})


def confirm(client, path: str) -> str:
    """Give the password once more where `path` asks for it, and return the page."""
    answer = client.get(path)
    if answer.status_code == 302 and "reauthenticate" in answer.url:
        client.post(answer.url, {"password": PASSWORD, "next": path})
        answer = client.get(path)
    return answer.text


def set_up_app(client) -> str:
    """Set up an authenticator app as a person does, and return its secret."""
    page = confirm(client, reverse("mfa_activate_totp"))
    secret = re.search(r"<code[^>]*>([A-Z2-7]{32})</code>", page)[1]
    answer = client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert answer.status_code == 302, answer.text
    return secret


def actions(user) -> list[str]:
    return list(LedgerEntry.objects.filter(actor=user).order_by("pk").values_list("action", flat=True))


def test_an_app_is_set_up_asked_for_and_removed(eve):
    client, _ = sign_in(eve)
    secret = set_up_app(client)
    assert actions(eve)[-3:] == [Action.SESSION_CONFIRMED, Action.FACTOR_ADDED, Action.FACTOR_ADDED]
    assert "Authenticator app" in client.get(reverse("governance:account")).text

    again, answer = sign_in(eve)
    assert answer.url == reverse("mfa_authenticate")
    assert again.get("/").status_code == 302
    wrong = again.post(answer.url, {"code": "000000"})
    assert "not right" in wrong.text
    assert actions(eve)[-1] == Action.FACTOR_FAILED
    # The code that set the app up cannot be used a second time.
    entered = again.post(answer.url, {"code": code_of(secret, step=1)})
    assert entered.status_code == 302
    assert again.get("/").status_code == 200
    assert BrowserSession.objects.get(key=again.session.session_key).method == "code"

    confirm(again, reverse("mfa_deactivate_totp"))
    again.post(reverse("mfa_deactivate_totp"))
    assert actions(eve)[-2:] == [Action.FACTOR_REMOVED, Action.FACTOR_REMOVED]
    assert not Authenticator.objects.exists()
    assert sign_in(eve)[1].url == "/"


def test_a_recovery_code_works_once_and_new_ones_replace_the_old(eve):
    client, _ = sign_in(eve)
    set_up_app(client)
    codes = re.findall(r"<li>(\d{8})</li>", client.get(reverse("mfa_view_recovery_codes")).text)
    assert len(codes) == 10
    for expected in (302, 200):
        other, _ = sign_in(eve)
        assert other.post(reverse("mfa_authenticate"), {"code": codes[0]}).status_code == expected
    client.post(reverse("mfa_generate_recovery_codes"))
    assert Action.FACTOR_CHANGED in actions(eve)
    other, _ = sign_in(eve)
    assert other.post(reverse("mfa_authenticate"), {"code": codes[1]}).status_code == 200


def test_guessing_codes_is_stopped(eve):
    client, _ = sign_in(eve)
    secret = set_up_app(client)
    other, _ = sign_in(eve)
    for _ in range(5):
        other.post(reverse("mfa_authenticate"), {"code": "000000"})
    answer = other.post(reverse("mfa_authenticate"), {"code": code_of(secret, step=1)})
    assert "Too many wrong codes" in answer.text
    assert other.get("/").status_code == 302


def test_factors_are_changed_only_after_the_password_once_more(eve):
    client, _ = sign_in(eve)
    set_up_app(client)
    stale, _ = sign_in(eve)
    codes = re.findall(r"<li>(\d{8})</li>", client.get(reverse("mfa_view_recovery_codes")).text)
    stale.post(reverse("mfa_authenticate"), {"code": codes[0]})
    for name in ("mfa_deactivate_totp", "mfa_generate_recovery_codes", "mfa_view_recovery_codes", "mfa_add_webauthn"):
        assert "reauthenticate" in stale.get(reverse(name)).url, name
        if name != "mfa_view_recovery_codes":
            assert "reauthenticate" in stale.post(reverse(name)).url, name
    assert Authenticator.objects.filter(type="totp").exists()


@pytest.mark.parametrize(
    ("person", "held"), [("alice", False), ("eve", False), ("carol", True), ("dan", True), ("frank", True)]
)
def test_roles_that_decide_set_one_up_before_anything_else(personas, settings, person, held):
    settings.MFA_REQUIRED_ROLES = {"administrator", "auditor", "reviewer"}
    user = personas[person]
    client, _ = sign_in(user)
    if not held:
        assert client.get("/").status_code == 200
        return
    assert client.get("/").url == reverse("governance:protect")
    page = client.get(reverse("governance:protect")).text
    assert user.role_assignments.exclude(role="employee").get().role in page
    refused = client.post(
        "/api/v1/tokens/", {"name": "x", "scopes": ["read"], "days": 1}, content_type="application/json"
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor")
    assert actions(user)[-1] == Action.REFUSED
    set_up_app(client)
    assert client.get("/").status_code == 200


def test_an_administrator_resets_factors_and_that_person_is_led_to_a_new_one(personas, settings):
    frank, carol = personas["frank"], personas["carol"]
    theirs, _ = sign_in(carol)
    set_up_app(theirs)
    administrator, _ = sign_in(frank)
    page = administrator.get(reverse("governance:person_doors", args=[carol.pk])).text
    assert "TOTP" in page or "Authenticator" in page
    without = administrator.post(reverse("governance:person_factors", args=[carol.pk]), {"factors-reason": ""})
    assert without.status_code == 422
    administrator.post(reverse("governance:person_factors", args=[carol.pk]), {"factors-reason": "Lost the phone."})
    assert theirs.get("/").status_code == 302
    settings.MFA_REQUIRED_ROLES = {"reviewer"}
    again, answer = sign_in(carol)
    assert answer.url == "/"
    assert again.get("/").url == reverse("governance:protect")
