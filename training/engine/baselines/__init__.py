"""Cheap rivals that every tuned model must beat, one file each, found by scanning this folder.

The contract of a file here:

- ``BASELINE``: a ``Baseline`` whose ``name`` is the file's own. Importing the file imports the standard library and
  ``training.engine.baselines`` only.
- ``fit_predict(context) -> training.engine.predictions.Predictions``: learns from ``context.train`` and answers for
  every row of ``context.test``, in order; it sees no label of the test split. ``context`` is a
  ``training.engine.predictions.Context``.
- It imports no other file of this folder and gives the same answer for the same seed.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Baseline:
    """What a baseline is called and what comparing with it tells a person."""

    name: str
    title: str
    help: str


class UnknownBaseline(LookupError):
    """No file of this folder has that name."""


def names() -> list[str]:
    """Return the names of all baselines, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """Return the module of a baseline; raises ``UnknownBaseline``."""
    if name not in names():
        raise UnknownBaseline(f"There is no baseline named {name!r}; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}")


def get(name: str) -> Baseline:
    """Return the declaration of a baseline, without importing torch; raises ``UnknownBaseline``."""
    baseline = load(name).BASELINE
    assert isinstance(baseline, Baseline)
    return baseline
