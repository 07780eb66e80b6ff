"""Text that language models write: one scheduler for each set of weights, every caller's tokens in the same steps.

The scheduling, the paged cache and the forward pass are transformers' continuous batching; what it lacks is here: a
temperature, seed and log probabilities for each request, adapters chosen for each request, stop strings, and events.
"""

from training.engine.generation.asks import Ask
from training.engine.generation.language_models import (
    LanguageModel,
    Seat,
    expected_size,
    load_language_model,
    weights_key,
)

__all__ = ["Ask", "LanguageModel", "Seat", "expected_size", "load_language_model", "weights_key"]
