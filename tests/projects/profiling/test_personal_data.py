"""Personal data: what has a shape is found where it is, shown masked, and never fetched about."""

import socket

import pytest

from projects import tables
from projects.profiling import personal_data


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("write to alice.smith@example.com please", "EMAIL_ADDRESS", "alice.smith@example.com"),
        ("ring +49 170 1234567 after six", "PHONE_NUMBER", "+49 170 1234567"),
        ("ring (212) 555-0134 after six", "PHONE_NUMBER", "(212) 555-0134"),
        ("my card 4111 1111 1111 1111 is blocked", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("pay to DE89370400440532013000 now", "IBAN_CODE", "DE89370400440532013000"),
        ("from 203.0.113.7 last night", "IP_ADDRESS", "203.0.113.7"),
        ("from 2001:db8::ff00:42:8329 last night", "IP_ADDRESS", "2001:db8::ff00:42:8329"),
        ("my ssn is 536-90-4399", "US_SSN", "536-90-4399"),
        ("NHS 943 476 5919", "UK_NHS", "943 476 5919"),
        ("ni number AB123456C", "UK_NINO", "AB123456C"),
        ("DNI 12345678Z", "ES_NIF", "12345678Z"),
        ("codice fiscale RSSMRA85T10A562S", "IT_FISCAL_CODE", "RSSMRA85T10A562S"),
        ("PESEL 44051401359", "PL_PESEL", "44051401359"),
    ],
)
def test_personal_data_with_a_shape_is_found(text, entity, value):
    found = personal_data.find(text)
    assert [(f.entity, text[f.start : f.end]) for f in found] == [(entity, value)]


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?",
        "The printer on floor 3 shows error 0x61",
        "I paid 120.50 on Monday @ noon",
        "card 4111 1111 1111 1112",
        "version 3.11.7 of the tool",
        "DE00370400440532013000",
        "",
    ],
)
def test_ordinary_text_and_wrong_check_digits_are_not_reported(text):
    assert [f for f in personal_data.find(text) if f.entity != "PHONE_NUMBER"] == []


def test_findings_name_kind_column_and_row_and_show_only_a_mask(tmp_path):
    rows = [{"text": "nothing here", "who": "bob@example.org"}, {"text": "call +44 20 7946 0958", "who": None}]
    tables.write(rows, ["text", "who"], tmp_path / "t.parquet")
    report = personal_data.scan({"train": tmp_path / "t.parquet"}, seed=1)
    assert report["rows"] == report["rows_examined"] == report["rows_with_findings"] == 2
    kinds = {kind["kind"]: kind for kind in report["kinds"]}
    assert kinds["EMAIL_ADDRESS"]["columns"] == {"who": 1}
    assert kinds["EMAIL_ADDRESS"]["places"] == [{"split": "train", "row": 1}]
    assert kinds["PHONE_NUMBER"]["places"] == [{"split": "train", "row": 2}]
    shown = kinds["EMAIL_ADDRESS"]["examples"][0]["masked"]
    assert shown == "b••@•••••••.••g"
    assert "bob" not in str(report)
    assert "Names" in report["cannot_find"]


def test_a_large_table_is_sampled_and_the_report_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(personal_data, "ROWS_EXAMINED", 50)
    rows = [{"text": f"person{i}@example.com"} for i in range(200)]
    tables.write(rows[:150], ["text"], tmp_path / "a.parquet")
    tables.write(rows[150:], ["text"], tmp_path / "b.parquet")
    splits = {"train": tmp_path / "a.parquet", "test": tmp_path / "b.parquet"}
    report = personal_data.scan(splits, seed=1)
    assert report["rows_examined"] == report["rows_with_findings"] == 50
    assert "50 of 200 rows" in report["method"]
    assert report == personal_data.scan(splits, seed=1)
    assert report != personal_data.scan(splits, seed=2)


def test_no_connection_is_opened(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    personal_data._presidio.cache_clear()
    assert personal_data.find("carol@example.co.uk")[0].entity == "EMAIL_ADDRESS"


def test_a_very_long_cell_is_examined_in_part():
    assert personal_data.find("x" * personal_data.CELL_CHARS + " bob@example.com") == []


@pytest.mark.parametrize(("value", "shown"), [("ab", "••"), ("+49 170 12", "+•• ••• •2"), ("a@b.de", "a@•.•e")])
def test_a_mask_keeps_the_shape(value, shown):
    assert personal_data.mask(value) == shown


@pytest.mark.parametrize("before", [0, 5, 860, 870, 880, 900, 990, 1000, 1750, 5000])
def test_a_find_is_reported_once_wherever_it_lies_in_a_long_text(before):
    text = "word " * (before // 5) + "alice@example.com and 4111 1111 1111 1111 " + "word " * 400
    found = [(f.entity, text[f.start : f.end]) for f in personal_data.find(text)]
    assert found == [("EMAIL_ADDRESS", "alice@example.com"), ("CREDIT_CARD", "4111 1111 1111 1111")]


def test_long_documents_are_sampled_by_their_length(tmp_path, monkeypatch):
    monkeypatch.setattr(personal_data, "CHARS_EXAMINED", 50_000)
    monkeypatch.setattr(personal_data, "LEAST_ROWS", 10)
    tables.write([{"text": "x" * 1_000} for _ in range(200)], ["text"], tmp_path / "t.parquet")
    assert personal_data.scan({"train": tmp_path / "t.parquet"}, seed=1)["rows_examined"] == 50


def test_what_the_sample_left_out_is_counted_by_its_shape_over_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(personal_data, "ROWS_EXAMINED", 5)
    plain = [{"text": f"printer {n} is slow", "label": "it"} for n in range(400)]
    telling = [
        {"text": "write to bob@mail.example.org", "label": "it"},
        {"text": "nothing", "label": "carol@example.org"},
        {"text": "pay DE89 3704 0044 0532 0130 00", "label": "it"},
        {"text": "from 203.0.113.7", "label": None},
    ]
    tables.write(plain + telling, ["text", "label"], tmp_path / "t.parquet")

    report = personal_data.scan({"train": tmp_path / "t.parquet"}, seed=1)

    assert (report["rows"], report["rows_examined"], report["rows_with_findings"]) == (404, 5, 0)
    assert {shape["name"]: shape["rows"] for shape in report["shapes"]} == {
        "e-mail address": 2,
        "bank account number (IBAN)": 1,
        "IP address": 1,
        "number of seven or more digits": 2,
    }


def test_where_every_row_was_examined_no_shape_is_counted(tmp_path):
    tables.write([{"text": "bob@example.org"}], ["text"], tmp_path / "t.parquet")
    assert personal_data.scan({"train": tmp_path / "t.parquet"}, seed=1)["shapes"] == []
