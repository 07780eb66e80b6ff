#!/usr/bin/env python3
"""Checks an export of a Gatehouse ledger, or a receipt, without the server: one file, Python 3.11 and nothing else.

    python verify.py EXPORT                     a ZIP file or the folder it was unpacked into
    python verify.py receipt RECEIPT            a receipt for one entry

    --pin FILE       checkpoints that you kept (signed notes, one after the other): is it still the same ledger?
    --key HEX        the first public key of the ledger, as you know it from elsewhere
    --later FILE     with a receipt: a consistency proof that leads to a later checkpoint

Everything is recomputed from the bytes of the entries: leaves, columns, commitments of the texts that came along,
roots, signatures, and who signed when. Nothing else in the export is believed.

Exit codes: 0 sound; 1 an entry, a checkpoint or a key is wrong; 2 it cannot be read, or the question makes no sense;
3 a fork: what you kept speaks of another ledger; 4 sound, but a tail is covered by no checkpoint.

Sources: RFC 9162 (Merkle trees), RFC 8032 (Ed25519), C2SP signed-note and tlog-checkpoint.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import sys
import zipfile
from binascii import a2b_base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

SOUND, WRONG, UNREADABLE, FORK, TAIL = 0, 1, 2, 3, 4
WORDS = ("SOUND", "NOT SOUND", "CANNOT BE READ", "FORK", "UNSEALED TAIL")
EXPORT, RECEIPT, CONSISTENCY = "gatehouse-export/1", "gatehouse-receipt/1", "gatehouse-consistency/1"
LONGEST_LINE = 64 * 1024 * 1024
COLUMNS = ("at", "action", "actor", "on_behalf_of", "subject", "scope", "request")
ROTATED = "ledger.key_rotated"


class Wrong(Exception):
    """What was found, as a sentence, and the exit code that it stands for."""

    def __init__(self, sentence: str, code: int = WRONG):
        super().__init__(sentence)
        self.code = code


@dataclass
class Verdict:
    """What was found: sound up to `size` entries, and in `problem` what is wrong beyond, if anything."""

    code: int = SOUND
    start: int = 0
    size: int = 0
    checkpoints: int = 0
    texts: int = 0
    keys: int = 1
    first_key: str = ""
    problem: str = ""


# Ed25519 (RFC 8032), verification only

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _add(one: Point, other: Point) -> Point:
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % P, (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _decompress(data: bytes) -> Point:
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if len(data) != 32 or y >= P:
        raise ValueError("not the encoding of a point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not the encoding of a point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


@lru_cache(maxsize=16)
def _table(point: Point) -> list[list[tuple[int, int, int]]]:
    """Return, for each byte of a scalar and each of its values, the multiple of the point as (y + x, y - x, 2dxy).

    8,160 additions once for a key make 64 of each signature: an archive of 100,000 checkpoints takes half a minute.
    """
    points: list[Point] = []
    for _byte in range(32):
        multiple = point
        for _value in range(255):
            points.append(multiple)
            multiple = _add(multiple, point)
        point = multiple
    # One inversion for all: the products of the z so far, and back.
    products, product = [], 1
    for found in points:
        products.append(product)
        product = product * found[2] % P
    inverse = pow(product, -1, P)
    flat: list[tuple[int, int, int]] = [(1, 1, 0)] * len(points)
    for at in range(len(points) - 1, -1, -1):
        x, y, z, _t = points[at]
        reciprocal = inverse * products[at] % P
        inverse = inverse * z % P
        x, y = x * reciprocal % P, y * reciprocal % P
        flat[at] = ((y + x) % P, (y - x) % P, 2 * D * x * y % P)
    return [[(1, 1, 0), *flat[at : at + 255]] for at in range(0, len(flat), 255)]


BASE = _decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


class PublicKey:
    """An Ed25519 public key; raises ValueError where the 32 bytes are none."""

    def __init__(self, data: bytes):
        self.data = data
        x, y, _z, t = _decompress(data)
        self._minus: Point = (P - x, y, 1, P - t)

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Return whether the signature verifies: [S]B - [k]A is R."""
        s = int.from_bytes(signature[32:], "little")
        if len(signature) != 64 or s >= L:
            return False
        k = int.from_bytes(hashlib.sha512(signature[:32] + self.data + message).digest(), "little") % L
        x, y, z, t = 0, 1, 1, 0
        for point, scalar in ((BASE, signature[32:]), (self._minus, k.to_bytes(32, "little"))):
            for row, value in zip(_table(point), scalar, strict=True):
                if value:
                    plus, minus, twice = row[value]
                    a, b, c, d = (y - x) * minus, (y + x) * plus, t * twice, 2 * z
                    e, f, g, h = (b - a) % P, (d - c) % P, (d + c) % P, (b + a) % P
                    x, y, z, t = e * f % P, g * h % P, f * g % P, e * h % P
        reciprocal = pow(z, -1, P)
        x, y = x * reciprocal % P, y * reciprocal % P
        return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]


# The tree (RFC 9162, section 2.1)


def leaf_of(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(peaks: list[bytes]) -> bytes:
    """Return the root over the complete subtrees of a tree, largest first."""
    value = peaks[-1] if peaks else hashlib.sha256(b"").digest()
    for peak in peaks[-2::-1]:
        value = node_of(peak, value)
    return value


def _left(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1


def climb(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root to which a path leads from a leaf; raises ValueError where its length does not fit."""
    if size <= 1 or not path:
        if size != 1 or index != 0 or path:
            raise ValueError("the path has another length than the tree")
        return leaf
    left = _left(size)
    if index < left:
        return node_of(climb(leaf, index, left, path[:-1]), path[-1])
    return node_of(path[-1], climb(leaf, index - left, size - left, path[:-1]))


def both_roots(old: int, new: int, old_root: bytes, path: list[bytes]) -> tuple[bytes, bytes]:
    """Return the two roots that a consistency proof leads to; raises ValueError or IndexError for another length."""
    left_over = list(path)

    def descend(old: int, new: int, whole: bool) -> tuple[bytes, bytes]:
        if old == new:
            value = old_root if whole else left_over.pop()
            return value, value
        left = _left(new)
        value = left_over.pop()
        if old <= left:
            before, after = descend(old, left, whole)
            return before, node_of(after, value)
        before, after = descend(old - left, new - left, False)
        return node_of(value, before), node_of(value, after)

    if not 0 < old <= new:
        raise ValueError("the sizes are not those of an older and a newer tree")
    roots = descend(old, new, True)
    if left_over:
        raise ValueError("the path has another length than the trees")
    return roots


# Signed notes (C2SP)


@dataclass(frozen=True)
class Note:
    """A checkpoint: the tree of `size` entries has this root, with its signature lines."""

    origin: str
    size: int
    root: bytes
    body: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def problem(self, key: PublicKey) -> str:
        """Return why the note is not signed by the key, or an empty string."""
        wanted = hashlib.sha256(self.origin.encode() + b"\n\x01" + key.data).digest()[:4]
        found = [blob for name, blob in self.signatures if name == self.origin and blob[:4] == wanted]
        if not found:
            return f"it is not signed by the key {key.data.hex()}"
        return "" if key.signed(self.body, found[0][4:]) else "its signature does not verify"


def read_note(text: str) -> Note:
    """Return the checkpoint in a signed note; raises ValueError."""
    body, separator, rest = text.partition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) < 3 or not (lines[1].isascii() and lines[1].isdigit()):
        raise ValueError("not a signed checkpoint")
    signatures = []
    for line in rest.splitlines():
        parts = line.split(" ")
        if len(parts) == 3 and parts[0] == "—":
            blob = base64.b64decode(parts[2], validate=True)
            if base64.b64encode(blob).decode() != parts[2]:
                raise ValueError("a signature is not written in its one form")
            signatures.append((parts[1], blob))
    root = base64.b64decode(lines[2], validate=True)
    return Note(lines[0], int(lines[1]), root, (body + "\n").encode(), tuple(signatures))


def read_notes(text: str) -> list[Note]:
    """Return the checkpoints that a file holds one after the other, smallest first; raises ValueError."""
    pieces: list[list[str]] = [[]]
    for line in text.splitlines():
        if pieces[-1] and pieces[-1][-1].startswith("— ") and not line.startswith("— "):
            pieces.append([])
        if pieces[-1] or line.strip():
            pieces[-1].append(line)
    return sorted((read_note("\n".join(piece)) for piece in pieces if piece), key=lambda note: note.size)


# Keys


class Keys:
    """Who signed when: the first key, and each one to which an entry handed the ledger on."""

    def __init__(self, first: str, origin: str):
        self.origin = origin
        self.chain: list[tuple[int, PublicKey]] = [(0, PublicKey(bytes.fromhex(first)))]

    def hand_on(self, number: int, held: dict) -> None:
        """Follow a rotation; raises Wrong unless the old and the new key signed it."""
        try:
            details = held["details"]
            old, new = bytes.fromhex(details["old"]), PublicKey(bytes.fromhex(details["new"]))
            statement = f"gatehouse ledger key rotation\n{self.origin}\n{old.hex()}\n{new.data.hex()}\n".encode()
            signatures = bytes.fromhex(details["signed_by_old"]), bytes.fromhex(details["signed_by_new"])
        except (KeyError, TypeError, ValueError) as error:
            raise Wrong(f"entry {number} hands on the key and does not say to which") from error
        now = self.chain[-1][1]
        if old != now.data:
            raise Wrong(f"entry {number} hands on a key that did not sign before it")
        if not (now.signed(statement, signatures[0]) and new.signed(statement, signatures[1])):
            raise Wrong(f"entry {number} hands on the key without the signatures of both")
        self.chain.append((number + 1, new))

    def at(self, size: int) -> PublicKey:
        """Return the key that signs the checkpoint of this size."""
        return next(key for first, key in reversed(self.chain) if first <= size)


# Exports


class Source:
    """The members of an export, in a ZIP file or a folder."""

    def __init__(self, path: Path):
        self.folder = path if path.is_dir() else None
        self.archive = None if path.is_dir() else zipfile.ZipFile(path)

    def open(self, name: str) -> BinaryIO:
        """Open a member for reading; raises KeyError or OSError where there is none."""
        if self.archive is None:
            assert self.folder is not None
            return (self.folder / name).open("rb")
        return io.BufferedReader(self.archive.open(name), 1 << 20)  # type: ignore[type-var]

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield the lines of a member, a longer one than any server writes in pieces."""
        with self.open(name) as file:
            yield from iter(partial(file.readline, LONGEST_LINE), b"")

    def json(self, name: str) -> Any:
        """Return a member that is one JSON value."""
        with self.open(name) as file:
            return json.loads(file.read(LONGEST_LINE))


def verify_export(path: Path | Source, *, pins: list[Note] | None = None, key: str = "") -> Verdict:
    """Return what is found in an export; `pins` were kept by the reader, `key` is the first key as known elsewhere."""
    verdict = Verdict()
    try:
        _walk(path if isinstance(path, Source) else Source(path), verdict, pins or [], key)
    except Wrong as found:
        verdict.code, verdict.problem = found.code, str(found)
    except Exception as error:
        # Whatever a parser raises about bytes that no server wrote.
        verdict.code, verdict.problem = UNREADABLE, f"{path} cannot be read as an export: {error!r}"
    return verdict


def _walk(source: Source, verdict: Verdict, pins: list[Note], key: str) -> None:
    manifest, listed = source.json("manifest.json"), source.json("keys.json")
    if manifest["format"] != EXPORT:
        raise Wrong(f"this is no export that this verifier knows: {manifest['format']!r}", UNREADABLE)
    origin, start = manifest["origin"], manifest["from"]
    peaks = [bytes.fromhex(peak) for peak in manifest["peaks"]]
    if len(peaks) != start.bit_count():
        raise Wrong("the manifest does not say where the export begins", UNREADABLE)
    keys = Keys(key or listed[0]["public"], origin)
    verdict.start = verdict.size = start
    verdict.first_key = keys.chain[0][1].data.hex()
    earlier = [row["rotation"] for row in listed if row["rotation"] and row["rotation"]["number"] < start]
    for rotation in earlier:
        keys.hand_on(rotation["number"], json.loads(base64.b64decode(rotation["canonical"])))
    waiting = sorted(pins, key=lambda pin: pin.size)
    for pin in waiting:
        if pin.size < start:
            older = f"the checkpoint of {pin.size} entries that you kept is older than this export"
            raise Wrong(f"{older}, which begins at {start}; ask for an export from {pin.size} on", UNREADABLE)
    waiting = _compare(waiting, start, peaks, keys)
    marks = (read_mark(line) for line in source.lines("checkpoints.jsonl"))
    mark = next(marks, None)
    texts = (json.loads(line) for line in source.lines("texts.jsonl"))
    text = next(texts, None)
    number, last_root = start, b""
    sha256, loads, pin_size = hashlib.sha256, json.loads, waiting[0].size if waiting else -1
    mark_size = mark.size if mark is not None else -1
    for line in source.lines("entries.jsonl"):
        try:
            row = loads(line)
            at, columns, given, data = row["number"], row["columns"], row["leaf"], a2b_base64(row["canonical"])
            leaf = sha256(b"\x00" + data).digest()
            whole = at == number and given == leaf.hex()
            held = loads(data) if whole else {}
            wrong = [name for name in COLUMNS if columns[name] != held[name]] if whole else []
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Wrong(f"entry {number}: its bytes are not an entry") from error
        if at != number:
            raise Wrong(f"entry {number} is missing: the next one present has number {at}")
        if given != leaf.hex():
            raise Wrong(f"entry {number}: its bytes do not have the leaf hash beside them")
        if wrong:
            raise Wrong(f"entry {number}: the column “{wrong[0]}” differs from its bytes")
        while text is not None and text["number"] == number:
            salted = bytes.fromhex(text["salt"]) + text["text"].encode()
            if held["texts"].get(text["name"]) != sha256(salted).hexdigest():
                raise Wrong(f"entry {number}: the text “{text['name']}” is not what was committed to")
            verdict.texts += 1
            text = next(texts, None)
        if held["action"] == ROTATED:
            keys.hand_on(number, held)
        rest = number
        while rest & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            rest >>= 1
        peaks.append(leaf)
        number += 1
        if number == pin_size:
            waiting = _compare(waiting, number, peaks, keys)
            pin_size = waiting[0].size if waiting else -1
        if number == mark_size:
            assert mark is not None
            last_root = _check_mark(mark, peaks, keys, verdict)
            mark = next(marks, None)
            mark_size = mark.size if mark is not None else -1
            if mark is not None and mark_size <= number:
                raise Wrong(f"the checkpoint of {mark_size} entries is out of order")
    if text is not None:
        raise Wrong(f"a text belongs to entry {text['number']}, which is not here, or is out of order")
    if mark is not None:
        raise Wrong(f"a checkpoint speaks of {mark_size} entries; here are those from {start} to {number - 1}")
    verdict.keys = len(keys.chain)
    for rotation in earlier:
        leaf, proof = leaf_of(base64.b64decode(rotation["canonical"])), [bytes.fromhex(p) for p in rotation["path"]]
        if climb(leaf, rotation["number"], verdict.size, proof) != last_root:
            raise Wrong(f"the rotation of the key in entry {rotation['number']} is not in the tree")
    if waiting:
        raise Wrong(f"the checkpoint that you kept speaks of {waiting[0].size} entries; only {number} are here", FORK)
    if verdict.size < number:
        raise Wrong(f"an unsealed tail: entries from {verdict.size} on are covered by no checkpoint", TAIL)


def read_mark(line: bytes) -> Note:
    """Return the checkpoint in a line of the export; raises Wrong where what is beside the note contradicts it."""
    row = json.loads(line)
    try:
        note = read_note(row["note"])
    except ValueError as error:
        raise Wrong(f"the checkpoint of {row['size']} entries is no signed note: {error}") from error
    if (note.size, note.root.hex()) != (row["size"], row["root"]):
        raise Wrong(f"the signed note of the checkpoint at {row['size']} speaks of another tree")
    return note


def _check_mark(mark: Note, peaks: list[bytes], keys: Keys, verdict: Verdict) -> bytes:
    root = root_of(peaks)
    place = f"the checkpoint of {mark.size} entries"
    if mark.root != root:
        bad = f"one of {verdict.size} to {mark.size - 1} is not what was sealed"
        raise Wrong(f"{place} has another root than its entries: {bad}")
    if mark.origin != keys.origin:
        raise Wrong(f"{place} is of another ledger, {mark.origin}")
    problem = mark.problem(keys.at(mark.size))
    if problem:
        raise Wrong(f"{place}: {problem}")
    verdict.checkpoints += 1
    verdict.size = mark.size
    return root


def _compare(pins: list[Note], size: int, peaks: list[bytes], keys: Keys) -> list[Note]:
    """Compare the pins of this size with the tree; return the others."""
    for pin in pins:
        if pin.size != size:
            continue
        if (pin.origin, pin.root) != (keys.origin, root_of(peaks)):
            raise Wrong(f"a fork: the checkpoint of {size} entries that you kept has another root", FORK)
        problem = pin.problem(keys.at(size))
        if problem:
            raise Wrong(f"a fork: the checkpoint of {size} entries that you kept: {problem}", FORK)
    return [pin for pin in pins if pin.size != size]


# Receipts


def verify_receipt(
    receipt: dict, *, pins: list[Note] | None = None, key: str = "", later: dict | None = None
) -> Verdict:
    """Return whether a receipt proves its entry; with `later` or pins, also that the ledger went on from there."""
    verdict = Verdict()
    try:
        _check_receipt(receipt, verdict, pins or [], key, later)
    except Wrong as found:
        verdict.code, verdict.problem = found.code, str(found)
    except Exception as error:
        verdict.code, verdict.problem = UNREADABLE, f"the receipt cannot be read: {error!r}"
    return verdict


def _check_receipt(receipt: dict, verdict: Verdict, pins: list[Note], key: str, later: dict | None) -> None:
    if receipt["format"] != RECEIPT:
        raise Wrong(f"this is no receipt that this verifier knows: {receipt['format']!r}", UNREADABLE)
    entry, mark = receipt["entry"], read_note(receipt["checkpoint"])
    data = base64.b64decode(entry["canonical"])
    held = json.loads(data)
    number, leaf = entry["number"], leaf_of(data)
    verdict.start, verdict.size = number, mark.size
    if entry["leaf"] != leaf.hex():
        raise Wrong(f"entry {number}: its bytes do not have the leaf hash beside them")
    for name, kept in receipt.get("texts", {}).items():
        if held["texts"].get(name) != hashlib.sha256(bytes.fromhex(kept["salt"]) + kept["text"].encode()).hexdigest():
            raise Wrong(f"entry {number}: the text “{name}” is not what was committed to")
        verdict.texts += 1
    _prove(leaf, number, mark, receipt["path"], f"entry {number}")
    keys = _followed(receipt["keys"], key, mark)
    verdict.first_key = keys.chain[0][1].data.hex()
    verdict.keys = len(keys.chain)
    problem = mark.problem(keys.at(mark.size))
    if problem:
        raise Wrong(f"the checkpoint of {mark.size} entries: {problem}")
    verdict.checkpoints = 1
    known = [mark]
    if later is not None:
        known.append(_went_on(mark, later, key or verdict.first_key))
    for pin in pins:
        same = [one for one in known if one.size == pin.size]
        if not same:
            raise Wrong(
                f"the checkpoint that you kept is of {pin.size} entries, the receipt's of {mark.size}; "
                f"get a consistency proof from {mark.size} to {pin.size} and give it with --later",
                UNREADABLE,
            )
        if (pin.root, pin.origin) != (same[0].root, same[0].origin):
            raise Wrong(f"a fork: the checkpoint of {pin.size} entries that you kept has another root", FORK)


def _prove(leaf: bytes, number: int, mark: Note, path: list[str], what: str) -> None:
    try:
        root = climb(leaf, number, mark.size, [bytes.fromhex(step) for step in path])
    except ValueError as error:
        raise Wrong(f"{what}: {error}") from error
    if root != mark.root:
        raise Wrong(f"{what} is not in the tree of the checkpoint of {mark.size} entries")


def _followed(listed: list[dict], key: str, mark: Note) -> Keys:
    """Return the keys of a receipt, each rotation proved to be in the tree of the checkpoint."""
    keys = Keys(key or listed[0]["public"], mark.origin)
    for row in listed[1:]:
        rotation = row["rotation"]
        data = base64.b64decode(rotation["canonical"])
        _prove(leaf_of(data), rotation["number"], mark, rotation["path"], f"the rotation in entry {rotation['number']}")
        keys.hand_on(rotation["number"], json.loads(data))
    return keys


def _went_on(mark: Note, later: dict, key: str) -> Note:
    """Return the later checkpoint to which a consistency proof leads."""
    if later["format"] != CONSISTENCY:
        raise Wrong(f"this is no consistency proof that this verifier knows: {later['format']!r}", UNREADABLE)
    note = read_note(later["checkpoint"])
    if later["old_size"] != mark.size:
        raise Wrong(f"the proof begins at {later['old_size']} entries, the receipt at {mark.size}", UNREADABLE)
    try:
        roots = both_roots(mark.size, note.size, mark.root, [bytes.fromhex(step) for step in later["path"]])
    except (ValueError, IndexError) as error:
        raise Wrong("the consistency proof has another length than its trees") from error
    if roots != (mark.root, note.root) or note.origin != mark.origin:
        raise Wrong(f"a fork: the later checkpoint of {note.size} entries does not begin with the receipt's tree", FORK)
    problem = note.problem(_followed(later["keys"], key, note).at(note.size))
    if problem:
        raise Wrong(f"the later checkpoint of {note.size} entries: {problem}")
    return note


# The command line


def main(arguments: list[str] | None = None) -> int:
    """Verify what is named, say what was found, and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    receipt = bool(words) and words[0] == "receipt"
    parser = argparse.ArgumentParser(
        prog="verify.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("path", type=Path, metavar="RECEIPT" if receipt else "EXPORT")
    parser.add_argument("--pin", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--key", default="", metavar="HEX")
    parser.add_argument("--later", type=Path, metavar="FILE")
    given = parser.parse_args(words[1:] if receipt else words)
    try:
        key = given.key and PublicKey(bytes.fromhex(given.key)).data.hex()
        pins = [note for path in given.pin for note in read_notes(path.read_text("utf-8"))]
        if receipt:
            later = json.loads(given.later.read_bytes()) if given.later else None
            verdict = verify_receipt(json.loads(given.path.read_bytes()), pins=pins, key=key, later=later)
        else:
            verdict = verify_export(given.path, pins=pins, key=key)
    except (OSError, ValueError) as error:
        print(f"CANNOT BE READ: {error}")
        return UNREADABLE
    said = f"sound up to size {verdict.size}: {verdict.checkpoints} checkpoints, {verdict.texts} texts"
    if receipt:
        said = f"entry {verdict.start} is in the ledger, under the signed checkpoint of {verdict.size} entries"
    elif verdict.start:
        said = f"from entry {verdict.start} on, {said}"
    print(f"{WORDS[verdict.code]}: {verdict.problem or said}.")
    if verdict.code in (WRONG, TAIL) and not receipt:
        print(f"Sound up to size {verdict.size}.")
    if verdict.code in (SOUND, TAIL):
        told = "as you gave it" if key else "which came with the file: compare it with the one you know"
        print(f"First key: {verdict.first_key}, {told}. Keys in all: {verdict.keys}.")
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
