"""The tamper matrix: 2,000 cases of fourteen kinds, each found by the stand-alone verifier."""

import collections
import copy
import random

import pytest

from governance.proofs import verify
from tests.governance import ledgers

CASES = 2000


@pytest.fixture(scope="module")
def sound():
    """Return sound ledgers: with one key and with two, small and with several complete subtrees."""
    made = [
        ledgers.make(9, 2, 5, 9),
        ledgers.make(17, 3, 8, 12, 17, rotated=9),
        ledgers.make(33, 11, 32, 33, rotated=4),
    ]
    for ledger in made:
        found = check(ledger, ledger)
        assert (found.code, found.problem, found.size) == (verify.SOUND, "", len(ledger.rows))
    return made


def check(ledger, before, *, pinned=True):
    """Verify as an auditor does who knows the first key and kept the last checkpoint of the sound ledger."""
    pins = verify.read_notes(before.marks[-1]["note"]) if pinned else []
    return verify.verify_export(ledger, pins=pins, key=ledgers.public(ledgers.FIRST).hex())


@pytest.mark.parametrize("number", range(len(ledgers.KINDS)), ids=list(ledgers.KINDS))
def test_every_case_of_a_kind_is_found(sound, number):
    kind = list(ledgers.KINDS)[number]
    cases = CASES // len(ledgers.KINDS) + (number < CASES % len(ledgers.KINDS))
    found, missed = collections.Counter(), []
    for seed in range(cases):
        before = sound[seed % len(sound)]
        ledger = copy.deepcopy(before)
        ledgers.KINDS[kind](ledger, random.Random(f"{kind} {seed}"))
        assert ledger != before, f"{kind} {seed} changed nothing"
        verdict = check(ledger, before, pinned=kind in ledgers.PINNED)
        found[verdict.code] += 1
        if verdict.code == verify.SOUND:
            missed.append(seed)
        elif verdict.code != verify.UNREADABLE:
            assert verdict.size <= max(mark["size"] for mark in before.marks)
    assert not missed, f"{kind}: {len(missed)} of {cases} were not found, the first with seed {missed[0]}"
    expected = {"roll back": verify.FORK, "real key before the pin": verify.FORK, "unsealed tail": verify.TAIL}
    if kind in expected:
        assert set(found) == {expected[kind]}
    elif kind not in {"signature", "size", "flip"}:
        assert verify.UNREADABLE not in found, "what was changed is still an export: the first bad entry has a number"


def test_there_are_two_thousand_cases():
    counts = [CASES // len(ledgers.KINDS) + (n < CASES % len(ledgers.KINDS)) for n in range(len(ledgers.KINDS))]
    assert (len(ledgers.KINDS), sum(counts)) == (14, 2000)


def test_the_pin_is_what_finds_a_history_rewritten_with_the_real_key(sound):
    ledger = copy.deepcopy(sound[0])
    ledgers.real_key(ledger, random.Random(1))
    assert check(ledger, sound[0], pinned=False).code == verify.SOUND
    assert check(ledger, sound[0]).code == verify.FORK
