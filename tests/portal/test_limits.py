"""What costs much is limited for each person: refused with a sentence, a time to come back, and one entry."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import tokens
from portal import limits
from portal.gateway import metering

pytestmark = pytest.mark.django_db
TRY = "/models/helpdesk/none/try/"
PREDICT = "/api/v1/models/helpdesk/none/predict"


@pytest.fixture(autouse=True)
def two_a_minute(settings):
    """Allow two calls a minute."""
    settings.PREDICT_RATE = settings.UPLOAD_RATE = "2/min"


def test_pages_and_api_share_one_count_for_a_person(eve, alice):
    client = Client()
    client.force_login(eve)
    assert client.post(TRY, {"text": "x"}).status_code == 404
    assert client.post(PREDICT, {"inputs": "x"}, content_type="application/json").status_code == 404
    page = client.post(TRY, {"text": "x"})
    assert page.status_code == 429
    assert 1 <= int(page["Retry-After"]) <= 61
    assert "in a short time" in page.text
    api = client.post(PREDICT, {"inputs": "x"}, content_type="application/json", headers={"authorization": "Basic x"})
    assert (api.status_code, api.json()["code"]) == (429, "too_often")
    assert api["Content-Type"] == "application/problem+json"
    fragment = client.post(TRY, {"text": "x"}, headers={"hx-request": "true"})
    assert "seconds" in fragment.text
    assert "<html" not in fragment.text
    entry = LedgerEntry.objects.filter(action=Action.REFUSED, actor=eve).order_by("pk")
    assert [b"too_often" in bytes(one.canonical) for one in entry].count(True) == 1
    other = Client()
    other.force_login(alice)
    assert other.post(TRY, {"text": "x"}).status_code == 404


def test_a_token_is_counted_by_itself(eve):
    for _ in range(2):
        _token, secret = tokens.create(actor=eve, user=eve, name="script", scopes=["predict"], days=1)
        answers = [
            Client().post(
                PREDICT, {"inputs": "x"}, content_type="application/json", headers={"authorization": f"Bearer {secret}"}
            )
            for _ in range(3)
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 429]


def test_uploads_are_limited_and_looking_is_not(alice, team):
    client = Client()
    client.force_login(alice)
    address = "/datasets/helpdesk/none/upload/"
    assert [client.post(address).status_code for _ in range(3)] == [404, 404, 429]
    assert [client.get(address).status_code for _ in range(3)] == [404, 404, 404]


def test_a_quota_without_room_is_answered_in_the_form_that_was_asked_for(rf):
    middleware = limits.LimitMiddleware(lambda request: None)
    error = metering.Exceeded(
        "5 calls are used up.", retry_after=7, code="insufficient_quota", headers={"RateLimit": "x"}
    )
    assert middleware.process_exception(rf.get("/"), ValueError()) is None
    program = middleware.process_exception(rf.post("/api/v1/x"), error)
    assert (program.status_code, program["Retry-After"], program["RateLimit"]) == (429, "7", "x")
    assert json.loads(program.content)["code"] == "insufficient_quota"
    fragment = rf.post("/models/")
    fragment.htmx = True
    assert middleware.process_exception(fragment, error).content.decode() == "5 calls are used up."


def test_a_page_says_which_quota_has_no_room(client, eve, monkeypatch):
    client.force_login(eve)

    def raises(**_):
        raise metering.Exceeded("5 calls are used up.", retry_after=7, code="insufficient_quota")

    monkeypatch.setattr("portal.gateway.metering.standings", raises)
    page = client.get("/usage/")
    assert (page.status_code, page["Retry-After"]) == (429, "7")
    assert "5 calls are used up." in page.text
