"""What a person without a pointer does: skip, search, move through lists, decide a review, switch single keys off."""

from __future__ import annotations

import secrets

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

READY = {
    "problem": "Requests wait in the wrong queue for two hours before somebody forwards them.",
    "people": "Employees who ask, and the teams that answer.",
    "benefit": "Nine of ten requests reach the right team at once.",
    "data_needed": "Past requests with the team that solved them.",
}


def focused(page: Page) -> str:
    """The accessible text of what has the focus."""
    return page.evaluate(
        "() => { const e = document.activeElement; return e.getAttribute('aria-label') || e.innerText || e.id }"
    ).strip()


@pytest.fixture
def waiting(site) -> tuple[int, str]:
    """A use case of bob's that waits for review: the id of its request, and its title."""
    title = f"Decide by keyboard {secrets.token_hex(2)}"
    bob = site.api("bob")
    made = bob.post("use-cases/", json={"team": "helpdesk", "title": title, **READY}).json()
    objective = {"kpi": "Right team at once", "baseline": "80", "target": "90", "unit": "%", "direction": "up"}
    changed = bob.patch(
        f"use-cases/{made['id']}/",
        json={
            "human_oversight": "The team sees each one.",
            "risk_tier": "minimal",
            "risk_tier_reason": "A wrong suggestion costs one click.",
            "objectives": [objective | {"due_on": "2031-01-31"}],
        },
    )
    assert changed.status_code == 200, changed.text
    assert bob.post(f"use-cases/{made['id']}/submit/", json={"note": ""}).status_code == 200
    found = bob.get("approvals/", params={"subject": f"projects.usecase:{made['id']}", "state": "open"}).json()
    return found["results"][0]["id"], title


def test_the_first_stop_skips_to_the_content(desk):
    page = desk("bob")
    page.goto("/use-cases/")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_tab_goes_through_navigation_search_and_account_before_the_content(desk):
    page = desk("bob")
    page.goto("/use-cases/")
    stops = []
    for _ in range(12):
        page.keyboard.press("Tab")
        stops.append(focused(page).splitlines()[0])
        inside = page.evaluate("document.activeElement.closest('main') !== null")
        if inside:
            break
    assert stops[:3] == ["Skip to content", "Gatehouse", "Home"]
    assert stops.index("Reviews") < next(at for at, stop in enumerate(stops) if stop.startswith("Search"))
    assert inside, stops


def test_what_has_the_focus_can_be_seen(desk):
    page = desk("bob")
    page.goto("/use-cases/")
    for _ in range(8):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement); "
            "return [s.outlineStyle, parseFloat(s.outlineWidth), s.boxShadow] }"
        )
        assert (style[0] != "none" and style[1] >= 2) or style[2] != "none", focused(page)


def test_search_opens_with_control_k_and_gives_the_focus_back(desk, waiting):
    _request, title = waiting
    page = desk("bob")
    page.goto("/datasets/")
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name="Search")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "search-q"
    page.keyboard.type(title)
    expect(dialog.get_by_role("link", name=title)).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert title in focused(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    page.go_back()
    page.keyboard.press("Control+k")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_question_mark_lists_the_shortcuts_and_the_switch_turns_them_off(desk):
    page = desk("bob")
    page.goto("/")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    switch = dialog.get_by_label("Single-key shortcuts are on")
    switch.focus()
    page.keyboard.press("Space")
    expect(switch).not_to_be_checked()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("?")
    expect(dialog).to_be_hidden()
    page.reload()
    page.keyboard.press("?")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Search")).to_be_visible()


def test_two_keys_lead_to_a_place_and_j_to_its_rows(desk, waiting):
    page = desk("bob")
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("u")
    expect(page.get_by_role("heading", level=1)).to_have_text("Use cases")
    page.wait_for_load_state("load")
    page.keyboard.press("j")
    first = focused(page)
    page.keyboard.press("j")
    assert focused(page) != first or page.locator("[data-rows] tbody tr").count() == 1
    page.keyboard.press("k")
    assert focused(page) == first
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(first)


def test_single_keys_do_nothing_while_one_types(desk):
    page = desk("bob")
    page.goto("/use-cases/new/")
    page.get_by_label("Title").focus()
    page.keyboard.type("g u ? j / k")
    expect(page.get_by_label("Title")).to_have_value("g u ? j / k")
    expect(page.get_by_role("heading", level=1)).to_have_text("Propose a use case")


def test_a_review_is_decided_without_a_pointer(desk, waiting):
    request, _title = waiting
    page = desk("carol")
    page.goto(f"/reviews/{request}/")
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#decide textarea[name=comment]')"):
            break
    else:
        pytest.fail("The comment of the decision cannot be reached with Tab.")
    page.keyboard.type("A person can change every suggestion.")
    for _ in range(10):
        page.keyboard.press("Tab")
        if focused(page) == "Approve":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("This request is closed")
    expect(page.get_by_role("main")).to_contain_text("A person can change every suggestion.")


def test_a_dialog_keeps_the_focus_and_gives_it_back(desk, waiting):
    request, _title = waiting
    page = desk("bob")
    page.goto(f"/reviews/{request}/")
    opener = page.get_by_role("main").get_by_role("button", name="Withdraw").first
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()
