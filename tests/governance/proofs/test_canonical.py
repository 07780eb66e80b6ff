"""The canonical form: one value, one sequence of bytes, and nothing ambiguous gets in."""

import datetime
import decimal
import json
import uuid

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from governance.proofs import canonical

INTEGERS = st.integers(min_value=-canonical.MAX_INTEGER, max_value=canonical.MAX_INTEGER)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_bytes_are_those_of_rfc_8785_and_read_back_as_the_same_value(value):
    data = canonical.encode(value)
    assert data == rfc8785.dumps(value)
    assert json.loads(data) == value
    assert canonical.encode(json.loads(data)) == data


@given(st.dictionaries(TEXTS, INTEGERS, max_size=8))
def test_the_order_of_keys_does_not_matter(value):
    backwards = dict(reversed(list(value.items())))
    assert canonical.encode(backwards) == canonical.encode(value)


@given(VALUES, VALUES)
def test_different_values_have_different_bytes(one, other):
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
        assert canonical.encode(one) != canonical.encode(other)


@pytest.mark.parametrize("value", [0.5, 1.0, float("nan"), float("inf")])
def test_floats_are_refused_with_the_path_to_them(value):
    with pytest.raises(canonical.NotCanonical, match=r"\$\.rates\[1\]"):
        canonical.encode({"rates": [1, value]})


@pytest.mark.parametrize(
    "value", [2**53, -(2**53), b"bytes", {1, 2}, {1: "a"}, object(), "\ud800", {"\udfff": 1}, datetime.time(8)]
)
def test_what_has_no_single_form_is_refused(value):
    with pytest.raises(canonical.NotCanonical):
        canonical.encode({"value": value})


def test_times_decimals_and_identifiers_travel_as_strings():
    moment = datetime.datetime(2026, 1, 31, 10, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    number = uuid.UUID("11111111-2222-3333-4444-555555555555")
    value = {"at": moment, "on": datetime.date(2026, 1, 31), "price": decimal.Decimal("1.50"), "id": number}
    assert json.loads(canonical.encode(value)) == {
        "at": "2026-01-31T08:00:00.000000Z",
        "on": "2026-01-31",
        "price": "1.50",
        "id": "11111111-2222-3333-4444-555555555555",
    }


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(canonical.NotCanonical, match="zone"):
        canonical.encode(datetime.datetime(2026, 1, 31))  # noqa: DTZ001 - that is the point


def test_an_entry_of_more_than_60_kib_is_refused_and_a_digest_of_it_is_not():
    big = {"text": "x" * canonical.MAX_BYTES}
    with pytest.raises(canonical.NotCanonical, match="sha256"):
        canonical.encode(big)
    assert len(canonical.digest(big)) == 64


def test_a_commitment_binds_salt_and_text():
    first = canonical.commitment(b"salt", "text")
    assert first == canonical.commitment(b"salt", "text")
    assert first != canonical.commitment(b"Salt", "text")
    assert first != canonical.commitment(b"salt", "texts")
    with pytest.raises(canonical.NotCanonical):
        canonical.commitment(b"salt", "\ud800")


def test_keys_beyond_the_first_plane_are_sorted_as_rfc_8785_says():
    # By UTF-16 units the surrogates of the first come before the private-use character; by code points after it.
    value = {"\U00010000": 1, "\ue000": 2}
    assert canonical.encode(value) == rfc8785.dumps(value)
    assert list(json.loads(canonical.encode(value))) == ["\U00010000", "\ue000"]
    with pytest.raises(canonical.NotCanonical):
        canonical.digest({"half": "\ud800"})
