"""What one row of a dataset is made of, one file per layout, found by scanning this folder; to add one, add a file.

The contract of a layout, a module of this folder that imports no sibling:

``LAYOUT``  a ``Layout`` whose ``name`` is the file's own: its roles, and what a person is told about each.
``read(values) -> dict[str, str] | Problem``
    the row as it will be kept, by role, or what makes it unfit to learn from. ``values`` maps roles to cells as they
    were read; a role that no column was named for is missing.
``labels(values) -> Sequence[str]``
    the names that a row as ``read`` returned it adds to the version's list of labels; none for most layouts.

A layout knows nothing of models. Which layouts a kind of training can learn from is said by its recipe.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType

DEFAULT = "classes"


@dataclass(frozen=True, slots=True)
class Role:
    """What one column of a layout holds. ``words`` are the column names that suggest it, the likeliest first."""

    name: str
    title: str
    help: str
    words: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """One kind of row.

    ``text`` is the role by which rows are told apart, which is searched for repetitions. ``stratum`` is the role whose
    values are spread evenly over the splits, empty where rows are drawn freely. ``nested`` says that a cell may be a
    list or an object, kept as JSON text. ``category`` is the task category that the datasheet names.
    """

    name: str
    title: str
    help: str
    roles: tuple[Role, ...]
    text: str
    category: str
    stratum: str = ""
    nested: bool = False

    def role(self, name: str) -> Role:
        """Return the role of that name; raises KeyError."""
        return {role.name: role for role in self.roles}[name]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row cannot be used: the role at fault, a code, what is wrong, what to do. ``{unit}`` stands for "line"."""

    role: str
    code: str
    message: str
    advice: str


def empty(role: str, thing: str) -> Problem:
    """Return the problem of a cell that says nothing; ``thing`` is what it should have held, such as "The text"."""
    return Problem(role, f"no_{role}", f"{thing} is empty.", "Fill it in, or remove the {unit}.")


def filled(values: Mapping[str, str | None], role: str) -> bool:
    """Tell whether the row says anything for the role."""
    value = values.get(role)
    return value is not None and bool(value.strip())


@cache
def names() -> tuple[str, ...]:
    """Return the names of all layouts, the usual one first, the others in alphabetical order."""
    found = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return (DEFAULT, *(name for name in found if name != DEFAULT))


@cache
def load(name: str) -> ModuleType:
    """Return the module of a layout; raises LookupError."""
    if name not in names():
        raise LookupError(f"There is no layout named {name!r}; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}")


def get(name: str) -> Layout:
    """Return the declaration of a layout; raises LookupError."""
    layout = load(name).LAYOUT
    assert isinstance(layout, Layout)
    return layout
