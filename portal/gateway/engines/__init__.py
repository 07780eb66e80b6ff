"""The engines that run published models, one file each, found by scanning this folder; they never import each other.

A file offers `NAME`, and a class `Engine` with:

- `state() -> str`: "ok", or a sentence saying what is wrong;
- `predict(loaded: Loaded, texts: list[str], top_k: int) -> Answer`: labels with probabilities for each text, in order;
  raises `Unavailable` when the engine cannot answer now and `Refused` when it will not answer this.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Loaded:
    """A version's files on this machine: its own folder, the base model's (or None), and every file's sha256."""

    key: str
    folder: Path
    base_folder: Path | None
    files: dict[str, str]
    base_files: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """`results` holds, for each text, [{"label", "score"}] by falling score; latency is the engine's own, in ms."""

    results: list[list[dict]]
    tokens: int
    latency_ms: int


class Unavailable(RuntimeError):
    """The engine cannot answer now; the message says why and what to do."""


class Refused(ValueError):
    """The engine will not answer this input; the message says what is wrong with it."""


def names() -> list[str]:
    """Return the names of the engines there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get(name: str):
    """Return the engine with this name; raises KeyError for an unknown one."""
    if name not in names():
        raise KeyError(f"There is no engine “{name}”; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}").Engine()
