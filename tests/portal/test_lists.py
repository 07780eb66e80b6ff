"""Lists as a person uses them: columns, order, saved views, several rows at once, the export."""

from __future__ import annotations

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.actions import Action
from governance.interfaces import listings
from governance.models import LedgerEntry, RoleAssignment
from governance.policy import Role
from governance.services import ledger
from portal.models import SavedView, UsualView
from portal.services import saved_views
from projects.models import UseCase
from tests import factories

pytestmark = pytest.mark.django_db

CASES = reverse("projects:use_cases")


@pytest.fixture
def as_(client):
    """Return a function that signs the client in as a persona."""

    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def cases(alice, team):
    """Return three drafts, the last proposed first in the list."""
    return [factories.make_use_case(actor=alice, team=team, title=title) for title in ("Beta", "Gamma", "Alpha")]


def shown(answer):
    return answer.context["shown"]


def titles(answer) -> list[str]:
    return [row.title for row in shown(answer).rows]


def heads(answer) -> list[str]:
    return [column.key for column in shown(answer).columns]


def table(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


# Every list


def test_every_list_opens_exports_and_bears_a_bad_address(as_, personas):
    client = as_(personas["dan"])
    for key in listings.names():
        listing = listings.get(key)
        address, export = reverse(listing.url), reverse(f"{listing.url}_export")
        for query in ("", "?columns=nonsense&sort=nonsense&saved=999999&q=%00x", "?columns=usual"):
            assert client.get(address + query).status_code == 200, (key, query)
        for word in listing.sorts():
            assert client.get(address, {"sort": word}).status_code == 200, (key, word)
        assert client.get(address, {"cursor": "nonsense"}).status_code == 400, key
        everything = {"columns": [column.key for column in listing.columns]}
        assert client.get(address, everything).status_code == 200, key
        header = table(client.get(export, everything))[0]
        assert header == ["id", *(column.key.replace("_", " ") for column in listing.columns)]
        assert (
            ledger.body(LedgerEntry.objects.filter(action=Action.LIST_EXPORTED).latest("pk"))["details"]["list"] == key
        )


# Columns and order


def test_columns_that_are_chosen_are_remembered_until_the_usual_ones_return(as_, alice, cases):
    client = as_(alice)
    usual = heads(client.get(CASES))

    assert heads(client.get(CASES, {"columns": ["title", "version"]})) == ["title", "version"]
    assert heads(client.get(CASES)) == ["title", "version"]
    assert heads(client.get(CASES, {"columns": "title"})) == ["title"]
    assert heads(client.get(CASES, {"columns": "usual"})) == usual
    assert heads(client.get(CASES)) == usual


def test_columns_of_somebody_elses_view_are_not_remembered(as_, alice, bob, cases):
    view = saved_views.save(
        actor=alice, listing="use-cases", name="Short", query="columns=title,owner", audience="organisation"
    )
    client = as_(bob)
    opened = client.get(view.get_absolute_url(), follow=True)

    assert heads(opened) == ["title", "owner"]
    assert shown(opened).views.current.name == "Short"
    assert "stage" in heads(client.get(CASES))


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("sort", "order"), [("title", ["Alpha", "Beta", "Gamma"]), ("-title", ["Gamma", "Beta", "Alpha"])]
)
def test_a_sorted_list_goes_on_where_its_page_ended(as_, alice, cases, monkeypatch, sort, order):
    listing = listings.get("use-cases")
    monkeypatch.setitem(listing.__dict__, "size", 2)
    client = as_(alice)

    first = client.get(CASES, {"sort": sort})
    second = client.get(CASES, {"sort": sort, "cursor": first.context["page"].next})
    back = client.get(CASES, {"sort": sort, "cursor": second.context["page"].previous})

    assert titles(first) + titles(second) == order
    assert titles(back) == titles(first)
    assert client.get(CASES, {"sort": "changed_at", "cursor": first.context["page"].next}).status_code == 400


def test_the_api_sorts_as_the_page_does(as_, alice, cases):
    client = as_(alice)
    found = client.get("/api/v1/use-cases/?sort=title").json()["results"]

    assert [row["title"] for row in found] == ["Alpha", "Beta", "Gamma"]
    assert client.get("/api/v1/use-cases/?sort=owner").status_code == 400


# Saved views


def test_a_view_is_saved_from_what_is_shown_opened_by_its_link_renamed_and_deleted(as_, alice, bob, team, cases):
    client = as_(alice)
    page = client.get(CASES, {"q": "alp", "sort": "title", "columns": "title,version"})
    form = {"listing": "use-cases", "query": listings.get("use-cases").kept(page.wsgi_request.GET)}
    assert client.get(shown(page).views.save).status_code == 200

    made = client.post(
        reverse("portal:saved_view_new"), form | {"name": "Alphas", "audience": "team", "team": team.slug}, follow=True
    )
    view = SavedView.objects.get()
    assert (titles(made), heads(made)) == (["Alpha"], ["title", "version"])

    assert titles(as_(bob).get(view.get_absolute_url(), follow=True)) == ["Alpha"]
    client = as_(alice)
    changed = client.get(CASES, {"q": "be", "saved": view.pk})
    client.post(
        shown(changed).views.current.update, {"name": "Betas", "audience": "private", "keep": "1", "query": "q=be"}
    )
    view.refresh_from_db()
    assert (view.name, view.query, view.audience, view.team) == ("Betas", "q=be", "private", None)
    assert as_(bob).get(view.get_absolute_url()).status_code == 404

    as_(alice).post(reverse("portal:saved_view_delete", args=[view.pk]))
    assert not SavedView.objects.exists()


def test_a_list_starts_with_the_view_that_is_ones_own_to_start_with(as_, alice, bob, cases):
    view = saved_views.save(actor=alice, listing="use-cases", name="A", query="q=alpha", audience="organisation")
    client = as_(alice)
    client.post(reverse("portal:saved_view_start", args=[view.pk]))

    first = client.get(CASES, follow=True)
    assert titles(first) == ["Alpha"]
    assert len(titles(client.get(shown(first).clear, follow=True))) == 3
    assert len(titles(as_(bob).get(CASES, follow=True))) == 3

    as_(alice).post(reverse("portal:saved_view_start", args=[view.pk]))
    assert not UsualView.objects.exists()


def test_a_form_that_fails_keeps_what_was_typed(as_, alice):
    saved_views.save(actor=alice, listing="use-cases", name="Mine")
    asked = {"listing": "use-cases", "query": "stage=live", "name": "Mine", "audience": "organisation"}
    answer = as_(alice).post(reverse("portal:saved_view_new"), asked)

    assert answer.status_code == 422
    assert "called “Mine” already" in answer.text
    assert 'value="stage=live"' in answer.text
    assert answer.context["form"]["audience"].value() == "organisation"


def test_views_over_the_api(as_, alice, eve, team):
    client = as_(alice)
    made = client.post(
        "/api/v1/saved-views/",
        {"listing": "jobs", "name": "Failed", "query": "state=failed", "audience": "team", "team": team.pk},
        content_type="application/json",
    )
    assert made.status_code == 201, made.json()
    address = f"/api/v1/saved-views/{made.json()['id']}/"
    assert client.post(f"{address}start/", {}, content_type="application/json").json()["usual"] is True
    stale = {"content_type": "application/json", "headers": {"If-Match": '"old"'}}
    assert client.patch(address, {"name": "Lost"}, **stale).status_code == 412
    assert client.patch(address, {"name": "Lost"}, content_type="application/json").json()["name"] == "Lost"
    assert as_(eve).get(address).status_code == 404
    assert as_(alice).delete(address).status_code == 204


# Several rows at once


def test_a_verb_first_asks_then_does_each_row_and_says_what_became_of_it(as_, alice, bob, carol, team, cases):
    waiting = factories.make_ready_use_case(actor=alice, team=team, title="Waiting")
    from projects.services import use_cases

    use_cases.submit(actor=alice, use_case=waiting)
    asked = {"verb": "hold", "row": [cases[0].pk, waiting.pk, 999_999], "back": "q=x"}
    client, address = as_(alice), reverse("projects:use_cases_bulk")

    question = client.post(address, asked)
    assert question.status_code == 200
    assert [label for label, _address in question.context["rows"]] == ["Waiting", "Beta"]
    assert not UseCase.objects.filter(stage="on_hold").exists()

    answer = client.post(address, asked | {"confirmed": "yes"})

    outcomes = {one.pk: one for one in answer.context["outcomes"]}
    assert outcomes[cases[0].pk].done
    assert (outcomes[waiting.pk].code, outcomes[999_999].code) == ("no_such_move", "not_found")
    assert "cannot become" in answer.text
    assert list(UseCase.objects.filter(stage="on_hold")) == [cases[0]]
    assert LedgerEntry.objects.filter(action=Action.USE_CASE_MOVED).about(cases[0]).count() == 1
    refused = LedgerEntry.objects.filter(action=Action.REFUSED).about(waiting).get()
    assert "cannot become" in ledger.texts_of(refused)["reason"]


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({}, "Choose one of the actions"),
        ({"verb": "hold"}, "Choose the rows first"),
        ({"verb": "hold", "row": list(range(1, 202))}, "at most 200 rows"),
        ({"verb": "retire", "row": [1], "confirmed": "yes"}, "cannot stay empty"),
    ],
)
def test_a_verb_without_what_it_needs_does_nothing(as_, alice, cases, form, sentence):
    answer = as_(alice).post(reverse("projects:use_cases_bulk"), form)

    assert answer.status_code == 422
    assert sentence in answer.text
    assert not UseCase.objects.exclude(stage="draft").exists()


def test_the_verbs_are_shown_to_those_who_hold_the_permission(as_, alice, dan, eve, cases):
    assert {verb.key for verb in shown(as_(alice).get(CASES)).verbs} == {"hold", "resume", "pilot", "retire"}
    assert not shown(as_(dan).get(CASES)).verbs
    assert as_(eve).post(reverse("projects:use_cases_bulk"), {"verb": "hold", "row": cases[0].pk}).status_code == 403


def test_several_rows_over_the_api(as_, alice, cases):
    body = {"verb": "hold", "ids": [case.pk for case in cases[:2]] + [999_999]}
    answer = as_(alice).post("/api/v1/use-cases/bulk/", body, content_type="application/json").json()

    assert (answer["done"], [row["done"] for row in answer["results"]]) == (2, [True, True, False])
    for wrong in ({"verb": "fly", "ids": [1]}, {"verb": "retire", "ids": [1]}, {"verb": "hold", "ids": []}):
        status = as_(alice).post("/api/v1/use-cases/bulk/", wrong, content_type="application/json").status_code
        assert status == 400, wrong


def test_people_are_made_auditors_and_deactivated_together_but_never_oneself(as_, frank, eve, bob):
    client, address = as_(frank), reverse("governance:people_bulk")
    client.post(address, {"verb": "grant-auditor", "row": [eve.pk, bob.pk], "confirmed": "yes"})
    assert RoleAssignment.objects.live().filter(role=Role.AUDITOR).count() == 2

    form = {"verb": "deactivate", "row": [eve.pk, frank.pk], "reason": "Left the organisation", "confirmed": "yes"}
    outcomes = client.post(address, form).context["outcomes"]

    assert [(one.pk, one.done) for one in outcomes] == [(eve.pk, True), (frank.pk, False)]
    eve.refresh_from_db(), frank.refresh_from_db()
    assert (eve.is_active, frank.is_active) == (False, True)


def test_the_newest_versions_of_datasets_are_withdrawn_together(as_, bob, team):
    version = factories.make_version(actor=bob, dataset=factories.make_dataset(actor=bob, team=team, name="one"))
    empty = factories.make_dataset(actor=bob, team=team, name="two")
    form = {
        "verb": "withdraw",
        "row": [version.dataset_id, empty.pk],
        "reason": "Collected wrongly",
        "confirmed": "yes",
    }

    outcomes = as_(bob).post(reverse("projects:datasets_bulk"), form).context["outcomes"]

    assert [one.done for one in outcomes] == [True, False]
    version.refresh_from_db()
    assert version.state == "withdrawn"


# Export


def test_the_export_holds_the_filtered_rows_in_the_order_and_the_columns_shown(as_, alice, cases, monkeypatch):
    monkeypatch.setattr(listings, "EXPORT_STEP", 1)
    address = reverse("projects:use_cases_export")
    rows = table(as_(alice).get(address, {"q": "a", "columns": "title,version", "sort": "-title"}))

    assert rows == [["id", "title", "version"], [str(cases[2].pk), "Alpha", "1"]]
    assert [row[1] for row in table(as_(alice).get(address, {"sort": "title"}))[1:]] == ["Alpha", "Beta", "Gamma"]


def test_an_export_is_an_entry_with_what_was_taken(as_, alice, cases):
    as_(alice).get(reverse("projects:use_cases_export"), {"q": "beta", "columns": "title,stage"})

    entry = LedgerEntry.objects.get(action=Action.LIST_EXPORTED)
    body = ledger.body(entry)
    assert entry.actor == alice
    assert body["details"] == {
        "list": "use-cases", "columns": ["title", "stage"], "order": "-changed_at -id", "rows": 1,
        "rows_at_least": False,
    }  # fmt: skip
    assert ledger.texts_of(entry)["narrowed_to"] == "q=beta&columns=title,stage"
    assert b"beta" not in bytes(entry.canonical)


# Cost


def test_a_list_asks_the_database_at_most_twelve_times_however_many_rows_it_has(as_, personas, team):
    client = as_(personas["frank"])

    def add(number: int) -> None:
        factories.make_use_case(actor=personas["alice"], team=team, title=f"Case {number}")
        factories.make_dataset(actor=personas["bob"], team=team, name=f"set-{number}")
        for key in listings.names():
            saved_views.save(actor=personas["alice"], listing=key, name=f"View {number}", audience="organisation")

    def counted() -> dict[str, int]:
        found = {}
        for key in listings.names():
            address = reverse(listings.get(key).url)
            client.get(address)
            with CaptureQueriesContext(connection) as seen:
                client.get(address)
            found[key] = len(seen)
        return found

    for number in range(2):
        add(number)
    few = counted()
    for number in range(2, 10):
        add(number)
    assert counted() == few
    assert max(few.values()) <= 12, few
