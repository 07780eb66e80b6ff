"""Small ledgers outside of any database, in the form of an export, and fourteen ways to tamper with one."""

from __future__ import annotations

import base64
import copy
import io
import json
import random
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from governance.proofs import canonical, merkle, notes, verify

ORIGIN = "gatehouse.test/ledger"
FIRST, SECOND, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
ACTOR = "00000000-0000-4000-8000-000000000001"


def public(key: Ed25519PrivateKey) -> bytes:
    """Return the public half."""
    return key.public_key().public_bytes_raw()


def body_of(number: int, *, action: str = "person.changed", details: dict | None = None, texts: dict | None = None):
    """Return the body of an entry as the ledger writes it."""
    return {
        "v": 1,
        "at": f"2026-01-31T08:00:{number % 60:02d}.000000Z",
        "action": action,
        "actor": ACTOR,
        "on_behalf_of": None,
        "subject": {"type": "governance.user", "id": str(number), "digest": ""},
        "scope": None,
        "request": "",
        "details": details or {"number": number},
        "texts": texts or {},
        "nonce": f"{number:016x}",
    }


@dataclass
class Ledger(verify.Source):
    """An export held in memory, which can be changed and checked."""

    start: int = 0
    peaks: list[str] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    texts: list[dict] = field(default_factory=list)
    marks: list[dict] = field(default_factory=list)
    keys: list[dict] = field(default_factory=list)

    def open(self, name: str):
        """Return a member."""
        lines = {"entries.jsonl": self.rows, "texts.jsonl": self.texts, "checkpoints.jsonl": self.marks}
        if name in lines:
            return io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines[name]))
        whole = {
            "manifest.json": {"format": verify.EXPORT, "origin": ORIGIN, "from": self.start, "peaks": self.peaks},
            "keys.json": self.keys,
        }
        return io.BytesIO(json.dumps(whole[name]).encode())

    def add(self, held: dict) -> None:
        """Append an entry."""
        self.rows.append(row_of(len(self.rows), canonical.encode(held)))

    def seal(self, *sizes: int, keys=None) -> None:
        """Sign checkpoints at these sizes anew, each with the key of its time or the one given."""
        self.marks = []
        frontier: list[bytes] = []
        key = FIRST
        for number, row in enumerate(self.rows):
            held = json.loads(base64.b64decode(row["canonical"]))
            key = SECOND if held.get("action") == verify.ROTATED else key
            frontier = merkle.append(frontier, number, bytes.fromhex(row["leaf"]))
            if number + 1 in sizes:
                root = merkle.root(frontier)
                note = notes.sign(notes.text(ORIGIN, number + 1, root), ORIGIN, keys or key)
                self.marks.append({"size": number + 1, "root": root.hex(), "note": note})


def row_of(number: int, data: bytes) -> dict:
    """Return the line of an export for these bytes, everything beside them fitting."""
    held = json.loads(data)
    return {
        "number": number,
        "canonical": base64.b64encode(data).decode(),
        "leaf": merkle.leaf_hash(data).hex(),
        "columns": {name: held[name] for name in verify.COLUMNS},
    }


def make(size: int, *sizes: int, rotated: int | None = None) -> Ledger:
    """Return a sound ledger with checkpoints at `sizes`, handed to the second key in entry `rotated`."""
    ledger = Ledger()
    for number in range(size):
        if number == rotated:
            statement = notes.rotation(ORIGIN, public(FIRST), public(SECOND))
            details = {
                "old": public(FIRST).hex(),
                "new": public(SECOND).hex(),
                "signed_by_old": FIRST.sign(statement).hex(),
                "signed_by_new": SECOND.sign(statement).hex(),
            }
            ledger.add(body_of(number, action=verify.ROTATED, details=details))
            continue
        salt, text = bytes([number % 256]) * 16, f"because of {number}"
        texts = {"reason": canonical.commitment(salt, text)} if number % 3 == 0 else {}
        if texts:
            ledger.texts.append({"number": number, "name": "reason", "salt": salt.hex(), "text": text})
        ledger.add(body_of(number, texts=texts))
    ledger.keys = [{"public": public(FIRST).hex(), "first_size": 0, "rotation": None}]
    ledger.seal(*sizes)
    return ledger


# Tampering. Each takes a ledger (a copy of its own) and a source of chance; `pin` says that it shows only against a
# checkpoint that was kept, which is the last one of the sound ledger.


def _bytes(row: dict) -> bytes:
    return base64.b64decode(row["canonical"])


def _sealed(ledger: Ledger, chance: random.Random) -> int:
    return chance.randrange(ledger.marks[-1]["size"])


def edit(ledger: Ledger, chance: random.Random) -> None:
    """Change what an entry says, with everything beside it made to fit."""
    rows = [
        row["number"] for row in ledger.rows[: ledger.marks[-1]["size"]] if row["columns"]["action"] != verify.ROTATED
    ]
    number = chance.choice(rows)
    held = json.loads(_bytes(ledger.rows[number]))
    where = chance.choice(["details", "actor", "at", "scope", "nonce"])
    held[where] = {"details": {"number": 999_999}, "actor": ACTOR[:-1] + "2", "at": "2020-01-01T00:00:00.000000Z"}.get(
        where, 77 if where == "scope" else "0"
    )
    ledger.rows[number] = row_of(number, canonical.encode(held))


def flip(ledger: Ledger, chance: random.Random) -> None:
    """Flip one bit of an entry's bytes, leaf hash or text, of a root, or of a signature."""
    what = chance.choice(["canonical", "leaf", "text", "salt", "root"])
    if what in {"text", "salt"}:
        row = chance.choice(ledger.texts)
        data = bytearray(row["text"].encode() if what == "text" else bytes.fromhex(row["salt"]))
        _flip_bit(data, chance, bits=7)
        row[what] = data.decode("latin-1") if what == "text" else data.hex()
    elif what == "root":
        mark = chance.choice(ledger.marks)
        data = bytearray(bytes.fromhex(mark["root"]))
        _flip_bit(data, chance)
        mark["root"] = data.hex()
    else:
        row = ledger.rows[_sealed(ledger, chance)]
        data = bytearray(_bytes(row) if what == "canonical" else bytes.fromhex(row["leaf"]))
        _flip_bit(data, chance)
        row[what] = base64.b64encode(data).decode() if what == "canonical" else data.hex()


def _flip_bit(data: bytearray, chance: random.Random, bits: int = 8) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(bits)


def delete(ledger: Ledger, chance: random.Random) -> None:
    """Take an entry out; sometimes close the gap in the numbers."""
    number = _sealed(ledger, chance)
    del ledger.rows[number]
    ledger.texts = [text for text in ledger.texts if text["number"] != number]
    if chance.random() < 0.5:
        _renumber(ledger, number)


def insert(ledger: Ledger, chance: random.Random) -> None:
    """Put an entry in between and move the others on."""
    number = _sealed(ledger, chance)
    ledger.rows.insert(number, row_of(number, canonical.encode(body_of(5000 + number))))
    for text in ledger.texts:
        text["number"] += text["number"] >= number
    for at, row in enumerate(ledger.rows):
        row["number"] = at


def _renumber(ledger: Ledger, gone: int) -> None:
    for at, row in enumerate(ledger.rows):
        row["number"] = at
    for text in ledger.texts:
        text["number"] -= text["number"] > gone


def swap(ledger: Ledger, chance: random.Random) -> None:
    """Let two entries change places."""
    one, other = chance.sample(range(ledger.marks[-1]["size"]), 2)
    rows = ledger.rows
    rows[one], rows[other] = rows[other], rows[one]
    rows[one]["number"], rows[other]["number"] = one, other
    for text in ledger.texts:
        text["number"] = {one: other, other: one}.get(text["number"], text["number"])
    ledger.texts.sort(key=lambda text: text["number"])


def duplicate(ledger: Ledger, chance: random.Random) -> None:
    """Let an entry stand twice; sometimes with the numbers after it moved on."""
    number = _sealed(ledger, chance)
    ledger.rows.insert(number + 1, copy.deepcopy(ledger.rows[number]))
    if chance.random() < 0.5:
        for at, row in enumerate(ledger.rows):
            row["number"] = at
        for text in ledger.texts:
            text["number"] += text["number"] > number


def truncate(ledger: Ledger, chance: random.Random) -> None:
    """Cut off the last entries and leave their checkpoint."""
    size = _sealed(ledger, chance)
    ledger.rows = ledger.rows[:size]
    ledger.texts = [text for text in ledger.texts if text["number"] < size]


def roll_back(ledger: Ledger, chance: random.Random) -> None:
    """Go back to an older checkpoint as if nothing had happened since."""
    size = chance.choice([mark["size"] for mark in ledger.marks[:-1]])
    ledger.rows = ledger.rows[:size]
    ledger.texts = [text for text in ledger.texts if text["number"] < size]
    ledger.marks = [mark for mark in ledger.marks if mark["size"] <= size]


def reserialise(ledger: Ledger, chance: random.Random) -> None:
    """Write the same values in other bytes, with a fitting leaf hash."""
    number = _sealed(ledger, chance)
    held = json.loads(_bytes(ledger.rows[number]))
    style = chance.choice([{"indent": 1}, {"separators": (", ", ": ")}, {}])
    if not style:
        held = dict(reversed(held.items()))
    ledger.rows[number] = row_of(number, json.dumps(held, **style).encode())


def sign_badly(ledger: Ledger, chance: random.Random) -> None:
    """Spoil a signature, put another note's in its place, or take it away."""
    mark = chance.choice(ledger.marks)
    head, _dash, line = mark["note"].rpartition("— ")
    name, _space, blob = line.strip().partition(" ")
    data = bytearray(base64.b64decode(blob))
    way = chance.choice(["flip", "other", "none", "short", "zero"])
    if way == "flip":
        _flip_bit(data, chance)
    elif way == "other":
        data[4:] = FIRST.sign(b"another message")
    elif way == "short":
        del data[-1]
    elif way == "zero":
        data[4:] = bytes(64)
    mark["note"] = head if way == "none" else f"{head}— {name} {base64.b64encode(data).decode()}\n"


def resize(ledger: Ledger, chance: random.Random) -> None:
    """Let a checkpoint speak of another number of entries."""
    mark = chance.choice(ledger.marks)
    size = mark["size"] + chance.choice([-1, 1, 7])
    if chance.random() < 0.7:
        origin, _size, rest = mark["note"].split("\n", 2)
        mark["note"] = f"{origin}\n{size}\n{rest}"
    if chance.random() < 0.7 or f"\n{size}\n" not in mark["note"]:
        mark["size"] = size


def other_key(ledger: Ledger, chance: random.Random) -> None:
    """Write a new history and sign all of it with a key of one's own."""
    edit(ledger, chance)
    ledger.seal(*[mark["size"] for mark in ledger.marks], keys=OTHER)
    if chance.random() < 0.5:
        ledger.keys[0]["public"] = public(OTHER).hex()


def real_key(ledger: Ledger, chance: random.Random) -> None:
    """Write a new history and sign all of it with the ledger's own keys."""
    edit(ledger, chance)
    ledger.seal(*[mark["size"] for mark in ledger.marks])


def tail(ledger: Ledger, chance: random.Random) -> None:
    """Add entries that no checkpoint covers, or take away the checkpoint that covers the last ones."""
    if chance.random() < 0.5:
        for _more in range(chance.randint(1, 4)):
            ledger.add(body_of(len(ledger.rows)))
    else:
        ledger.marks.pop()


KINDS = {
    "edit": edit,
    "flip": flip,
    "delete": delete,
    "insert": insert,
    "swap": swap,
    "duplicate": duplicate,
    "truncate": truncate,
    "roll back": roll_back,
    "re-serialise": reserialise,
    "signature": sign_badly,
    "size": resize,
    "other key": other_key,
    "real key before the pin": real_key,
    "unsealed tail": tail,
}
PINNED = {"roll back", "real key before the pin"}
