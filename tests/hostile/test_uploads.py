"""Every hostile file is refused or made harmless, with a sentence that says what is wrong and what to do."""

import tracemalloc
from pathlib import Path

import pytest

from governance.interfaces.spreadsheets import neutralise
from projects import sources, tables
from tests.hostile.uploads import KEPT_AS_TEXT, REFUSED, ROW_ERROR, WARNED, uploads

UPLOADS = list(uploads())


@pytest.fixture
def canary():
    path = Path("/tmp/gatehouse-was-executed")
    path.unlink(missing_ok=True)
    yield path
    path.unlink(missing_ok=True)


def outcome(path, filename):
    """(refusal or None, rows, problems) of a whole import."""
    rows, problems = [], []
    try:
        for batch in sources.read(path, filename):
            rows += batch.rows
            problems += batch.errors
    except sources.Refused as refused:
        return refused, rows, problems
    return None, rows, problems


def test_there_are_at_least_sixty_hostile_files_with_titles_of_their_own():
    assert len(UPLOADS) >= 60
    assert len({(u.title, u.filename) for u in UPLOADS}) == len(UPLOADS)


@pytest.mark.parametrize("upload", UPLOADS, ids=lambda u: f"{u.filename}: {u.title}")
def test_a_hostile_upload_is_refused_or_made_harmless(upload, tmp_path, canary):
    path = tmp_path / "upload"
    path.write_bytes(upload.build())
    tracemalloc.start()
    try:
        refused, rows, problems = outcome(path, upload.filename)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000_000
    assert not canary.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["upload"]
    if upload.outcome == REFUSED:
        assert refused is not None
        assert refused.code == upload.code
        assert refused.sentence.rstrip(")").endswith(".")
        assert refused.advice.endswith((".", "csv"))
        assert len(refused.sentence) < 500
        assert str(tmp_path) not in str(refused)
        return
    assert refused is None, str(refused)
    if upload.outcome in (ROW_ERROR, WARNED):
        assert upload.code in [p.code for p in problems]
        assert all(p.message and p.advice for p in problems)
        assert {p.severity for p in problems} == {"error" if upload.outcome == ROW_ERROR else "warning"}
    if upload.outcome in (WARNED, KEPT_AS_TEXT):
        assert len(rows) == 1
    tables.write((row.values for row in rows), list(rows[0].values) if rows else ["text"], tmp_path / "kept.parquet")


def test_a_formula_is_text_inside_and_neutralised_on_its_way_out(tmp_path):
    formulas = [u for u in UPLOADS if u.title.startswith("a formula")]
    assert len(formulas) == 2
    for upload in formulas:
        path = tmp_path / upload.filename
        path.write_bytes(upload.build())
        _, rows, _ = outcome(path, upload.filename)
        assert rows[0].values["text"].startswith("=")
        assert neutralise(rows[0].values["text"]).startswith("'=")
