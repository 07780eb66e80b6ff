"""Words that changed: nothing is lost, words are not cut, and a small change is shown small."""

from hypothesis import given
from hypothesis import strategies as st

from governance.interfaces import wording

TEXTS = st.lists(st.sampled_from(["alpha", "beta", "gamma", " ", "\n", ".", "é", "12"]), max_size=30).map("".join)


@given(TEXTS, TEXTS)
def test_the_pieces_hold_both_texts_whole(before, after):
    pieces = wording.compare(before, after)
    new = "".join(p.text for p in pieces if p.kind in {"same", "added"})
    old = "".join(p.text for p in pieces if p.kind in {"same", "removed"})
    assert (old, new) == (before, after)


@given(TEXTS)
def test_equal_texts_have_no_change(text):
    assert all(piece.kind == "same" for piece in wording.compare(text, text))


def test_one_word_is_one_change():
    pieces = wording.compare("Requests wait four hours.", "Requests wait six hours.")
    assert [(p.kind, p.text) for p in pieces] == [
        ("same", "Requests wait "),
        ("removed", "four"),
        ("added", "six"),
        ("same", " hours."),
    ]


def test_two_words_side_by_side_are_one_change():
    pieces = wording.compare("the old grey house", "the new white house")
    assert [p.kind for p in pieces] == ["same", "removed", "added", "same"]


def test_a_very_long_text_is_compared_line_by_line():
    lines = [f"line number {n} of a long text with several words in it\n" for n in range(600)]
    changed = [*lines[:300], "another line\n", *lines[301:]]
    pieces = wording.compare("".join(lines), "".join(changed))
    assert [(p.kind, p.text) for p in pieces if p.kind != "same"] == [
        ("removed", lines[300]),
        ("added", "another line\n"),
    ]


def test_a_part_is_new_gone_or_changed():
    kinds = {wording.Change("A", before, after, []).kind: None for before, after in (("", "x"), ("x", ""), ("x", "y"))}
    assert list(kinds) == ["added", "removed", "changed"]
