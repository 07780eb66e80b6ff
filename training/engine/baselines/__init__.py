"""Cheap rivals that every tuned model must beat, one file each, found by scanning this folder.

The contract of a file here:

- ``BASELINE``: a ``Baseline`` whose ``name`` is the file's own. Importing the file imports the standard library and
  ``training.engine.baselines`` only.
- ``fit_predict(context)``: learns from ``context.train`` and answers for every row of the test split, in order; it
  sees no answer of the test split. What ``context`` offers and what is returned is said by the measure that the
  baseline is for: ``training.engine.predictions`` for classes, ``training.engine.measures`` for the others.
- It imports no other file of this folder and gives the same answer for the same seed.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Baseline:
    """What a baseline is called and what comparing with it tells a person.

    ``measure`` names the kind of answers it gives (a file of ``training.engine.measures``), ``layouts`` the kinds of
    rows it can learn from; none named means all.
    """

    name: str
    title: str
    help: str
    measure: str = "classes"
    layouts: tuple[str, ...] = ()

    def fits(self, measure: str, layout: str) -> bool:
        """Tell whether it can be compared with a model of that measure on rows of that layout."""
        return self.measure == measure and (not self.layouts or layout in self.layouts)


class UnknownBaseline(LookupError):
    """No file of this folder has that name."""


def names() -> list[str]:
    """Return the names of all baselines, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def fitting(measure: str, layout: str) -> list[str]:
    """Return the names of the baselines that fit, sorted."""
    return [name for name in names() if get(name).fits(measure, layout)]


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
