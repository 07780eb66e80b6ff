"""The engines that run published models, one file each, found by scanning this folder; they never import each other.

A file offers `NAME`, and a class `Engine` with:

- `state() -> str`: "ok", or a sentence saying what is wrong;
- `claims(model: str) -> bool`: whether the operator has given the model "team/name" to this engine. What nobody claims
  is served by `embedded`;
- `NEEDS_FILES`: whether a version's files must lie on this machine before it is asked;

and, of the following, what it can do. All raise `Unavailable` when the engine cannot answer now and `Refused` when it
will not answer this. The last three belong to the event loop, and their iterators end the work when they are closed:

- `predict(loaded: Loaded, texts: list[str], top_k: int) -> Answer`: labels with probabilities for each text, in order;
- `chat(loaded, messages: list[dict], ask: Ask) -> AsyncIterator[Piece]`: an answer to a conversation;
- `complete(loaded, prompts: list[str] | list[list[int]], ask: Ask) -> AsyncIterator[Piece]`: how texts go on; choice
  `prompt * ask.n + i` is the i-th of its prompt;
- `embed(loaded, inputs: list[str] | list[list[int]]) -> Vectors`, to be awaited: one vector for each input, in order.
"""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Loaded:
    """A version's files on this machine: its own folder, the base model's (or None), and every file's sha256.

    `model` is the name of the registered model, "team/name".
    """

    key: str
    folder: Path
    base_folder: Path | None
    files: dict[str, str]
    base_files: dict[str, str]
    model: str = ""


@dataclass(frozen=True)
class Answer:
    """`results` holds, for each text, [{"label", "score"}] by falling score; latency is the engine's own, in ms."""

    results: list[list[dict]]
    tokens: int
    latency_ms: int


@dataclass(frozen=True)
class Ask:
    """How a text is to be written. It ends after `max_tokens`, or where the model holds no more.

    `logprobs` is None, or how many alternatives are told beside each token.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True)
class Piece:
    """What became known next of an answer: a text of one choice, its end, or tokens that were read or written.

    `logprobs` holds {"token", "bytes", "logprob", "top": [{"token", "bytes", "logprob"}]} for each token of the text.
    """

    choice: int = 0
    text: str = ""
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True)
class Vectors:
    """One vector for each input: little-endian float32, `width` numbers each, one after the other."""

    data: bytes
    width: int
    tokens: int


class Unavailable(RuntimeError):
    """The engine cannot answer now; the message says why and what to do."""


class Refused(ValueError):
    """The engine will not answer this input; the message says what is wrong with it, `field` names where."""

    def __init__(self, message: str, *, field: str = "", code: str = ""):
        super().__init__(message)
        self.field, self.code = field, code


_kept: dict[tuple[asyncio.AbstractEventLoop, str], Any] = {}


def kept(name: str, make: Callable[[], Any]) -> Any:
    """Return what `make` made for this event loop the first time: opening connections costs more than using them."""
    loop = asyncio.get_running_loop()
    for old in [key for key in _kept if key[0].is_closed()]:
        del _kept[old]
    if (loop, name) not in _kept:
        _kept[loop, name] = make()
    return _kept[loop, name]


async def close() -> None:
    """Close what is kept for this event loop, before the loop ends; a web process keeps it as long as it lives."""
    loop = asyncio.get_running_loop()
    for key in [key for key in _kept if key[0] is loop]:
        await _kept.pop(key).aclose()


def names() -> list[str]:
    """Return the names of the engines there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def of(model: str):
    """Return the engine that serves the registered model "team/name"."""
    claimed = (name for name in names() if name != EMBEDDED and get(name).claims(model))
    return get(next(claimed, EMBEDDED))


def get(name: str):
    """Return the engine with this name; raises KeyError for an unknown one."""
    if name not in names():
        raise KeyError(f"There is no engine “{name}”; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}").Engine()
