"""From a CSV to a model that an employee calls, by three people in a real browser, each gate asked and decided."""

from __future__ import annotations

import datetime
import secrets

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
# Names of their own for each run, so that the path can be walked again on the same site.
RUN = secrets.token_hex(2)
TITLE = f"Sort requests by team {RUN}"
DATA = f"team-requests-{RUN}"
MODEL = f"sorter-{RUN}"
TRAINING = 240_000


def heading(page: Page):
    return page.get_by_role("heading", level=1)


def button(page: Page, name: str):
    """The button or link that looks like a button in the page's own content."""
    main = page.get_by_role("main")
    return main.get_by_role("button", name=name).or_(main.get_by_role("link", name=name)).first


def propose(page: Page) -> str:
    """Propose a use case and complete it for review; return its address."""
    page.goto("/")
    button(page, "Propose a use case").click()
    page.get_by_label("Title").fill(TITLE)
    page.get_by_label("Problem").fill("Requests wait two hours in the wrong queue before somebody forwards them.")
    page.get_by_label("People affected").fill("Employees who ask, and the teams that answer.")
    page.get_by_label("Expected benefit").fill("Nine of ten requests reach the right team at once.")
    page.get_by_label("Data needed").fill("Past requests with the team that solved them.")
    button(page, "Keep as a draft").click()
    expect(heading(page)).to_have_text(TITLE)
    address = page.url

    expect(page.get_by_role("main")).to_contain_text("What the review needs")
    expect(page.get_by_role("button", name="Submit for review")).to_have_count(0)
    button(page, "Edit").click()
    page.get_by_label("Human oversight").fill("The team sees each suggestion and can move the request.")
    page.locator("input[name=risk_tier][value=minimal]").check()
    page.get_by_label("Why this tier").fill("A wrong suggestion costs one click, and a person sees every one.")
    button(page, "Save").click()
    expect(heading(page)).to_have_text(TITLE)

    button(page, "Add an objective").click()
    page.get_by_label("What is measured (KPI)").fill("Requests that reach the right team at once")
    page.get_by_label("Today").fill("80")
    page.get_by_label("Target").fill("90")
    page.get_by_label("Unit").fill("%")
    page.get_by_label("By").fill((datetime.date.today() + datetime.timedelta(days=90)).isoformat())  # noqa: DTZ011
    page.locator("#objectives").get_by_role("button", name="Save").or_(
        page.locator("#objectives").get_by_role("button", name="Add")
    ).first.click()
    expect(page.get_by_role("table", name="Objectives")).to_contain_text("90 %")
    expect(button(page, "Submit for review")).to_be_visible()
    return address


def submit(page: Page) -> None:
    """Put the use case on the page before its gate."""
    button(page, "Submit for review").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("main")).to_contain_text("Submitted")


def upload(page: Page, file) -> str:
    """Register a dataset and upload its first version; return the version's address."""
    page.get_by_role("link", name="Datasets", exact=True).first.click()
    button(page, "Register a dataset").click()
    page.get_by_label("Title").fill(DATA)
    page.get_by_label("Short name").fill(DATA)
    page.get_by_label("Provenance").fill("Written by hand for the worked example.")
    page.get_by_label("Licence").fill("CC0-1.0")
    page.locator("form.form").get_by_role("button", name="Register").first.click()
    expect(heading(page)).to_have_text("Upload a version")
    page.locator("input[type=file]").set_input_files(file)
    page.locator("form.form").get_by_role("button", name="Upload").click()
    expect(heading(page)).to_contain_text("columns")
    expect(page.get_by_label("Text column").or_(page.locator("#id_text_column")).first).to_have_value("text")
    button(page, "Start the import").click()
    expect(heading(page)).to_have_text(f"{DATA} v1", timeout=60_000)
    expect(page.get_by_role("main")).to_contain_text("Balance of labels", timeout=60_000)
    return page.url


def ask_for_clearance(page: Page) -> None:
    button(page, "Ask for clearance").click()
    choose(page, "use_case", TITLE)
    page.get_by_label("Purpose").fill("Train, validate and test a classifier.")
    button(page, "Ask the reviewers").click()
    expect(page.get_by_role("main")).to_contain_text("Waiting")


def choose(page: Page, field: str, words: str) -> None:
    """Choose the option that contains the words."""
    select = page.get_by_role("main").locator(f"select[name={field}]")
    select.select_option(value=select.locator("option", has_text=words).first.get_attribute("value"))


def approve(page: Page, subject: str, comment: str) -> None:
    """Find the request in the list of what waits, read it, and approve it."""
    page.goto("/reviews/")
    page.get_by_role("main").get_by_role("link", name=subject).first.click()
    expect(page.get_by_role("heading", name="Everything that is put before you")).to_be_visible()
    form = page.locator("#decide form")
    form.get_by_label("Comment").fill(comment)
    form.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("main")).to_contain_text("This request is closed")
    expect(page.get_by_role("heading", level=1).locator("xpath=..")).to_contain_text("Approved")


def train(page: Page, use_case: str) -> str:
    """Queue a job from the use case and watch it; return the address of the version it made."""
    page.goto(f"{use_case}evidence/")
    button(page, "Train a model for it").click()
    page.get_by_label("Name of the model").fill(MODEL)
    page.locator("input[name=preset][value=quick]").check()
    # Preset and use case draw the form anew: the suggestions below depend on them.
    expect(page.locator(".htmx-request")).to_have_count(0)
    expect(page.locator("input[name=preset][value=quick]")).to_be_checked()
    if page.locator("#id_dataset_version").input_value() == "":
        choose(page, "dataset_version", DATA)
    page.locator("#settings > summary").click()
    expect(page.get_by_label("Epochs")).to_be_visible()
    page.get_by_label("Epochs").fill("3")
    # The first button of that name is for the Enter key alone.
    page.get_by_role("main").get_by_role("button", name="Dry run").last.click()
    expect(page.locator("#plan")).to_contain_text("Ready to be queued")
    page.get_by_role("main").get_by_role("button", name="Queue the job").click()
    expect(heading(page)).to_have_text(MODEL)
    expect(page.get_by_role("main")).to_contain_text("Against cheap rivals", timeout=TRAINING)
    expect(page.get_by_role("main")).to_contain_text("Majority")
    return page.url


def ask_to_publish(page: Page) -> None:
    button(page, "Ask to publish").click()
    page.get_by_label("Everyone in the organisation").check()
    page.get_by_label("Intended use").fill("Suggests the team for a request. A person can change each result.")
    button(page, "Ask for approval").click()
    expect(page.get_by_role("main")).to_contain_text("champion")


def use(page: Page) -> None:
    """Find the model and try it."""
    page.goto("/")
    page.get_by_role("link", name="Models", exact=True).first.click()
    page.get_by_role("main").get_by_role("link", name=MODEL.replace("-", " ").capitalize()).first.click()
    page.get_by_label("A text").fill("My laptop does not switch on any more.")
    button(page, "Run").click()
    expect(page.locator("#prediction")).to_contain_text("The call is in the ledger; your text is not.", timeout=60_000)
    expect(page.locator("#prediction meter").first).to_be_visible()


def test_three_people_take_a_csv_to_a_model_that_answers(site, desk):
    bob, carol, eve = desk("bob"), desk("carol"), desk("eve")

    use_case = propose(bob)
    submit(bob)
    bob.goto(f"{use_case}reviews/")
    button(bob, "May this use case be developed?").click()
    expect(bob.locator("#decide")).to_contain_text("You asked for this approval")
    expect(bob.locator("#decide").get_by_role("button", name="Approve")).to_have_count(0)
    approve(carol, TITLE, "A person can change every suggestion.")

    bob.goto("/")
    version = upload(bob, site.csv)
    bob.goto(version)
    ask_for_clearance(bob)
    approve(carol, DATA, "Nothing personal was found in it.")

    job = train(bob, use_case)
    assert "/training/jobs/" in job
    missing = eve.goto(f"/models/helpdesk/{MODEL}/")
    assert missing is not None
    assert missing.status == 404
    ask_to_publish(bob)
    approve(carol, MODEL, "Its figures stand in the evaluation.")

    use(eve)
    dan = desk("dan")
    dan.goto("/ledger/")
    expect(dan.get_by_role("main")).to_contain_text("Eve")
