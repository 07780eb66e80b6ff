"""The meter: however a call ends there is one row of usage and one ledger entry, and what was said is in neither."""

from __future__ import annotations

import asyncio
import importlib
from decimal import Decimal

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from guardian.models import UserObjectPermission

from governance.actions import Action
from governance.models import LedgerEntry
from governance.policy import Permission
from governance.services import access, ledger, tokens
from portal import settings as site
from portal.gateway import engines, metering, predictions
from portal.gateway.metering import calls, prices
from portal.models import Kind, Outcome, Usage
from tests.portal.gateway.models import make_model
from tests.training.factories import make_ground
from tests.training.services.test_registry import make_version, publish

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


@pytest.fixture
def model(alice, team):
    """Return a registered model of the team without a version, which is all that most of the meter asks of one."""
    return make_model(alice, team)


@pytest.fixture
def version(alice, bob, carol, frank, team, system, tmp_path):
    """Return a version of a model of the team; its call is metered here, its engine is not asked."""
    ground = make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=tmp_path / "tiny", rows=60)
    return make_version(ground, bob, system, tmp_path / "run")


def described(model, person, **more):
    return {"actor": person, "model": model, "kind": Kind.CHAT} | more


def entries():
    return LedgerEntry.objects.filter(
        action__in=[Action.MODEL_CALLED, Action.MODEL_DOWNLOADED, Action.CONTENT_UPLOADED]
    )


def test_a_call_is_one_row_and_one_entry(version, eve):
    _token, secret = tokens.create(actor=eve, user=eve, name="script", scopes=["predict"], days=1)
    eve = tokens.authenticate(secret).user
    with metering.call(
        **described(version.model, eve, version=version, client="OpenAI/Python  2.54.0\n", alias="champion")
    ) as call:
        call.used(prompt_tokens=12, texts=1)
        call.used(completion_tokens=30)
        call.used(completion_tokens=10, bytes=5, characters=7)

    assert (call.headers(), call.standings) == ({}, [])
    row = Usage.objects.get()
    assert (row.person, row.token, row.team, row.use_case) == (eve, eve.token, version.model.team, version.use_case)
    assert (row.model, row.version, row.commit) == (version.model, version, version.commit.oid)
    assert (row.prompt_tokens, row.completion_tokens, row.tokens, row.texts, row.bytes) == (12, 40, 52, 1, 5)
    assert (row.kind, row.outcome, row.client, row.engine) == ("chat", "answered", "OpenAI/Python 2.54.0", "embedded")
    assert row.scope_id == version.model.team_id
    assert str(row) == f"Chat {row.pk}"
    assert row.what == str(version.model)
    entry = entries().get()
    held = ledger.body(entry)["details"]
    assert (entry.actor, entry.subject_type, entry.scope_id) == (eve, "training.registeredmodel", version.model.team_id)
    assert held["usage"] == row.pk
    assert (held["tokens"], held["characters"], held["outcome"], held["alias"]) == (52, 7, "answered", "champion")
    assert held["version"] == version.number
    assert ledger.body(entry)["texts"] == {}


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (engines.Refused("Too long."), "refused"),
        (access.Denied("Not you."), "refused"),
        (engines.Unavailable("Away."), "unavailable"),
        (asyncio.CancelledError(), "cancelled"),
        (BrokenPipeError(), "cancelled"),
        (ZeroDivisionError(), "failed"),
        (KeyboardInterrupt(), "failed"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_call_is_counted_however_it_ends(model, eve, raised, outcome):
    with pytest.raises(type(raised)), metering.call(**described(model, eve)) as call:  # noqa: PT012
        call.used(prompt_tokens=3)
        raise raised
    row = Usage.objects.get()
    assert (row.outcome, row.prompt_tokens) == (outcome, 3)
    assert ledger.body(entries().get())["details"]["outcome"] == outcome


def test_a_reader_who_goes_away_is_counted_for_what_was_sent(model, eve):
    def pieces():
        with metering.call(**described(model, eve)) as call:
            for _ in range(10):
                call.used(completion_tokens=1)
                yield "word"

    stream = pieces()
    assert [next(stream) for _ in range(4)] == ["word"] * 4
    stream.close()
    assert Usage.objects.values_list("outcome", "completion_tokens").get() == ("cancelled", 4)


def test_a_stream_is_finished_once_and_belongs_to_its_request(model, eve):
    held = ledger.request_id.set("request-of-the-stream")
    call = metering.begin(**described(model, eve))
    ledger.request_id.reset(held)
    call.used(completion_tokens=2)
    first = call.finish("answered")
    assert call.finish(Outcome.FAILED) is first
    assert Usage.objects.values_list("outcome", "request_id").get() == ("answered", "request-of-the-stream")
    assert entries().get().request_id == "request-of-the-stream"
    assert ledger.request_id.get() == ""


def test_what_cannot_be_recorded_did_not_happen(model, eve, monkeypatch):
    def fails(*_arguments, **_named):
        raise ledger.LedgerError("The ledger is away.")

    monkeypatch.setattr(ledger, "record", fails)
    with pytest.raises(ledger.LedgerError), metering.call(**described(model, eve)):
        pass
    assert not Usage.objects.exists()


def test_a_call_costs_what_the_operator_declared(model, eve, settings):
    settings.PRICES = {
        str(model): {"prompt_tokens": Decimal("0.15"), "completion_tokens": Decimal("0.6")},
        "embedded": {"tokens": Decimal(1), "seconds": Decimal(2)},
        "default": {"seconds": Decimal(3)},
    }
    settings.CURRENCY = "CHF"
    with metering.call(**described(model, eve)) as call:
        call.used(prompt_tokens=1000, completion_tokens=1, seconds=9)
    row = Usage.objects.get()
    # 0.15 for a thousand, and 0.6 / 1000 for one.
    assert (row.cost, row.currency) == (Decimal("0.150600"), "CHF")
    assert ledger.body(entries().get())["details"]["cost"] == "0.150600 CHF"

    del settings.PRICES[str(model)]
    call = metering.begin(**described(model, eve))
    call.used(prompt_tokens=500, completion_tokens=500, seconds=0.25)
    assert call.finish("failed").cost == Decimal("1.500000")
    # Nothing ran, so nothing is paid for; what ran without saying how long is paid for by the clock.
    assert metering.begin(**described(model, eve)).finish("unavailable").cost == 0
    assert metering.begin(**described(model, eve)).finish("cancelled").cost > 0
    assert prices.of("nobody/nothing", "vllm") == {"seconds": 3}
    settings.PRICES = {}
    assert prices.of(str(model), "embedded") == {}


def test_half_of_a_millionth_is_rounded_up():
    table = {"tokens": Decimal("0.0005")}
    assert prices.cost(table, prompt_tokens=1, completion_tokens=0, seconds=0) == Decimal("0.000001")
    assert prices.cost(table, prompt_tokens=3, completion_tokens=0, seconds=0) == Decimal("0.000002")


def test_transfers_are_metered_and_cost_no_device(version, bob, settings):
    with pytest.raises(TypeError, match="name what is used"):
        metering.begin(actor=bob, kind="chat", dataset_version=version.dataset_version)
    settings.PRICES = {"default": {"seconds": Decimal(1000), "tokens": Decimal(1000)}}
    data, base = version.dataset_version, version.base_model
    for what in ({"model": version.model, "version": version}, {"dataset_version": data}, {"base_model": base}):
        with metering.call(actor=bob, kind="download", digest="ab" * 32, details={"path": "a.bin"}, **what) as call:
            call.used(bytes=600)
    metering.begin(actor=bob, kind=Kind.UPLOAD, model=version.model).finish("answered")
    rows = list(Usage.objects.order_by("pk"))
    assert [row.what for row in rows] == [str(version.model), str(data), str(base), str(version.model)]
    assert [row.team for row in rows] == [version.model.team, data.dataset.team, None, version.model.team]
    assert [row.commit for row in rows] == [version.commit.oid, data.commit.oid, base.commit.oid, ""]
    assert {row.cost for row in rows} == {0}
    assert {row.engine for row in rows} == {""}
    made = list(LedgerEntry.objects.order_by("-pk")[:4])[::-1]
    assert [one.action for one in made] == [
        Action.MODEL_DOWNLOADED, Action.DATASET_DOWNLOADED, Action.BASE_MODEL_DOWNLOADED, Action.CONTENT_UPLOADED,
    ]  # fmt: skip
    assert [one.subject_type for one in made[:3]] == [
        "training.modelversion", "projects.datasetversion", "training.basemodel",
    ]  # fmt: skip
    assert made[0].subject_digest == "ab" * 32
    assert ledger.body(made[0])["details"]["path"] == "a.bin"
    assert ledger.body(made[0])["details"]["bytes"] == 600


def test_a_client_is_named_shortly():
    assert calls.client_of("Mozilla/5.0 (X11; Linux x86_64)") == "browser"
    assert calls.client_of("curl/8.5\x00 \t\r\nX: y") == "curl/8.5 X: y"
    assert len(calls.client_of("a" * 500)) == 120
    assert calls.client_of("") == ""


def test_who_sees_which_usage(model, personas, other_team, system):
    for name in ("alice", "bob", "eve"):
        with metering.call(**described(model, personas[name])):
            pass
    with metering.call(**described(make_model(system, other_team), personas["eve"])):
        pass
    seen = {name: Usage.objects.visible_to(person).count() for name, person in personas.items()}
    # Bob works in the team and sees his own; who owns the team sees what its models cost.
    assert seen == {"alice": 3, "bob": 1, "carol": 0, "dan": 4, "eve": 2, "frank": 4}
    first = Usage.objects.order_by("at").first()
    assert Usage.objects.between(first.at, None).count() == 4
    assert not Usage.objects.between(None, first.at).exists()


def test_predict_leaves_usage_where_the_engine_is_away(version, bob, carol, eve):
    publish(version, bob, carol)
    with pytest.raises(engines.Unavailable):
        predictions.predict(actor=eve, model=version.model, texts=["My screen is black."], client="curl/8.5")
    assert Usage.objects.values_list("outcome", "texts", "client", "alias").get() == (
        "unavailable", 1, "curl/8.5", "champion",
    )  # fmt: skip
    assert "screen" not in bytes(entries().get().canonical).decode()


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"a": 1}', '{"a": {"seconds": "x"}}', '{"a": {"minutes": 1}}', '{"a": {"tokens": -1}}',
     '{"a": {"tokens": "NaN"}}'],
)  # fmt: skip
def test_prices_that_cannot_be_meant_stop_the_start(monkeypatch, text):
    monkeypatch.setenv("PRICES", text)
    with pytest.raises(ImproperlyConfigured, match="PRICES"):
        site.env_prices("PRICES")


def test_prices_are_exact(monkeypatch):
    monkeypatch.setenv("PRICES", '{"embedded": {"tokens": 0.1, "seconds": "0.3"}, "default": {"tokens": 2}}')
    assert site.env_prices("PRICES") == {
        "embedded": {"tokens": Decimal("0.1"), "seconds": Decimal("0.3")}, "default": {"tokens": Decimal(2)},
    }  # fmt: skip


def test_those_who_own_a_team_already_get_its_means(alice, bob, team):
    migration = importlib.import_module("projects.migrations.0004_means_of_teams")
    UserObjectPermission.objects.filter(permission__codename__in=migration.ADDED).delete()
    access.forget(alice)
    assert not access.allows(alice, Permission.USAGE_VIEW, team)
    migration.give(apps, None)
    access.forget(alice)
    for codename in migration.ADDED:
        assert access.allows(alice, codename, team), codename
        assert not access.allows(bob, codename, team), codename
