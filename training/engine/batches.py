"""Batches of pre-tokenised texts: similar lengths together, padded only to the longest text of the batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from training.engine.data import Tokens

# How many batches are sorted by length together; larger pads less and mixes less.
WINDOW = 50


class Positions(Dataset):  # type: ignore[type-arg]
    """A dataset whose items are their own indices; ``Collator`` fetches the tokens of a whole batch at once."""

    def __init__(self, size: int):
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        return index


def pad(tokens: Tokens, indices: Any) -> dict[str, torch.Tensor]:
    """Return ``input_ids`` and ``attention_mask``, each batch x longest length, for the texts at ``indices``."""
    indices = np.asarray(indices)
    lengths = tokens.lengths[indices]
    mask = np.arange(lengths.max())[None, :] < lengths[:, None]
    ids = np.full(mask.shape, tokens.pad, dtype=np.int64)
    ids[mask] = np.concatenate([tokens.ids[tokens.offsets[i] : tokens.offsets[i + 1]] for i in indices])
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


class Collator:
    """Turns a list of indices into padded tensors with labels."""

    def __init__(self, tokens: Tokens, labels: np.ndarray):
        self._tokens = tokens
        self._labels = labels

    def __call__(self, indices: list[int]) -> dict[str, torch.Tensor]:
        return {**pad(self._tokens, indices), "labels": torch.from_numpy(self._labels[indices])}


class TokenMask:
    """Hides a random share of a batch's tokens, so that no answer hangs on a single word.

    ``replacement`` is the id that stands for a hidden token, ``kept`` are the ids that are never hidden. The choice is
    drawn from torch's own random numbers, whose state every checkpoint holds.
    """

    def __init__(self, share: float, replacement: int, kept: list[int]):
        self._share = share
        self._replacement = replacement
        self._kept = torch.tensor(sorted(kept))

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """Return ``ids`` (batch x length) with some replaced."""
        drawn = torch.rand(ids.shape, device=ids.device) < self._share
        return ids.masked_fill(drawn & ~torch.isin(ids, self._kept.to(ids.device)), self._replacement)

    @classmethod
    def of(cls, tokenizer: Any, share: float) -> "TokenMask | None":
        """Return the mask for a tokenizer; None when nothing is to be hidden or it has no token for that."""
        replacement = tokenizer.mask_token_id if tokenizer.mask_token_id is not None else tokenizer.unk_token_id
        return cls(share, replacement, tokenizer.all_special_ids) if share > 0 and replacement is not None else None


class EpochBatches(Sampler[list[int]]):
    """The batches of one epoch, as lists of indices, a function of seed and ``epoch`` alone.

    Being stateless makes a resumed run see the same batches without replaying random numbers. With ``by_length``
    the shuffled indices are cut into windows of ``WINDOW`` batches, sorted by length within each, and the resulting
    batches shuffled; otherwise batches are plain slices of the shuffled indices.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int, by_length: bool):
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._by_length = by_length
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self._seed, 2, self.epoch])
        order = rng.permutation(len(self._lengths))
        size = self._batch_size
        if self._by_length:
            windows = [order[i : i + WINDOW * size] for i in range(0, len(order), WINDOW * size)]
            order = np.concatenate([w[np.argsort(self._lengths[w], kind="stable")] for w in windows])
        batches = [order[i : i + size].tolist() for i in range(0, len(order), size)]
        if self._by_length:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return iter(batches)


def inference_batches(lengths: np.ndarray, budget: int = 4096, largest: int = 256) -> Iterator[np.ndarray]:
    """Yield indices, shortest texts first, such that no padded batch exceeds ``budget`` tokens or ``largest`` texts."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and end - start < largest and (end - start + 1) * lengths[order[end]] <= budget:
            end += 1
        yield order[start:end]
        start = end
