"""What a candidate answers where an answer is no single class: numbers, or a truth value for each tag."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Estimates:
    """One candidate's answers in the order of the test split: a number per row, or rows x tags of probabilities.

    ``latencies_ms`` are the times of single examples, one by one; ``throughput`` is texts per second in batches;
    ``size`` is the bytes that a deployment has to hold.
    """

    name: str
    values: np.ndarray
    latencies_ms: list[float]
    throughput: float
    size: int
    details: dict[str, object] = field(default_factory=dict)
