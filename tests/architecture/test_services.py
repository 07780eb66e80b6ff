"""A function that changes state is keyword-only, takes `actor`, runs in a transaction, asks access and tells the ledger."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.architecture import source

# The ground that the rule stands on: asking, recording, and showing who someone is.
GROUND = {
    "governance/services/access.py": "it is what the others ask; its writes are called by roles, which asks and records",
    **dict.fromkeys(
        (f"governance/services/ledger/{part}.py" for part in ("records", "keys", "sealing", "tiles")),
        "it is what the others tell; it cannot record its own recording",
    ),
}

# A function that departs from one point: (file, function, point): why. Points: actor, keywords, transaction, access, ledger.
ALL = ("keywords", "actor", "transaction", "access", "ledger")
_BYTES = "it stores bytes that nothing names yet; whoever names them, in a commit, is asked and recorded"
_STEP = "it is one step of a service that records the act, with the commit or repository that this step made"
_SECRET = "it notes when a token was last used; who holds it is known only when it returns"
_FOLLOWS = "it follows, in the same transaction, from an act that was allowed; nobody may keep it from happening"
_EFFECT = (
    "it is a gate's effect: approvals calls it inside the transaction of a decision, which was checked and recorded"
)
_SAY = "it asks reviewers.say (or may_revoke, may_meet), the one place that says who decides; no permission alone does"
_PART = "it is a part of the services of this package, which ask and hold the lock"
_CONFIRMED = "who confirmed its code is found by the code, and tokens.create, which it calls, asks and records"
_OWN = "it asks whether the token is the person's own, which no permission can say, and refuses everyone else"
_FENCED = "the fencing token of the claim is the right to write, and it is checked in the same statement"
_RUNG = "a doorbell names an id and no person: it acts as the system, on behalf of the person who uploaded, and says so"
_ASKED = "what it asks for is recorded with its result, in the name of who asked"
_COPIES = "it forgets copies of answers; what the calls did is recorded"
_PULSE = "a sign of life is no act: starting, ending and losing a job are recorded"
_SEEN = "a sign of life is no act: signing in and out and ending a session are recorded"
_SAID = "who made a call says how its answer was; no permission gives that, and everybody else is refused"
_PROVED = "it follows from an act in which the person proved who they are; the door that checked it calls this"
EXCEPTIONS: dict[tuple[str, str, str], str] = {
    **{("projects/services/repositories.py", "store_blob", point): _BYTES for point in ALL},
    ("projects/services/repositories.py", "create", "ledger"): _STEP,
    ("projects/services/repositories.py", "commit", "ledger"): _STEP,
    ("governance/services/ledger/background.py", "ask", "ledger"): _ASKED,
    ("governance/services/ledger/background.py", "run", "keywords"): _RUNG,
    ("governance/services/ledger/background.py", "run", "actor"): _RUNG,
    ("governance/services/ledger/background.py", "run", "access"): _RUNG,
    ("governance/services/approvals/requests.py", "lapse_changed", "access"): _FOLLOWS,
    ("governance/services/approvals/requests.py", "end", "access"): _FOLLOWS,
    **{
        ("governance/services/approvals/requests.py", "void", point): _PART
        for point in ("keywords", "transaction", "access")
    },
    **{("governance/services/approvals/requests.py", "close", point): _PART for point in ALL},
    ("governance/services/approvals/decisions.py", "decide", "access"): _SAY,
    ("governance/services/approvals/decisions.py", "meet", "access"): _SAY,
    ("training/services/registry.py", "approved", "access"): _EFFECT,
    ("training/services/registry.py", "suspend_resting_on", "access"): _EFFECT,
    ("training/services/jobs/submission.py", "stop_resting_on", "access"): _EFFECT,
    ("projects/services/use_cases.py", "approved", "transaction"): _EFFECT,
    ("projects/services/use_cases.py", "approved", "access"): _EFFECT,
    ("projects/services/use_cases.py", "closed", "transaction"): _EFFECT,
    ("projects/services/use_cases.py", "closed", "access"): _EFFECT,
    ("training/services/registry.py", "closed", "access"): _EFFECT,
    **{("governance/services/tokens.py", "authenticate", point): _SECRET for point in ALL},
    ("governance/services/tokens.py", "create", "access"): _OWN,
    ("governance/services/tokens.py", "forget_answers", "ledger"): _COPIES,
    ("governance/services/sessions.py", "begin", "access"): _PROVED,
    ("governance/services/sessions.py", "close", "access"): _PROVED,
    ("governance/services/people.py", "drop_password", "access"): _PROVED,
    ("governance/services/people.py", "renew_hash", "access"): _PROVED,
    **{("governance/services/sessions.py", "seen", point): _SEEN for point in ALL if point != "keywords"},
    ("portal/services/feedback.py", "give", "access"): _SAID,
    ("projects/services/datasets/imports.py", "run_import", "keywords"): _RUNG,
    ("projects/services/datasets/imports.py", "run_import", "actor"): _RUNG,
    ("portal/services/device_logins.py", "decide", "access"): _OWN,
    ("portal/services/device_logins.py", "redeem", "actor"): _CONFIRMED,
    ("portal/services/device_logins.py", "redeem", "access"): _CONFIRMED,
    ("training/services/jobs/ownership.py", "heartbeat", "transaction"): _FENCED,
    ("training/services/jobs/ownership.py", "heartbeat", "access"): _FENCED,
    ("training/services/jobs/ownership.py", "heartbeat", "ledger"): _PULSE,
    ("training/services/jobs/ownership.py", "record_events", "ledger"): _PULSE,
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
    return [function for where, function in _followed(path, start) if where == path]


def followed(path: Path, start: ast.FunctionDef) -> list[ast.FunctionDef]:
    """A function and every function of the services that it calls, and so on: asking may be left to another service."""
    return [function for _, function in _followed(path, start)]


@cache
def _followed(path: Path, start: ast.FunctionDef) -> tuple[tuple[Path, ast.FunctionDef], ...]:
    found, waiting = {(path, start.name): start}, [(path, start)]
    while waiting:
        where, function = waiting.pop()
        names = callable_names(where)
        for call in source.calls(function):
            callee = names.get(source.dotted(call.func))
            if callee is not None and callee[:2] not in found:
                found[callee[:2]] = callee[2]
                waiting.append((callee[0], callee[2]))
    return tuple((where, function) for (where, _), function in found.items())


@cache
def callable_names(path: Path) -> dict[str, tuple[Path, str, ast.FunctionDef]]:
    """What a services module may call by which name: its own functions, imported ones, and those of imported modules."""
    found = {name: (path, name, node) for name, node in functions(path).items()}
    for node in ast.walk(source.tree(path)):
        if not isinstance(node, ast.ImportFrom) or ".services" not in (node.module or ""):
            continue
        for alias in node.names:
            name = alias.asname or alias.name
            for module, prefix in ((f"{node.module}.{alias.name}", f"{name}."), (node.module, None)):
                for known, where in offered(module).items():
                    if prefix is not None:
                        found[prefix + known] = where
                    elif known == alias.name:
                        found[name] = where
    return found


@cache
def offered(module: str) -> dict[str, tuple[Path, str, ast.FunctionDef]]:
    """What a services module defines, or a services package hands on, by name."""
    place = source.ROOT / (module.replace(".", "/") + ".py")
    if place.exists():
        return {} if source.name(place) in GROUND else {n: (place, n, node) for n, node in functions(place).items()}
    package = source.ROOT / module.replace(".", "/") / "__init__.py"
    found: dict[str, tuple[Path, str, ast.FunctionDef]] = {}
    if package.exists():
        for node in ast.walk(source.tree(package)):
            if isinstance(node, ast.ImportFrom) and node.module:
                below = node.module if node.level == 0 else f"{module}.{node.module}"
                held = offered(below) if below.startswith(f"{module}.") else {}
                found |= {one.asname or one.name: held[one.name] for one in node.names if one.name in held}
    return found


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
    everything = followed(path, function)
    called = {source.dotted(call.func) for one in everything for call in source.calls(one)}
    decorators = {source.dotted(mark).removesuffix("()") for one in everything for mark in one.decorator_list}
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
        # Inside its own package the ledger is called by the name of its part.
        "ledger": bool(called & {"ledger.record", "records.record"}),
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
        if node.module.split(".")[-1] != "services" and alias.name[:1].islower() and "services" not in path.parts
    ]
    assert not found, (
        f"Call services through their module, so that a reader sees whose verb it is (use_cases.submit, not submit): {found}"
    )
