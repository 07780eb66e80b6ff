"""JSON and JSON Lines: one bad record costs one record, and is named by its place."""

import json

import pytest

from projects import sources

GOOD = '{"text": "fine", "label": "a"}'


def outcome(tmp_path, name, content, **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows, errors = [], []
    for batch in sources.read(path, name, sources.Options(**options)):
        rows += batch.rows
        errors += batch.errors
    return rows, errors


BAD_RECORDS = [
    ('{"text": {"en": "x"}, "label": "a"}', "nested_value"),
    ('{"text": ["x"], "label": "a"}', "nested_value"),
    ('{"text": "x", "text": "y", "label": "a"}', "duplicate_name"),
    ('{"text": "x", "label": "a", "later": 1}', "unknown_column"),
    ('["x", "a"]', "not_an_object"),
    ('"x"', "not_an_object"),
    ('{"text": "nul \\u0000", "label": "a"}', "unstorable_character"),
    (f'{{"text": {"1" * 500}, "label": "a"}}', "number_too_long"),
]


@pytest.mark.parametrize(("bad", "code"), BAD_RECORDS)
def test_a_bad_record_is_one_error_in_either_format(tmp_path, bad, code):
    # The columns come from the first thousand records, so the bad one follows them.
    good = [GOOD] * 1000
    rows, errors = outcome(tmp_path, "a.jsonl", "\n".join([*good, bad, GOOD]))
    assert len(rows) == 1001
    assert [(e.line, e.code) for e in errors] == [(1001, code)]
    rows, errors = outcome(tmp_path, "a.json", "[" + ",".join([*good, bad, GOOD]) + "]")
    assert len(rows) == 1001
    assert [(e.line, e.code) for e in errors] == [(1001, code)]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ('{"text": NaN, "label": "a"}', "not_finite"),
        ('{"text": -Infinity, "label": "a"}', "not_finite"),
        ('{"text": "x", "label": "a"', "broken_json"),
        ("{'text': 'x'}", "broken_json"),
        ('{"text": "x", "label": "a"} trailing', "broken_json"),
        ('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}", "too_deep"),
        ('{"text": "\\ud800", "label": "a"}', "unstorable_character"),
    ],
)
def test_a_broken_line_does_not_hide_the_lines_below_it(tmp_path, bad, code):
    rows, errors = outcome(tmp_path, "a.jsonl", f"{GOOD}\n{bad}\n\n{GOOD}\n")
    assert [row.line for row in rows] == [1, 4]
    assert [(e.line, e.code) for e in errors] == [(2, code)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f'[{GOOD}, {{"text": NaN}}]', "broken_json"),
        (f"[{GOOD}, {GOOD}", "broken_json"),
        (f"[{GOOD}] tail", "broken_json"),
        ("[]", "no_records"),
        ('["a", "b"]', "no_records"),
        ('{"a": 1}', "no_records"),
        ('{"a": {"b": [{"text": 1}]}}', "no_records"),
        ("[" * 1000, "too_deep"),
        (f"[{GOOD}, {'1' * 5000}]", "number_too_long"),
        ("[{" + ",".join(f'"c{i}": 1' for i in range(501)) + "}]", "no_records"),
        ('[{"": 1}]', "unnamed_column"),
    ],
)
def test_a_document_that_cannot_be_read_is_refused(tmp_path, content, code):
    with pytest.raises(sources.Refused) as caught:
        outcome(tmp_path, "a.json", content)
    assert caught.value.code == code


def test_columns_of_mixed_types_stay_text_as_it_was_written(tmp_path):
    lines = ['{"x": "one"}', '{"x": 1.10}', '{"x": true}', '{"x": null}', '{"x": 12345678901234567890123}']
    rows, errors = outcome(tmp_path, "a.jsonl", "\n".join(lines))
    assert [row.values["x"] for row in rows] == ["one", "1.10", "true", None, "12345678901234567890123"]
    assert errors == []


def test_a_list_inside_a_document_can_be_named(tmp_path):
    content = json.dumps({"meta": [{"k": 1}], "data": [{"text": "x"}]})
    assert outcome(tmp_path, "a.json", content)[0][0].values == {"k": "1"}
    assert outcome(tmp_path, "a.json", content, records="data")[0][0].values == {"text": "x"}
    with pytest.raises(sources.Refused, match="meta, data"):
        outcome(tmp_path, "a.json", content, records="rows")


def test_a_text_without_end_is_refused_before_it_is_in_memory(tmp_path):
    path = tmp_path / "a.json"
    with open(path, "wb") as file:
        file.write(b'[{"text": "')
        for _ in range(20):
            file.write(b"x" * 1_000_000)
    with pytest.raises(sources.Refused) as caught:
        list(sources.read(path, "a.json"))
    assert caught.value.code == "value_too_long"


def test_a_wrong_byte_in_a_document_is_named(tmp_path):
    with pytest.raises(sources.Refused) as caught:
        outcome(tmp_path, "a.json", b'[{"text": "caf\xe9"}]')
    assert "byte 14" in caught.value.sentence


def test_columns_are_gathered_from_the_first_records(tmp_path):
    rows, errors = outcome(tmp_path, "a.jsonl", '{"text": "x"}\n{"label": "a", "text": "y"}')
    assert [row.values for row in rows] == [{"text": "x", "label": None}, {"text": "y", "label": "a"}]
    assert errors == []
