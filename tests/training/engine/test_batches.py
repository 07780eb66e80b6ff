"""Tokens are hidden at random, special ones never."""

import torch

from training.engine.batches import TokenMask

CLS, SEP, PAD, MASK = 1, 2, 0, 3


def test_a_share_of_the_ordinary_tokens_is_hidden() -> None:
    ids = torch.full((200, 52), 9)
    ids[:, 0], ids[:, -2], ids[:, -1] = CLS, SEP, PAD
    torch.manual_seed(0)
    hidden = TokenMask(0.2, MASK, [CLS, SEP, PAD, MASK])(ids)
    assert torch.equal(hidden[:, [0, -2, -1]], ids[:, [0, -2, -1]])
    changed = hidden != ids
    assert set(hidden[changed].tolist()) == {MASK}
    assert 0.18 < changed[:, 1:-2].float().mean() < 0.22
    assert not torch.equal(hidden, TokenMask(0.2, MASK, [CLS])(ids))


def test_the_choice_follows_the_seed() -> None:
    ids, mask = torch.full((4, 30), 9), TokenMask(0.5, MASK, [])
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(mask(ids))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_nothing_is_hidden_without_a_share_or_a_token_for_it() -> None:
    class Bare:
        mask_token_id = unk_token_id = None
        all_special_ids: list[int] = []

    class Unknown(Bare):
        unk_token_id = 7

    assert TokenMask.of(Bare(), 0.5) is None
    assert TokenMask.of(Unknown(), 0.0) is None
    replaced = TokenMask.of(Unknown(), 0.5)
    assert replaced is not None
    assert set(replaced(torch.full((10, 10), 9)).flatten().tolist()) == {7, 9}
