"""The untuned base model as a source of vectors, loaded once and shared by recipe and baselines."""

from pathlib import Path
from typing import Any

import numpy as np

from training.engine import inference
from training.engine.data import longest_input, tokenise
from training.engine.hardware import Hardware
from training.engine.pooling import load_encoder


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of an admitted base model or of a saved classifier, padding on the right."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


class FrozenBase:
    """Turns texts into pooled vectors of the base model; vectors of the training split are computed once."""

    def __init__(self, folder: Path, max_length: int, hardware: Hardware, train_texts: list[str]):
        self._encoder = load_encoder(folder).to(hardware.device)
        self._tokenizer = load_tokenizer(folder)
        self._max_length = longest_input(self._tokenizer, self._encoder.config, max_length)
        self._hardware = hardware
        self._train_texts = train_texts
        self._train_vectors: dict[str, np.ndarray] = {}
        self.size = sum(p.numel() * p.element_size() for p in self._encoder.parameters())

    def embed(self, texts: list[str], pooling: str = "mean") -> np.ndarray:
        """Return vectors of ``texts`` in fp32 computation, texts x width."""
        return self._compute(texts, pooling, bf16=False)

    def embed_train(self, pooling: str = "mean") -> np.ndarray:
        """Return vectors of the training split, in the run's number format, remembered."""
        if pooling not in self._train_vectors:
            self._train_vectors[pooling] = self._compute(self._train_texts, pooling, bf16=self._hardware.bf16)
        return self._train_vectors[pooling]

    def _compute(self, texts: list[str], pooling: str, bf16: bool) -> np.ndarray:
        tokens = tokenise(self._tokenizer, texts, self._max_length)
        return inference.embed(self._encoder, tokens, pooling, self._hardware.device, bf16)
