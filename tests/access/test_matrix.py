"""Every role x every route x every method, on objects of one's own team and of a foreign one.

The cases are generated from the URL resolver, so a new route is tested without being listed; a path parameter that is
not known here fails the build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

import pytest
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from governance import guards
from governance.interfaces import declared
from governance.models import LedgerEntry
from governance.models.governed import declaration
from governance.policy import ORGANISATION_ROLES, Role
from projects.models import Dataset, DatasetVersion, UseCase
from tests.access.world import Side, World, holds, make_caller, make_world
from training.models import ModelVersion, Publication, TrainingJob

CALLERS = [None, *(role for role in Role if role is not Role.EMPLOYEE)]
PAGE_METHODS = ("get", "post")
THIRD_PARTY = ("allauth.", "django.", "drf_spectacular.")
# These name no object of a team.
OF_NO_TEAM = {"field", "part", "act", "path", "ticket", "recipe", "base", "revision", "rest"}
# Everyone in the organisation may look at these, whoever made them.
FOR_EVERYBODY = ("base-models/", "goals/", "api/v1/base-models", "api/v1/goals", "api/v1/recipes", "welcome/")
RECORD = re.compile(rf'INSERT INTO "?{LedgerEntry._meta.db_table}\b')
GOVERNED = {model._meta.db_table: declaration(model) for model in guards.governed_models()}
WRITE = re.compile(r'(?:INSERT(?: OR IGNORE)? INTO|UPDATE|DELETE FROM) "(?P<table>\w+)"')
# Refused in this state of the object, to anyone.
WRONG_STATE = ("api/v1/datasets/1/versions/1/preview",)


@dataclass(frozen=True)
class Route:
    """One address of the site with what it declares."""

    pattern: str
    policies: dict[str, str]

    def __str__(self) -> str:
        return self.pattern

    @property
    def of_a_team(self) -> bool:
        """Return whether the address names an object that belongs to a team."""
        names = re.findall(r"<(?:\w+:)?(\w+)>", self.pattern)
        return bool(set(names) - OF_NO_TEAM) and not self.pattern.startswith(FOR_EVERYBODY)


def _walk(resolver, prefix=""):
    for entry in resolver.url_patterns:
        if isinstance(entry, URLResolver):
            yield from _walk(entry, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern):
            yield prefix + str(entry.pattern), entry.callback


def routes() -> list[Route]:
    """Return every route of ours with the policy of each of its methods."""
    found = []
    for pattern, callback in _walk(get_resolver()):
        target = getattr(callback, "cls", None) or getattr(callback, "view_class", None) or callback
        policies = declared.policies_of(callback)
        if policies == {"*": None} and target.__module__.startswith(THIRD_PARTY):
            continue
        assert None not in policies.values(), f"{pattern} has a method that declares no policy: {policies}"
        policies.pop("head", None)
        if "*" in policies:
            methods = [m for m in ("get", "post") if hasattr(target, m)] if pattern.startswith("api/") else PAGE_METHODS
            policies = dict.fromkeys(methods, policies["*"])
        found.append(Route(re.sub(r"\^|(?<!\[)\$", "", pattern).replace("\\.", "."), policies))
    return found


def address(route: Route, side: Side, world: World) -> str:
    """Return the route's address with the parameters of this side filled in."""
    pattern = route.pattern
    objects = {
        "reviews": side.approval, "approvals": side.approval, "ledger": _entry_of(side), "people": side.member,
        "administration": side.member, "roles": side.assignment, "tokens": side.token, "shares": side.share,
        "goals": world.goal, "use-cases": side.draft, "datasets": side.dataset, "base-models": world.base_model,
        "delegations": world.delegation, "erasures": world.erasure,
        "jobs": side.job, "dataset-versions": side.version, "publications": side.publication,
        "members": side.assignment, "me": side.owner, "views": side.view, "saved-views": side.view,
        "sessions": side.session,
        "evaluations": getattr(side.job, "evaluation", None), "versions": side.model_version,
        "usage": side.usage, "quotas": side.quota, "feedback": side.feedback,
        "access": side.use_case, "break-glass": side.glass, "access-reviews": side.access_review,
    }  # fmt: skip
    values = {
        "slug": side.team.slug, "team": side.team.slug, "number": "1", "file": "README.md", "part": "objectives",
        "path": "data/test.parquet" if "datasets/" in pattern else "README.md",
        "field": "use_case", "row": str(side.draft.objectives.first().pk), "act": "suspend", "ticket": "forged",
        "dataset": str(side.dataset.pk), "token": str(side.token.pk), "organization_slug": "saml",
        "name": side.dataset.name if "datasets/" in pattern else side.model.name,
        "recipe": "sequence_classification", "label": "projects.usecase",
        "item": str(side.access_review.items.first().pk), "base": world.base_model.name, "revision": "main",
        "model_id": f"{side.team.slug}/{side.model.name}", "rest": "responses",
        "file_id": f"dataset:{side.dataset}@1", "job_id": f"ftjob-{side.job.pk}",
    }  # fmt: skip

    def fill(match: re.Match) -> str:
        name = match["django"] or match["regex"]
        if "recipes/" in pattern:
            return values["recipe"]
        if name == "pk" and pattern.startswith("access/"):
            return str(side.use_case.pk)
        if name in values:
            return values[name]
        before = [word for word in pattern[: match.start()].split("/") if word and "<" not in word]
        for word in reversed(before):
            if word in objects:
                return str(objects[word].pk)
        raise AssertionError(f"{route}: the matrix does not know what to put for {name}; teach it in address()")

    return "/" + re.sub(r"<(?:\w+:)?(?P<django>\w+)>|\(\?P<(?P<regex>\w+)>(?:[^()]|\([^)]*\))*\)", fill, pattern)


def _entry_of(side: Side) -> LedgerEntry:
    return LedgerEntry.objects.filter(scope_id=side.team.pk).earliest("pk")


def _operational(table: str, sql: str) -> bool:
    """Return whether a statement changes nothing but columns that may change without an entry."""
    changed = re.findall(r'"(\w+)" = ', sql.partition(" SET ")[2].partition(" WHERE ")[0])
    return bool(changed) and set(changed) <= set(GOVERNED[table].operational)


class _Writes:
    """Notes which governed tables one request writes into, and whether it writes a ledger entry."""

    def __init__(self):
        self.governed: set[str] = set()
        self.recorded = False

    def __call__(self, execute, sql, params, many, context):
        found = WRITE.match(sql)
        if RECORD.search(sql):
            self.recorded = True
        elif found and found["table"] in GOVERNED and not _operational(found["table"], sql):
            self.governed.add(found["table"])
        return execute(sql, params, many, context)


@pytest.fixture
def world(db, tmp_path) -> World:
    """Return the two teams."""
    return make_world(tmp_path / "tiny")


def ask(client: Client, method: str, url: str, body: dict | None = None) -> int:
    """Return the status of one request, all of whose effects are taken back.

    What it did is looked for in the ledger: an unsafe request that was refused, and any request that wrote into a
    governed table, has to have left an entry. What did not is noted in `client.silent`.
    """
    call = getattr(client, method)
    if method != "get":
        call = partial(call, content_type="application/json") if url.startswith("/api/") else call
    with transaction.atomic():
        writes = _Writes()
        with connection.execute_wrapper(writes):
            response = call(url, body or {}) if method != "get" else call(url)
        status, location = response.status_code, response.headers.get("Location", "")
        if response.streaming:
            # What a real server closes at the end; response.close() would also end the test's own transaction.
            for closer in response._resource_closers:
                closer()
        refused = method != "get" and status in {401, 403, 404, 405, 409}
        if (refused or writes.governed) and not writes.recorded:
            done = f"wrote into {', '.join(sorted(writes.governed))}" if writes.governed else "was refused"
            client.silent = [*getattr(client, "silent", []), f"{method.upper()} {url} ({status}) {done}, unrecorded"]
        transaction.set_rollback(True)
    return 401 if status == 302 and "/account/login" in location else status


def state_of(side: Side) -> list:
    """Return what must not change on a side by what strangers do."""
    pk = side.team.pk
    return [
        # Every employee may propose to every team; what is there already is the team's own.
        list(UseCase.objects.filter(team=pk, owner=side.owner).values_list("pk", "title", "stage", "version")),
        list(Dataset.objects.filter(team=pk).values_list("pk", "title", "classification")),
        list(DatasetVersion.objects.filter(dataset__team=pk).values_list("pk", "state")),
        list(TrainingJob.objects.filter(team=pk).values_list("pk", "state")),
        list(ModelVersion.objects.filter(model__team=pk).values_list("pk", "state")),
        list(Publication.objects.filter(model__team=pk).values_list("pk", "state")),
    ]


@pytest.mark.parametrize("role", CALLERS, ids=lambda role: role.value if role else "employee")
def test_no_role_reaches_what_is_not_theirs(role, world, settings):
    """Foreign objects are not there (404, or 403 with a reason); own ones follow the policy's tables; never a 5xx."""
    caller = make_caller(role, world.own.team)
    client = Client(raise_request_exception=False)
    client.force_login(caller)
    unexpected, cases = [], 0
    reads_all = role in ORGANISATION_ROLES and role is not Role.EMPLOYEE
    for route in routes():
        for method, policy in route.policies.items():
            for own in (True, False) if route.of_a_team else (True,):
                side = world.own if own else world.foreign
                url = address(route, side, world)
                status = ask(client, method, url)
                cases += 1
                where = f"{method.upper()} {url} ({'own' if own else 'foreign'}, needs {policy}): {status}"
                refused = status in {401, 403, 404, 405}
                # A list shows whom it is not for an empty page; what is in lists has its own test below.
                empty = method == "get" and "<" not in route.pattern and policy.endswith(".view")
                of_all = {declared.PUBLIC, declared.SIGNED_IN, "use_case.propose", "list.save"}
                everybody = policy in of_all or empty
                if status >= 500:
                    unexpected.append(f"{where}: the server failed")
                elif route.pattern.startswith(FOR_EVERYBODY) and method == "get":
                    continue
                elif everybody:
                    if route.of_a_team and not own and not reads_all and not refused:
                        unexpected.append(f"{where}: reached in another team")
                elif not holds(role, policy, own=own) and not refused:
                    unexpected.append(f"{where}: allowed, and the policy does not give it")
                elif (
                    method == "get"
                    and holds(role, policy, own=own)
                    and status in {401, 403, 404}
                    and not url.startswith(tuple(f"/{start}" for start in WRONG_STATE))
                ):
                    unexpected.append(f"{where}: refused, and the policy gives it")
    assert not unexpected, f"{len(unexpected)} of {cases} cases:\n" + "\n".join(unexpected)
    assert not getattr(client, "silent", []), "\n".join(client.silent)
    assert cases > 200, "the routes were not found"


def test_nobody_anonymous_reaches_anything(world):
    """Without a session or token everything but the public pages answers 401 or leads to the sign-in page."""
    client = Client(raise_request_exception=False)
    open_doors = []
    for route in routes():
        for method, policy in route.policies.items():
            status = ask(client, method, address(route, world.own, world))
            if policy != declared.PUBLIC and status not in {401, 403, 405}:
                open_doors.append(f"{method.upper()} {route}: {status}")
    assert not open_doors, "\n".join(open_doors)
    assert not getattr(client, "silent", []), "\n".join(client.silent)


@pytest.mark.parametrize("role", [Role.TEAM_OWNER, Role.ML_ENGINEER, Role.DATA_STEWARD, Role.PROJECT_MANAGER])
def test_foreign_ids_in_bodies_join_nothing(role, world):
    """Whoever may write in one team cannot bring another team's objects in by naming their ids in a body."""
    caller = make_caller(role, world.own.team)
    client = Client(raise_request_exception=False)
    client.force_login(caller)
    foreign = world.foreign
    body = {
        "team": foreign.team.slug, "use_case": foreign.use_case.pk, "dataset": foreign.dataset.pk,
        "dataset_version": foreign.version.pk, "version": foreign.version.pk, "base_model": world.base_model.pk,
        "model_name": "joined", "name": "joined", "slug": "joined", "title": "Joined", "problem": "One two three four.",
        "people": "All", "benefit": "None", "data_needed": "None", "provenance": "x", "licence": "x", "purpose": "x",
        "intended_use": "x", "reason": "x", "note": "x", "owner": foreign.owner.pk, "steward": foreign.owner.pk,
        "recipe": "sequence_classification", "method": "lora", "preset": "quick", "seed": 1, "act": "submit",
        "user": caller.pk, "person": caller.pk, "role": "team_owner", "scope": foreign.team.pk,
        "scope_id": foreign.team.pk, "subject_type": "projects.dataset", "subject_id": foreign.dataset.pk,
        "permission": "dataset.view", "expires_at": "2035-01-01T00:00:00Z",
    }  # fmt: skip
    before = state_of(foreign)
    problems = []
    for route in routes():
        for method in ("post", "patch"):
            if method not in route.policies:
                continue
            url = address(route, world.own, world)
            with transaction.atomic():
                kind = {"content_type": "application/json"} if url.startswith("/api/") else {}
                status = getattr(client, method)(url, body, **kind).status_code
                if status >= 500:
                    problems.append(f"{method.upper()} {url}: {status}")
                if state_of(foreign) != before:
                    problems.append(f"{method.upper()} {url} changed the other team's objects")
                mixed = (
                    TrainingJob.objects.filter(team=world.own.team).exclude(use_case__team=world.own.team).exists()
                    or TrainingJob.objects.filter(team=world.own.team)
                    .exclude(dataset_version__dataset__team=world.own.team)
                    .exists()
                    or world.foreign.version.clearances.filter(use_case__team=world.own.team).exists()
                )
                if mixed:
                    problems.append(f"{method.upper()} {url} joined objects of two teams")
                transaction.set_rollback(True)
    assert not problems, "\n".join(problems)


def test_foreign_ids_in_queries_select_nothing(world):
    """A filter that names another team or its objects leaves an empty list, not their rows."""
    caller = make_caller(Role.TEAM_OWNER, world.own.team)
    client = Client(raise_request_exception=False)
    client.force_login(caller)
    foreign = world.foreign
    query = {
        "team": foreign.team.slug, "use_case": foreign.use_case.pk, "dataset": foreign.dataset.pk, "q": "finance",
        "owner": foreign.owner.pk, "requester": foreign.owner.pk, "actor": foreign.owner.pk, "job": foreign.job.pk,
        "scope": foreign.team.pk,
    }  # fmt: skip
    names = [foreign.use_case.title, foreign.dataset.name, foreign.model.name, foreign.draft.title]
    leaks, cases = [], 0
    for route in routes():
        if "<" in route.pattern or "get" not in route.policies:
            continue
        for name, value in query.items():
            response = client.get(address(route, world.own, world), {name: value})
            cases += 1
            if response.status_code >= 500:
                leaks.append(f"{route}?{name}={value}: {response.status_code}")
            if not response.streaming and any(word in response.content.decode() for word in names):
                leaks.append(f"{route}?{name}={value} shows the other team's work")
    assert cases > 100
    assert not leaks, "\n".join(leaks)


def test_the_matrix_is_as_large_as_promised():
    """At least 3,000 cases: roles x routes x methods x sides, with bodies and queries on top."""
    count = sum(len(route.policies) * (2 if route.of_a_team else 1) for route in routes())
    assert count * len(CALLERS) >= 3000, count * len(CALLERS)
