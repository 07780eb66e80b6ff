"""Running an encoder over many texts without gradients: pooled vectors, or class probabilities, in the texts' order."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from training.engine.batches import inference_batches, pad
from training.engine.data import Tokens
from training.engine.pooling import PooledSequenceClassifier, pool


def _over_batches(
    tokens: Tokens, device: str, compute: Callable[[dict[str, torch.Tensor]], torch.Tensor]
) -> np.ndarray:
    result: np.ndarray | None = None
    with torch.inference_mode():
        for indices in inference_batches(tokens.lengths):
            batch = {name: tensor.to(device) for name, tensor in pad(tokens, indices).items()}
            values = compute(batch).float().cpu().numpy()
            if result is None:
                result = np.empty((len(tokens), values.shape[1]), dtype=np.float32)
            result[indices] = values
    assert result is not None
    return result


def embed(encoder: Any, tokens: Tokens, pooling: str, device: str, bf16: bool = False) -> np.ndarray:
    """Return the pooled vectors of an encoder, texts x width, float32; puts the encoder into evaluation mode."""
    encoder.eval()

    def compute(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            hidden = encoder(**batch).last_hidden_state
        return pool(hidden.float(), batch["attention_mask"], pooling)

    return _over_batches(tokens, device, compute)


def logits(model: Any, tokens: Tokens, device: str, bf16: bool = False) -> np.ndarray:
    """Return the logits of a classifier, texts x classes, float32; leaves its training mode as it was."""
    training = model.training
    model.eval()

    def compute(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return model(**batch).logits

    try:
        return _over_batches(tokens, device, compute)
    finally:
        model.train(training)


def softmax(values: np.ndarray) -> np.ndarray:
    """Return probabilities, rows adding up to one, in float64."""
    exponents = np.exp(values.astype(np.float64) - values.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return a probability for each value by itself, in float64."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values.astype(np.float64), -60, 60))))


def probabilities(model: PooledSequenceClassifier, tokens: Tokens, device: str) -> np.ndarray:
    """Return what a saved model answers in fp32 computation, texts x outputs; this is what is evaluated and served.

    Probabilities of classes that add up to one, of labels each by itself, or numbers: as the configuration says.
    """
    values = logits(model, tokens, device)
    activation = getattr(model.config, "activation", "softmax")
    if activation == "none":
        return values.astype(np.float64)
    return sigmoid(values) if activation == "sigmoid" else softmax(values)
