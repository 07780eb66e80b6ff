"""A function that changes state is keyword-only, takes `actor`, runs in a transaction, asks access and tells the ledger."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture import source

# The ground that the rule stands on: asking, recording, and showing who someone is.
GROUND = {
    "governance/services/access.py": "it is what the others ask; its writes are called by roles, which asks and records",
    "governance/services/ledger.py": "it is what the others tell; it cannot record its own recording",
}

# A function that departs from one point: (file, function, point): why. Points: actor, keywords, transaction, access, ledger.
_BYTES = "it stores bytes that nothing names yet; whoever names them, in a commit, is asked and recorded"
_CALLER = "it is one step of a service that records the act, with the commit or repository that this step made"
_TOKEN = "it notes when a token was last used; whoever holds the token is not known before it returns"
EXCEPTIONS: dict[tuple[str, str, str], str] = {
    **{
        ("projects/services/repositories.py", "store_blob", point): _BYTES
        for point in ("keywords", "actor", "transaction", "access", "ledger")
    },
    ("projects/services/repositories.py", "create", "ledger"): _CALLER,
    ("projects/services/repositories.py", "commit", "ledger"): _CALLER,
    (
        "governance/services/approvals.py",
        "lapse_changed",
        "access",
    ): "it follows from a change that was allowed: nobody may keep an approval of what is no longer there",
    **{
        ("governance/services/tokens.py", "authenticate", point): _TOKEN
        for point in ("keywords", "actor", "transaction", "access", "ledger")
    },
}

POINTS = {
    "keywords": "let every argument be keyword-only: def {function}(*, actor, ...)",
    "actor": "take `actor`, the person it is done for; background work acts for a named person",
    "transaction": "decorate it with @transaction.atomic, so that the change and its ledger entry stand or fall together",
    "access": "call access.require(actor, Permission..., subject) before it changes anything",
    "ledger": "call ledger.record(Action..., actor=actor, subject=...) in the same transaction",
}


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in source.tree(path).body if isinstance(node, ast.FunctionDef)}


def reached(path: Path, start: ast.FunctionDef) -> list[ast.FunctionDef]:
    """A function and those of the same module that it calls, and so on."""
    known, found, waiting = functions(path), {start.name: start}, [start]
    while waiting:
        for call in source.calls(waiting.pop()):
            callee = known.get(source.dotted(call.func))
            if callee is not None and callee.name not in found:
                found[callee.name] = callee
                waiting.append(callee)
    return list(found.values())


def changing() -> list[tuple[Path, ast.FunctionDef]]:
    """Public functions of the services that write to the database, themselves or through others of their module."""
    return [
        (path, function)
        for package in source.PACKAGES
        for path in source.modules(f"{package}/services")
        if source.name(path) not in GROUND
        for function in functions(path).values()
        if not function.name.startswith("_") and any(any(source.writes(one)) for one in reached(path, function))
    ]


def kept(path: Path, function: ast.FunctionDef) -> set[str]:
    """The points of the rule that a function keeps."""
    arguments = function.args
    everything = reached(path, function)
    called = {source.dotted(call.func) for one in everything for call in source.calls(one)}
    decorators = {source.dotted(one).removesuffix("()") for one in function.decorator_list}
    atomic = "transaction.atomic" in decorators or any(
        source.dotted(item.context_expr) == "transaction.atomic()"
        for one in everything
        for node in ast.walk(one)
        if isinstance(node, ast.With)
        for item in node.items
    )
    points = {
        "keywords": not arguments.args and not arguments.posonlyargs and arguments.vararg is None,
        "actor": "actor" in [argument.arg for argument in arguments.kwonlyargs + arguments.args],
        "transaction": atomic,
        "access": "access.require" in called,
        "ledger": "ledger.record" in called,
    }
    return {point for point, holds in points.items() if holds}


FOUND = changing()


@pytest.mark.parametrize(("path", "function"), FOUND, ids=[f"{source.name(p)}::{f.name}" for p, f in FOUND])
def test_a_service_that_changes_state_checks_changes_and_records(path, function):
    excused = {point for file, name, point in EXCEPTIONS if (file, name) == (source.name(path), function.name)}
    missing = [
        POINTS[point].format(function=function.name) for point in POINTS if point not in kept(path, function) | excused
    ]
    assert not missing, (
        f"{source.name(path)}:{function.lineno} {function.name}() changes state. It must also: {'; '.join(missing)}. "
        "If it is right as it is, name it in EXCEPTIONS with the reason; if only its own module calls it, begin its name "
        "with an underscore."
    )


def test_no_exception_outlives_its_function():
    by_name = {(source.name(path), function.name): (path, function) for path, function in FOUND}
    for file, name, point in EXCEPTIONS:
        assert (file, name) in by_name, f"{file} has no {name}() that changes state: take it out of EXCEPTIONS"
        assert point not in kept(*by_name[file, name]), f"{name}() keeps the point {point!r}: take it out of EXCEPTIONS"


def test_services_are_called_through_their_module():
    found = [
        f"{source.name(path)}:{node.lineno} from {node.module} import {alias.name}"
        for path in source.modules()
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.ImportFrom) and node.module and ".services." in f".{node.module}."
        for alias in node.names
        if node.module.split(".")[-1] != "services" and alias.name[:1].islower() and path.parent.name != "services"
    ]
    assert not found, (
        f"Call services through their module, so that a reader sees whose verb it is (use_cases.submit, not submit): {found}"
    )
