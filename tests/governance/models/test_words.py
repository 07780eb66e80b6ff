"""Rows are found by the beginnings of their words: the same rows on both databases."""

from __future__ import annotations

import pytest
from django.db import connection

from governance.models.words import fold
from projects.models import UseCase
from projects.services import use_cases
from tests import factories

TITLES = {
    "Sort the Café's invoices", "Answer questions on contracts", "Прогноз спроса 2027", "it's a 'quote' \\ &",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sort the Café's e-mail, sort it", ["sort", "the", "cafe", "s", "e", "mail", "it"]),
        ("STRASSE straße ﬁnd", ["strasse", "find"]),
        ("3.14 user_name 2FA", ["3", "14", "user", "name", "2fa"]),
        ("発注 данные", ["発注", "данные"]),
        ("'; -- !!! :*", []),
        ("x" * 50, ["x" * 40]),
    ],
)
def test_fold_splits_words_without_case_and_accents(text, words):
    assert fold(text) == words


@pytest.fixture
def titles(alice, team):
    """Return a function that gives the titles found by a text, among a few use cases."""
    for title in (
        "Sort the Café's invoices",
        "Answer questions on contracts",
        "Прогноз спроса 2027",
        "it's a 'quote' \\ &",
    ):
        factories.make_use_case(actor=alice, team=team, title=title, problem="Nobody knows where it stands.")
    return lambda text: set(UseCase.objects.filter(words__begun=text).values_list("title", flat=True))


@pytest.mark.django_db
@pytest.mark.postgres
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cafe", {"Sort the Café's invoices"}),
        ("INV caf", {"Sort the Café's invoices"}),
        ("contr ans", {"Answer questions on contracts"}),
        ("ontracts", set()),
        ("contracts invoices", set()),
        ("СПРОС", {"Прогноз спроса 2027"}),
        ("20", {"Прогноз спроса 2027"}),
        ("a 'quo", {"it's a 'quote' \\ &"}),
        ("' & '", set()),
        ("answer:* | sort", set()),
        ("nobody", TITLES),
    ],
)  # fmt: skip
def test_a_row_is_found_where_every_word_typed_begins_one_of_its_words(titles, text, found):
    assert titles(text) == found


@pytest.mark.django_db
@pytest.mark.postgres
def test_a_change_of_the_title_changes_what_it_is_found_by(titles, alice):
    changed = UseCase.objects.get(title="Answer questions on contracts")

    use_cases.change(actor=alice, use_case=changed, title="Answer questions on leave")

    assert titles("contracts") == set()
    assert titles("leave") == {"Answer questions on leave"}
    assert titles("stands leave") == {"Answer questions on leave"}


@pytest.mark.django_db
@pytest.mark.postgres
def test_postgresql_answers_from_the_index(titles):
    if connection.vendor != "postgresql":
        pytest.skip("an index of PostgreSQL")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    plan = UseCase.objects.filter(words__begun="contr").order_by().explain()

    assert "projects_usecase_words" in plan
