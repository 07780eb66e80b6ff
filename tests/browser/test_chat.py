"""A person talks to a published model: what is written comes as it is written, and can be stopped and asked again."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_axe import AXE, offences
from tests.rig.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CHAT = "/models/helpdesk/assistant/chat/"


def test_a_person_asks_stops_asks_again_and_begins_anew(desk, served: Site) -> None:
    page = desk("eve")
    page.goto("/models/helpdesk/assistant/")
    page.get_by_role("link", name="Chat", exact=True).click()
    expect(page.get_by_text("a person reads what it writes before it is sent")).to_be_visible()
    field = page.get_by_label("Your message")
    expect(field).to_be_focused()
    page.keyboard.type("Who are you?")
    page.keyboard.press("Enter")
    answers = page.locator(".chat-message:not(.is-mine)")
    expect(answers).to_have_count(1)
    page.keyboard.press("Escape")
    expect(answers.get_by_text(re.compile("Stopped|tokens"))).to_be_visible()
    expect(page.locator(".is-mine .chat-text")).to_have_text("Who are you?")
    expect(field).to_be_focused()
    # A short answer is written to its end, and asked for again by keyboard alone.
    page.get_by_text("How it answers").click()
    page.get_by_label("Longest answer, in tokens").fill("5")
    answers.get_by_role("button", name="Ask again").press("Enter")
    expect(answers.get_by_text(re.compile(r"[1-5] tokens"))).to_be_visible()
    expect(answers).to_have_count(1)
    answers.get_by_role("button", name="It did not").click()
    expect(answers.get_by_text("Thank you. Who looks after the use case reads it.")).to_be_visible()
    expect(answers.get_by_role("button", name="It did not")).to_have_attribute("aria-pressed", "true")
    answers.get_by_label("Why? For who looks after the use case").fill("It is not a sentence.")
    answers.get_by_role("button", name="Send comment").click()
    expect(field).to_be_focused()
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".chat-message")).to_have_count(0)


def test_what_goes_wrong_is_said_and_what_was_typed_is_kept(desk, served: Site) -> None:
    page = desk("eve")
    page.goto(CHAT)
    long = "A question that is too long for it. " * 400
    page.get_by_label("Your message").fill(long)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Shorten it")
    expect(page.get_by_label("Your message")).to_have_value(long.strip())
    expect(page.locator(".chat-message")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_window(desk, served: Site, scheme: str, width: int) -> None:
    page = desk("eve", color_scheme=scheme, viewport={"width": width, "height": 844})
    page.goto(CHAT)
    page.get_by_text("How it answers").click()
    page.get_by_label("Longest answer, in tokens").fill("8")
    page.get_by_label("Your message").fill("x" * 300)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text(re.compile(r"\d tokens"))).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text())
    assert offences(page) == []
