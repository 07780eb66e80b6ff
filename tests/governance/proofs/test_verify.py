"""The stand-alone verifier: its Ed25519 and its tree against other implementations, what it says, and how it is run."""

import base64
import copy
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from governance.proofs import merkle, notes, verify
from tests.governance import ledgers

PROGRAM = Path(verify.__file__)


def write(ledger, folder):
    """Write a ledger as the folder of an export."""
    folder.mkdir(exist_ok=True)
    for name in ("manifest.json", "keys.json", "checkpoints.jsonl", "texts.jsonl", "entries.jsonl"):
        (folder / name).write_bytes(ledger.open(name).read())
    return folder


def run(*arguments):
    """Run the program as an auditor does: isolated, nothing but the standard library."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def stretch(ledger, start):
    """Return the part of a ledger from `start` on, with what proves its beginning."""
    part = copy.deepcopy(ledger)
    leaves = [bytes.fromhex(row["leaf"]) for row in ledger.rows]
    frontier = []
    for number, leaf in enumerate(leaves[:start]):
        frontier = merkle.append(frontier, number, leaf)
    part.start, part.peaks = start, [peak.hex() for peak in frontier]
    part.rows = part.rows[start:]
    part.texts = [text for text in part.texts if text["number"] >= start]
    part.marks = [mark for mark in part.marks if mark["size"] > start]
    for number, row in enumerate(ledger.rows):
        if json.loads(base64.b64decode(row["canonical"]))["action"] == verify.ROTATED:
            rotation = {
                "number": number,
                "canonical": row["canonical"],
                "path": [step.hex() for step in path_of(leaves, number)],
            }
            key = {"public": ledgers.public(ledgers.SECOND).hex(), "first_size": number + 1, "rotation": rotation}
            part.keys = [*part.keys, key]
    return part


def nodes_of(leaves):
    """Return every complete subtree of a tree."""
    nodes = {(0, index): leaf for index, leaf in enumerate(leaves)}
    height = 0
    while (height, 1) in nodes:
        for index in range(len(leaves) >> (height + 1)):
            left, right = nodes[height, 2 * index], nodes[height, 2 * index + 1]
            nodes[height + 1, index] = merkle.node_hash(left, right)
        height += 1
    return nodes


def path_of(leaves, number):
    """Return the inclusion proof of a leaf."""
    return merkle.path(merkle.inclusion_ranges(number, len(leaves)), nodes_of(leaves))


# Ed25519


def test_vectors_of_rfc_8032():
    vectors = [
        (
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
            "24655141438e7a100b",
        ),
        (
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302a"
            "eeb00d291612bb0c00",
        ),
        (
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28"
            "dc027beceea1ec40a",
        ),
    ]
    for public, message, signature in vectors:
        assert verify.PublicKey(bytes.fromhex(public)).signed(bytes.fromhex(message), bytes.fromhex(signature))


def test_signatures_are_judged_as_by_another_implementation():
    chance = random.Random(8032)
    key = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    public = key.public_key().public_bytes_raw()
    ours, theirs = verify.PublicKey(public), Ed25519PublicKey.from_public_bytes(public)
    for case in range(120):
        message = chance.randbytes(case)
        signature = bytearray(key.sign(message))
        if case % 2:
            signature[chance.randrange(64)] ^= 1 << chance.randrange(8)
        if case % 5 == 4:
            # The same s plus the order: malleable, and refused by RFC 8032.
            signature[32:] = (int.from_bytes(signature[32:], "little") + verify.L).to_bytes(33, "little")[:32]
        try:
            theirs.verify(bytes(signature), message)
            expected = True
        except InvalidSignature:
            expected = False
        assert ours.signed(message, bytes(signature)) is expected, case
    assert not ours.signed(b"", b"short")


@pytest.mark.parametrize(
    "data", [b"\xff" * 32, (2).to_bytes(32, "little"), b"\x01" + bytes(30) + b"\x80", b"\x01" * 31]
)
def test_bytes_that_are_no_point_are_no_key(data):
    with pytest.raises(ValueError, match="point"):
        verify.PublicKey(data)


# What it says about an export


def test_a_sound_ledger_with_a_change_of_key(tmp_path):
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=9)
    code, said = run(write(ledger, tmp_path / "export"), "--key", ledgers.public(ledgers.FIRST).hex())
    assert (code, "SOUND: sound up to size 17: 4 checkpoints, 5 texts" in said) == (0, True), said
    assert "as you gave it. Keys in all: 2" in said


def test_a_zip_is_read_as_it_is_and_the_first_bad_entry_is_named(tmp_path):
    ledger = ledgers.make(9, 2, 5, 9)
    ledger.rows[6]["canonical"] = base64.b64encode(b"{}").decode()
    folder = write(ledger, tmp_path / "export")
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    code, said = run(tmp_path / "export.zip")
    assert code == 1
    assert "NOT SOUND: entry 6: its bytes do not have the leaf hash" in said
    assert "Sound up to size 5." in said


def test_a_fork_and_a_tail_have_exit_codes_of_their_own(tmp_path):
    before = ledgers.make(9, 2, 5, 9)
    (tmp_path / "pin.txt").write_text("\n".join(mark["note"] for mark in before.marks))
    rewritten = copy.deepcopy(before)
    ledgers.real_key(rewritten, random.Random(1))
    code, said = run(write(rewritten, tmp_path / "fork"), "--pin", tmp_path / "pin.txt")
    assert (code, said.startswith("FORK: ")) == (3, True)
    assert run(write(before, tmp_path / "same"), "--pin", tmp_path / "pin.txt")[0] == 0
    longer = copy.deepcopy(before)
    longer.add(ledgers.body_of(9))
    code, said = run(write(longer, tmp_path / "tail"))
    assert (code, "entries from 9 on are covered by no checkpoint" in said, "Sound up to size 9" in said) == (
        4,
        True,
        True,
    )


def test_what_cannot_be_read_says_so(tmp_path):
    assert run(tmp_path / "nothing")[0] == 2
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    code, said = run(tmp_path / "broken.zip")
    assert (code, "CANNOT BE READ" in said) == (2, True)
    assert run(tmp_path, "--key", "zz")[0] == 2
    assert "Exit codes" in run("--help")[1]


def verdict(ledger, *, pins=(), key=""):
    """Verify in this process."""
    return verify.verify_export(ledger, pins=list(pins), key=key)


@pytest.mark.parametrize("start", range(17))
def test_every_stretch_proves_itself(start):
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=9)
    part = stretch(ledger, start)
    pin = next(mark["note"] for mark in ledger.marks if mark["size"] >= start)
    found = verdict(part, pins=verify.read_notes(pin), key=ledgers.public(ledgers.FIRST).hex())
    assert (found.code, found.start, found.size, found.keys) == (0, start, 17, 2), found.problem


def test_a_stretch_is_not_believed_about_what_came_before():
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=4)
    wrong_peaks = stretch(ledger, 8)
    wrong_peaks.peaks = ["00" * 32]
    assert "another root" in verdict(wrong_peaks).problem
    missing_peaks = stretch(ledger, 8)
    missing_peaks.peaks = []
    assert "where the export begins" in verdict(missing_peaks).problem
    older = verdict(stretch(ledger, 8), pins=verify.read_notes(ledger.marks[0]["note"]))
    assert (older.code, "ask for an export from 3 on" in older.problem) == (verify.UNREADABLE, True)
    not_in_tree = stretch(ledger, 8)
    not_in_tree.keys[1]["rotation"]["path"][0] = "00" * 32
    assert "rotation of the key in entry 4 is not in the tree" in verdict(not_in_tree).problem
    out_of_nowhere = stretch(ledger, 8)
    out_of_nowhere.keys = out_of_nowhere.keys[:1]
    assert "it is not signed by the key" in verdict(out_of_nowhere).problem


def changed(where, value):
    """Return a ledger in which one thing was changed: (name of the part, index, keys...)."""
    ledger = ledgers.make(9, 2, 5, 9)
    part = getattr(ledger, where[0])
    for step in where[1:-1]:
        part = part[step]
    part[where[-1]] = value
    return ledger


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        (("rows", 4, "columns", "action"), "role.granted", "entry 4: the column “action” differs"),
        (("rows", 4, "columns", "scope"), 3, "entry 4: the column “scope” differs"),
        (("rows", 4, "columns"), {}, "entry 4: its bytes are not an entry"),
        (("rows", 4, "number"), 5, "entry 4 is missing: the next one present has number 5"),
        (("texts", 1, "text"), "another", "entry 3: the text “reason” is not what was committed to"),
        (("texts", 1, "number"), 99, "belongs to entry 99, which is not here"),
        (("texts", 1, "name"), "note", "entry 3: the text “note” is not what was committed to"),
        (("marks", 1, "note"), "nothing", "is no signed note"),
        (("marks", 1, "size"), 4, "speaks of another tree"),
    ],
)
def test_each_contradiction_is_named(where, value, sentence):
    found = verdict(changed(where, value))
    assert (found.code, sentence in found.problem) == (verify.WRONG, True), found.problem


def test_checkpoints_must_be_in_order_and_within_the_entries():
    ledger = ledgers.make(9, 2, 5, 9)
    ledger.marks = [ledger.marks[0], ledger.marks[0], *ledger.marks[1:]]
    assert "out of order" in verdict(ledger).problem
    ledger = ledgers.make(9, 2, 5, 9)
    ledger.rows.pop()
    assert "speaks of 9 entries; here are those from 0 to 7" in verdict(ledger).problem


def test_a_checkpoint_of_another_ledger_is_refused():
    ledger = ledgers.make(9, 9)
    mark = ledger.marks[0]
    body = notes.text("another.test/ledger", 9, bytes.fromhex(mark["root"]))
    mark["note"] = notes.sign(body, "another.test/ledger", ledgers.FIRST)
    assert "is of another ledger, another.test/ledger" in verdict(ledger).problem


def test_a_pin_signed_by_somebody_else_is_a_fork():
    ledger = ledgers.make(9, 9)
    body = notes.text(ledgers.ORIGIN, 9, bytes.fromhex(ledger.marks[0]["root"]))
    pin = notes.sign(body, ledgers.ORIGIN, ledgers.OTHER)
    found = verdict(ledger, pins=verify.read_notes(pin))
    assert (found.code, "not signed by the key" in found.problem) == (verify.FORK, True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"old": ledgers.public(ledgers.OTHER).hex()}, "hands on a key that did not sign before it"),
        ({"signed_by_old": "00" * 64}, "without the signatures of both"),
        ({"signed_by_new": "00" * 64}, "without the signatures of both"),
        ({"new": "nothing"}, "does not say to which"),
    ],
)
def test_a_key_is_handed_on_by_both_or_not_at_all(change, sentence):
    ledger = ledgers.make(9, 9, rotated=4)
    held = json.loads(base64.b64decode(ledger.rows[4]["canonical"]))
    held["details"] |= change
    ledger.rows[4] = ledgers.row_of(4, json.dumps(held).encode())
    ledger.seal(9)
    assert sentence in verdict(ledger).problem


def test_an_unknown_format_and_a_broken_signature_line_are_refused():
    ledger = ledgers.make(3, 3)
    ledger.open = lambda name: __import__("io").BytesIO(b'{"format": "other"}' if name == "manifest.json" else b"[]")  # type: ignore[method-assign]
    assert verdict(ledger).code == verify.UNREADABLE
    note = ledgers.make(3, 3).marks[0]["note"].rstrip("\n")
    # The last character before the padding carries bits that no byte uses: the note has one form only.
    spoiled = note[:-2] + chr(ord(note[-2]) + 1) + note[-1]
    with pytest.raises(ValueError, match="one form"):
        verify.read_note(spoiled)


# Receipts


def receipt(ledger, number, size=None):
    """Return the receipt of an entry under one of the checkpoints."""
    mark = next(mark for mark in ledger.marks if size in (None, mark["size"]) and mark["size"] > number)
    rows = ledger.rows[: mark["size"]]
    leaves = [bytes.fromhex(row["leaf"]) for row in rows]
    return {
        "format": verify.RECEIPT,
        "origin": ledgers.ORIGIN,
        "entry": {key: rows[number][key] for key in ("number", "canonical", "leaf")},
        "texts": {
            text["name"]: {"salt": text["salt"], "text": text["text"]}
            for text in ledger.texts
            if text["number"] == number
        },
        "path": [step.hex() for step in path_of(leaves, number)],
        "checkpoint": mark["note"],
        "keys": keys(ledger, leaves),
    }


def keys(ledger, leaves):
    """Return the keys up to the size of these leaves."""
    found = list(ledger.keys)
    for number, row in enumerate(ledger.rows[: len(leaves)]):
        if json.loads(base64.b64decode(row["canonical"]))["action"] == verify.ROTATED:
            path = [step.hex() for step in path_of(leaves, number)]
            rotation = {"number": number, "canonical": row["canonical"], "path": path}
            found.append({"public": "", "first_size": number + 1, "rotation": rotation})
    return found


def consistency(ledger, old, new):
    """Return the consistency proof between two sizes."""
    leaves = [bytes.fromhex(row["leaf"]) for row in ledger.rows[:new]]
    path = merkle.path(merkle.consistency_ranges(old, new), nodes_of(leaves))
    note = next(mark["note"] for mark in ledger.marks if mark["size"] == new)
    return {
        "format": verify.CONSISTENCY,
        "old_size": old,
        "path": [step.hex() for step in path],
        "checkpoint": note,
        "keys": keys(ledger, leaves),
    }


def test_a_receipt_is_checked_offline_and_against_a_later_checkpoint(tmp_path):
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=9)
    files = {
        "receipt.json": json.dumps(receipt(ledger, 6)),
        "later.json": json.dumps(consistency(ledger, 8, 17)),
        "pin.txt": ledger.marks[-1]["note"],
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    code, said = run("receipt", tmp_path / "receipt.json", "--key", ledgers.public(ledgers.FIRST).hex())
    assert (code, "entry 6 is in the ledger, under the signed checkpoint of 8 entries" in said) == (0, True), said
    both = ("--later", tmp_path / "later.json", "--pin", tmp_path / "pin.txt")
    assert run("receipt", tmp_path / "receipt.json", *both)[0] == 0
    code, said = run("receipt", tmp_path / "receipt.json", "--pin", tmp_path / "pin.txt")
    assert (code, "get a consistency proof from 8 to 17" in said) == (2, True)


@pytest.mark.parametrize("number", range(17))
def test_every_entry_has_a_receipt_that_holds(number):
    ledger = ledgers.make(17, 17, rotated=9)
    found = verify.verify_receipt(receipt(ledger, number))
    assert (found.code, found.start, found.size, found.keys) == (0, number, 17, 2), found.problem


def spoil(change):
    """Return the verdict on a receipt of entry 6 in which something was changed."""
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=4)
    made = receipt(ledger, 6)
    later = consistency(ledger, 8, 17)
    change(made, later)
    return verify.verify_receipt(made, later=later)


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda made, later: made.update(format="other"), 2, "no receipt that this verifier knows"),
        (lambda made, later: made["entry"].update(leaf="00"), 1, "leaf hash"),
        (lambda made, later: made["entry"].update(number=5), 1, "not in the tree"),
        (lambda made, later: made["path"].pop(), 1, "another length"),
        (lambda made, later: made["texts"]["reason"].update(text="no"), 1, "not what was committed to"),
        (
            lambda made, later: made["keys"][1]["rotation"]["path"].reverse(),
            1,
            "rotation in entry 4 is not in the tree",
        ),
        (lambda made, later: made["keys"].pop(), 1, "not signed by the key"),
        (lambda made, later: made.pop("path"), 2, "cannot be read"),
        (lambda made, later: later.update(format="other"), 2, "no consistency proof"),
        (lambda made, later: later.update(old_size=7), 2, "begins at 7"),
        (lambda made, later: later["path"].reverse(), 3, "does not begin with the receipt's tree"),
        (lambda made, later: later["path"].pop(), 1, "another length"),
        (lambda made, later: later["keys"].pop(), 1, "later checkpoint of 17 entries: it is not signed"),
    ],
)
def test_a_receipt_that_was_changed_is_refused(change, code, sentence):
    found = spoil(change)
    assert (found.code, sentence in found.problem) == (code, True), found.problem


def test_a_receipt_of_a_fork_is_found_against_the_pin():
    ledger = ledgers.make(9, 5, 9)
    pin = verify.read_notes(ledger.marks[0]["note"])
    rewritten = copy.deepcopy(ledger)
    rewritten.rows[0] = ledgers.row_of(0, _other_bytes(rewritten.rows[0]))
    rewritten.seal(5, 9)
    found = verify.verify_receipt(receipt(rewritten, 3, 5), pins=pin)
    assert (found.code, "a fork" in found.problem) == (verify.FORK, True)
    assert verify.verify_receipt(receipt(ledger, 3, 5), pins=pin).code == verify.SOUND


def _other_bytes(row):
    held = json.loads(base64.b64decode(row["canonical"]))
    held["nonce"] = "f" * 16
    return json.dumps(held).encode()


# The command line, in this process


def test_the_program_says_the_same_when_it_is_called(tmp_path, capsys, monkeypatch):
    ledger = ledgers.make(17, 3, 8, 12, 17, rotated=9)
    folder = write(ledger, tmp_path / "export")
    (tmp_path / "pin.txt").write_text("\n\n".join(mark["note"] for mark in ledger.marks))
    assert verify.main([str(folder), "--pin", str(tmp_path / "pin.txt")]) == verify.SOUND
    assert "compare it with the one you know" in capsys.readouterr().out
    write(stretch(ledger, 8), folder)
    monkeypatch.setattr(sys, "argv", ["verify.py", str(folder)])
    assert verify.main() == verify.SOUND
    assert "from entry 8 on, sound up to size 17" in capsys.readouterr().out
    (folder / "entries.jsonl").write_bytes(b"")
    assert verify.main([str(folder)]) == verify.WRONG
    assert "Sound up to size 8." in capsys.readouterr().out
    (tmp_path / "receipt.json").write_text(json.dumps(receipt(ledger, 6)))
    (tmp_path / "later.json").write_text(json.dumps(consistency(ledger, 8, 17)))
    key = ledgers.public(ledgers.FIRST).hex()
    given = ["receipt", str(tmp_path / "receipt.json"), "--key", key, "--later", str(tmp_path / "later.json")]
    assert verify.main(given) == verify.SOUND
    assert "entry 6 is in the ledger" in capsys.readouterr().out
    for wrong in ([str(tmp_path / "none")], ["receipt", str(tmp_path / "none")], [str(folder), "--key", "zz"]):
        assert verify.main(wrong) == verify.UNREADABLE
        assert "CANNOT BE READ" in capsys.readouterr().out


def test_lines_that_are_no_signature_are_passed_over():
    note = ledgers.make(3, 3).marks[0]["note"]
    spoken = verify.read_note(note + "a line about it\n— not base64 at all\n")
    assert len(spoken.signatures) == 1
    with pytest.raises(ValueError, match="length"):
        verify.both_roots(1, 2, b"", [b"", b""])


def test_a_proof_that_is_too_long_is_no_proof():
    ledger = ledgers.make(9, 5, 9)
    later = consistency(ledger, 5, 9)
    later["path"].append("00" * 32)
    found = verify.verify_receipt(receipt(ledger, 3, 5), later=later)
    assert (found.code, "another length" in found.problem) == (verify.WRONG, True)
