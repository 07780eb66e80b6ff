"""Home and search, for each persona."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.models import ApprovalRequest
from projects.services import use_cases
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("who", ["alice", "bob", "carol", "dan", "eve", "frank"])
def test_home_opens_for_everybody(client, personas, who):
    client.force_login(personas[who])
    assert client.get(reverse("portal:home")).status_code == 200


def test_home_shows_a_reviewer_what_waits_and_the_requester_where_it_is(client, personas, team):
    case = factories.make_ready_use_case(actor=personas["alice"], team=team)
    use_cases.submit(actor=personas["alice"], use_case=case)
    request = ApprovalRequest.objects.open().get()
    address = reverse("governance:review", args=[request.pk])
    for who, seen in (("carol", True), ("alice", True), ("eve", False)):
        client.force_login(personas[who])
        assert (address in client.get(reverse("portal:home")).text) is seen


def test_search_finds_what_the_reader_may_see_and_nothing_else(client, alice, eve, team):
    factories.make_use_case(actor=alice, team=team, title="Translate manuals")
    search = reverse("portal:search")
    client.force_login(alice)
    assert "Translate manuals" in client.get(search, {"q": "translate"}).text
    fragment = client.get(search, {"q": "translate"}, headers={"HX-Request": "true"}).text
    assert "Translate manuals" in fragment
    assert "<html" not in fragment
    client.force_login(eve)
    assert "Translate manuals" not in client.get(search, {"q": "translate"}).text


@pytest.mark.parametrize("words", ["", "%", "_", "' OR 1=1 --", "<script>alert(1)</script>", "\x00", "a" * 5000])
def test_search_bears_any_words(client, eve, words):
    client.force_login(eve)
    answer = client.get(reverse("portal:search"), {"q": words})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text


def test_home_and_search_ask_the_database_the_same_few_times(client, alice, team):
    client.force_login(alice)
    pages = [reverse("portal:home"), reverse("portal:search") + "?q=sort"]

    def counted() -> list[int]:
        found = []
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(connection) as seen:
                client.get(page)
            found.append(len(seen))
        return found

    factories.make_use_case(actor=alice, team=team)
    few = counted()
    for number in range(20):
        factories.make_use_case(actor=alice, team=team, title=f"Sort pile {number}")
    assert counted() == few
    assert max(few) <= 12, few


def test_the_page_of_a_fault_asks_the_database_nothing(rf, alice, django_assert_num_queries):
    from portal.views import server_error

    request = rf.get("/")
    request.user, request.request_id = alice, "0123456789abcdef"
    with django_assert_num_queries(0):
        answer = server_error(request)
    assert answer.status_code == 500
    assert "0123456789abcdef" in answer.content.decode()
