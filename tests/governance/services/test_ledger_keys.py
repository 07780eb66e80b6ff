"""Signing keys: handed on by an entry that both sign, and never read by anybody but the sequencer."""

import io
import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.urls import reverse

from governance.actions import Action
from governance.models import Checkpoint, LedgerEntry, PendingEntry, SigningKey, User
from governance.proofs import notes
from governance.services import ledger
from governance.services.ledger import keys
from tests.personas import make_person

pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def key(tmp_path, settings):
    """Give the test a key of its own."""
    settings.LEDGER_KEY_FILE = tmp_path / "ledger" / "ledger.key"
    return ledger.ensure_key()


@pytest.fixture
def writer(db):
    """Return a person who acts."""
    return make_person("grace")


def act(writer, times=1):
    """Record something, and seal it."""
    for _ in range(times):
        ledger.record(Action.SIGNED_IN, actor=writer)
    ledger.seal()


def test_a_rotation_is_an_entry_that_both_keys_sign(writer, key):
    act(writer, 3)
    old = ledger.public_key()
    before = PendingEntry.objects.count()
    ledger.record(Action.SIGNED_IN, actor=writer)  # waits; the old key still covers it
    new = ledger.rotate_key(actor=User.objects.system())
    assert before == 0
    assert new != old
    assert ledger.public_key() == keys.published_key() == new
    entry = LedgerEntry.objects.get(action=Action.LEDGER_KEY_ROTATED)
    rotation = keys.Rotation.of(ledger.body(entry)["details"])
    assert (rotation.old, rotation.new) == (old, new)
    assert rotation.problem(keys.settings.LEDGER_ORIGIN, old) == ""
    act(writer, 2)
    by = {}
    for mark in Checkpoint.objects.order_by("size"):
        for name, public in (("old", old), ("new", new)):
            try:
                notes.verify(mark.note, keys.settings.LEDGER_ORIGIN, public)
                by[mark.size] = name
            except notes.BadNote:
                continue
    first = SigningKey.objects.get(rotation=entry).first_size
    assert by == {size: "new" if size >= first else "old" for size in by}
    assert set(by.values()) == {"old", "new"}
    report = ledger.verify()
    assert (report.sound, report.size) == (True, Checkpoint.objects.first().size)
    assert sorted(path.name for path in key.parent.iterdir()) == [
        "ledger.key",
        f"ledger.key.{old.hex()[:16]}",
        "ledger.pub",
    ]
    assert all(os.stat(path).st_mode & 0o777 == 0o600 for path in key.parent.glob("ledger.key*"))


def test_several_rotations_are_followed_from_the_first_key(writer, capsys):
    act(writer)
    first = ledger.public_key()
    for _ in range(3):
        call_command("seal_ledger", rotate_key=True)
        act(writer)
    assert "signed from now on" in capsys.readouterr().out
    assert ledger.verify(first_key=first).sound
    assert ledger.verify().sound
    found = ledger.verify(first_key=ledger.public_key())
    assert "no signature by" in found.problems[0]


def test_a_rotation_that_stopped_before_the_files_changed_is_finished_by_the_next_sealing(writer, key, monkeypatch):
    act(writer)
    with monkeypatch.context() as patched:
        patched.setattr(keys, "promote", lambda: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(OSError, match="no space"):
            ledger.rotate_key(actor=User.objects.system())
    assert (key.parent / "ledger.key.next").exists()
    assert ledger.verify().sound
    act(writer)
    assert not (key.parent / "ledger.key.next").exists()
    assert keys.published_key() == ledger.public_key()
    assert ledger.verify().sound


def test_what_an_attempt_left_behind_is_replaced(writer, key):
    act(writer)
    (key.parent / "ledger.key.next").write_text("00" * 32)
    ledger.rotate_key(actor=User.objects.system())
    act(writer)
    assert ledger.verify().sound


def test_another_key_signs_nothing(writer, key):
    act(writer)
    key.unlink()
    ledger.ensure_key()
    ledger.record(Action.SIGNED_IN, actor=writer)
    with pytest.raises(ledger.LedgerError, match="Restore the last one"):
        ledger.seal()
    with pytest.raises(CommandError, match="Restore the last one"):
        call_command("seal_ledger", rotate_key=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"old": "00" * 32}, "did not sign before it"),
        ({"signed_by_old": "00" * 64}, "the old key did not sign it"),
        ({"signed_by_new": "00" * 64}, "the new key did not sign it"),
        ({"new": "zz"}, "does not say to which"),
        ({"new": None}, "does not say to which"),
    ],
)
def test_verify_finds_a_key_that_was_not_handed_on_by_both(writer, change, sentence):
    act(writer)
    old, new = keys.signing_key(), notes.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    publics = [one.public_key().public_bytes_raw() for one in (old, new)]
    statement = notes.rotation(keys.settings.LEDGER_ORIGIN, *publics)
    details = {
        "old": publics[0].hex(),
        "new": publics[1].hex(),
        "signed_by_old": old.sign(statement).hex(),
        "signed_by_new": new.sign(statement).hex(),
    }
    ledger.record(Action.LEDGER_KEY_ROTATED, actor=writer, details=details | change)
    ledger.seal()
    assert sentence in ledger.verify().problems[0]


def test_verify_finds_a_table_of_keys_that_is_not_what_the_entries_say(writer):
    act(writer)
    SigningKey.objects.create(public=b"\x05" * 32, first_size=1)
    assert "table of keys" in ledger.verify().problems[0]


def test_verify_finds_a_ledger_that_another_key_signed_from_the_beginning(writer, key):
    act(writer)
    (key.parent / "ledger.pub").write_text("ab" * 32)
    assert "other keys than the one published" in ledger.verify().problems[0]


def test_an_older_ledger_without_a_table_of_keys_is_verified_by_the_published_one(writer):
    assert ledger.verify().sound  # nothing is sealed yet
    assert ledger.public_key() == keys.published_key()
    act(writer)
    assert SigningKey.objects.get().first_size == 0


def test_without_any_key_it_says_what_to_do(db, tmp_path, settings):
    settings.LEDGER_KEY_FILE = tmp_path / "none.key"
    with pytest.raises(ledger.NoKey, match="--ensure-key"):
        ledger.public_key()
    assert keys.published_key() is None


def test_keys_are_append_only(writer):
    act(writer)
    for act_ in (
        lambda: SigningKey.objects.update(first_size=9),
        lambda: SigningKey.objects.all()._raw_delete("default"),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            act_()


def test_the_web_process_needs_no_private_key(writer, key, client, dan, monkeypatch):
    act(writer)
    entry = LedgerEntry.objects.order_by("pk").first()
    key.unlink()

    def refuse(path):
        raise AssertionError(f"the web process read {path}")

    monkeypatch.setattr(keys, "_read", refuse)
    client.force_login(dan)
    pages = [
        reverse("governance:compliance"),
        reverse("governance:ledger"),
        reverse("governance:ledger_entry", args=[entry.pk]),
        reverse("governance:ledger_receipt", args=[entry.pk]),
        "/api/v1/ledger/",
        "/api/v1/ledger/checkpoint/",
        f"/api/v1/ledger/{entry.pk}/receipt/",
        "/api/v1/ledger/consistency/?from=1",
        "/readyz",
    ]
    for page in pages:
        assert client.get(page).status_code == 200, page
    assert client.post(reverse("governance:verify"), follow=True).status_code == 200
    answer = client.post(reverse("governance:ledger_archive"), {"start": 0})
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content)[:2] == b"PK"


def test_a_process_that_may_not_read_the_private_key_still_verifies(writer, key):
    act(writer)
    os.chmod(key, 0o000)
    if os.geteuid() != 0:
        with pytest.raises(ledger.NoKey):
            keys.signing_key()
    else:
        # Root reads everything: look as another user does.
        code = f"import os; os.setgid(65534); os.setuid(65534); open({str(key)!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "PermissionError" in done.stderr
    assert ledger.verify().sound
    out = io.StringIO()
    call_command("verify_ledger", stdout=out)
    assert "is sound" in out.getvalue()
