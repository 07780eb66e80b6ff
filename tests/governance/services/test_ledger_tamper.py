"""Tampering with the database itself, past its triggers: the site's verification and the stand-alone one agree."""

import json

import pytest
from django.conf import settings
from django.db import connection

from governance.actions import Action
from governance.models import Checkpoint, LedgerEntry, SigningKey
from governance.proofs import canonical, merkle, notes, verify
from governance.services import ledger
from governance.services.ledger import export, keys
from tests.governance.services.test_ledger import force
from tests.personas import make_person

pytestmark = pytest.mark.postgres

OTHER = notes.Ed25519PrivateKey.from_private_bytes(b"\x0b" * 32)
TABLES = ("ledgerentry", "sealedentry", "checkpoint", "erasabletext", "signingkey", "treetile", "pendingentry")
TABLES = tuple(f"governance_{name}" for name in TABLES)


def do(statement, *parameters):
    """Change the database as its owner can."""
    force(statement, *parameters, tables=TABLES)


@pytest.fixture
def state(db, tmp_path, settings):
    """Return (numbered entries, kept checkpoints, first key) of a ledger with three checkpoints."""
    settings.LEDGER_KEY_FILE = tmp_path / "ledger" / "ledger.key"
    ledger.ensure_key()
    writer = make_person("dan")
    ledger.seal()
    for count in (6, 4):
        for number in range(count):
            ledger.record(Action.PERSON_CHANGED, actor=writer, subject=writer, texts={"reason": f"because of {number}"})
        ledger.seal()
    entries = list(LedgerEntry.objects.order_by("sealed__number"))
    return entries, Checkpoint.objects.first().note, keys.published_key()


def rewrite(entry, **changed):
    """Give an entry other content, with everything beside it made to fit."""
    held = ledger.body(entry) | changed
    data = canonical.encode(held)
    do(
        "UPDATE governance_ledgerentry SET canonical = %s, leaf_hash = %s WHERE id = %s",
        data,
        merkle.leaf_hash(data),
        entry.pk,
    )


def resign(key):
    """Compute all roots anew and sign them with this key."""
    frontier = []
    leaves = LedgerEntry.objects.exclude(sealed=None).order_by("sealed__number").values_list("leaf_hash", flat=True)
    marks = {mark.size: mark for mark in Checkpoint.objects.all()}
    for number, leaf in enumerate(leaves, 1):
        frontier = merkle.append(frontier, number - 1, bytes(leaf))
        if number in marks:
            root = merkle.root(frontier)
            note = notes.sign(notes.text(settings.LEDGER_ORIGIN, number, root), settings.LEDGER_ORIGIN, key)
            do(
                "UPDATE governance_checkpoint SET root = %s, frontier = %s, note = %s WHERE id = %s",
                root,
                json.dumps([peak.hex() for peak in frontier]),
                note,
                marks[number].pk,
            )


def edit(entries):
    rewrite(entries[4], details={"edited": 1})


def flip(entries):
    data = bytearray(bytes(entries[4].canonical))
    data[len(data) // 2] ^= 1
    do("UPDATE governance_ledgerentry SET canonical = %s WHERE id = %s", bytes(data), entries[4].pk)


def delete(entries):
    do("DELETE FROM governance_sealedentry WHERE number = 4")


def insert(entries):
    for number in range(len(entries) - 1, 4, -1):
        do("UPDATE governance_sealedentry SET number = %s WHERE number = %s", number + 1, number)
    entry = ledger.record(Action.SIGNED_IN, actor=entries[0].actor)
    do("DELETE FROM governance_pendingentry WHERE entry_id = %s", entry.pk)
    do("INSERT INTO governance_sealedentry (number, entry_id) VALUES (5, %s)", entry.pk)


def swap(entries):
    do("UPDATE governance_sealedentry SET number = -1 WHERE number = 4")
    do("UPDATE governance_sealedentry SET number = 4 WHERE number = 5")
    do("UPDATE governance_sealedentry SET number = 5 WHERE number = -1")


def duplicate(entries):
    rows = "at, action, actor_id, on_behalf_of_id, subject_type, subject_id, subject_digest, scope_id, request_id"
    do(
        f"INSERT INTO governance_ledgerentry ({rows}, canonical, leaf_hash) "  # noqa: S608
        f"SELECT {rows}, canonical, leaf_hash FROM governance_ledgerentry WHERE id = %s",
        entries[4].pk,
    )
    copy = LedgerEntry.objects.order_by("-pk").first()
    do("DELETE FROM governance_sealedentry WHERE number = 5")
    do("INSERT INTO governance_sealedentry (number, entry_id) VALUES (5, %s)", copy.pk)


def truncate(entries):
    do("DELETE FROM governance_sealedentry WHERE number >= 9")


def roll_back(entries):
    gone = [entry.pk for entry in entries[7:]]
    do("DELETE FROM governance_checkpoint WHERE size > 7")
    for pk in gone:
        do("DELETE FROM governance_sealedentry WHERE entry_id = %s", pk)
        do("DELETE FROM governance_erasabletext WHERE entry_id = %s", pk)
        do("DELETE FROM governance_ledgerentry WHERE id = %s", pk)


def reserialise(entries):
    data = json.dumps(ledger.body(entries[4]), indent=1).encode()
    do(
        "UPDATE governance_ledgerentry SET canonical = %s, leaf_hash = %s WHERE id = %s",
        data,
        merkle.leaf_hash(data),
        entries[4].pk,
    )


def sign_badly(entries):
    mark = Checkpoint.objects.get(size=7)
    wrong = notes.sign(notes.text(settings.LEDGER_ORIGIN, 7, bytes(mark.root)), settings.LEDGER_ORIGIN, OTHER)
    do("UPDATE governance_checkpoint SET note = %s WHERE size = 7", wrong)


def resize(entries):
    mark = Checkpoint.objects.get(size=7)
    do("UPDATE governance_checkpoint SET note = %s WHERE size = 7", mark.note.replace("\n7\n", "\n6\n"))


def other_key(entries):
    edit(entries)
    resign(OTHER)
    do("UPDATE governance_signingkey SET public = %s", OTHER.public_key().public_bytes_raw())


def real_key(entries):
    edit(entries)
    resign(keys.signing_key())


def tail(entries):
    do("DELETE FROM governance_checkpoint WHERE size > 7")


KINDS = [edit, flip, delete, insert, swap, duplicate, truncate, roll_back, reserialise, sign_badly, resize]
KINDS += [other_key, real_key, tail]


def exported():
    """Return what the stand-alone verifier reads: an export of everything that is numbered, made by the site itself."""
    size = max(Checkpoint.objects.first().size, 13)
    mark = Checkpoint.objects.first()
    mark.size = size
    return export.Export(0, mark, True)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_both_verifiers_find_it(state, kind, tmp_path, monkeypatch):
    entries, kept, key = state
    assert ledger.verify(pins=ledger.pins_of(kept)).sound
    # What the governed tables ask for at commit is asked now, while the entries are there.
    connection.check_constraints()
    kind(entries)
    report = ledger.verify(pins=ledger.pins_of(kept), first_key=key)
    assert not report.sound
    # Anyone may export what is left; the first key is known to the auditor from elsewhere.
    monkeypatch.setattr(export.receipts, "keys_until", lambda mark: [
        {"public": str(row), "first_size": row.first_size, "rotation": None} for row in SigningKey.objects.all()
    ])  # fmt: skip
    path = tmp_path / "tampered.zip"
    path.write_bytes(b"".join(export.pieces(exported())))
    verdict = verify.verify_export(path, pins=verify.read_notes(kept), key=key.hex())
    assert verdict.code != verify.SOUND
    if kind in (roll_back, real_key):
        assert report.forked
        assert verdict.code == verify.FORK
        assert ledger.verify().sound, "without what was kept nothing tells"
        assert verify.verify_export(path).code == verify.SOUND
    else:
        assert not ledger.verify().sound or kind is other_key
        assert verdict.size == report.size, (verdict.problem, report.problems)
