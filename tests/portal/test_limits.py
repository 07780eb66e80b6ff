"""What costs much is limited for each person: refused with a sentence, a time to come back, and one entry."""

from __future__ import annotations

import pytest
from django.test import Client

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import tokens

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
