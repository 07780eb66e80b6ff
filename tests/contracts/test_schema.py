"""The OpenAPI document: it generates cleanly, tells the truth, and no input that it allows breaks the server."""

from __future__ import annotations

import gc
import json
import math
import os
import re
from io import StringIO

import hypothesis
import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from governance.policy import Role, TokenScope
from governance.services import access, tokens
from portal.wsgi import application
from tests.access.world import World, make_caller, make_world

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]
CASES = int(os.environ.get("FUZZ_CASES", "2000"))
"""Requests of all callers together on PostgreSQL, where defects of types and encodings show; SQLite gets a tenth."""

FUZZERS = [Role.TEAM_OWNER, Role.REVIEWER]

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document() -> dict:
    """Return the document as a client reads it."""
    return json.loads(json.dumps(SchemaGenerator(api_version="v1").get_schema(request=None, public=True)))


@pytest.fixture
def one_connection():
    """Let the site, called as a server calls it, stay on the test's own connection and transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    # Here, where it is expected (see below), and not in the middle of whatever test comes next.
    gc.collect()


@pytest.fixture
def world(db, tmp_path) -> World:
    """Return two teams with one of everything."""
    return make_world(tmp_path / "tiny")


def operations(document: dict) -> list[tuple[str, str, dict]]:
    """Return (path, method, operation) of everything in the document."""
    return [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_the_document_is_valid_and_generates_without_a_warning():
    # Fails on a warning: an endpoint that is not described, or two shapes that share a name.
    call_command("spectacular", validate=True, fail_on_warn=True, stdout=StringIO())


def test_every_operation_declares_what_it_refuses_with(document):
    for path, method, operation in operations(document):
        assert {"401", "403", "429"} <= set(operation["responses"]), (method, path)
        assert "404" in operation["responses"] or "{" not in path, (method, path)
        for code, response in operation["responses"].items():
            if code.startswith("4"):
                assert list(response["content"]) == ["application/problem+json"], (method, path, code)


def test_every_operation_has_a_name_of_its_own(document):
    names = [operation["operationId"] for _path, _method, operation in operations(document)]
    assert len(names) == len(set(names))


def test_the_documentation_page_loads_nothing_from_elsewhere(client, django_user_model):
    person = django_user_model.objects.create_user("reader@example.org", "correct-horse-battery-9", name="Reader")
    client.force_login(person)
    page = client.get(reverse("api:docs"))
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert any(address.endswith(".js") for address in loaded)
    assert [address for address in loaded if not address.startswith("/")] == []
    assert re.findall(r"https?://(?!testserver)[\w.]+", page.text) == []


def substitutes(path: str, world: World) -> dict[str, str]:
    """Return values for the path's parameters that lead to what the own team has."""
    side = world.own
    objects = {
        "approvals": side.approval, "people": side.member, "roles": side.assignment, "tokens": side.token,
        "shares": side.share, "goals": world.goal, "use-cases": side.draft, "datasets": side.dataset,
        "delegations": world.delegation,
        "erasures": world.erasure,
        "base-models": world.base_model, "sessions": side.session, "jobs": side.job, "publications": side.publication,
        "saved-views": side.view, "usage": side.usage, "quotas": side.quota, "feedback": side.feedback,
    }  # fmt: skip
    found = {
        "team": side.team.slug, "slug": side.team.slug, "number": "1", "file": "README.md", "path": "README.md",
        "name": "sequence_classification" if "recipes" in path else side.model.name, "dataset": str(side.dataset.pk),
        "token": str(side.token.pk),
    }  # fmt: skip
    kind = path.split("/")[3]
    return found | ({"id": str(objects[kind].pk)} if kind in objects else {})


# Called without a server around it, the site closes a refused upload only when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.postgres
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("role", FUZZERS)
def test_no_input_breaks_the_server_and_every_answer_has_its_declared_shape(
    role, world, document, one_connection, record_property
):
    caller = make_caller(role, world.own.team)
    _token, secret = tokens.create(
        actor=caller, user=caller, name="fuzz", scopes=[scope.value for scope in TokenScope], days=1
    )
    access.forget(caller)
    schema = schemathesis.openapi.from_dict(document)
    schema.app = application
    problems: list[str] = []
    asked = 0

    def ask(operation, case):
        nonlocal asked
        asked += 1
        if asked % 3:
            # Two of three requests are about something that is there.
            values = substitutes(operation.path, world)
            case.path_parameters = {name: values.get(name, value) for name, value in case.path_parameters.items()}
        with transaction.atomic():
            # Every request meets the same world: what the one before changed is taken back.
            headers = {"Authorization": f"Bearer {secret}", "If-Match": "*"}
            response = case.call(base_url="http://testserver", headers=headers)
            transaction.set_rollback(True)
        try:
            case.validate_response(response, checks=CHECKS)
        except (AssertionError, FailureGroup) as failure:
            causes = "; ".join(str(one) for one in getattr(failure, "exceptions", [failure]))
            problems.append(f"{operation.method.upper()} {operation.path}: {response.status_code}: {causes}"[:1200])

    # A stream of events has no end to wait for and gives its connection back first; it has tests of its own.
    found = [one.ok() for one in schema.exclude(path_regex="/events/$").get_all_operations()]
    wanted = (CASES if connection.vendor == "postgresql" else CASES // 10) / len(FUZZERS)
    for operation in found:
        try_inputs(operation, math.ceil(wanted / len(found)), ask)
    record_property("cases", asked)
    assert asked >= wanted * 0.9
    assert not problems, f"{len(problems)} of {asked}:\n" + "\n".join(problems[:30])


def try_inputs(operation, count: int, ask) -> None:
    """Call `ask` with `count` inputs that the operation's description allows, the same in every run."""

    @hypothesis.seed(7)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def try_it(case):
        ask(operation, case)

    try_it()
