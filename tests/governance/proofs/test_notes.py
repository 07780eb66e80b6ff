"""Signed checkpoints: what was signed verifies, and every kind of change is noticed."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.proofs import notes

ORIGIN = "example.org/ledger"
ROOT = bytes(range(32))


@pytest.fixture(scope="module")
def key():
    return Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


@pytest.fixture(scope="module")
def public(key):
    return key.public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def note(key):
    return notes.sign(notes.text(ORIGIN, 42, ROOT), ORIGIN, key)


def test_a_signed_note_gives_back_what_was_signed(note, public):
    assert notes.verify(note, ORIGIN, public) == (ORIGIN, 42, ROOT)


def test_the_note_has_the_published_form(note, public):
    body, signature = note.split("\n\n")
    assert body.splitlines() == [ORIGIN, "42", base64.b64encode(ROOT).decode()]
    dash, name, blob = signature.rstrip("\n").split(" ")
    assert (dash, name) == ("—", ORIGIN)
    raw = base64.b64decode(blob)
    assert raw[:4] == notes.key_id(ORIGIN, public)
    assert len(raw) == 4 + 64


def test_another_key_under_the_same_name_is_refused(note):
    other = Ed25519PrivateKey.from_private_bytes(b"\x08" * 32).public_key().public_bytes_raw()
    with pytest.raises(notes.BadNote, match="no signature by"):
        notes.verify(note, ORIGIN, other)


def test_another_name_is_refused(note, public):
    with pytest.raises(notes.BadNote, match="no signature by"):
        notes.verify(note, "other.example/ledger", public)


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.replace("\n42\n", "\n43\n"),
        lambda n: n.replace(ORIGIN + "\n42", "other.example/ledger\n42"),
        lambda n: n.replace(base64.b64encode(ROOT).decode(), base64.b64encode(ROOT[::-1]).decode()),
        lambda n: n.split("\n\n")[0],
        lambda n: n.replace("— ", "- "),
        lambda n: n[:-6] + "AAAA==\n",
        lambda n: n.rsplit(" ", 1)[0] + " !!!!\n",
        lambda n: "",
    ],
    ids=["size", "origin", "root", "no-signature", "dash", "signature", "not-base64", "empty"],
)
def test_every_change_of_the_note_is_refused(note, public, change):
    changed = change(note)
    assert changed != note
    with pytest.raises(notes.BadNote):
        notes.verify(changed, ORIGIN, public)


def test_a_signed_text_that_is_no_checkpoint_is_refused(key, public):
    for body in ("only one line\n", f"{ORIGIN}\nmany\nAAAA\n", f"{ORIGIN}\n7\nnot base64!\n"):
        with pytest.raises(notes.BadNote):
            notes.verify(notes.sign(body, ORIGIN, key), ORIGIN, public)


def test_a_note_is_read_without_asking_who_signed_it():
    key = notes.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    note = notes.sign(notes.text("a.test", 7, b"\x05" * 32), "a.test", key)
    assert notes.read(note) == ("a.test", 7, b"\x05" * 32)
    with pytest.raises(notes.BadNote, match="signature block"):
        notes.read("a.test\n7\n")
    assert notes.split(note + "\n" + note) == [note, note]
    assert notes.split("") == []
