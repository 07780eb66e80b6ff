"""LoRA adapters that share one set of weights: each token goes through the adapter of the request it belongs to.

transformers' continuous batching packs the tokens of all requests into one row, which peft's choice of an adapter for
each row of a batch cannot tell apart. So the low-rank part is added here, for each run of tokens, with the numbers that
peft wrote: output + scaling * B(A(input)), Hu et al., "LoRA" (2021). What that formula does not cover (DoRA, changed
embeddings, biases, other ranks in other layers) is not shared: `is_plain` says so, and it is merged into a copy.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from training.engine.failures import EngineError

ADAPTER_CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight")
# Settings of an adapter that change more than the plain formula does; all of them are off by default.
_BEYOND = (
    "use_dora", "modules_to_save", "alpha_pattern", "rank_pattern", "fan_in_fan_out", "lora_bias", "layer_replication",
    "trainable_token_indices", "target_parameters", "megatron_config", "layers_pattern", "use_qalora", "use_bdlora",
    "alora_invocation_tokens", "arrow_config", "velora_config", "monteclora_config", "kasa_config",
)  # fmt: skip
_PLAIN_BIAS = ("none", None)


@dataclass(frozen=True)
class Adapter:
    """The low-rank parts of one adapter by the name of the module that they are added to."""

    parts: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    scaling: float

    @property
    def size(self) -> int:
        """Return its bytes in memory."""
        return sum(t.numel() * t.element_size() for pair in self.parts.values() for t in pair)


def is_plain(folder: Path) -> bool:
    """Return whether the adapter saved in ``folder`` changes linear layers of the blocks by the plain formula alone."""
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA" or any(config.get(name) for name in _BEYOND):
        return False
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        matches = [_KEY.fullmatch(key) for key in file.keys()]  # noqa: SIM118 - it is not a mapping
    return config.get("bias") in _PLAIN_BIAS and all(match and ".layers." in match["module"] for match in matches)


def load(folder: Path, model: nn.Module) -> Adapter:
    """Return the plain adapter saved in ``folder`` for ``model``; raises ``EngineError`` where it does not fit it."""
    config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    found: dict[str, dict[str, torch.Tensor]] = {}
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    sample = next(model.parameters())
    for key, tensor in load_file(folder / WEIGHTS).items():
        match = _KEY.fullmatch(key)
        if match is None or match["module"] not in linear:
            raise _misfit(key)
        found.setdefault(match["module"], {})[match["part"]] = tensor.to(sample.device, sample.dtype)
    for name, parts in found.items():
        module = model.get_submodule(name)
        shapes = {part: tuple(tensor.shape) for part, tensor in parts.items()}
        if shapes != {"A": (rank, module.in_features), "B": (module.out_features, rank)}:
            raise _misfit(name)
    scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Adapter({name: (parts["A"], parts["B"]) for name, parts in found.items()}, scaling)


def _misfit(name: str) -> EngineError:
    return EngineError(
        "unsafe_model",
        f"The adapter does not fit its base model at {name}.",
        "Publish it with the base it was made on.",
    )


class AdapterRouter:
    """Adds to the output of each linear layer what the adapters of the present batch's tokens say.

    Number 0 stands for no adapter. ``place`` belongs to the thread that computes; adapters may be added and removed
    only while that thread is paused or idle.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._adapters: dict[int, Adapter] = {}
        self._hooks: dict[str, Any] = {}
        self._spans: list[tuple[int, torch.Tensor | None]] = []
        self._device = next(model.parameters()).device

    def add(self, number: int, adapter: Adapter) -> None:
        """Let tokens be placed under ``number``."""
        self._adapters[number] = adapter
        for name in adapter.parts.keys() - self._hooks.keys():
            module = self._model.get_submodule(name)
            self._hooks[name] = module.register_forward_hook(self._hook(name))

    def remove(self, number: int) -> None:
        """Forget an adapter; layers that no other one changes are left alone again."""
        self._adapters.pop(number, None)
        used = {name for adapter in self._adapters.values() for name in adapter.parts}
        for name in self._hooks.keys() - used:
            self._hooks.pop(name).remove()

    def place(self, runs: list[tuple[int, int]]) -> None:
        """Take the coming batch's make-up: (how many tokens, adapter number) for each request in order."""
        if not self._adapters:
            return
        numbers = {number for _, number in runs}
        if len(numbers) == 1:
            self._spans = [(number, None) for number in numbers if number in self._adapters]
            return
        at, places = 0, dict[int, list[int]]()
        for length, number in runs:
            places.setdefault(number, []).extend(range(at, at + length))
            at += length
        self._spans = [
            (number, torch.tensor(where, device=self._device))
            for number, where in places.items()
            if number in self._adapters
        ]

    def _hook(self, name: str) -> Any:
        def add(_module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            # Inputs are 1 x tokens x width: all requests of the batch in one row.
            for number, where in self._spans:
                part = self._adapters[number].parts.get(name)
                if part is None:
                    continue
                down, up = part
                rows = inputs[0][0] if where is None else inputs[0][0, where]
                change = (rows @ down.T @ up.T) * self._adapters[number].scaling
                if where is None:
                    output[0] += change
                else:
                    output[0].index_add_(0, where, change)
            return output

        return add
