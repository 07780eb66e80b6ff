"""axe finds nothing: every page, in light and dark, wide and narrow, with something on it and as different people."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
LOOKS = [("light", 1280), ("dark", 1280), ("light", 375), ("dark", 375)]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def offences(page: Page) -> list[str]:
    """What axe finds on the page as it is, each as a line."""
    found = page.evaluate(
        """async (tags) => {
            const result = await axe.run(document, {runOnly: {type: "tag", values: tags}, resultTypes: ["violations"]});
            return result.violations.flatMap(v => v.nodes.map(n => [v.id, n.target.join(" "), n.failureSummary]));
        }""",
        RULES,
    )
    return [f"{rule} at {target}: {' '.join(summary.split())}" for rule, target, summary in found]


def examine(page: Page, paths: list[str]) -> list[str]:
    """Visit each address in each look and return what axe and the layout say."""
    said = []
    for path in paths:
        for scheme, width in LOOKS:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 900})
            answer = page.goto(path)
            place = f"{path} ({scheme}, {width})"
            if answer is None or answer.status >= 500:
                said.append(f"{place} answers {answer and answer.status}")
                continue
            # Fragments that htmx loads belong to the page.
            expect(page.locator(".htmx-request, [aria-busy=true]")).to_have_count(0)
            page.evaluate(AXE.read_text())
            said += [f"{place}: {line}" for line in offences(page)]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                said.append(f"{place}: the page is wider than the window")
    return said


@pytest.fixture(scope="module")
def content(site) -> dict[str, str]:
    """Addresses of things of every kind, made through the API: a use case, a dataset, a request that waits."""
    bob, frank = site.api("bob"), site.api("frank")
    statement = dict.fromkeys(("problem", "people", "benefit"), "Requests wait two hours in the wrong queue.")
    draft = bob.post("use-cases/", json={"team": "helpdesk", "title": "A draft", **statement}).json()
    ready = bob.post(
        "use-cases/", json={"team": "helpdesk", "title": "Ready", "data_needed": "Past requests.", **statement}
    ).json()
    objective = {"kpi": "Right at once", "baseline": "80", "target": "90", "unit": "%", "direction": "up"}
    bob.patch(
        f"use-cases/{ready['id']}/",
        json={
            "human_oversight": "The team sees each suggestion.",
            "risk_tier": "minimal",
            "risk_tier_reason": "A wrong suggestion costs one click.",
            "objectives": [objective | {"due_on": "2031-01-31"}],
            "stakeholders": [{"name": "Works council", "role": "consulted", "interest": "No monitoring"}],
        },
    )
    bob.post(f"use-cases/{ready['id']}/submit/", json={"note": "Please look."})
    approvals = bob.get("approvals/", params={"subject": f"projects.usecase:{ready['id']}"}).json()["results"]
    dataset = bob.post(
        "datasets/",
        json={"team": "helpdesk", "name": "seen", "title": "Seen", "provenance": "Written.", "licence": "CC0-1.0"},
    ).json()
    with site.csv.open("rb") as file:
        bob.post(
            f"datasets/{dataset['id']}/versions/",
            files={"file": ("requests.csv", file, "text/csv")},
            data={"text_column": "text", "label_column": "label"},
        )
    with site.csv.open("rb") as file:
        bob.post(f"datasets/{dataset['id']}/versions/", files={"file": ("again.csv", file, "text/csv")})
    for _ in range(120):
        if bob.get(f"datasets/{dataset['id']}/versions/1/").json()["state"] == "profiled":
            break
        time.sleep(0.5)
    entries = site.api("dan").get("ledger/").json()["results"]
    people = frank.get("people/", params={"email": site.email("bob")}).json()["results"]
    return {
        "draft": f"/use-cases/{draft['id']}/",
        "ready": f"/use-cases/{ready['id']}/",
        "review": f"/reviews/{approvals[0]['id']}/",
        "dataset": "/datasets/helpdesk/seen/",
        "base_model": f"/base-models/{bob.get('base-models/').json()['results'][0]['id']}/",
        "entry": f"/ledger/{entries[0]['id']}/",
        "person": f"/administration/people/{people[0]['id']}/",
    }


def test_pages_before_signing_in(desk):
    paths = ["login/", "password/reset/", "password/reset/done/", "password/reset/key/done/", "inactive/"]
    paths += ["password/reset/key/1-gone/", "sso/oidc/oidc/login/"]
    assert not (said := examine(desk(), [f"/account/{path}" for path in paths])), "\n".join(said)


def test_the_page_of_a_lock(desk):
    page = desk()
    said = []
    for _ in range(5):
        page.goto("/account/login/")
        page.get_by_label("Email").or_(page.get_by_label("E-mail")).fill("nobody-axe@example.org")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Locked for a while")
    page.evaluate(AXE.read_text())
    for scheme, width in LOOKS:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        # A button's colours take a moment to change.
        page.wait_for_timeout(300)
        said += [f"{scheme}, {width}: {line}" for line in offences(page)]
    assert not said, "\n".join(said)


def test_second_factors_and_what_asks_for_them(site, desk):
    email = "axe-factors@example.org"
    made = site.api("frank").post("people/", json={"email": email, "name": "Grace"}).json()
    page, own = desk(), "only-grace-knows-this-1"

    def sign_in(password):
        page.goto("/account/login/")
        page.get_by_label("Email").or_(page.get_by_label("E-mail")).fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in", exact=True).click()

    sign_in(made["first_password"])
    said = examine(page, ["/account/password/change/"])
    page.get_by_label("Current Password").fill(made["first_password"])
    page.locator("input[name=password1]").fill(own)
    page.locator("input[name=password2]").fill(own)
    page.get_by_role("button", name="Save the new password").click()
    said += examine(page, ["/account/protect/", "/account/factors/", "/account/reauthenticate/?next=/account/factors/"])
    page.get_by_label("Password").fill(own)
    page.get_by_role("button", name="Confirm").click()
    said += examine(page, ["/account/factors/app/add/", "/account/factors/passkeys/add/", "/account/factors/passkeys/"])
    page.goto("/account/factors/app/add/")
    secret = page.locator("aside code").text_content() or ""
    page.locator("input[name=code]").fill(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    factors = ["", "recovery-codes/", "recovery-codes/renew/", "app/remove/", "reauthenticate/"]
    said += examine(page, [f"/account/factors/{path}" for path in factors])
    said += examine(page, ["/account/", "/account/sessions/"])
    page.context.clear_cookies()
    sign_in(own)
    said += examine(page, ["/account/factors/authenticate/"])
    assert not said, "\n".join(said)


def test_home_search_and_account(desk):
    paths = [
        "/",
        "/search/?q=seen",
        "/search/?q=nothing-like-this",
        "/account/",
        "/account/tokens/",
        "/account/sessions/",
        "/nowhere/",
    ]
    assert not (said := examine(desk("bob"), paths)), "\n".join(said)


def test_teams_goals_and_use_cases(desk, content):
    paths = ["/teams/", "/teams/helpdesk/", "/goals/", "/use-cases/", "/use-cases/?view=board", "/use-cases/new/"]
    paths += ["/views/", "/views/new/?listing=use-cases&query=stage%3Dlive"]
    paths += [content["draft"], f"{content['draft']}edit/", f"{content['draft']}evidence/"]
    paths += [f"{content['draft']}objectives/new/", f"{content['draft']}stakeholders/new/"]
    paths += [content["ready"], f"{content['ready']}reviews/", f"{content['ready']}history/"]
    assert not (said := examine(desk("bob"), paths)), "\n".join(said)


def test_datasets(desk, content):
    version = f"{content['dataset']}versions/1/"
    paths = ["/datasets/", "/datasets/new/", content["dataset"], f"{content['dataset']}edit/"]
    paths += [f"{content['dataset']}history/", f"{content['dataset']}upload/"]
    paths += [version, *(f"{version}{part}/" for part in ("rows", "changes", "use", "files", "datasheet"))]
    paths += [f"{content['dataset']}versions/2/columns/"]
    assert not (said := examine(desk("bob"), paths)), "\n".join(said)


def test_training_and_models(desk, content):
    paths = ["/training/", "/training/new/", "/base-models/", "/base-models/new/", content["base_model"], "/models/"]
    assert not (said := examine(desk("bob"), paths)), "\n".join(said)


def test_reviews_as_the_one_who_decides_and_the_one_who_asked(desk, content):
    said = examine(desk("carol"), ["/", "/reviews/", content["review"], content["base_model"]])
    said += examine(desk("bob"), [content["review"]])
    assert not said, "\n".join(said)


def test_ledger_compliance_and_administration(desk, content):
    said = examine(desk("dan"), ["/ledger/", content["entry"], "/compliance/"])
    said += examine(
        desk("frank"), ["/administration/", "/administration/people/new/", content["person"], "/teams/new/"]
    )
    said += examine(desk("frank"), ["/administration/locks/", f"{content['person']}sign-in/"])
    assert not said, "\n".join(said)


def test_usage_quotas_and_feedback(site, desk):
    body = {"subject": "organisation", "unit": "calls", "window": "hour", "amount": "100000", "each_person": True}
    quota = site.api("frank").post("quotas/", json=body).json()
    paths = [
        "/usage/?of=organisation",
        "/usage/calls/",
        "/quotas/",
        "/quotas/new/",
        f"/quotas/{quota['id']}/",
        "/feedback/",
    ]
    assert not (said := examine(desk("frank"), paths)), "\n".join(said)


def test_lists_that_are_empty_for_their_reader(desk):
    paths = ["/", "/use-cases/", "/datasets/", "/training/", "/models/", "/reviews/", "/teams/"]
    paths += ["/usage/", "/usage/calls/", "/quotas/?subject=team", "/feedback/"]
    assert not (said := examine(desk("eve"), paths)), "\n".join(said)


def test_open_dialogs_and_menus(desk):
    page = desk("bob")
    page.goto("/")
    page.evaluate(AXE.read_text())
    said = []
    for scheme, _width in LOOKS[:2]:
        page.emulate_media(color_scheme=scheme)
        for keys in ("Control+k", "?"):
            page.keyboard.press(keys)
            said += [f"{keys}, {scheme}: {line}" for line in offences(page)]
            page.keyboard.press("Escape")
        page.get_by_role("button", name="Account: Bob").click()
        said += [f"menu, {scheme}: {line}" for line in offences(page)]
        page.keyboard.press("Escape")
    assert not said, "\n".join(said)


def test_axe_is_the_version_that_is_written_down():
    written = json.loads((AXE.parent / "VENDORED.json").read_text())
    assert written
    assert "axe" in AXE.read_text()[:200].lower()
