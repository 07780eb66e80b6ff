"""What a candidate answers on the test split, and what a baseline is given to learn from."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training.engine.data import Split

LATENCY_SAMPLE = 50


@dataclass(frozen=True)
class Predictions:
    """One candidate's answers: ``probabilities`` is rows x classes, in the order of the test split.

    ``latencies_ms`` are the times of single examples, one by one; ``throughput`` is texts per second in batches;
    ``size`` is the bytes that a deployment has to hold.
    """

    name: str
    probabilities: np.ndarray
    latencies_ms: list[float]
    throughput: float
    size: int
    details: dict[str, object] = field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """Return the index of the most probable class of each row."""
        return self.probabilities.argmax(axis=1)


@dataclass(frozen=True)
class Context:
    """What a baseline works with.

    ``train`` and ``test`` are the run's own frozen splits. ``embed`` turns texts into vectors of the untuned base
    model (float32, texts x width); ``embed_train`` and ``embed_test`` do so for the splits and remember the result.
    ``base_model_size`` is in bytes.
    """

    train: Split
    test_texts: list[str]
    classes: int
    seed: int
    embed: Callable[[list[str]], np.ndarray]
    embed_train: Callable[[], np.ndarray]
    base_model_size: int
    balanced: bool = False


def measure(
    answer: Callable[[list[Any]], Any], texts: list[Any], sample: int = LATENCY_SAMPLE
) -> tuple[Any, list[float], float]:
    """Return what ``answer`` says to ``texts``, single-example times in milliseconds, and texts per second in batches.

    The single examples are spread evenly over ``texts``; the first call is a warm-up that is not counted.
    """
    answer(texts[:1])
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(sample, len(texts))).astype(int))
    times = []
    for index in chosen:
        start = time.perf_counter()
        answer([texts[index]])
        times.append((time.perf_counter() - start) * 1000)
    start = time.perf_counter()
    found = answer(texts)
    return found, times, len(texts) / max(time.perf_counter() - start, 1e-9)
