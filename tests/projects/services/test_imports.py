"""Imports: streamed in, read with bounded memory and errors, committed once whoever is killed or rings twice."""

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from governance.models import LedgerEntry
from governance.services import access, ledger
from projects import queue
from projects.models import Commit, DatasetVersion, Ref
from projects.services import datasets, repositories
from projects.services.datasets import imports, uploads
from tests.factories import make_csv, make_dataset, make_rows, make_version

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

MAPPED = {"text_column": "text", "label_column": "label", "seed": 7}


@pytest.fixture
def dataset(bob, team):
    return make_dataset(actor=bob, team=team)


@pytest.fixture
def rung(monkeypatch):
    """Collect the ids for which the doorbell rang."""
    ids = []
    monkeypatch.setattr(queue, "ring", lambda version_id: ids.append(version_id) or True)
    return ids


def waiting_files():
    folder = Path(settings.VAR) / "incoming"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def receive(bob, dataset, file=None, **options):
    return datasets.receive(actor=bob, dataset=dataset, file=file or make_csv(make_rows()), options=MAPPED | options)


# Receiving


def test_an_upload_with_its_columns_named_rings_once_it_is_committed(
    bob, dataset, rung, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        version = receive(bob, dataset)
        assert rung == []
    assert rung == [version.pk]
    assert (version.number, version.state, version.source["format"]) == (1, "received", "csv")
    entry = LedgerEntry.objects.about(version).get()
    assert (entry.action, entry.subject_digest) == ("dataset.uploaded", version.source["sha256"])
    assert b"requests.csv" not in bytes(entry.canonical)


def test_an_upload_without_named_columns_waits_and_can_be_looked_at(
    bob, dataset, rung, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        version = datasets.receive(actor=bob, dataset=dataset, file=make_csv(make_rows()))
    assert rung == []
    assert datasets.run_import(version.pk) is None
    looked = datasets.preview(actor=bob, version=version)
    assert looked.columns == ["text", "label"]
    assert (looked.guess.text, looked.guess.label, looked.guess.split) == ("text", "label", "")
    assert looked.sample[0].values["label"] == "access"
    with django_capture_on_commit_callbacks(execute=True):
        datasets.map_columns(actor=bob, version=version, text_column="text", label_column="label")
    assert rung == [version.pk]
    assert datasets.run_import(version.pk).state == "profiled"
    with pytest.raises(datasets.Closed):
        datasets.map_columns(actor=bob, version=version, text_column="label", label_column="text")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"text_column": "nothing"}, "text_column"),
        ({"label_column": "text"}, "label_column"),
        ({"split_column": "nothing"}, "split_column"),
        ({"fractions": {"train": 0.5, "test": 0.1}}, "fractions"),
        ({"fractions": {"train": 1.5, "test": -0.5}}, "fractions"),
        ({"fractions": {"train": "x", "test": 0.1}}, "fractions"),
        ({"fractions": [0.8, 0.2]}, "fractions"),
        ({"seed": -1}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"format": "exe"}, "format"),
        ({"delimiter": "||"}, "delimiter"),
        ({"on_bad_rows": "hope"}, "on_bad_rows"),
        ({"incoming": "/etc/passwd"}, "incoming"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_leave_no_file(bob, dataset, options, field):
    with pytest.raises(datasets.Invalid) as caught:
        receive(bob, dataset, **options)
    assert caught.value.field == field
    assert waiting_files() == []
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data.csv", b"", "empty"),
        ("data.exe", b"MZ\x90\x00", "ending|exe"),
        ("data", b"text,label\na,b\n", "ending"),
        ("data.parquet", b"text,label\na,b\n", "Parquet"),
        ("data.csv", b"PK\x03\x04" + b"\x00" * 60, "looks like"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_beside_its_field(bob, dataset, name, content, said):
    with pytest.raises(datasets.Invalid, match=said) as caught:
        datasets.receive(actor=bob, dataset=dataset, file=SimpleUploadedFile(name, content))
    assert caught.value.field == "file"
    assert waiting_files() == []


def test_a_file_over_the_limit_is_refused_while_it_streams(bob, dataset, settings):
    settings.MAX_UPLOAD_BYTES = 500
    file = make_csv(make_rows())
    with pytest.raises(datasets.Invalid, match="larger"):
        receive(bob, dataset, file)
    file = make_csv(make_rows())
    # A sender that understates the size is caught by counting.
    file.size = 10
    with pytest.raises(datasets.Invalid, match="larger"):
        receive(bob, dataset, file)
    assert waiting_files() == []


def test_a_name_with_folders_and_control_characters_is_only_a_name(bob, dataset):
    file = make_csv(make_rows())
    file._name = "..\\..\\etc/pass\u202ewd\x00.csv"
    version = receive(bob, dataset, file)
    assert version.source["filename"] == "passwd.csv"
    assert uploads.received_path(version).parent == Path(settings.VAR) / "incoming"


def test_only_who_may_upload_does(eve, carol, dan, bob, dataset):
    for person in (eve, carol, dan):
        with pytest.raises(access.Denied):
            receive(person, dataset)
    version = datasets.receive(actor=bob, dataset=dataset, file=make_csv(make_rows()))
    for person in (eve, carol):
        with pytest.raises(access.Denied):
            datasets.map_columns(actor=person, version=version, text_column="text", label_column="label")
        with pytest.raises(access.Denied):
            datasets.preview(actor=person, version=version)


# Importing


def test_an_import_ends_in_one_commit_with_everything_in_it(bob, dataset):
    version = make_version(actor=bob, dataset=dataset)
    assert version.state == "profiled"
    assert version.split_rows == {"train": 24, "validation": 3, "test": 3}
    assert version.labels == ["access", "hardware", "payroll"]
    assert (version.rows, version.progress_rows, version.error_count) == (30, 30, 0)
    assert version.source["mapping"] == {"text": "text", "label": "label"}
    assert sorted(version.commit.files.values_list("path", flat=True)) == [
        "README.md",
        "data/test.parquet",
        "data/train.parquet",
        "data/validation.parquet",
        "profile.json",
        "source.json",
    ]
    assert Ref.objects.get(repository=dataset.repository, name="main").commit == version.commit
    described = json.loads(repositories.read_blob(repositories.file_of(version.commit, "source.json").blob))
    assert described["options"]["seed"] == 7
    assert waiting_files() == []


def test_an_import_is_recorded_for_the_uploader_with_the_commit_as_digest(bob, dataset):
    version = make_version(actor=bob, dataset=dataset)
    entry = LedgerEntry.objects.about(version).get(action="dataset.imported")
    assert (entry.on_behalf_of, entry.actor.is_service, entry.subject_digest) == (bob, True, version.commit.oid)
    assert ledger.body(entry)["details"]["rows"] == 30


def test_the_same_upload_and_seed_give_the_same_files(bob, dataset, team):
    first = make_version(actor=bob, dataset=dataset)
    other = make_dataset(actor=bob, team=team, name="copy")
    second = make_version(actor=bob, dataset=other)
    third = make_version(actor=bob, dataset=other, seed=8)

    def digests(version):
        return dict(version.commit.files.filter(path__startswith="data/").values_list("path", "blob_id"))

    assert digests(first) == digests(second)
    assert digests(first) != digests(third)
    assert first.commit.oid != second.commit.oid


def test_the_next_version_says_what_changed(bob, dataset):
    make_version(actor=bob, dataset=dataset)
    rows = [*make_rows(), {"text": "A new one about access", "label": "access"}]
    version = make_version(actor=bob, dataset=dataset, rows=rows)
    assert (version.number, version.changes["since"], version.changes["rows"]["added"]) == (2, 1, 1)
    renamed = [{"message": row["text"], "label": row["label"]} for row in rows]
    version = make_version(actor=bob, dataset=dataset, rows=renamed, text_column="message")
    assert version.changes["comparable"] is False


def test_named_splits_are_kept_and_a_validation_split_is_set_aside(bob, dataset):
    rows = [row | {"split": "test" if n % 5 == 0 else "Train"} for n, row in enumerate(make_rows(each=20))]
    version = make_version(actor=bob, dataset=dataset, rows=rows, split_column="split")
    assert version.split_rows["test"] == 12
    assert version.split_rows["train"] + version.split_rows["validation"] == 48
    assert version.split_rows["validation"] >= 3
    assert version.source["set_aside"] == ["validation"]


def bad_rows(number):
    good = make_rows(each=10)
    return good + [{"text": "", "label": "access"}] * number


def test_bad_rows_stop_the_import_and_are_listed_with_their_lines(bob, dataset):
    version = make_version(actor=bob, dataset=dataset, rows=bad_rows(3))
    assert (version.state, version.error_count) == ("refused", 3)
    assert "3 rows cannot be used" in version.refusal
    assert version.advice
    assert [(e["line"], e["column"], e["code"]) for e in version.errors] == [
        (32, "text", "no_text"),
        (33, "text", "no_text"),
        (34, "text", "no_text"),
    ]
    assert not Commit.objects.exists()
    entry = LedgerEntry.objects.about(version).get(action="dataset.import_refused")
    assert ledger.body(entry)["details"]["code"] == "bad_rows"


def test_a_refused_upload_can_be_read_again_leaving_bad_rows_out(bob, dataset):
    version = make_version(actor=bob, dataset=dataset, rows=bad_rows(3))
    datasets.map_columns(actor=bob, version=version, on_bad_rows="skip")
    version = datasets.run_import(version.pk)
    assert (version.state, version.rows, version.error_count, version.refusal) == ("profiled", 30, 3, "")
    assert waiting_files() == []


def test_only_the_first_problems_are_kept_and_all_are_counted(bob, dataset):
    version = make_version(actor=bob, dataset=dataset, rows=bad_rows(1000), on_bad_rows="skip")
    assert (version.state, version.error_count, len(version.errors)) == ("profiled", 1000, imports.KEPT_ERRORS)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": f"Text {n}", "label": "only"} for n in range(20)], "Every row has the label"),
        ([*make_rows(), {"text": "Once", "label": "rare"}], "rare.*fewer than 4"),
        ([{"text": f"Text {n}", "label": f"label {n}"} for n in range(2100)], "more than 2,000"),
        ([{"text": "Same text", "label": label} for label in "ab" for _ in range(20)], "fewer than|would be empty"),
        ([{"text": f"Text {n}", "label": "long" * 100 + str(n % 2)} for n in range(20)], "cannot be used"),
    ],
)
def test_data_that_no_classifier_can_learn_from_is_refused_with_advice(bob, dataset, rows, said):
    version = make_version(actor=bob, dataset=dataset, rows=rows)
    import re

    assert version.state == "refused"
    assert re.search(said, version.refusal), version.refusal
    assert version.advice


@pytest.mark.parametrize(
    ("marks", "said"), [(["train"], "no row as test"), (["train", "tset"], "tset"), (["test"], "no row as train")]
)
def test_a_split_column_that_cannot_be_used_is_refused(bob, dataset, marks, said):
    rows = [row | {"split": marks[n % len(marks)]} for n, row in enumerate(make_rows())]
    version = make_version(actor=bob, dataset=dataset, rows=rows, split_column="split")
    assert version.state == "refused"
    assert said in version.refusal


def test_an_uploader_who_lost_the_right_imports_nothing(bob, alice, dataset):
    from governance.models import RoleAssignment
    from governance.services import roles

    version = receive(bob, dataset)
    for assignment in RoleAssignment.objects.filter(user=bob).exclude(scope_id=None):
        roles.revoke(actor=alice, assignment=assignment)
    version = datasets.run_import(version.pk)
    assert version.state == "refused"
    assert "may no longer upload" in version.refusal


# Ringing twice, kills and pauses


def test_ringing_again_after_the_import_does_nothing(bob, dataset):
    version = make_version(actor=bob, dataset=dataset)
    assert datasets.run_import(version.pk) is None
    assert datasets.run_import(987654) is None
    assert Commit.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_make_one_commit(bob, dataset):
    version = receive(bob, dataset)
    results, errors, start = [], [], threading.Barrier(2)

    def run():
        try:
            start.wait()
            results.append(datasets.run_import(version.pk))
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(result is None for result in results) == [False, True]
    assert Commit.objects.count() == 1
    assert LedgerEntry.objects.filter(action="dataset.imported").count() == 1


def test_a_killed_import_starts_again_from_the_received_file(bob, dataset, rung, system):
    version = receive(bob, dataset)
    claim = imports._take(version.pk)
    claim.folder().mkdir(parents=True)
    assert datasets.run_import(version.pk) is None
    DatasetVersion.objects.update(lease_until=timezone.now() - timedelta(seconds=1), rung_at=None)
    assert datasets.requeue_lost(actor=system)["rung"] == 1
    assert rung == [version.pk]
    version = datasets.run_import(version.pk)
    assert (version.state, version.attempts, version.token) == ("profiled", 2, 2)


def test_an_import_paused_past_its_lease_writes_nothing_any_more(bob, dataset, monkeypatch):
    version = receive(bob, dataset)
    original = imports._store
    taken_over = []

    def paused(held, laid):
        # The process stops here for longer than its lease; another one claims the version and finishes it.
        if not taken_over:
            taken_over.append(True)
            DatasetVersion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            assert datasets.run_import(version.pk).state == "profiled"
        return original(held, laid)

    monkeypatch.setattr(imports, "_store", paused)
    datasets.run_import(version.pk)
    version.refresh_from_db()
    assert (version.state, version.token) == ("profiled", 2)
    assert Commit.objects.count() == 1
    assert LedgerEntry.objects.filter(action="dataset.imported").count() == 1


def test_a_paused_import_cannot_refuse_what_another_one_finished(bob, dataset):
    version = receive(bob, dataset)
    old = imports._take(version.pk)
    DatasetVersion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    datasets.run_import(version.pk)
    imports._refuse(old, "bad_rows", "Too late", "")
    with pytest.raises(imports.Lost):
        old.write(progress_rows=1)
    version.refresh_from_db()
    assert (version.state, version.refusal) == ("profiled", "")


def test_a_fault_of_our_own_is_tried_three_times_and_then_said(bob, dataset, rung, system, monkeypatch):
    version = receive(bob, dataset)

    def broken(*_):
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(imports, "_store", broken)
    for attempt in (1, 2, 3):
        version = datasets.run_import(version.pk)
        assert version.attempts == attempt
        assert "disk on fire" not in version.refusal
    assert (version.state, version.refusal) == ("refused", imports._GIVEN_UP[1])
    assert datasets.run_import(version.pk) is None


def test_a_worker_that_dies_every_time_ends_in_a_refusal(bob, dataset, system, rung):
    version = receive(bob, dataset)
    for _ in range(3):
        assert imports._take(version.pk)
        DatasetVersion.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert imports._take(version.pk) is None
    assert datasets.requeue_lost(actor=system)["refused"] == 1
    version.refresh_from_db()
    assert version.state == "refused"


def test_the_sweeper_rings_for_what_nobody_took_and_not_too_often(bob, dataset, rung, system):
    version = receive(bob, dataset)
    unmapped = datasets.receive(actor=bob, dataset=dataset, file=make_csv(make_rows()))
    assert datasets.requeue_lost(actor=system)["rung"] == 0
    DatasetVersion.objects.update(rung_at=timezone.now() - timedelta(minutes=5))
    assert datasets.requeue_lost(actor=system)["rung"] == 1
    assert datasets.requeue_lost(actor=system)["rung"] == 0
    assert rung == [version.pk]
    assert unmapped.state == "received"


def test_the_sweeper_refuses_people(bob):
    with pytest.raises(access.Denied):
        datasets.requeue_lost(actor=bob)


def test_the_sweeper_removes_what_nobody_needs_and_keeps_the_rest(bob, dataset, rung, system):
    import os

    version = receive(bob, dataset)
    folder = Path(settings.VAR) / "incoming"
    for name in ("received-0000", "import-9999-1"):
        (folder / name).mkdir() if name.startswith("import") else (folder / name).write_bytes(b"x")
    fresh = folder / "received-fresh"
    fresh.write_bytes(b"x")
    (folder / "tmp.upload").write_bytes(b"x")
    for path in folder.iterdir():
        if path != fresh:
            os.utime(path, (0, 0))
    assert datasets.requeue_lost(actor=system)["removed"] == 2
    assert waiting_files() == sorted(["received-fresh", "tmp.upload", version.source["incoming"]])


def test_a_broker_that_is_down_is_no_error(bob, dataset, caplog, settings):
    from celery import current_app

    version = receive(bob, dataset)
    broker = current_app.conf.broker_url
    current_app.conf.broker_url = "redis://127.0.0.1:1/0"
    try:
        assert queue.ring(version.pk) is False
    finally:
        current_app.conf.broker_url = broker
    assert "did not ring" in caplog.text
