"""How results are measured, one file per kind of answer, found by scanning this folder.

The contract of a file here:

- ``MEASURE``: a ``Measure`` whose ``name`` is the file's own. Importing the file imports the standard library and
  ``training.engine`` declarations only, so that pages can be drawn without torch.
- ``read(folder, source, seed)``: the splits train, validation and test of a dataset as its recipes use them.
- ``context(run)``: what its baselines work with.
- ``compare(run, tuned, rivals)``: the content of evaluation.json; ``write(run, folder, report, tuned, rivals)`` writes
  it and predictions.parquet.
- ``ANSWERS`` (but for classes): name of each metric to the function that computes it from sums over rows, see
  ``training.engine.comparison``.
- It imports no other file of this folder. Recipes and baselines name a measure; adding one is adding one file.
"""

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Metric:
    """One figure: ``unit`` is ``share`` (0 to 1, shown in per cent) or ``number``; ``higher`` says what is better.

    ``interval`` says how its confidence interval is computed, for people.
    """

    name: str
    title: str
    help: str
    unit: str = "share"
    higher: bool = True
    interval: str = "percentile bootstrap over the test rows"

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that JSON can hold."""
        return {
            "name": self.name,
            "title": self.title,
            "help": self.help,
            "unit": self.unit,
            "higher": self.higher,
            "interval": self.interval,
        }


@dataclass(frozen=True)
class Measure:
    """What a kind of answer is measured by; the first metric is the one that decides.

    ``validation`` names the figures that are drawn while training goes on. ``primary`` may name another metric for
    some layouts. ``limits`` are sentences that hold for every model of the kind, for its card.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    validation: tuple[str, ...]
    primary: tuple[tuple[str, str], ...] = ()
    limits: tuple[str, ...] = ()

    def primary_for(self, layout: str) -> Metric:
        """Return the metric that decides for rows of that layout."""
        return self.metric(dict(self.primary).get(layout, self.metrics[0].name))

    def metric(self, name: str) -> Metric:
        """Return the metric of that name; raises KeyError."""
        return {metric.name: metric for metric in self.metrics}[name]


class UnknownMeasure(LookupError):
    """No file of this folder has that name."""


def names() -> list[str]:
    """Return the names of all measures, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """Return the module of a measure; raises ``UnknownMeasure``."""
    if name not in names():
        raise UnknownMeasure(f"There is no measure named {name!r}; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}")


def get(name: str) -> Measure:
    """Return the declaration of a measure, without importing torch; raises ``UnknownMeasure``."""
    measure = load(name).MEASURE
    assert isinstance(measure, Measure)
    return measure
