"""Single sign-on against real providers in processes of their own: the whole round trip, and every refusal."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.test import Client
from django.urls import reverse

from governance.actions import Action
from governance.models import BrowserSession, LedgerEntry, User
from governance.services import ledger, people
from tests.rig import identity

pytestmark = pytest.mark.django_db
CREATED = "acme.example"


@pytest.fixture(scope="module")
def oidc():
    """Return a running provider for OpenID Connect."""
    with identity.open_id() as provider:
        yield provider


@pytest.fixture(scope="module")
def saml():
    """Return a running provider for SAML."""
    with identity.saml() as provider:
        yield provider


def configure(settings, *, oidc=None, saml=None, trusted=()) -> None:
    """Configure the providers as portal.settings does from the environment."""
    settings.SSO_CREATE_DOMAINS = [CREATED]
    more = {"verified_email": list(trusted)}
    apps = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []}, "saml": {"APPS": []}}
    if oidc:
        apps["openid_connect"]["APPS"] = [
            {"provider_id": "oidc", "name": "Example Ltd", "client_id": "gatehouse", "secret": "x",
             "settings": {"server_url": oidc.url, **more}}
        ]  # fmt: skip
    if saml:
        idp = {"entity_id": f"{saml.url}/", "sso_url": f"{saml.url}/sso", "x509cert": saml.certificate}
        apps["saml"]["APPS"] = [
            {"provider_id": idp["entity_id"], "name": "Example Ltd", "client_id": "saml",
             "settings": {"idp": idp, "advanced": {"allow_single_label_domains": True}, **more}}
        ]  # fmt: skip
    settings.SOCIALACCOUNT_PROVIDERS = apps


def by_oidc(provider, sub: str, client: Client | None = None, **claims):
    """Sign in through OpenID Connect as a browser does; return the client and the site's last answer."""
    provider.knows(sub, **claims)
    client = client or Client()
    away = client.post(reverse("openid_connect_login", args=["oidc"]))
    assert away.url.startswith(provider.url), away.content
    back = httpx.post(away.url, data={"sub": sub})
    assert back.status_code in {302, 303}, back.text
    place = urlsplit(back.headers["Location"])
    return client, client.get(f"{place.path}?{place.query}")


def by_saml(provider, client: Client | None = None, **said):
    """Sign in through SAML as a browser does; return the client and the site's last answer."""
    client = client or Client(headers={"host": "testserver"})
    away = client.post(reverse("saml_login", args=["saml"]))
    assert away.url.startswith(provider.url)
    address, form = provider.answer(away.url, **said)
    posted = client.post(urlsplit(address).path, form)
    return client, client.get(posted.url)


def refusals() -> list[str]:
    """Return the codes of refused sign-ins."""
    rows = LedgerEntry.objects.filter(action=Action.SIGN_IN_REFUSED).order_by("pk")
    return [ledger.body(row)["details"]["code"] for row in rows]


def test_the_sign_in_page_offers_what_is_configured_and_nothing_else(client, settings, oidc):
    assert "Sign in with" not in client.get("/account/login/").text.replace("Sign in with a passkey", "")
    configure(settings, oidc=oidc)
    assert "Sign in with Example Ltd" in client.get("/account/login/").text
    assert client.post("/account/sso/oidc/other/login/").status_code == 404
    assert client.post("/account/sso/saml/saml/login/").status_code == 404


def test_a_person_who_is_here_is_linked_by_their_verified_address(settings, oidc, eve):
    configure(settings, oidc=oidc)
    client, answer = by_oidc(oidc, "u-eve", email="Eve@example.org", email_verified=True, name="Eve")
    assert answer.status_code == 302
    assert client.get("/api/v1/me/").json()["email"] == eve.email
    assert BrowserSession.objects.get(user=eve).method == "provider"
    (linked,) = LedgerEntry.objects.filter(action=Action.IDENTITY_LINKED)
    assert ledger.texts_of(linked) == {"uid": "u-eve"}
    assert eve.socialaccount_set.get().extra_data == {}
    eve.refresh_from_db()
    assert eve.check_password("correct-horse-battery-9")
    # From now on the provider's own name for them counts, whatever the address is.
    by_oidc(oidc, "u-eve", email="eve.married@example.org", email_verified=True)
    assert LedgerEntry.objects.filter(action=Action.SIGNED_IN, actor=eve).count() == 2


def test_a_stranger_becomes_an_employee_only_where_the_operator_allows_the_domain(settings, oidc):
    configure(settings, oidc=oidc)
    client, _ = by_oidc(oidc, "u-1", email=f"ann@{CREATED}", email_verified=True, name="Ann Other", groups=["admins"])
    made = User.objects.get(email=f"ann@{CREATED}")
    assert made.name == "Ann Other"
    assert [held.role for held in made.role_assignments.all()] == ["employee"]
    assert not made.has_usable_password()
    assert client.get("/").status_code == 200
    for number, domain in enumerate((f"sub.{CREATED}", f"{CREATED}.evil.example", f"evil{CREATED}", "other.example")):
        _client, answer = by_oidc(oidc, f"x-{number}", email=f"bob@{domain}", email_verified=True)
        assert answer.status_code == 403
        assert "Ask an administrator to create an account" in answer.text
    assert refusals() == ["unknown"] * 4


@pytest.mark.parametrize("claims", [{}, {"email_verified": False}, {"email_verified": "false"}])
def test_an_address_that_is_not_verified_opens_nothing(settings, oidc, eve, claims):
    configure(settings, oidc=oidc)
    client, answer = by_oidc(oidc, f"thief-{len(str(claims))}", email=eve.email, **claims)
    assert answer.status_code == 403
    assert "did not confirm an e-mail address" in answer.text
    assert refusals() == ["not_verified"]
    assert not eve.socialaccount_set.exists()
    assert client.get("/").status_code == 302


def test_a_first_password_that_nobody_needs_is_thrown_away(settings, oidc, frank):
    configure(settings, oidc=oidc)
    password = people.first_password()
    made = people.create(actor=frank, email="grace@example.org", name="Grace", password=password)
    client, _ = by_oidc(oidc, "u-grace", email="grace@example.org", email_verified=True)
    assert client.get("/").status_code == 200
    made.refresh_from_db()
    assert not made.must_change_password
    assert not made.check_password(password)


def test_a_domain_that_the_operator_trusts_counts_as_verified(settings, oidc, eve):
    configure(settings, oidc=oidc, trusted=["example.org"])
    client, _ = by_oidc(oidc, "u-trusted", email=eve.email)
    assert client.get("/").status_code == 200


def test_whoever_is_switched_off_stays_out(settings, oidc, eve, frank):
    configure(settings, oidc=oidc)
    by_oidc(oidc, "u-off", email=eve.email, email_verified=True)
    people.deactivate(actor=frank, user=eve, reason="Left.")
    client, answer = by_oidc(oidc, "u-off", email=eve.email, email_verified=True)
    assert answer.status_code == 403
    assert "switched off" in answer.text
    assert refusals() == ["inactive"]
    assert client.get("/").status_code == 302


def test_a_second_identity_cannot_be_connected_by_hand(settings, oidc, eve):
    configure(settings, oidc=oidc)
    client = Client()
    client.force_login(eve)
    oidc.knows("mallory", email="mallory@elsewhere.example", email_verified=True)
    away = client.post(reverse("openid_connect_login", args=["oidc"]) + "?process=connect")
    place = urlsplit(httpx.post(away.url, data={"sub": "mallory"}).headers["Location"])
    assert client.get(f"{place.path}?{place.query}").status_code == 403
    assert refusals() == ["only_sign_in"]
    assert not eve.socialaccount_set.exists()


def test_who_says_no_at_the_provider_or_brings_a_forged_answer_reads_what_to_do(settings, oidc):
    configure(settings, oidc=oidc)
    client = Client()
    away = client.post(reverse("openid_connect_login", args=["oidc"]))
    place = urlsplit(httpx.post(away.url, data={"action": "deny"}).headers["Location"])
    # This provider leaves out the state, which RFC 6749, 4.1.2.1, asks for in an error too.
    denied = client.get(f"{place.path}?{place.query}&state={parse_qs(urlsplit(away.url).query)['state'][0]}")
    assert denied.status_code == 403
    assert "did not finish" in denied.text
    forged = client.get(reverse("openid_connect_callback", args=["oidc"]), {"code": "x", "state": "forged"})
    assert forged.status_code == 403
    assert "cannot be accepted" in forged.text
    assert refusals() == ["cancelled", "provider_error"]


def test_a_provider_that_is_down_is_explained(settings, oidc):
    configure(settings, oidc=identity.OpenIdProvider("http://localhost:1"))
    answer = Client().post(reverse("openid_connect_login", args=["oidc"]))
    assert answer.status_code == 502
    assert "cannot be reached" in answer.text
    assert refusals() == ["unreachable"]


def test_a_second_factor_is_asked_for_after_single_sign_on_too(settings, oidc, carol):
    from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret

    configure(settings, oidc=oidc)
    settings.MFA_REQUIRED_ROLES = {"reviewer"}
    client, _ = by_oidc(oidc, "u-carol", email=carol.email, email_verified=True)
    assert client.get("/").url == reverse("governance:protect")
    settings.SSO_SECOND_FACTOR = True
    assert client.get("/").status_code == 200
    TOTP.activate(carol, generate_totp_secret())
    _client, answer = by_oidc(oidc, "u-carol", email=carol.email, email_verified=True)
    assert answer.url == reverse("mfa_authenticate")


def test_saml_links_by_verified_address_and_creates_where_allowed(settings, saml, eve):
    configure(settings, saml=saml)
    client, answer = by_saml(saml, email=eve.email, uid="s-eve")
    assert answer.status_code == 302
    assert client.get("/api/v1/me/").json()["email"] == eve.email
    by_saml(saml, email=f"sam@{CREATED}", uid="s-sam")
    assert User.objects.get(email=f"sam@{CREATED}").role_assignments.get().role == "employee"
    _client, refused = by_saml(saml, email=eve.email, uid="s-other", verified="false")
    assert refused.status_code == 403
    assert refusals() == ["not_verified"]


def test_a_forged_saml_answer_is_refused_and_so_is_one_sent_twice(settings, saml, eve, frank):
    configure(settings, saml=saml)
    client, answer = by_saml(saml, email=eve.email, uid="s-eve", forge=frank.email)
    assert answer.status_code == 403
    assert "cannot be accepted" in answer.text
    assert client.get("/").status_code == 302
    away = client.post(reverse("saml_login", args=["saml"]))
    address, form = saml.answer(away.url, email=eve.email, uid="s-eve")
    first = client.get(client.post(urlsplit(address).path, form).url)
    assert first.status_code == 302
    thief = Client(headers={"host": "testserver"})
    again = thief.get(thief.post(urlsplit(address).path, form).url)
    assert again.status_code == 403
    assert thief.get("/").status_code == 302
    assert refusals() == ["provider_error", "provider_error"]


def test_the_metadata_for_the_providers_operator_is_public(settings, saml, client):
    configure(settings, saml=saml)
    answer = client.get(reverse("saml_metadata", args=["saml"]))
    assert answer["Content-Type"] == "text/xml"
    assert reverse("saml_acs", args=["saml"]) in answer.text
    assert client.get("/account/sso/saml/saml/sls/").status_code == 404
