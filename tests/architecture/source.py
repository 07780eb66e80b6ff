"""Reads the project's own source: which files there are, and their syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("portal", "training", "projects", "governance")
# What tools and the running site leave in a checkout: none of it is source.
LEFTOVERS = {".git", ".venv", "var", "__pycache__", "staticfiles", "htmlcov", "test-results"}
LEFTOVERS |= {".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis", ".schemathesis"}


def files(*folders: str, suffix: str = "") -> Iterator[Path]:
    """Every file of the source tree, or below the named folders, whose name ends with `suffix`."""
    for start in [ROOT / folder for folder in folders] or [ROOT]:
        for folder, names, found in start.walk() if hasattr(start, "walk") else _walk(start):
            names[:] = [name for name in names if name not in LEFTOVERS]
            yield from (folder / name for name in sorted(found) if name.endswith(suffix) and name not in LEFTOVERS)


def _walk(start: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    # Path.walk came with Python 3.12.
    import os

    for folder, names, found in os.walk(start):
        yield Path(folder), names, found


def modules(*folders: str, migrations: bool = False) -> list[Path]:
    """Python files below the named folders, by default of the four packages, without migrations."""
    found = files(*(folders or PACKAGES), suffix=".py")
    return [path for path in found if migrations or "migrations" not in path.parts]


def name(path: Path) -> str:
    """The path as a person would write it: from the root of the project."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(), filename=str(path))


def dotted(node: ast.AST) -> str:
    """`a.b.c` for an attribute chain, with `()` where a call stands in it: `Model.objects.filter().update`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func)}()"
    if isinstance(node, ast.Subscript):
        return f"{dotted(node.value)}[]"
    return "?"


def calls(node: ast.AST) -> Iterator[ast.Call]:
    """Every call below a node."""
    return (one for one in ast.walk(node) if isinstance(one, ast.Call))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module name of every import in a file, those inside functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module


WRITES = {"save", "delete", "create", "bulk_create", "bulk_update", "get_or_create", "update_or_create", "update"}
WRITES |= {"asave", "adelete", "acreate", "abulk_create", "aget_or_create", "aupdate_or_create", "aupdate"}
QUERYSET_WORDS = (
    "objects",
    "filter()",
    "exclude()",
    "all()",
    "visible_to()",
    "select_for_update()",
    "queryset",
    "_set",
)


def writes(node: ast.AST) -> Iterator[ast.Call]:
    """Calls below a node that write to the database through the ORM.

    A call with `actor=` is a service, not a write. `update`, `create` and `delete` have innocent namesakes (a dict, a
    hash, a cache), so the first two count on what looks like a manager or queryset, and the last not on a cache.
    """
    for call in calls(node):
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in WRITES:
            continue
        if any(keyword.arg == "actor" for keyword in call.keywords):
            continue
        receiver, verb = dotted(call.func.value), call.func.attr.removeprefix("a")
        if verb in {"update", "create"} and not any(word in receiver for word in QUERYSET_WORDS):
            continue
        if receiver in {"cache", "super()"} or receiver.endswith(".session"):
            continue
        yield call
