"""What the scheduler does besides its own duties: the packages above register theirs when the site starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Duty:
    """Something to do again and again: every so many seconds, the first time at once."""

    name: str
    every: float
    act: Callable[[], object]
    due: float = 0.0


_registered: dict[str, tuple[float, Callable[[], object]]] = {}


def register(name: str, every: float, act: Callable[[], object]) -> None:
    """Let the scheduler do this too; a name that is registered again replaces what it stood for."""
    _registered[name] = (every, act)


def registered() -> list[Duty]:
    """Return what was registered, each due at once."""
    return [Duty(name, every, act) for name, (every, act) in _registered.items()]
