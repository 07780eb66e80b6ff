"""Usage and quotas as people and programs meet them: pages, exports, the REST API."""

from __future__ import annotations

import csv
import io
import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.services import access, tokens
from portal.gateway import metering
from portal.models import Quota, Usage
from portal.services import quotas
from tests.portal.gateway.models import make_model

pytestmark = pytest.mark.django_db

USAGE, CALLS, QUOTAS = reverse("portal:usage"), reverse("portal:usage_calls"), reverse("portal:quotas")
MOST = 12
"""Queries that a page may make."""


@pytest.fixture
def model(alice, team):
    return make_model(alice, team)


@pytest.fixture
def as_(client):
    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


def use(person, model, times: int = 1, tokens: int = 10, outcome: str = "answered", kind: str = "chat") -> None:
    for _ in range(times):
        call = metering.begin(actor=person, model=model, kind=kind, client="curl/8.5")
        call.used(prompt_tokens=tokens, bytes=100 if kind == "download" else 0)
        call.finish(outcome)


def export(answer) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig"))))


def test_a_person_sees_what_they_used_and_an_owner_what_the_team_used(as_, model, eve, alice, bob, dan):
    use(eve, model, 3)
    use(bob, model, 2, outcome="failed")
    use(bob, model, kind="download")

    mine = as_(eve).get(USAGE).context["report"]
    assert (mine.total.calls, mine.total.tokens, mine.total.failed) == (3, 30, 0)
    assert [line.name for line in mine.models] == ["helpdesk/router"]
    assert mine.by_day("calls")[-1][1] == 3
    assert len(mine.days) == 30
    model_page = f"{USAGE}?of=model:helpdesk/router"
    assert as_(eve).get(USAGE, {"of": "organisation"}).context["report"].total.calls == 3

    owned = as_(alice).get(USAGE, {"of": "team:helpdesk", "days": "7"}).context["report"]
    assert (owned.total.calls, owned.total.transfers, owned.total.bytes, owned.total.failed) == (5, 1, 100, 2)
    assert {line.name: line.calls for line in owned.people} == {"Eve": 3, "Bob": 2}
    assert {line.key: line.calls + line.transfers for line in owned.outcomes} == {"answered": 4, "failed": 2}
    assert len(owned.days) == 7
    assert as_(alice).get(model_page).context["report"].total.calls == 5
    assert as_(alice).get(USAGE, {"of": f"use-case:{model.use_case_id}"}).context["report"].total.calls == 5
    assert as_(dan).get(USAGE, {"of": "organisation"}).context["report"].total.calls == 5
    for nowhere in (
        "team:nowhere",
        "model:helpdesk/none",
        "model:",
        "use-case:x",
        f"use-case:{10**17}",
        "planet",
        "team:\0",
    ):
        assert as_(alice).get(USAGE, {"of": nowhere}).status_code == 404, nowhere


def test_the_list_is_narrowed_and_exported_alike(as_, model, eve, bob, alice):
    use(eve, model, 2)
    use(bob, model, outcome="failed")
    client = as_(alice)
    narrowed = {"kind": "chat", "outcome": "failed", "of": "team:helpdesk"}
    assert [row.person for row in client.get(CALLS, narrowed).context["shown"].rows] == [bob]
    today = Usage.objects.latest("pk").at.date().isoformat()
    assert len(client.get(CALLS, {"since": today, "until": today}).context["shown"].rows) == 3
    assert not client.get(CALLS, {"until": "2001-01-01"}).context["shown"].rows
    assert len(client.get(CALLS, {"since": "2001-99-99", "until": "x"}).context["shown"].rows) == 3
    assert not client.get(CALLS, {"of": "team:nowhere"}).context["shown"].rows
    rows = export(client.get(reverse("portal:usage_calls_export"), narrowed))
    assert len(rows) == 2
    held = dict(zip(rows[0], rows[1], strict=True))
    assert (held["what"], held["person"], held["client"]) == ("helpdesk/router", "bob@example.org", "curl/8.5")
    assert (held["outcome"], held["tokens"]) == ("failed", "10")


def test_pages_cost_the_same_for_many_rows_as_for_few(as_, model, eve, alice, frank, team):
    make = {"window": "day", "amount": 1000, "team": team, "subject": "team"}
    quotas.create(actor=alice, unit="calls", **make)
    # Nothing of it was used yet, so that pages sum up what there is.
    quotas.create(actor=alice, unit="bytes", **make)
    client = as_(alice)
    addresses = (f"{USAGE}?of=team:helpdesk", CALLS, QUOTAS, f"{USAGE}?of=model:helpdesk/router")

    def cost() -> list[int]:
        found = []
        for address in addresses:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert client.get(address).status_code == 200
            found.append(len(queries))
        return found

    use(eve, model, 3)
    cost()
    few = cost()
    use(eve, model, 6)
    use(alice, make_model(alice, team, "other"), 6)
    for unit in ("tokens", "money"):
        for each in (True, False):
            quotas.create(actor=alice, unit=unit, each_person=each, **make)
    assert cost() == few
    assert max(few) <= MOST, dict(zip(addresses, few, strict=True))


def test_a_quota_is_set_changed_watched_and_ended_in_the_browser(as_, model, alice, bob, eve):
    client = as_(alice)
    form = {
        "subject": "model",
        "model": "helpdesk/router",
        "each_person": "on",
        "amount": "5",
        "unit": "calls",
        "window": "day",
    }
    wrong = client.post(reverse("portal:quota_new"), form | {"model": "helpdesk/none", "amount": "-1"})
    assert wrong.status_code == 422
    assert set(wrong.context["form"].errors) == {"model", "amount"}
    assert wrong.context["form"]["window"].value() == "day"
    refused = client.post(reverse("portal:quota_new"), form | {"amount": "1.5"})
    assert refused.context["form"].errors["amount"] == ["There are no parts of calls: give a whole number."]
    # The organisation is not Alice's to limit.
    assert client.post(reverse("portal:quota_new"), form | {"subject": "organisation"}).status_code == 422

    made = client.post(reverse("portal:quota_new"), form)
    quota = Quota.objects.get()
    assert made.url == quota.get_absolute_url()
    use(bob, model, 4)
    assert as_(bob).get(f"{USAGE}?of=model:helpdesk/router").context["standings"][0].near
    assert as_(alice).get(quota.get_absolute_url()).context["standing"].used == 0

    client = as_(bob)
    assert client.get(quota.get_absolute_url()).context["may_manage"] is False
    assert client.post(quota.get_absolute_url(), {"amount": "9"}).status_code == 403
    assert client.post(reverse("portal:quota_end", args=[quota.pk])).status_code == 403
    assert as_(eve).get(quota.get_absolute_url()).status_code == 404

    client = as_(alice)
    assert client.post(quota.get_absolute_url(), {"amount": ""}).status_code == 422
    assert client.post(quota.get_absolute_url(), {"amount": "9", "reason": "More."}).status_code == 302
    quota.refresh_from_db()
    assert (quota.limit, quota.reason) == (9, "More.")
    assert client.post(reverse("portal:quota_end", args=[quota.pk])).status_code == 302
    assert not client.get(QUOTAS).context["shown"].rows
    assert client.get(QUOTAS, {"ended": "too", "team": "helpdesk", "subject": "model"}).context["shown"].rows == [quota]


def test_an_administrator_limits_a_person(as_, frank, eve):
    form = {"subject": "person", "person": "eve@example.org", "amount": "0.5", "unit": "money", "window": "month"}
    as_(frank).post(reverse("portal:quota_new"), form)
    assert str(Quota.objects.get()) == "0.5 EUR a month for Eve"


# The REST API


@pytest.fixture
def api(client):
    """Return a function that calls the REST API with a token of the person."""

    def call(person, method, path, body=None, **headers):
        _token, secret = tokens.create(actor=person, user=person, name="x", scopes=["read", "write", "predict"], days=1)
        access.forget(person)
        headers = {"Authorization": f"Bearer {secret}", **headers}
        kind = (
            {"content_type": "application/json", "data": json.dumps(body or {})} if method != "get" else {"data": body}
        )
        return getattr(client, method)(f"/api/v1/{path}", headers=headers, **kind)

    return call


def test_usage_is_read_by_programs(api, model, eve, alice):
    use(eve, model, 2)
    use(alice, model, outcome="failed")
    rows = api(eve, "get", "usage/", {"outcome": "answered"}).json()["results"]
    assert [(row["what"], row["person"], row["prompt_tokens"]) for row in rows] == [
        ("helpdesk/router", "eve@example.org", 10)
    ] * 2
    assert api(eve, "get", f"usage/{rows[0]['id']}/").json()["cost"] == "0.000000"
    assert api(eve, "get", f"usage/{Usage.objects.get(person=alice).pk}/").status_code == 404
    report = api(alice, "get", "usage/summary/", {"of": "team:helpdesk", "days": 7}).json()
    assert (report["total"]["calls"], len(report["days"]), report["currency"]) == (3, 7, "EUR")
    assert report["days"][-1]["calls"] == 3
    assert {line["name"]: line["calls"] for line in report["people"]} == {"Eve": 2, "Alice": 1}
    assert api(eve, "get", "usage/summary/", {"days": 8}).status_code == 400
    assert api(eve, "get", "usage/summary/", {"of": "team:finance"}).status_code == 404


def test_quotas_are_managed_by_programs(api, model, alice, eve):
    body = {"subject": "model", "model": model.pk, "unit": "tokens", "window": "hour", "amount": "1000"}
    made = api(alice, "post", "quotas/", body)
    assert made.status_code == 201
    use(eve, model, tokens=250)
    path = f"quotas/{made.json()['id']}/"
    shown = api(alice, "get", path)
    assert (shown.json()["used"], shown.json()["model"], shown.json()["team"]) == (
        "250.000000", "helpdesk/router", "helpdesk",
    )  # fmt: skip
    assert api(alice, "patch", path, {"amount": "5"}, **{"If-Match": '"old"'}).status_code == 412
    assert api(alice, "patch", path, {"amount": "0.5"}).json()["errors"] == {
        "amount": ["There are no parts of tokens: give a whole number."]
    }
    assert api(alice, "patch", path, {"amount": "5"}, **{"If-Match": shown["ETag"]}).json()["amount"] == "5.000000"
    assert api(eve, "post", "quotas/", body | {"model": None, "subject": "organisation"}).status_code == 403
    assert api(alice, "post", f"{path}end/").json()["ended_at"]
    assert [row["id"] for row in api(alice, "get", "quotas/").json()["results"]] == [made.json()["id"]]
