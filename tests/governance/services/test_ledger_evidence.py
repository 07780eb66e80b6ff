"""What the ledger gives to take away: proofs from tiles, exports, receipts; and what may be erased from it."""

import base64
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from governance.actions import Action
from governance.models import (
    Checkpoint,
    Decision,
    ErasableText,
    LedgerEntry,
    Receipt,
    SealedEntry,
    TreeTile,
    User,
)
from governance.policy import Gate
from governance.proofs import canonical, merkle, verify
from governance.services import access, ledger, people
from governance.services.ledger import export, proofs, tiles
from projects.services import use_cases
from tests import factories
from tests.personas import make_person

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def key():
    """Create the signing key, which a running site has from its first start."""
    return ledger.ensure_key()


@pytest.fixture
def writer(db):
    """Return a person who acts."""
    return make_person("grace")


def write_many(writer, count):
    """Record `count` entries in bulk, as if they had come one by one."""
    at = timezone.now()
    held = {
        "v": 1,
        "at": at,
        "action": Action.SIGNED_IN.value,
        "actor": str(writer.ledger_id),
        "on_behalf_of": None,
        "subject": {"type": "", "id": "", "digest": ""},
        "scope": None,
        "request": "",
        "details": {},
        "texts": {},
    }
    rows = []
    for number in range(count):
        data = canonical.encode({**held, "nonce": str(number)})
        rows.append(
            LedgerEntry(at=at, action=Action.SIGNED_IN, actor=writer, canonical=data, leaf_hash=merkle.leaf_hash(data))
        )
    LedgerEntry.objects.bulk_create(rows, batch_size=1000)


@pytest.fixture
def long(writer):
    """Return the leaf hashes of a ledger of more than two tiles, sealed in uneven steps."""
    for count in (7, 240, 9, 300):
        write_many(writer, count)
        ledger.seal()
    return [bytes(leaf) for leaf in LedgerEntry.objects.order_by("sealed__number").values_list("leaf_hash", flat=True)]


# Tiles and proofs


def test_tiles_hold_what_the_leaves_give_and_verification_compares_them(long):
    stored = list(TreeTile.objects.order_by("level", "index").values_list("level", "index", "hashes", "root"))
    assert [(level, index) for level, index, *_ in stored] == [(0, index) for index in range(len(long) // 256)]
    for _level, index, hashes, root in stored:
        leaves = long[256 * index : 256 * (index + 1)]
        assert (bytes(hashes), bytes(root)) == (b"".join(leaves), merkle.fold(leaves))
    assert ledger.verify().sound


def test_every_entry_is_proved_in_every_checkpoint_from_tiles(long):
    entries = list(LedgerEntry.objects.order_by("sealed__number").select_related("sealed"))
    for mark in Checkpoint.objects.all():
        for number in {*range(0, mark.size, 37), 0, 255, 256, 511, mark.size - 1}:
            if number < mark.size:
                proof = ledger.inclusion(entries[number], checkpoint=mark)
                assert verify.climb(long[number], number, mark.size, proof.path) == bytes(mark.root)
    newest = Checkpoint.objects.first()
    for old in {1, 2, 255, 256, 257, 500, newest.size}:
        proof = ledger.consistency(old=old)
        frontier = []
        for number in range(old):
            frontier = merkle.append(frontier, number, long[number])
        assert proof.old_root == merkle.root(frontier)
        assert verify.both_roots(old, newest.size, proof.old_root, proof.path) == (proof.old_root, bytes(newest.root))


def test_a_proof_reads_a_few_rows_however_long_the_ledger_is(long):
    entry = LedgerEntry.objects.select_related("sealed").get(sealed__number=3)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ledger.inclusion(entry)
    assert len(queries) <= 4, [query["sql"] for query in queries.captured_queries]


def test_higher_tiles_are_made_of_the_roots_below(monkeypatch, writer):
    # With tiles of four instead of 256 a small ledger has four levels.
    monkeypatch.setattr(tiles, "HEIGHT", 2)
    monkeypatch.setattr(tiles, "WIDTH", 4)
    write_many(writer, 90)
    ledger.seal()
    write_many(writer, 180)
    ledger.seal()
    levels = sorted(set(TreeTile.objects.values_list("level", flat=True)))
    assert levels == [0, 1, 2, 3]
    assert ledger.verify().sound
    newest = Checkpoint.objects.first()
    for entry in LedgerEntry.objects.filter(sealed__number__in=range(0, newest.size, 11)).select_related("sealed"):
        ledger.inclusion(entry)
    for old in range(1, newest.size, 13):
        ledger.consistency(old=old)


def test_what_an_older_release_sealed_without_tiles_is_made_up_for(long, writer):
    from tests.governance.services.test_ledger import force

    force("DELETE FROM governance_treetile", tables=("governance_treetile",))
    assert ledger.verify().sound, "there is nothing to compare yet"
    write_many(writer, 256)
    ledger.seal()
    assert TreeTile.objects.count() == Checkpoint.objects.first().size // 256
    assert ledger.verify().sound


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE governance_treetile SET root = %s WHERE "index" = 1',
        'DELETE FROM governance_treetile WHERE root <> %s AND "index" = 1',
    ],
)
def test_verify_finds_a_tile_that_was_changed_or_taken_away(long, statement):
    from tests.governance.services.test_ledger import force

    force(statement, b"\x00" * 32, tables=("governance_treetile",))
    assert "Tile 0/1" in ledger.verify().problems[0]


def test_a_proof_from_a_tile_that_was_changed_is_not_given_out(long):
    from tests.governance.services.test_ledger import force

    force('UPDATE governance_treetile SET hashes = %s WHERE "index" = 1', bytes(8192), tables=("governance_treetile",))
    with pytest.raises(ledger.LedgerError, match="verify the ledger"):
        ledger.inclusion(LedgerEntry.objects.select_related("sealed").get(sealed__number=300))
    with pytest.raises(ledger.LedgerError, match="verify the ledger"):
        ledger.consistency(old=300)


def test_sealing_stops_where_entries_below_are_missing(long, writer):
    from tests.governance.services.test_ledger import force

    force("DELETE FROM governance_sealedentry WHERE number = 520")
    write_many(writer, 300)
    with pytest.raises(ledger.LedgerError, match="entries below 768 are missing"):
        ledger.seal()


def test_there_is_no_proof_of_what_is_not_sealed(writer):
    with pytest.raises(ledger.NotSealed):
        ledger.consistency(old=1)
    entry = ledger.record(Action.SIGNED_IN, actor=writer)
    with pytest.raises(ledger.NotSealed):
        ledger.inclusion(entry)
    ledger.seal()
    for old in (0, 99):
        with pytest.raises(ledger.NotSealed):
            ledger.consistency(old=old)
    with pytest.raises(ledger.LedgerError, match="no node"):
        proofs.frontier(99)


def test_tiles_are_append_only(long):
    for act in (lambda: TreeTile.objects.update(level=5), lambda: TreeTile.objects.all()._raw_delete("default")):
        with pytest.raises(IntegrityError), transaction.atomic():
            act()


# Exports


def saved(export, path):
    """Write an export to a file and return its path."""
    path.write_bytes(b"".join(ledger.pieces(export)))
    return path


def audit(path, *arguments):
    """Run the verifier that lies in the export, as an auditor does."""
    with zipfile.ZipFile(path) as archive:
        program = path.with_suffix(".py")
        program.write_bytes(archive.read("verify.py"))
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, path, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def told(writer):
    """Return the entries of a ledger whose entries hold texts, before and after a change of key."""
    for number in range(6):
        if number == 3:
            ledger.rotate_key(actor=User.objects.system())
        ledger.record(
            Action.PERSON_CHANGED,
            actor=writer,
            subject=writer,
            on_behalf_of=writer,
            texts={"reason": f"Für № {number}"},
        )
        ledger.seal()
    return list(LedgerEntry.objects.order_by("sealed__number"))


def test_an_export_proves_itself_and_is_an_entry(told, dan, tmp_path):
    ledger.seal()
    export_ = ledger.begin(actor=dan, texts=True)
    path = saved(export_, tmp_path / export_.filename)
    key = ledger.keys_until(export_.checkpoint)[0]["public"]
    pin = tmp_path / "pin.txt"
    pin.write_text(export_.checkpoint.note)
    code, said = audit(path, "--key", key, "--pin", pin)
    assert (code, f"sound up to size {export_.checkpoint.size}" in said) == (0, True), said
    entry = LedgerEntry.objects.filter(action=Action.LEDGER_EXPORTED, actor=dan).get()
    details = ledger.body(entry)["details"]
    assert details == {
        "from": 0, "size": export_.checkpoint.size, "root": bytes(export_.checkpoint.root).hex(), "texts": True
    }  # fmt: skip
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        texts = [json.loads(line) for line in archive.read("texts.jsonl").splitlines()]
        assert "Für № 5" in [text["text"] for text in texts]
        rows = [json.loads(line) for line in archive.read("entries.jsonl").splitlines()]
        assert base64.b64decode(rows[0]["canonical"]) == bytes(told[0].canonical)
        assert archive.read("verify.py") == Path(verify.__file__).read_bytes()
        assert b"verify.py" in archive.read("README.txt")


def test_an_export_without_texts_holds_none(told, dan, tmp_path):
    path = saved(ledger.begin(actor=dan), tmp_path / "export.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("texts.jsonl") == b""
        assert not any("№".encode() in archive.read(name) for name in archive.namelist() if name.endswith(".jsonl"))
    assert verify.verify_export(path).code == verify.SOUND


def test_every_stretch_of_the_ledger_proves_itself(told, dan, tmp_path):
    sizes = sorted(Checkpoint.objects.values_list("size", flat=True))
    for start in range(sizes[-1]):
        for upto in (start + 1, sizes[-1]):
            export_ = ledger.begin(actor=dan, start=start, upto=upto)
            assert export_.checkpoint.size == min(size for size in sizes if size >= upto)
            found = verify.verify_export(saved(export_, tmp_path / "stretch.zip"))
            assert (found.code, found.start, found.size) == (0, start, export_.checkpoint.size), found.problem


def test_a_stretch_that_is_not_there_is_refused_with_a_sentence(told, dan, writer):
    size = Checkpoint.objects.first().size
    for start, upto in ((size, None), (-1, None), (3, 3), (3, 2)):
        with pytest.raises(ledger.NotSealed):
            ledger.begin(actor=dan, start=start, upto=upto)
    with pytest.raises(access.Denied):
        ledger.begin(actor=writer)
    assert ledger.begin(actor=dan, upto=10**9).checkpoint.size == size


def test_an_export_is_written_in_small_pieces(long, dan, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "PIECE", 512)
    monkeypatch.setattr(export, "CHUNK", 50)
    pieces = list(ledger.pieces(ledger.begin(actor=dan)))
    assert len(pieces) > 3
    assert max(map(len, pieces)) < sum(map(len, pieces)) / 2
    path = tmp_path / "long.zip"
    path.write_bytes(b"".join(pieces))
    assert verify.verify_export(path).size == len(long)


def test_the_command_writes_an_export_once(told, tmp_path):
    path, out = tmp_path / "ledger.zip", io.StringIO()
    call_command("export_ledger", str(path), texts=True, stdout=out)
    assert "Check it anywhere" in out.getvalue()
    assert verify.verify_export(path).code == verify.SOUND
    for arguments in ([str(path)], [str(tmp_path / "other.zip"), "--from", "9999"]):
        with pytest.raises(CommandError):
            call_command("export_ledger", *arguments)


def test_verify_compares_with_what_was_kept(told, tmp_path, writer):
    kept = tmp_path / "kept.txt"
    kept.write_text("\n".join(Checkpoint.objects.order_by("size").values_list("note", flat=True)))
    out = io.StringIO()
    call_command("verify_ledger", pin=[kept], stdout=out)
    assert f"{Checkpoint.objects.count()} kept checkpoints fit" in out.getvalue()
    key = ledger.keys_until(Checkpoint.objects.first())[0]["public"]
    call_command("verify_ledger", pin=[kept], key=key, stdout=out)
    for content, sentence in (("", "no signed checkpoint"), ("a\nb\nc\n\n— a AAAA\n", "not a signed checkpoint")):
        kept.write_text(content)
        with pytest.raises(CommandError, match=sentence):
            call_command("verify_ledger", pin=[kept])


# Receipts


@pytest.fixture
def decided(alice, carol, team):
    """Return carol's decision about alice's use case, sealed."""
    use_case = use_cases.submit(actor=alice, use_case=factories.make_ready_use_case(actor=alice, team=team))
    asked = factories.approve(reviewer=carol, subject=use_case, gate=Gate.USE_CASE_DEVELOPMENT)
    ledger.seal()
    return Decision.objects.get(request=asked)


def test_a_decision_has_a_receipt_that_holds_without_the_server(decided, tmp_path):
    entry = ledger.decision_entry(decided)
    assert ledger.body(entry)["details"]["decision"] == decided.pk
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(ledger.receipt_for(entry)))
    done = subprocess.run(
        [sys.executable, "-I", "-S", verify.__file__, "receipt", path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, f"entry {entry.sealed.number} is in the ledger" in done.stdout) == (0, True), done.stdout
    made = json.loads(path.read_text())
    held = json.loads(base64.b64decode(made["entry"]["canonical"]))
    assert held["subject"]["digest"] == decided.digest


def test_an_old_receipt_is_checked_against_a_newer_checkpoint(decided, writer, told):
    mark = Checkpoint.objects.filter(size__gt=ledger.decision_entry(decided).sealed.number).last()
    made = ledger.receipt_for(ledger.decision_entry(decided), checkpoint=mark)
    later = ledger.consistency_from(mark.size)
    newest = Checkpoint.objects.first()
    assert newest.size > mark.size
    found = verify.verify_receipt(made, later=later, pins=verify.read_notes(newest.note))
    assert (found.code, found.problem) == (0, "")


def test_the_approver_gets_the_receipt_by_mail_and_that_is_an_entry(decided, carol, system):
    assert Receipt.objects.get(person=carol).sent_at is None
    assert ledger.send_due(actor=system) == {"sent": 1, "failed": 0}
    (message,) = mail.outbox
    assert message.to == [carol.email]
    name, content, _type = message.attachments[0]
    assert verify.verify_receipt(json.loads(content)).code == verify.SOUND
    assert name.endswith(".json")
    assert LedgerEntry.objects.filter(action=Action.RECEIPT_SENT, on_behalf_of=carol).count() == 1
    assert ledger.send_due(actor=system) == {"sent": 0, "failed": 0}
    assert Receipt.objects.get(person=carol).sent_at is not None


def test_a_mail_server_that_does_not_answer_is_asked_again_later(decided, carol, system, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert ledger.send_due(actor=system) == {"sent": 0, "failed": 1}
    owed = Receipt.objects.get(person=carol)
    assert "ConnectionRefusedError" in owed.problem
    assert owed.due_at > timezone.now()
    assert ledger.send_due(actor=system) == {"sent": 0, "failed": 0}, "not before it is due"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    Receipt.objects.update(due_at=timezone.now())
    assert ledger.send_due(actor=system)["sent"] == 1
    assert Receipt.objects.get(person=carol).problem == ""


def test_a_closed_account_is_sent_nothing(decided, carol, frank, system):
    people.deactivate(actor=frank, user=carol, reason="left the company")
    assert ledger.send_due(actor=system) == {"sent": 0, "failed": 0}
    assert not mail.outbox
    assert not Receipt.objects.exists()
    assert ledger.receipt_for(ledger.decision_entry(decided))


def test_two_senders_send_one_receipt(decided, system):
    from governance.services.ledger import receipts

    Receipt.objects.create(entry=LedgerEntry.objects.earliest("pk"), person=decided.approver)
    first, second = receipts._claimed(), receipts._claimed()
    one = next(first)
    other = next(second)
    assert one.pk != other.pk
    assert next(first, None) is None, "the second has taken it in between"
    assert next(second, None) is None
    assert not access.allows(decided.approver, "site.administer")
    with pytest.raises(access.Denied):
        ledger.send_due(actor=decided.approver)


def test_a_receipt_waits_for_a_checkpoint(decided, system):
    from tests.governance.services.test_ledger import force

    force("DELETE FROM governance_checkpoint WHERE size > 0")
    assert ledger.send_due(actor=system) == {"sent": 0, "failed": 0}
    assert Receipt.objects.get().sent_at is None


# Erasure


def test_erasing_an_entry_leaves_every_proof_as_it_was(told, dan, frank, tmp_path):
    entry = told[-1]
    before = ledger.receipt_for(LedgerEntry.objects.select_related("sealed").get(pk=entry.pk))
    assert ledger.erase_entry(actor=frank, entry=entry, reason="asked for by the person") == 1
    ledger.seal()
    after = LedgerEntry.objects.select_related("sealed").get(pk=entry.pk)
    assert ledger.texts_of(after) == {"reason": "(erased)"}
    assert bytes(after.canonical) == bytes(entry.canonical)
    assert ledger.verify().sound
    made = ledger.receipt_for(after)
    assert made["texts"] == {}
    assert verify.verify_receipt(before).code == verify.verify_receipt(made).code == verify.SOUND
    found = verify.verify_export(saved(ledger.begin(actor=dan, texts=True), tmp_path / "after.zip"))
    assert (found.code, found.problem) == (verify.SOUND, "")
    recorded = LedgerEntry.objects.filter(action=Action.TEXT_ERASED).get()
    assert recorded.subject_id == str(entry.pk)
    assert ledger.texts_of(recorded) == {"reason": "asked for by the person"}


def test_erasing_needs_the_right_a_reason_and_something_to_erase(told, dan, frank):
    with pytest.raises(access.Denied):
        ledger.erase_entry(actor=dan, entry=told[-1], reason="asked for by the person")
    with pytest.raises(ledger.Invalid, match="at least 10") as refused:
        ledger.erase_entry(actor=frank, entry=told[-1], reason="because ")
    assert refused.value.field == "reason"
    ledger.erase_entry(actor=frank, entry=told[-1], reason="asked for by the person")
    with pytest.raises(ledger.Invalid, match="no text"):
        ledger.erase_entry(actor=frank, entry=told[-1], reason="asked for by the person")


def test_a_person_is_anonymised_and_every_proof_stays_valid(alice, bob, frank, dan, team, tmp_path):
    made = people.create(actor=frank, email="grace@example.org", name="Grace Example")
    people.change(actor=made, user=made, name="Grace Sample", time_zone="")
    with transaction.atomic():
        ledger.record(
            Action.SIGN_IN_FAILED, actor=User.objects.system(), subject=made, texts={"email": "grace@example.org"}
        )
        # Typed wrongly by a stranger: it names them all the same, and is about nobody.
        ledger.record(Action.SIGN_IN_FAILED, actor=User.objects.system(), texts={"email": "grace@example.org"})
        mine = ledger.record(Action.APPROVAL_COMMENTED, actor=made, texts={"text": "I think so."})
    ledger.seal()
    before = saved(ledger.begin(actor=dan, texts=True), tmp_path / "before.zip")
    kept_id = made.ledger_id
    people.anonymise(actor=frank, user=made, reason="Article 17, asked for in May")
    made.refresh_from_db()
    assert (made.name, made.is_active, made.ledger_id) == ("Erased person", False, kept_id)
    assert made.email == f"erased-{kept_id}@gatehouse.invalid"
    assert not made.has_usable_password()
    assert not ErasableText.objects.filter(text__icontains="grace").exists()
    assert ledger.texts_of(mine) == {"text": "I think so."}, "what they wrote stays unless it is asked for"
    people.anonymise(actor=frank, user=made, reason="Article 17, also the comments", written=True)
    assert ledger.texts_of(LedgerEntry.objects.get(pk=mine.pk)) == {"text": "(erased)"}
    ledger.seal()
    report = ledger.verify()
    assert (report.sound, report.problems) == (True, [])
    after = saved(ledger.begin(actor=dan, texts=True), tmp_path / "after.zip")
    with zipfile.ZipFile(after) as archive:
        assert all(b"grace" not in archive.read(name).lower() for name in archive.namelist() if name != "verify.py")
    pins = verify.read_notes(Checkpoint.objects.filter(size=verify.verify_export(before).size).get().note)
    for path in (before, after):
        assert verify.verify_export(path, pins=pins).code == verify.SOUND
    assert LedgerEntry.objects.filter(action=Action.PERSON_ANONYMISED, actor=frank).count() == 2


def test_who_may_not_be_anonymised(frank, dan, alice, system):
    with pytest.raises(access.Denied):
        people.anonymise(actor=dan, user=alice, reason="asked for by the person")
    with pytest.raises(access.Denied, match="your own"):
        people.anonymise(actor=frank, user=frank, reason="asked for by the person")
    with pytest.raises(access.Denied, match="service account"):
        people.anonymise(actor=frank, user=system, reason="asked for by the person")
    with pytest.raises(people.Invalid, match="at least 10"):
        people.anonymise(actor=frank, user=alice, reason="why not")
    alice.refresh_from_db()
    assert alice.is_active
    User.objects.filter(pk=system.pk).update(is_active=False)
    system.refresh_from_db()
    with pytest.raises(access.Denied, match="service account"):
        people.anonymise(actor=frank, user=system, reason="asked for by the person")


def test_the_number_of_an_entry_is_its_place(told):
    assert SealedEntry.objects.get(entry=told[2]).number == 2
