"""Places out of the operator's reach to which checkpoints are sent, one file for each kind.

A module `kind.py` in this folder offers:

- `label(place: str) -> str`: the place as people and the ledger may read it, without secrets;
- `publish(place: str, statement: Statement) -> bytes`: send the checkpoint there and return what came back as proof
  (nothing where the place gives none); raises `Failed` with a sentence;
- `wrong(place: str) -> str`: what is wrong with the place or with a setting that the kind needs, as a sentence that can
  be said before anything is sent; nothing where all is well;
- `kept(place: str) -> str` (optional): the signed notes that the place holds, for verification to compare with.

LEDGER_ANCHORS names them as `kind:place`. Nothing here reads or writes the database.
"""

from __future__ import annotations

import datetime
import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType


class Failed(RuntimeError):
    """The place did not take the checkpoint; the message says why, without secrets."""


class BadSetting(ValueError):
    """LEDGER_ANCHORS or a setting of one kind cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Statement:
    """A checkpoint as it leaves the house."""

    origin: str
    size: int
    root: bytes
    note: str
    at: datetime.datetime


@dataclass(frozen=True)
class Target:
    """One place of one kind."""

    kind: str
    place: str

    @property
    def module(self) -> ModuleType:
        """Return the module of the kind."""
        return importlib.import_module(f"governance.anchors.{self.kind}")

    @property
    def label(self) -> str:
        """Return the place without secrets."""
        return self.module.label(self.place)

    @property
    def wrong(self) -> str:
        """Return what is wrong with it as far as that can be told without sending anything, or an empty string."""
        return self.module.wrong(self.place)

    def publish(self, statement: Statement) -> bytes:
        """Send the checkpoint; return the proof. Raises Failed."""
        return self.module.publish(self.place, statement)

    def kept(self) -> str:
        """Return the signed notes that the place holds; none where it cannot be read back."""
        read = getattr(self.module, "kept", None)
        return read(self.place) if read is not None else ""


def kinds() -> list[str]:
    """Return the kinds there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def targets(named: list[str]) -> list[Target]:
    """Return the targets that a list of `kind:place` names; raises BadSetting."""
    found = []
    for one in named:
        kind, colon, place = one.partition(":")
        if not colon or not place or kind not in kinds():
            raise BadSetting(f"LEDGER_ANCHORS: {one!r} is not kind:place, the kind being one of {', '.join(kinds())}.")
        found.append(Target(kind, place))
    return found
