"""Getting in, in a real browser: a first password, passkeys by a virtual authenticator, single sign-on."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def grace(site) -> tuple[str, str]:
    """Return the address and first password of somebody who has just been created."""
    email = f"grace-{secrets.token_hex(3)}@example.org"
    made = site.api("frank").post("people/", json={"email": email, "name": "Grace"})
    assert made.status_code == 201, made.text
    return email, made.json()["first_password"]


def sign_in(page: Page, email: str, password: str) -> None:
    page.goto("/account/login/")
    page.get_by_label("Email").or_(page.get_by_label("E-mail")).fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def heading(page: Page):
    return page.get_by_role("heading", level=1)


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Account: Grace").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(heading(page)).to_have_text("Sign in")


def test_from_a_first_password_to_a_passkey_that_opens_alone(site, desk, grace):
    email, first = grace
    own = "only-grace-knows-this-1"
    # A passkey belongs to a host name, and an address is none.
    page = desk(base_url=site.url.replace("127.0.0.1", "localhost"))
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})

    sign_in(page, email, first)
    expect(heading(page)).to_have_text("Change your password")
    page.goto("/use-cases/")
    expect(heading(page)).to_have_text("Change your password")
    page.get_by_label("Current Password").fill(first)
    page.locator("input[name=password1]").fill(own)
    page.locator("input[name=password2]").fill(own)
    page.get_by_role("button", name="Save the new password").click()
    expect(heading(page)).to_have_text("Your account")

    page.get_by_role("link", name="Set up second factors").click()
    page.get_by_role("link", name="Add a passkey").click()
    expect(heading(page)).to_have_text("Confirm that it is you")
    page.get_by_label("Password").fill(own)
    page.get_by_role("button", name="Confirm").click()
    expect(heading(page)).to_have_text("Add a passkey")
    page.get_by_label("Name").fill("Test device")
    page.get_by_role("button", name="Continue").click()
    expect(heading(page)).to_have_text("Recovery codes")
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("main")).to_contain_text("Test device")

    sign_out(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(heading(page)).to_contain_text("Hello, Grace")
    page.goto("/account/sessions/")
    expect(page.get_by_role("main")).to_contain_text("Passkey")

    sign_out(page)
    sign_in(page, email, own)
    expect(heading(page)).to_have_text("Second step")
    page.get_by_role("button", name="Use a passkey instead").click()
    expect(heading(page)).to_contain_text("Hello, Grace")

    page.goto("/account/factors/")
    page.get_by_role("link", name="Remove Test device").click()
    if heading(page).text_content() == "Confirm that it is you":
        page.get_by_label("Password").fill(own)
        page.get_by_role("button", name="Confirm").click()
    page.get_by_role("button", name="Remove the passkey").click()
    expect(page.get_by_role("main")).not_to_contain_text("Test device")


def test_a_passkey_at_an_address_without_a_name_is_explained(desk):
    page = desk()
    page.goto("/account/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("localhost")


def test_single_sign_on_goes_to_the_provider_and_comes_back_signed_in(site, browser, grace):
    email, _first = grace
    site.provider.knows("u-grace", email=email, email_verified=True, name="Grace")
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    refused: list[str] = []
    page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
    page.goto("/account/login/?next=/models/")
    page.get_by_role("button", name="Sign in with Example Ltd").click()
    page.wait_for_url(f"{site.provider.url}/**")
    page.locator("input[name=sub]").fill("u-grace")
    page.get_by_role("button", name="Authorize").click()
    expect(heading(page)).to_have_text("Models")
    assert not refused
    context.close()


def test_a_person_who_is_not_here_reads_what_to_do(site, browser):
    site.provider.knows("u-nobody", email="nobody@elsewhere.example", email_verified=True)
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.goto("/account/login/")
    page.get_by_role("button", name="Sign in with Example Ltd").click()
    page.locator("input[name=sub]").fill("u-nobody")
    page.get_by_role("button", name="Authorize").click()
    expect(heading(page)).to_have_text("Not signed in")
    expect(page.get_by_role("main")).to_contain_text("Ask an administrator to create an account")
    context.close()
