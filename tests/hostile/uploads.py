"""Builds the files that an attacker or an accident would upload: each a name, bytes, and what must come of it."""

from __future__ import annotations

import base64
import io
import json
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

REFUSED = "refused"
ROW_ERROR = "row error"
WARNED = "warned"
KEPT_AS_TEXT = "kept as text"

HEADER = b"text,label\n"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True)
class Upload:
    """One hostile file: what it is called, how it is made, what must happen and with which code."""

    title: str
    filename: str
    build: Callable[[], bytes]
    outcome: str
    code: str


class Payload:
    """Unpickling this would write a file; nothing may ever unpickle it."""

    def __reduce__(self):
        return (exec, ("open('/tmp/gatehouse-was-executed', 'w').close()",))


def archive(*entries, compression=zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return stream.getvalue()


def link_archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        entry = zipfile.ZipInfo("a/passwd.txt")
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    return stream.getvalue()


def encrypted_archive() -> bytes:
    data = bytearray(archive(("a/1.txt", "secret text")))
    data[6] |= 1
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 8] |= 1
    return bytes(data)


def lying_archive() -> bytes:
    """The directory says 10 bytes; the content unpacks to 50 million."""
    data = bytearray(archive(("a/1.txt", b"0" * 50_000_000)))
    directory = data.rindex(b"PK\x01\x02")
    data[22:26] = struct.pack("<L", 10)
    data[directory + 24 : directory + 28] = struct.pack("<L", 10)
    return bytes(data)


def overlapping_archive() -> bytes:
    """Two entries of the directory point at the same content."""
    data = archive(("a/1.txt", "x" * 1000), ("a/2.txt", "x" * 1000))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    changed = bytearray(data)
    changed[second + 42 : second + 46] = struct.pack("<L", 0)
    return bytes(changed)


def crowded_archive() -> bytes:
    """An end record that promises two million files."""
    data = bytearray(archive(("a/1.txt", "x")))
    end = data.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2_000_000, 2_000_000, 10**9, 0)
    place = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return bytes(data[:end]) + record + place + bytes(data[end:])


def renamed_name(name: bytes) -> bytes:
    """An entry whose name zipfile would clean up when writing."""
    placeholder = b"p" * len(name)
    return archive((placeholder.decode(), "x")).replace(placeholder, name)


def corrupt_archive() -> bytes:
    data = bytearray(archive(("a/1.txt", "text " * 100)))
    data[45] ^= 0xFF
    return bytes(data)


def workbook(rows=(("text", "label"), ("hello", "a"))) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def patched(part: str, change: Callable[[bytes], bytes], extra=()) -> bytes:
    """A workbook with one of its parts changed."""
    source = zipfile.ZipFile(io.BytesIO(workbook()))
    entries = [(name, change(source.read(name)) if name == part else source.read(name)) for name in source.namelist()]
    return archive(*entries, *extra)


SHEET = "xl/worksheets/sheet1.xml"


def with_doctype(declaration: bytes) -> Callable[[bytes], bytes]:
    def change(xml: bytes) -> bytes:
        body = xml.split(b"?>", 1)[1] if xml.startswith(b"<?xml") else xml
        return b'<?xml version="1.0"?>' + declaration + body

    return change


LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "lol">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9))
    + b"]>"
)
EXTERNAL = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
REMOTE = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'


def sheet_xml(rows: bytes) -> Callable[[bytes], bytes]:
    space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    return lambda _: b"<worksheet " + space + b"><sheetData>" + rows + b"</sheetData></worksheet>"


def cell(place: bytes, text: bytes) -> bytes:
    return b'<c r="' + place + b'" t="inlineStr"><is><t>' + text + b"</t></is></c>"


HEAD_ROW = b'<row r="1">' + cell(b"A1", b"text") + cell(b"B1", b"label") + b"</row>"


def parquet(table: pa.Table, **options) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def endless_parquet() -> bytes:
    """Eleven million rows in a few kilobytes."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 11_000_000, pa.int8()), pa.array(["x"]))
    return parquet(pa.table({"text": column}), compression="zstd")


def dense_parquet() -> bytes:
    """A text of 900,000 characters, repeated 5,000 times for nothing by its dictionary; would be 4.5 GB as rows."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), pa.array(["x" * 1_100_000]))
    return parquet(pa.table({"text": column, "label": ["a"] * 5_000}), compression="zstd")


def broken_page() -> bytes:
    data = bytearray(parquet(pa.table({"text": ["hello"] * 100, "label": ["a"] * 100}), compression="none"))
    data[4:40] = b"\xff" * 36
    return bytes(data)


def lying_footer() -> bytes:
    data = bytearray(parquet(pa.table({"text": ["a"]})))
    data[-8:-4] = struct.pack("<L", 0x7FFFFFFF)
    return bytes(data)


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        entry = tarfile.TarInfo("../../etc/cron.d/x")
        entry.size = 1
        file.addfile(entry, io.BytesIO(b"x"))
    return stream.getvalue()


def safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def records(*lines: str) -> bytes:
    good = json.dumps({"text": "fine", "label": "a"})
    return "\n".join([*[good] * 1000, *lines]).encode()


def uploads() -> Iterator[Upload]:
    """Every hostile file, cheapest first within its kind."""
    yield from _renamed()
    yield from _archives()
    yield from _workbooks()
    yield from _parquet()
    yield from _tables()
    yield from _json()


def _renamed() -> Iterator[Upload]:
    mismatch = "content_mismatch"
    for protocol in (0, 2, 5):
        name = f"a pickle of protocol {protocol} called .csv"
        yield Upload(name, "rows.csv", lambda p=protocol: pickle.dumps(Payload(), protocol=p), REFUSED, mismatch)
    yield Upload("a pickle called .jsonl", "rows.jsonl", lambda: pickle.dumps(Payload()), REFUSED, mismatch)
    yield Upload("a pickle called .parquet", "rows.parquet", lambda: pickle.dumps(Payload()), REFUSED, mismatch)
    yield Upload("an archive called .csv", "rows.csv", lambda: archive(("a/1.txt", "x")), REFUSED, mismatch)
    yield Upload("a picture called .csv", "rows.csv", lambda: PNG, REFUSED, mismatch)
    yield Upload("a picture that is also CSV", "rows.csv", lambda: PNG + b"\n" + HEADER + b"a,b\n", REFUSED, mismatch)
    yield Upload("a web page called .csv", "rows.csv", lambda: b"<!DOCTYPE html><script>1</script>", REFUSED, mismatch)
    yield Upload(
        "a drawing with a script called .csv",
        "rows.csv",
        lambda: b'\xef\xbb\xbf<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        REFUSED,
        mismatch,
    )
    yield Upload("a drawing called .json", "rows.json", lambda: b'<?xml version="1.0"?><svg/>', REFUSED, mismatch)
    yield Upload("a PDF called .csv", "rows.csv", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", REFUSED, mismatch)
    yield Upload("a PDF called .xlsx", "rows.xlsx", lambda: b"%PDF-1.7\n", REFUSED, mismatch)
    yield Upload("a program called .csv", "rows.csv", lambda: b"\x7fELF\x02\x01\x01" + b"\0" * 100, REFUSED, mismatch)
    yield Upload("a shell script called .csv", "rows.csv", lambda: b"#!/bin/sh\nrm -rf /\n", REFUSED, mismatch)
    yield Upload("a tar with an escape called .zip", "rows.zip", tar, REFUSED, mismatch)
    yield Upload("a gzip bomb called .json", "rows.json", lambda: b"\x1f\x8b\x08" + b"\0" * 50, REFUSED, mismatch)
    yield Upload("a database called .csv", "rows.csv", lambda: b"SQLite format 3\0" + b"\0" * 90, REFUSED, mismatch)
    yield Upload(
        "an old workbook called .xlsx", "rows.xlsx", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", REFUSED, mismatch
    )
    yield Upload("CSV called .parquet", "rows.parquet", lambda: HEADER + b"a,b\n", REFUSED, mismatch)
    yield Upload("a workbook called .zip", "rows.zip", workbook, REFUSED, mismatch)
    yield Upload(
        "weights with a bad header called .csv",
        "rows.csv",
        lambda: safetensors(b'{"__metadata__": {"x": "y"}}'),
        REFUSED,
        mismatch,
    )
    yield Upload("weights as an upload", "model.safetensors", lambda: safetensors(b"{}"), REFUSED, "unknown_format")
    yield Upload("remote code as an upload", "modeling.py", lambda: b"import os\n", REFUSED, "unknown_format")
    yield Upload("a macro workbook by its name", "rows.xlsm", workbook, REFUSED, "unknown_format")
    yield Upload("a path as a name", "../../etc/passwd", lambda: b"root:x:0", REFUSED, "unknown_format")


def _archives() -> Iterator[Upload]:
    name = "texts.zip"
    yield Upload("a path that climbs", name, lambda: archive(("../../x/1.txt", "x")), REFUSED, "unsafe_name")
    yield Upload("an absolute path", name, lambda: archive(("/etc/cron.d/1.txt", "x")), REFUSED, "unsafe_name")
    yield Upload("a Windows path", name, lambda: renamed_name(b"a\\..\\..\\1.txt"), REFUSED, "unsafe_name")
    yield Upload("a drive letter", name, lambda: archive(("C:/a/1.txt", "x")), REFUSED, "unsafe_name")
    yield Upload("a NUL in a name", name, lambda: renamed_name(b"a/1.txt\0.exe"), REFUSED, "unsafe_name")
    yield Upload("a symbolic link", name, link_archive, REFUSED, "symbolic_link")
    yield Upload("an encrypted file", name, encrypted_archive, REFUSED, "encrypted")
    yield Upload(
        "an archive in an archive", name, lambda: archive(("a/b.zip", archive(("a", "x")))), REFUSED, "nested_archive"
    )
    yield Upload(
        "a bomb", name, lambda: archive(*[(f"a/{i}.txt", b"0" * 3_000_000) for i in range(8)]), REFUSED, "archive_bomb"
    )
    yield Upload("a bomb that lies about its size", name, lying_archive, REFUSED, "broken_archive")
    yield Upload("files that overlap", name, overlapping_archive, REFUSED, "archive_bomb")
    yield Upload("two million promised files", name, crowded_archive, REFUSED, "too_many_entries")
    yield Upload("an archive cut short", name, lambda: archive(("a/1.txt", "x" * 99))[:-30], REFUSED, "broken_archive")
    yield Upload("an archive with damaged content", name, corrupt_archive, REFUSED, "broken_archive")
    yield Upload("an empty archive", name, archive, REFUSED, "empty_file")
    yield Upload(
        "an archive of programs", name, lambda: archive(("a/run.exe", "MZ"), ("a/m.py", "x")), REFUSED, "no_texts"
    )
    yield Upload(
        "a text beside folders", name, lambda: archive(("1.txt", "x"), ("a/2.txt", "y")), ROW_ERROR, "no_label"
    )
    yield Upload(
        "a text that is not UTF-8",
        name,
        lambda: archive(("a/1.txt", b"caf\xe9"), ("a/2.txt", "y")),
        ROW_ERROR,
        "encoding",
    )
    yield Upload(
        "a text of 5 MB",
        name,
        lambda: archive(("a/1.txt", "xy" * 2_500_000), ("a/2.txt", "y")),
        ROW_ERROR,
        "cell_too_long",
    )


def _workbooks() -> Iterator[Upload]:
    name = "rows.xlsx"
    yield Upload("a billion laughs", name, lambda: patched(SHEET, with_doctype(LAUGHS)), REFUSED, "document_type")
    yield Upload("an external entity", name, lambda: patched(SHEET, with_doctype(EXTERNAL)), REFUSED, "document_type")
    yield Upload(
        "a remote document type",
        name,
        lambda: patched("xl/workbook.xml", with_doctype(REMOTE)),
        REFUSED,
        "document_type",
    )
    yield Upload(
        "a document type in UTF-16",
        name,
        lambda: patched(SHEET, lambda _: '<?xml version="1.0"?><!DOCTYPE x><worksheet/>'.encode("utf-16")),
        REFUSED,
        "document_type",
    )
    yield Upload("macros", name, lambda: patched("", bytes, extra=[("xl/vbaProject.bin", b"x")]), REFUSED, "macros")
    yield Upload(
        "a workbook bomb",
        name,
        lambda: patched("", bytes, extra=[("xl/worksheets/sheet9.xml", b" " * 60_000_000)]),
        REFUSED,
        "archive_bomb",
    )
    yield Upload(
        "a shared-strings bomb",
        name,
        lambda: patched("", bytes, extra=[("xl/sharedStrings2.xml", zlib.compress(b"x") * 3_000_000)]),
        REFUSED,
        "archive_bomb",
    )
    yield Upload(
        "a sheet that is not XML", name, lambda: patched(SHEET, lambda _: b"\xff\xfe\x00"), REFUSED, "broken_workbook"
    )
    yield Upload("a sheet cut short", name, lambda: patched(SHEET, lambda x: x[:-60]), REFUSED, "broken_workbook")
    yield Upload(
        "a row two billion rows down",
        name,
        lambda: patched(SHEET, sheet_xml(HEAD_ROW + b'<row r="2000000000">' + cell(b"A2000000000", b"x") + b"</row>")),
        REFUSED,
        "too_many_rows",
    )
    yield Upload(
        "a column beyond the last",
        name,
        lambda: patched(SHEET, sheet_xml(HEAD_ROW + b'<row r="2">' + cell(b"ZZZZZZ2", b"x") + b"</row>")),
        REFUSED,
        "broken_workbook",
    )
    yield Upload(
        "a cell with an error",
        name,
        lambda: workbook([("text", "label"), ("#REF!", "a"), ("x", "a")]),
        ROW_ERROR,
        "cell_error",
    )
    yield Upload("a workbook without cells", name, lambda: workbook([]), REFUSED, "empty_file")
    yield Upload(
        "a formula in a cell",
        name,
        lambda: patched(
            SHEET,
            sheet_xml(HEAD_ROW + b'<row r="2">' + cell(b"A2", b"=HYPERLINK(0)") + cell(b"B2", b"a") + b"</row>"),
        ),
        KEPT_AS_TEXT,
        "",
    )


def _parquet() -> Iterator[Upload]:
    name = "rows.parquet"
    yield Upload("eleven million rows in few bytes", name, endless_parquet, REFUSED, "too_many_rows")
    yield Upload("a dictionary that repeats a huge text", name, dense_parquet, ROW_ERROR, "cell_too_long")
    yield Upload("a damaged page", name, broken_page, REFUSED, "broken_parquet")
    yield Upload("a footer that lies about its length", name, lying_footer, REFUSED, "broken_parquet")
    yield Upload("only the marks", name, lambda: b"PAR1\0\0\0\0PAR1", REFUSED, "broken_parquet")
    wide = {f"c{i}": ["x"] for i in range(501)}
    yield Upload("too many columns", name, lambda: parquet(pa.table(wide)), REFUSED, "too_many_columns")
    yield Upload("lists alone", name, lambda: parquet(pa.table({"text": [["x"]]})), REFUSED, "no_columns")
    yield Upload(
        "a NUL in a cell", name, lambda: parquet(pa.table({"text": ["a\0b", "c"]})), ROW_ERROR, "unstorable_character"
    )
    yield Upload(
        "text that is not UTF-8",
        name,
        lambda: parquet(pa.table({"text": pa.array([b"caf\xe9"]).view(pa.string())})),
        REFUSED,
        "broken_parquet",
    )


def _tables() -> Iterator[Upload]:
    name = "rows.csv"
    yield Upload("an empty file", name, lambda: b"", REFUSED, "empty_file")
    yield Upload("only a byte order mark", name, lambda: b"\xef\xbb\xbf", REFUSED, "empty_file")
    yield Upload("a header alone", name, lambda: HEADER, REFUSED, "no_rows")
    yield Upload("a name used twice", name, lambda: b"text,text\na,b\n", REFUSED, "duplicate_columns")
    yield Upload("five thousand columns", name, lambda: b"c," * 5000 + b"\n", REFUSED, "too_many_columns")
    yield Upload("Windows-1252", name, lambda: HEADER + "café,a\n".encode("cp1252"), REFUSED, "encoding")
    yield Upload("UTF-16 with half a pair", name, lambda: b"\xff\xfe" + b"\x00\xd8a\x00", REFUSED, "encoding")
    yield Upload("UTF-32", name, lambda: "text,label\na,b\n".encode("utf-32"), REFUSED, "encoding")
    yield Upload("overlong UTF-8", name, lambda: HEADER + b"\xc0\xaf,a\n", REFUSED, "encoding")
    yield Upload("a NUL in the first lines", name, lambda: HEADER + b"a\0b,c\n", REFUSED, "content_mismatch")
    later = HEADER + b"fine,a\n" * 3000
    yield Upload("a NUL further down", name, lambda: later + b"a\0b,c\n", ROW_ERROR, "unstorable_character")
    yield Upload("a line of 20 MB", name, lambda: HEADER + b"x" * 20_000_000 + b",a\n", REFUSED, "line_too_long")
    yield Upload("a quote never closed", name, lambda: HEADER + b'fine,a\n"never,b\n', ROW_ERROR, "broken_quotes")
    yield Upload("a quote in the wrong place", name, lambda: HEADER + b'"a"b,c\nfine,a\n', ROW_ERROR, "broken_quotes")
    yield Upload(
        "a row of 100,000 cells", name, lambda: HEADER + b"," * 100_000 + b"\nfine,a\n", ROW_ERROR, "cell_count"
    )
    yield Upload(
        "text that runs backwards", name, lambda: HEADER + "user\u202etxt.exe,a\n".encode(), WARNED, "bidi_character"
    )
    yield Upload("terminal escapes", name, lambda: HEADER + b"\x1b]0;owned\x07,a\n", WARNED, "control_character")
    yield Upload("a formula", name, lambda: HEADER + b"=cmd|' /C calc'!A0,a\n", KEPT_AS_TEXT, "")
    yield Upload("a script", name, lambda: HEADER + b"<script>alert(1)</script>,a\n", KEPT_AS_TEXT, "")


def _json() -> Iterator[Upload]:
    yield Upload("ten thousand brackets", "rows.json", lambda: b"[" * 10_000, REFUSED, "too_deep")
    yield Upload("ten thousand objects in one another", "rows.json", lambda: b'{"a":' * 10_000, REFUSED, "too_deep")
    yield Upload("NaN", "rows.json", lambda: b'[{"text": NaN}]', REFUSED, "broken_json")
    yield Upload(
        "a number of 5,000 digits", "rows.json", lambda: b'[{"x": ' + b"9" * 5000 + b"}]", REFUSED, "number_too_long"
    )
    yield Upload(
        "a text of 20 MB", "rows.json", lambda: b'[{"x": "' + b"y" * 20_000_000 + b'"}]', REFUSED, "value_too_long"
    )
    yield Upload("a document cut short", "rows.json", lambda: b'[{"text": "a"}, {"te', REFUSED, "broken_json")
    yield Upload("no list", "rows.json", lambda: b'{"text": "a"}', REFUSED, "no_records")
    yield Upload(
        "deep lines",
        "rows.jsonl",
        lambda: records('{"text": ' + "[" * 90_000 + "]" * 90_000 + "}"),
        ROW_ERROR,
        "too_deep",
    )
    yield Upload(
        "a name twice", "rows.jsonl", lambda: records('{"text": "a", "text": "b"}'), ROW_ERROR, "duplicate_name"
    )
    yield Upload("Infinity", "rows.jsonl", lambda: records('{"text": Infinity}'), ROW_ERROR, "not_finite")
    yield Upload("objects for text", "rows.jsonl", lambda: records('{"text": {"a": 1}}'), ROW_ERROR, "nested_value")
    yield Upload("half a pair", "rows.jsonl", lambda: records('{"text": "\\udfff"}'), ROW_ERROR, "unstorable_character")
    yield Upload(
        "names of a prototype",
        "rows.jsonl",
        lambda: records('{"__proto__": "x", "text": "a"}'),
        ROW_ERROR,
        "unknown_column",
    )
