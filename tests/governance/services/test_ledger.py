"""The ledger: who may write how, how entries are numbered, and that every kind of tampering is found."""

import json
import os
import threading
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from governance.actions import Action
from governance.models import Checkpoint, ErasableText, LedgerEntry, PendingEntry, SealedEntry, User
from governance.proofs import canonical, merkle, notes
from governance.services import ledger
from tests.personas import make_person

pytestmark = pytest.mark.postgres

TABLES = ("governance_ledgerentry", "governance_sealedentry", "governance_checkpoint", "governance_erasabletext")


@pytest.fixture(autouse=True)
def key():
    """Create the signing key, which a running site has from its first start."""
    return ledger.ensure_key()


@pytest.fixture
def writer(db):
    """Return a person who acts."""
    return make_person("grace")


@pytest.fixture
def sealed(writer):
    """Return the numbered entries of a ledger with three checkpoints, the second of which is of five entries."""
    ledger.seal()
    for round_ in range(2):
        for number in range(5):
            with transaction.atomic():
                ledger.record(
                    Action.PERSON_CHANGED,
                    actor=writer,
                    subject=writer,
                    details={"round": round_, "number": number},
                    texts={"reason": f"because of {number}"},
                )
        assert ledger.seal() == 5
    assert ledger.verify().sound
    return list(LedgerEntry.objects.order_by("sealed__number"))


def force(statement, *parameters, tables=TABLES):
    """Change the database as someone does who owns it: past the triggers."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(statement, parameters)
            cursor.execute("SET LOCAL session_replication_role = origin")
            return
        marks = ", ".join("%s" for _ in tables)
        cursor.execute(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ({marks})",  # noqa: S608
            tables,
        )
        triggers = cursor.fetchall()
        for name, _sql in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        cursor.execute(statement, parameters)
        for _name, sql in triggers:
            cursor.execute(sql)


def problem() -> str:
    """Return the one thing that verification finds."""
    (found,) = ledger.verify().problems
    return found


# Writing


def test_record_refuses_a_word_that_is_no_action(writer):
    with pytest.raises(ledger.LedgerError, match="actions"):
        ledger.record("person.changed", actor=writer)


def test_record_refuses_to_be_without_an_actor(db):
    for actor in (None, User(email="nobody@example.org")):
        with pytest.raises(ledger.LedgerError, match="actor"):
            ledger.record(Action.SIGNED_IN, actor=actor)


@pytest.mark.django_db(transaction=True)
def test_record_refuses_to_stand_outside_of_a_transaction():
    writer = make_person("grace")
    before = LedgerEntry.objects.count()
    with pytest.raises(ledger.LedgerError, match="transaction"):
        ledger.record(Action.SIGNED_IN, actor=writer)
    assert LedgerEntry.objects.count() == before


@pytest.mark.django_db(transaction=True)
def test_an_entry_leaves_with_the_transaction_that_failed():
    writer = make_person("grace")
    before = LedgerEntry.objects.count()

    @transaction.atomic
    def fail():
        ledger.record(Action.SIGNED_IN, actor=writer)
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert LedgerEntry.objects.count() == before


def test_record_refuses_details_without_a_canonical_form(writer):
    with pytest.raises(canonical.NotCanonical, match="floats"):
        ledger.record(Action.JOB_SUCCEEDED, actor=writer, details={"accuracy": 0.9})


def test_the_bytes_hold_everything_and_of_texts_only_commitments(writer):
    token = ledger.request_id.set("request-0001")
    try:
        entry = ledger.record(
            Action.PERSON_CHANGED,
            actor=User.objects.system(),
            on_behalf_of=writer,
            subject=writer,
            digest="ab" * 32,
            details={"n": 1},
            texts={"reason": "moved away", "empty": ""},
            scope_id=7,
        )
    finally:
        ledger.request_id.reset(token)
    held = ledger.body(entry)
    assert held["action"] == "person.changed"
    assert held["actor"] == str(User.objects.system().ledger_id)
    assert held["on_behalf_of"] == str(writer.ledger_id)
    assert held["subject"] == {"type": "governance.user", "id": str(writer.pk), "digest": "ab" * 32}
    assert (held["scope"], held["request"], held["details"]) == (7, "request-0001", {"n": 1})
    assert list(held["texts"]) == ["reason"]
    assert b"moved" not in bytes(entry.canonical)
    assert writer.email.encode() not in bytes(entry.canonical)
    assert bytes(entry.canonical) == canonical.encode(held)
    text = entry.texts.get()
    assert held["texts"]["reason"] == canonical.commitment(bytes(text.salt), "moved away")


def test_the_id_of_a_request_is_cut_to_what_the_column_holds(writer):
    token = ledger.request_id.set("r" * 200)
    try:
        entry = ledger.record(Action.SIGNED_IN, actor=writer)
    finally:
        ledger.request_id.reset(token)
    assert entry.request_id == ledger.body(entry)["request"] == "r" * 64


def test_two_entries_of_the_same_thing_have_different_bytes(writer):
    one = ledger.record(Action.SIGNED_IN, actor=writer)
    other = ledger.record(Action.SIGNED_IN, actor=writer)
    assert bytes(one.leaf_hash) != bytes(other.leaf_hash)


def test_changes_keep_free_text_out_of_the_details(writer):
    details, texts = ledger.changes(
        {"name": "Old", "size": 1, "same": 2, "gone": None},
        {"name": "New", "size": 2, "same": 2, "gone": ""},
        free_text={"name"},
    )
    assert details == {
        "changed": {"name": "text", "size": {"before": 1, "after": 2}, "gone": {"before": None, "after": ""}}
    }
    assert texts == {"name:before": "Old", "name:after": "New"}
    entry = ledger.record(Action.PERSON_CHANGED, actor=writer, details=details, texts=texts)
    shown = {c.name: (c.before, c.after) for c in ledger.changes_of(entry)}
    assert shown == {"gone": ("", ""), "name": ("Old", "New"), "size": ("1", "2")}


def test_an_erased_text_reads_erased_and_the_ledger_stays_sound(sealed):
    entry = sealed[-1]
    ErasableText.objects.filter(entry=entry).delete()
    assert ledger.texts_of(LedgerEntry.objects.get(pk=entry.pk)) == {"reason": "(erased)"}
    assert ledger.verify().sound


# The database's own refusals


def test_the_database_refuses_to_change_or_remove_what_was_written(sealed):
    entry, mark = sealed[0], Checkpoint.objects.first()
    acts = [
        lambda: LedgerEntry.objects.filter(pk=entry.pk).update(action="session.signed_in"),
        lambda: LedgerEntry.objects.filter(pk=entry.pk)._raw_delete("default"),
        lambda: SealedEntry.objects.filter(number=0).update(number=99),
        lambda: SealedEntry.objects.filter(number=0).delete(),
        lambda: Checkpoint.objects.filter(pk=mark.pk).update(size=99),
        lambda: Checkpoint.objects.filter(pk=mark.pk).delete(),
        lambda: ErasableText.objects.update(text="something else"),
    ]
    for act in acts:
        with pytest.raises(IntegrityError), transaction.atomic():
            act()
    assert ledger.verify().sound


def test_the_database_refuses_to_replace_what_was_written(sealed):
    if connection.vendor != "sqlite":
        pytest.skip("INSERT OR REPLACE is a word of SQLite's; test_the_database_refuses_truncate is for PostgreSQL")
    for table in (*TABLES, "governance_decision", "governance_approvalrequest"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608
            (count,) = cursor.fetchone()
        if not count:
            continue
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1")  # noqa: S608
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT OR REPLACE INTO governance_sealedentry (number, entry_id) VALUES (99, %s)", [sealed[0].pk]
        )
    assert ledger.verify().sound


def test_the_database_refuses_truncate(sealed):
    if connection.vendor != "postgresql":
        pytest.skip("TRUNCATE is a word of PostgreSQL's; test_the_database_refuses_to_replace is for SQLite")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # else the rows just written keep TRUNCATE away by themselves
    for table in ("ledgerentry", "sealedentry", "checkpoint", "decision", "approvalrequest"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE governance_{table} CASCADE")


# Sealing


def test_seal_numbers_without_gaps_and_signs(writer):
    waiting = PendingEntry.objects.count()
    assert waiting
    assert ledger.seal() == waiting
    assert ledger.seal() == 0
    assert list(SealedEntry.objects.order_by("number").values_list("number", flat=True)) == list(range(waiting))
    mark = Checkpoint.objects.get()
    origin, size, root = notes.verify(mark.note, settings.LEDGER_ORIGIN, ledger.public_key())
    assert (origin, size, root) == (settings.LEDGER_ORIGIN, waiting, bytes(mark.root))
    report = ledger.verify()
    assert (report.size, report.checkpoints, report.unsealed, report.sound) == (waiting, 1, 0, True)


def test_an_entry_inserted_past_the_service_is_sealed_like_any_other(writer):
    ledger.seal()
    one = ledger.record(Action.SIGNED_IN, actor=writer)
    columns = ", ".join(field.column for field in LedgerEntry._meta.concrete_fields if not field.primary_key)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO governance_ledgerentry ({columns}) "  # noqa: S608 - names of ours
            f"SELECT {columns} FROM governance_ledgerentry WHERE id = %s",
            [one.pk],
        )
    assert ledger.seal() == 2
    assert not PendingEntry.objects.exists()
    assert ledger.verify().sound


def test_seal_works_in_batches(writer):
    for _ in range(10):
        ledger.record(Action.SIGNED_IN, actor=writer)
    waiting = PendingEntry.objects.count()
    assert ledger.seal(batch=4) == 4
    assert ledger.verify().unsealed == waiting - 4
    while ledger.seal(batch=4):
        pass
    assert ledger.verify().size == waiting


def test_seal_does_not_sign_on_top_of_a_forged_checkpoint(sealed, writer):
    mark = Checkpoint.objects.first()
    force("UPDATE governance_checkpoint SET frontier = %s WHERE id = %s", json.dumps(["00" * 32]), mark.pk)
    ledger.record(Action.SIGNED_IN, actor=writer)
    with pytest.raises(ledger.LedgerError, match="verify_ledger"):
        ledger.seal()
    assert Checkpoint.objects.count() == 3


def test_a_missing_key_says_what_to_do(writer, tmp_path, settings):
    settings.LEDGER_KEY_FILE = tmp_path / "none.key"
    with pytest.raises(ledger.NoKey, match="--ensure-key"):
        ledger.seal()
    with pytest.raises(CommandError, match="--ensure-key"):
        call_command("verify_ledger")


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path, settings):
    settings.LEDGER_KEY_FILE = tmp_path / "ledger" / "ledger.key"
    made = [None] * 4

    def ensure(place):
        ledger.ensure_key()
        made[place] = Path(settings.LEDGER_KEY_FILE).read_text()

    threads = [threading.Thread(target=ensure, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1
    assert os.stat(settings.LEDGER_KEY_FILE).st_mode & 0o777 == 0o600
    assert sorted(path.name for path in (tmp_path / "ledger").iterdir()) == ["ledger.key", "ledger.pub"]


@pytest.mark.django_db(transaction=True)
def test_writers_are_not_held_up_and_nothing_is_lost_while_sealing():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time; the race needs PostgreSQL")
    writer = make_person("grace")
    writers, each = 6, 15
    done, failures = threading.Event(), []

    def write():
        try:
            for number in range(each):
                with transaction.atomic():
                    ledger.record(Action.SIGNED_IN, actor=writer, details={"number": number})
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    def seal():
        try:
            while not done.is_set():
                ledger.seal(batch=7)
                report = ledger.verify()
                assert report.sound, report.problems
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    sealers = [threading.Thread(target=seal) for _ in range(2)]
    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in (*sealers, *threads):
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    done.set()
    for thread in sealers:
        thread.join(timeout=120)
    while ledger.seal():
        pass
    assert failures == []
    total = LedgerEntry.objects.count()
    assert total == writers * each + 1  # and the one of making the writer
    assert list(SealedEntry.objects.order_by("number").values_list("number", flat=True)) == list(range(total))
    report = ledger.verify()
    assert (report.sound, report.size, report.unsealed) == (True, total, 0)


# Tampering


def test_verify_finds_edited_bytes(sealed):
    entry = sealed[5]
    data = bytes(entry.canonical).replace(b'"number":', b'"numbers":')
    force("UPDATE governance_ledgerentry SET canonical = %s WHERE id = %s", data, entry.pk)
    assert "do not have the leaf hash" in problem()


def test_verify_finds_edited_bytes_with_a_fitting_leaf_hash(sealed):
    entry = sealed[5]
    held = ledger.body(entry)
    held["details"]["number"] = 77
    data = canonical.encode(held)
    force(
        "UPDATE governance_ledgerentry SET canonical = %s, leaf_hash = %s WHERE id = %s",
        data,
        merkle.leaf_hash(data),
        entry.pk,
    )
    assert "another root" in problem()


@pytest.mark.parametrize("bytes_", [b"", b"[]", b"{}", b'{"texts": []}', b"\xff\xfe"])
def test_verify_finds_bytes_that_are_no_entry(sealed, bytes_):
    force(
        "UPDATE governance_ledgerentry SET canonical = %s, leaf_hash = %s WHERE id = %s",
        bytes_,
        merkle.leaf_hash(bytes_),
        sealed[5].pk,
    )
    assert "(row" in problem()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("action", "role.granted"),
        ("subject_type", "governance.apitoken"),
        ("subject_id", "999"),
        ("subject_digest", "00"),
        ("scope_id", 3),
        ("request_id", "other"),
        ("at", "2020-01-01 00:00:00+00:00"),
    ],
)
def test_verify_finds_an_edited_column(sealed, column, value):
    force(f"UPDATE governance_ledgerentry SET {column} = %s WHERE id = %s", value, sealed[5].pk)  # noqa: S608
    assert "column" in problem()


def test_verify_finds_another_actor(sealed):
    other = make_person("heidi")
    force("UPDATE governance_ledgerentry SET actor_id = %s WHERE id = %s", other.pk, sealed[5].pk)
    assert "“actor”" in problem()


def test_verify_finds_a_deleted_entry(sealed):
    force("DELETE FROM governance_sealedentry WHERE number = 5")
    assert "Entry 5 is missing" in problem()


def test_verify_finds_a_deleted_tail(sealed):
    force("DELETE FROM governance_sealedentry WHERE number = %s", len(sealed) - 1)
    assert f"only {len(sealed) - 1} are left" in problem()


def test_verify_finds_a_tail_cut_off_with_its_checkpoint(sealed):
    force("DELETE FROM governance_sealedentry WHERE number >= %s", len(sealed) - 5)
    force("DELETE FROM governance_checkpoint WHERE size = %s", len(sealed))
    assert "neither numbered nor waiting" in problem()


def test_verify_finds_a_deleted_checkpoint(sealed):
    force("DELETE FROM governance_checkpoint WHERE size = %s", len(sealed))
    assert "no checkpoint covers them" in problem()


def test_verify_finds_an_entry_that_was_taken_out_of_the_queue(sealed, writer):
    entry = ledger.record(Action.SIGNED_IN, actor=writer)
    PendingEntry.objects.filter(entry=entry).delete()
    assert "neither numbered nor waiting" in problem()


def test_verify_finds_an_entry_that_was_queued_again(sealed):
    PendingEntry.objects.create(entry=sealed[3])
    assert "at the same time" in problem()


def test_verify_finds_a_changed_text(sealed):
    force("UPDATE governance_erasabletext SET text = 'nothing' WHERE entry_id = %s", sealed[5].pk)
    assert "the text “reason” was changed" in problem()


def test_verify_finds_an_added_text(sealed):
    ErasableText.objects.create(entry=sealed[5], name="note", salt=b"0" * 16, text="added later")
    assert "the text “note” was changed" in problem()


def test_verify_finds_swapped_entries(sealed):
    one, other = sealed[4], sealed[5]
    force("UPDATE governance_sealedentry SET entry_id = -1 WHERE number = 4")
    force("UPDATE governance_sealedentry SET entry_id = %s WHERE number = 5", one.pk)
    force("UPDATE governance_sealedentry SET entry_id = %s WHERE number = 4", other.pk)
    assert "another root" in problem()


def test_verify_finds_a_forged_checkpoint(sealed):
    mark = Checkpoint.objects.first()
    other = notes.Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    note = notes.sign(notes.text(settings.LEDGER_ORIGIN, mark.size, bytes(mark.root)), settings.LEDGER_ORIGIN, other)
    force("UPDATE governance_checkpoint SET note = %s WHERE id = %s", note, mark.pk)
    assert "no signature by" in problem()


def test_verify_finds_a_note_of_another_checkpoint(sealed):
    newest, older = Checkpoint.objects.all()[:2]
    force("UPDATE governance_checkpoint SET note = %s WHERE id = %s", older.note, newest.pk)
    assert "another tree" in problem()


def test_verify_finds_another_root(sealed):
    mark = Checkpoint.objects.first()
    force("UPDATE governance_checkpoint SET root = %s WHERE id = %s", b"\x00" * 32, mark.pk)
    assert "another root" in problem()


def test_the_command_says_up_to_where_it_is_sound(sealed, capsys):
    call_command("verify_ledger")
    assert f"sound: {len(sealed)} entries, 3 checkpoints" in capsys.readouterr().out
    force("UPDATE governance_erasabletext SET text = 'nothing' WHERE entry_id = %s", sealed[-1].pk)
    with pytest.raises(CommandError, match=f"sound up to {len(sealed) - 5} entries"):
        call_command("verify_ledger")
    assert "was changed" in capsys.readouterr().err


def test_the_command_says_why_it_does_not_seal(sealed, writer):
    mark = Checkpoint.objects.first()
    force("UPDATE governance_checkpoint SET root = %s WHERE id = %s", b"\x00" * 32, mark.pk)
    ledger.record(Action.SIGNED_IN, actor=writer)
    with pytest.raises(CommandError, match="Nothing is sealed"):
        call_command("seal_ledger")


def test_verification_follows_chunk_after_chunk(sealed):
    report = ledger.verify(chunk=2)
    assert (report.sound, report.size, report.checkpoints) == (True, len(sealed), 3)


def test_the_command_seals_once(writer, capsys):
    call_command("seal_ledger")
    assert "Sealed 1 entries" in capsys.readouterr().out


def test_verify_finds_a_checkpoint_of_nothing_and_a_frontier_that_is_none(sealed):
    newest = Checkpoint.objects.first()
    Checkpoint.objects.create(size=0, root=newest.root, frontier=[], note=newest.note, at=newest.at)
    assert "out of order" in problem()
    force("DELETE FROM governance_checkpoint WHERE size = 0")
    force("UPDATE governance_checkpoint SET frontier = %s WHERE id = %s", json.dumps(["zz"]), newest.pk)
    assert "another root" in problem()


def test_the_digest_of_a_text_is_its_sha256():
    assert ledger.text_digest("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
