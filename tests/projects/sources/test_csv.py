"""CSV: every cell arrives as it left, and every bad row is named by its line."""

import csv as stdlib_csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projects import sources
from projects.sources import csv


def save(tmp_path, content, name="file.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def everything(path, options=sources.DEFAULTS):
    rows, errors = [], []
    for batch in csv.read(path, options):
        rows += batch.rows
        errors += batch.errors
    return rows, errors


def refusal(path, options=sources.DEFAULTS):
    with pytest.raises(sources.Refused) as caught:
        everything(path, options)
    assert caught.value.sentence.endswith(".")
    assert caught.value.advice
    return caught.value


def test_a_row_keeps_its_line_when_a_cell_above_it_spans_lines(tmp_path):
    path = save(tmp_path, 'text,label\n"two\nlines",a\n\nnext,b\n')
    rows, errors = everything(path)
    assert [(r.line, r.values) for r in rows] == [
        (2, {"text": "two\nlines", "label": "a"}),
        (5, {"text": "next", "label": "b"}),
    ]
    assert errors == []


def test_a_row_with_missing_or_surplus_cells_is_an_error_on_its_line_and_reading_goes_on(tmp_path):
    rows, errors = everything(save(tmp_path, "text,label\nonly\nfine,a\na,b,c\nalso fine,b\n"))
    assert [r.line for r in rows] == [3, 5]
    assert [(e.line, e.code) for e in errors] == [(2, "cell_count"), (4, "cell_count")]


@pytest.mark.parametrize(
    ("content", "line"),
    [('text,label\n"bad"quote,a\nfine,b\n', 2), ('text,label\nfine,a\n"never closed,b\n', 3)],
)
def test_quotes_that_do_not_match_are_an_error_on_their_line(tmp_path, content, line):
    rows, errors = everything(save(tmp_path, content))
    assert [(e.line, e.code) for e in errors] == [(line, "broken_quotes")]
    assert [r.values["text"] for r in rows] == ["fine"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    path = save(tmp_path, f"text{delimiter}label\nhello there{delimiter}a\nmore{delimiter}b\n")
    preview = csv.columns(path)
    assert preview.columns == ["text", "label"]
    assert preview.details["delimiter"] == delimiter
    assert preview.sample[0].values == {"text": "hello there", "label": "a"}


def test_the_delimiter_can_be_said(tmp_path):
    path = save(tmp_path, "a;b,c;d\n1;2,3;4\n")
    assert csv.columns(path, sources.Options(delimiter=",")).columns == ["a;b", "c;d"]
    assert refusal(path, sources.Options(delimiter="x")).code == "delimiter"


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_files_are_read(tmp_path, codec):
    path = save(tmp_path, "text,label\ngrüße 😀,ä\n".encode(codec))
    rows, _ = everything(path)
    assert rows[0].values == {"text": "grüße 😀", "label": "ä"}
    assert csv.sniff(path)


def test_a_byte_that_is_not_utf8_is_named_by_offset_and_line(tmp_path):
    refused = refusal(save(tmp_path, b"text,label\nfine,a\ncaf\xe9,b\n"))
    assert refused.code == "encoding"
    assert "byte 21" in refused.sentence
    assert "line 3" in refused.sentence
    assert "0xE9" in refused.sentence
    assert "UTF-8" in refused.advice


def test_the_offset_is_right_behind_the_first_block(tmp_path):
    good = b"text,label\n" + b"x" * 90 + b",a\n"
    body = good + (b"y" * 97 + b",b\n") * 20_000
    refused = refusal(save(tmp_path, body + b"\xff,c\n"))
    assert f"byte {len(body):,}" in refused.sentence
    assert f"line {body.count(bytes([10])) + 1:,}" in refused.sentence


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_is_understood(tmp_path, end):
    rows, errors = everything(save(tmp_path, end.join(["text,label", "one,a", "two,b"])))
    assert [(r.line, r.values["text"]) for r in rows] == [(2, "one"), (3, "two")]
    assert not errors


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty_file"),
        ("\n \n", "empty_file"),
        ("text,label\n", "no_rows"),
        ("text,text\na,b\n", "duplicate_columns"),
        (",".join(f"c{i}" for i in range(501)) + "\n", "too_many_columns"),
        ("te\u202ext,label\na,b\n", "column_name_unreadable"),
        ("x" * 201 + ",label\na,b\n", "column_name_too_long"),
        ('"te"xt,label\na,b\n', "broken_header"),
    ],
)
def test_a_file_without_usable_columns_is_refused(tmp_path, content, code):
    assert refusal(save(tmp_path, content)).code == code


def test_a_line_without_end_is_refused_before_it_is_in_memory(tmp_path):
    path = tmp_path / "long.csv"
    with open(path, "wb") as file:
        file.write(b"text,label\n")
        file.truncate(1024**3)
        file.seek(1024**3)
    options = sources.Options(limits=sources.Limits(max_record_bytes=4 * 1024 * 1024))
    refused = refusal(path, options)
    assert refused.code == "line_too_long"
    assert "4 MB" in refused.sentence
    assert "Line 2" in refused.sentence


def test_an_overlong_cell_is_an_error_and_not_a_stop(tmp_path):
    rows, errors = everything(save(tmp_path, "text,label\n" + "x" * 1_000_001 + ",a\nfine,b\n"))
    assert [(e.line, e.code) for e in errors] == [(2, "cell_too_long")]
    assert [r.line for r in rows] == [3]


def test_nul_loses_its_row_and_other_odd_characters_only_warn(tmp_path):
    filler = "plain,a\n" * 2000
    rows, errors = everything(save(tmp_path, f"text,label\n{filler}x\x00y,a\nbell\x07,b\nswap\u202eped,c\n"))
    assert [(e.line, e.column, e.code, e.severity) for e in errors] == [
        (2002, "text", "unstorable_character", "error"),
        (2003, "text", "control_character", "warning"),
        (2004, "text", "bidi_character", "warning"),
    ]
    assert len(rows) == 2002


def test_row_errors_are_kept_up_to_the_limit_and_counted_beyond(tmp_path):
    path = save(tmp_path, "text,label\n" + "only\n" * 30 + "fine,a\n")
    batches = list(csv.read(path, sources.Options(limits=sources.Limits(max_row_errors=10))))
    assert sum(len(b.errors) for b in batches) == 10
    assert sum(b.left_off for b in batches) == 20
    assert sum(b.rejected for b in batches) == 30


def test_too_many_rows_are_refused(tmp_path):
    path = save(tmp_path, "text,label\n" + "a,b\n" * 11)
    assert refusal(path, sources.Options(limits=sources.Limits(max_rows=10))).code == "too_many_rows"


def test_a_batch_never_holds_more_than_its_share(tmp_path):
    path = save(tmp_path, "text,label\n" + ("x" * 1000 + ",a\n") * 5000)
    sizes = [len(batch.rows) for batch in csv.read(path)]
    assert sum(sizes) == 5000
    assert max(sizes) < 2500


# CR and NUL are left out: a reader that accepts every line end cannot keep a bare CR apart, and NUL is refused by rule.
cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=30)


@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_what_a_csv_writer_writes_comes_back_cell_by_cell(tmp_path_factory, rows):
    stream = io.StringIO(newline="")
    writer = stdlib_csv.writer(stream, quoting=stdlib_csv.QUOTE_ALL)
    writer.writerow(["text", "label"])
    writer.writerows(rows)
    path = save(tmp_path_factory.mktemp("csv"), stream.getvalue())
    read, errors = everything(path, sources.Options(delimiter=","))
    assert [(r.values["text"] or "", r.values["label"] or "") for r in read] == rows
    assert not [e for e in errors if e.severity == "error"]


def test_json_called_csv_is_named_as_what_it_is(tmp_path):
    path = save(tmp_path, '[{"text": "a", "label": "b"}]')
    with pytest.raises(sources.Refused, match="looks like JSON"):
        sources.choose(path, "rows.csv")


def test_typographic_characters_raise_no_warning(tmp_path):
    rows, errors = everything(save(tmp_path, "text,label\n“it’s” … 5 € – fine\u00a0,a\n"))
    assert rows[0].values["text"] == "“it’s” … 5 € – fine\u00a0"
    assert errors == []
