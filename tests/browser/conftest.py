"""People at a real Chromium. A page that logs an error, or asks another host for anything, fails its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.rig.site import PASSWORD, Site

# A worker and an engine share two cores with the browser.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def signed_in(browser: Browser, site: Site) -> Callable[[str], Any]:
    """Return a function that gives a persona's cookies; the first call signs in through the page."""
    states: dict[str, Any] = {}

    def state_of(name: str) -> Any:
        if name not in states:
            context = browser.new_context(base_url=site.url)
            page = context.new_page()
            page.goto("/account/login/")
            page.get_by_label("E-mail").or_(page.get_by_label("Email")).fill(site.email(name))
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in", exact=True).click()
            expect(page.get_by_role("heading", level=1)).to_contain_text(f"Hello, {name.capitalize()}")
            states[name] = context.storage_state()
            context.close()
        return states[name]

    return state_of


@pytest.fixture
def desk(browser: Browser, site: Site, signed_in: Callable[[str], Any]) -> Iterator[Callable[..., Page]]:
    """Return a function that gives a page in the name of a persona, or of nobody: `desk("bob", viewport=...)`."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def sit_down(name: str | None = None, **options: Any) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        options.setdefault("base_url", site.url)
        context = browser.new_context(
            storage_state=signed_in(name) if name else None, reduced_motion="reduce", **options
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        host = urlsplit(options["base_url"]).netloc

        def asked(request: Any) -> None:
            address = urlsplit(request.url)
            if address.scheme in {"http", "https"} and address.netloc != host:
                complaints.append(f"{page.url} asked another host: {request.url}")

        page.on("request", asked)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda said: _note(complaints, page, said))
        return page

    yield sit_down
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


def _note(complaints: list[str], page: Page, said: Any) -> None:
    # A refusal that a test provokes on purpose is logged by the browser as a failed resource; that is no fault.
    if said.type == "error" and "the server responded with a status of 4" not in said.text:
        complaints.append(f"{page.url}: {said.text}")
