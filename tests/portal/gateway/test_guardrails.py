"""Guardrails: what they find and what they leave alone, what is done about it, and who may decide that."""

from __future__ import annotations

import pytest
from django.urls import reverse

from governance.actions import Action
from governance.models import LedgerEntry
from governance.policy import Role
from governance.services import access, ledger
from portal.gateway import engines, guardrails, metering, predictions
from portal.models import GuardrailPolicy, Usage
from portal.services import guardrails as policies
from portal.services import quotas
from projects.services.fields import Invalid
from tests.personas import make_person, make_role
from tests.portal.gateway.models import make_model
from tests.training.factories import make_ground
from tests.training.services.test_registry import make_version, publish

HARMLESS = "My laptop has not started since Monday, please help me before the meeting at 10."
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
CASES = {
    "personal_data": ("Write to ann.example@company.com today.", "Write to [e-mail address] today."),
    "credentials": (f"It says {KEY} is wrong.", "It says [cloud access key] is wrong."),
    "phrases": ("How do I pick the  Lock?", "How do I [a word or phrase that this model is not for]?"),
    "size": ("x" * 41, None),
    "classifier": ("Anything.", None),
}
"""For each guardrail a text in which it finds something, and that text masked."""
OPTIONS = {"phrases": {"phrases": ["pick the lock", "pick"]}, "size": {"characters": 40}}


@pytest.mark.parametrize("name", guardrails.names())
def test_a_guardrail_keeps_the_contract(name):
    rail = guardrails.get(name)
    assert rail.LABEL
    assert rail.NOTE.endswith(".")
    assert set(rail.STAGES) <= {"input", "output"}
    assert rail.STAGES
    assert set(rail.ACTIONS) <= set(guardrails.STRICTNESS[1:])
    assert rail.ACTIONS
    assert all(one.kind in {"number", "text", "lines"} for one in rail.OPTIONS.values())
    assert all(one.stricter in {"", "less", "more"} for one in rail.OPTIONS.values())
    assert name in CASES, "give the new guardrail a text in which it finds something"
    options = OPTIONS.get(name, {})
    # With nothing said, and with what it is asked for, it leaves alone what is harmless.
    assert rail.find(HARMLESS[:40], options, None) == []
    assert rail.find("", options, None) == []
    text, masked = CASES[name]
    if name == "classifier":
        return
    assert name != "phrases" or rail.find(text, {}, None) == []
    found = rail.find(text, options, None)
    assert found
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(one.what for one in found)
    assert ("mask" in rail.ACTIONS) == (masked is not None)
    if masked:
        verdict = guardrails.look({name: {"input": "mask", **options}}, stage="input", texts=[text], actor=None)
        assert (verdict.allowed, verdict.texts) == (True, [masked])


def test_a_chain_masks_counts_and_refuses():
    rules = {
        "personal_data": {"input": "mask", "output": "note"},
        "credentials": {"input": "refuse", "output": "off"},
        "size": {"input": "note", "characters": 10},
    }
    texts = ["Mail a.b@example.com or c.d@example.com.", HARMLESS]
    verdict = guardrails.look(rules, stage="input", texts=texts, actor=None)
    assert verdict.allowed
    assert verdict.texts == ["Mail [e-mail address] or [e-mail address].", HARMLESS]
    assert verdict.counted == {"personal_data": 2, "size": 2}
    assert verdict.headers() == {"Gatehouse-Guardrails": "personal_data;action=mask;count=2, size;action=note;count=2"}
    refused = guardrails.look(rules, stage="input", texts=[f"{KEY} {KEY}"], actor=None)
    assert not refused.allowed
    assert refused.reason == (
        "The guardrail “Keys and tokens” of this model refuses: cloud access key (2). Take it out and try again."
    )
    assert KEY not in refused.reason
    answered = guardrails.look(rules, stage="output", texts=[*texts, KEY], actor=None)
    assert (answered.texts, answered.counted) == ([*texts, KEY], {"personal_data": 2})
    held_back = guardrails.look({"credentials": {"output": "refuse"}}, stage="output", texts=[KEY], actor=None)
    assert "held back" in held_back.reason
    assert guardrails.look({}, stage="input", texts=texts, actor=None).headers() == {}


def test_personal_data_is_found_wherever_it_lies_in_a_long_text():
    rail = guardrails.get("personal_data")
    mail = "ann.example@company.com"
    for place in (0, 9_790, 9_900, 9_999, 10_050, 19_700, 24_000):
        text = "word " * (place // 5) + mail + " word" * 200
        found = rail.find(text, {}, None)
        assert [text[one.start : one.end] for one in found] == [mail], place


def test_an_unknown_guardrail_is_a_mistake():
    with pytest.raises(KeyError, match="There is no guardrail"):
        guardrails.get("mind_reading")


# Who sets them


@pytest.fixture
def model(alice, team):
    return make_model(alice, team)


STRICT = {"personal_data": {"input": "mask"}, "phrases": {"input": "refuse", "phrases": ["poison", "weapon"]}}


@pytest.mark.django_db
def test_a_team_makes_its_model_stricter_and_a_reviewer_makes_it_laxer(model, alice, bob, carol, eve, frank):
    for nobody in (bob, eve, frank):
        with pytest.raises(access.Denied) as refused:
            policies.set_policy(actor=nobody, model=model, rules=STRICT)
        assert refused.value.code == "missing_permission"
    held = policies.set_policy(actor=alice, model=model, rules=STRICT)
    assert held.rules["personal_data"] == {"input": "mask", "output": "off"}
    assert held.scope_id == model.team_id
    assert str(held) == "Guardrails of helpdesk/router"
    with pytest.raises(access.Denied) as refused:
        policies.set_policy(actor=bob, model=model, rules={})
    assert refused.value.code == "missing_permission"
    laxer = [
        ({}, 0),
        (STRICT | {"personal_data": {"input": "note"}}, 0),
        (STRICT | {"phrases": {"input": "refuse", "phrases": ["poison"]}}, 0),
        (STRICT, 30),
    ]
    for rules, days in laxer:
        with pytest.raises(access.Denied, match="Ask a reviewer") as refused:
            policies.set_policy(actor=alice, model=model, rules=rules, keep_days=days)
        assert refused.value.code == "laxer"
    stricter = STRICT | {"personal_data": {"input": "refuse", "output": "mask"}, "size": {"input": "refuse"}}
    policies.set_policy(actor=alice, model=model, rules=stricter)
    with pytest.raises(access.Denied):
        policies.set_policy(
            actor=alice, model=model, rules=stricter | {"size": {"input": "refuse", "characters": 4001}}
        )
    for rules, days in laxer:
        policies.set_policy(actor=carol, model=model, rules=rules, keep_days=days)
    entries = LedgerEntry.objects.filter(action=Action.GUARDRAILS_SET)
    assert entries.count() == 2 + len(laxer)
    last = ledger.body(entries.latest("pk"))
    assert last["details"]["laxer"] == ["bodies kept longer"]
    # The words of a list may be about people: entries have their number and a digest.
    assert not any("poison" in bytes(one.canonical).decode() for one in entries)
    assert policies.set_policy(actor=carol, model=model, rules=STRICT, keep_days=30).set_by == carol
    assert entries.count() == 2 + len(laxer)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "rules",
    [
        [], {"nothing": {}}, {"size": []}, {"size": {"input": "mask"}}, {"size": {"input": "refuse", "colour": 1}},
        {"size": {"input": "refuse", "characters": 0}}, {"size": {"input": "refuse", "characters": "9"}},
        {"size": {"input": "refuse", "characters": True}}, {"phrases": {"input": "note", "phrases": "poison"}},
        {"phrases": {"input": "note", "phrases": [1]}},
        {"phrases": {"input": "note", "phrases": ["a\0b"]}}, {"classifier": {"input": "note", "model": "a\0b"}},
        {"phrases": {"input": "note", "phrases": ["x" * 201]}},
        {"classifier": {"input": "note", "model": 7}},
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(model, carol, rules):
    with pytest.raises(Invalid) as refused:
        policies.set_policy(actor=carol, model=model, rules=rules)
    assert refused.value.field == "rules"
    assert not GuardrailPolicy.objects.exists()


@pytest.mark.django_db
def test_bodies_are_kept_for_a_year_at_most(model, carol):
    for days in (-1, 366, "9"):
        with pytest.raises(Invalid):
            policies.set_policy(actor=carol, model=model, rules={}, keep_days=days)


@pytest.mark.django_db
def test_a_change_of_a_classifier_counts_as_laxer():
    old = {"classifier": {"input": "refuse", "output": "off", "model": "a/b", "labels": ["x"], "percent": 50}}
    for change, laxer in (({"model": "a/c"}, True), ({"percent": 60}, True), ({"percent": 40}, False)):
        new = {"classifier": old["classifier"] | change}
        assert bool(policies.loosened(old, new)) == laxer
    assert policies.loosened(old, {"classifier": old["classifier"] | {"labels": ["x", "y"]}}) == []


# In the browser and for programs


@pytest.mark.django_db
def test_guardrails_are_set_in_the_browser(client, model, alice, bob, carol):
    address = reverse("portal:guardrails", args=["helpdesk", "router"])
    client.force_login(alice)
    page = client.get(address)
    form = {name: field.initial for name, field in page.context["form"].fields.items()}
    filled = form | {"phrases-input": "refuse", "phrases-phrases": "poison\n\n weapon \n", "size-characters": ""}
    assert client.post(address, filled).status_code == 302
    rules = GuardrailPolicy.objects.get().rules
    assert rules == {"phrases": {"input": "refuse", "output": "off", "phrases": ["poison", "weapon"]}}
    assert client.post(address, filled | {"keep_days": "900"}).status_code == 422
    assert client.post(address, filled | {"phrases-input": "off"}).status_code == 403
    call = metering.begin(actor=bob, model=model, kind="chat")
    call.found({"phrases": 2})
    call.found({"phrases": 1})
    call.finish("refused")
    client.force_login(bob)
    page = client.get(address)
    assert page.context["may_tighten"] is False
    assert {one[0].LABEL: one[2] for one in page.context["chain"]}["Words and phrases"] == 3
    assert client.post(address, filled).status_code == 403
    client.force_login(carol)
    assert client.post(address, filled | {"phrases-input": "off", "keep_days": "5"}).status_code == 302
    assert GuardrailPolicy.objects.get().keep_days == 5


@pytest.mark.django_db
def test_guardrails_are_set_by_programs(client, model, alice, bob):
    address = "/api/v1/models/helpdesk/router/guardrails"
    client.force_login(alice)
    empty = client.get(address)
    assert (empty.json()["rules"], empty.json()["set_by"]) == ({}, None)
    assert {one["name"] for one in empty.json()["known"]} == set(guardrails.names())
    body = {"rules": {"credentials": {"input": "refuse"}}}
    headers = {"content_type": "application/json"}
    assert client.put(address, body, **headers, headers={"If-Match": '"old"'}).status_code == 412
    made = client.put(address, body, **headers, headers={"If-Match": empty["ETag"]})
    assert made.json()["rules"] == {"credentials": {"input": "refuse", "output": "off"}}
    assert made.json()["set_by"] == "alice@example.org"
    assert client.put(address, {"rules": {"x": {}}}, **headers).status_code == 400
    assert client.put(address, {"rules": {}}, **headers).status_code == 403
    client.force_login(bob)
    assert client.put(address, body, **headers).status_code == 403


# On the way to a model


@pytest.fixture
def published(alice, bob, carol, frank, team, system, tmp_path):
    ground = make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=tmp_path / "tiny", rows=60)
    return publish(make_version(ground, bob, system, tmp_path / "run"), bob, carol)


@pytest.mark.django_db
@pytest.mark.postgres
def test_what_is_refused_reaches_no_engine_and_is_counted(client, published, carol, eve):
    model = published.model
    rules = {"credentials": {"input": "refuse"}, "personal_data": {"input": "mask"}}
    policies.set_policy(actor=carol, model=model, rules=rules)
    assert guardrails.check(stage="input", publication=published, texts=[HARMLESS]).allowed
    text = f"Mail a.b@example.com: {KEY}"
    client.force_login(eve)
    answer = client.post(f"/api/v1/models/{model}/predict", {"inputs": [text]}, content_type="application/json")
    assert answer.status_code == 400
    assert "Keys and tokens" in answer.json()["detail"]
    row = Usage.objects.get()
    assert (row.outcome, row.findings) == ("refused", {"credentials": 1})
    entry = LedgerEntry.objects.get(action=Action.MODEL_CALLED)
    assert ledger.body(entry)["details"]["guardrails"] == {"credentials": 1}
    assert KEY not in bytes(entry.canonical).decode()
    page = client.post(reverse("portal:try_model", args=[model.team.slug, model.name]), {"text": text})
    assert "Keys and tokens" in page.context["problem"]


@pytest.mark.django_db
def test_a_classifier_that_does_not_answer_keeps_the_call_from_being_made(published, carol, eve):
    rules = {"classifier": {"input": "refuse", "model": str(published.model), "labels": ["account"]}}
    policies.set_policy(actor=carol, model=published.model, rules=rules)
    # There is no engine process here: the guardrail cannot look, and says so.
    with pytest.raises(engines.Unavailable, match="looks by a classifier"):
        predictions.predict(actor=eve, model=published.model, texts=[HARMLESS])
    assert sorted(Usage.objects.values_list("client", "outcome")) == [("", "unavailable"), ("guardrail", "unavailable")]
    with pytest.raises(predictions.NotAnswering, match="There is no model"):
        predictions.classify(actor=eve, name="nobody/nothing", text=HARMLESS)


@pytest.mark.django_db
def test_a_classifier_blocks_what_it_is_sure_of(eve, monkeypatch):
    scores = [{"label": "travel", "score": 0.7}, {"label": "Account", "score": 0.3}]
    monkeypatch.setattr(predictions, "classify", lambda **_: scores)
    rail = guardrails.get("classifier")

    def finds(**options):
        return [one.what for one in rail.find(HARMLESS, {"model": "a/b"} | options, eve)]

    assert finds(labels=["travel"]) == ["a topic that this model is not for: travel"]
    assert finds(labels=["account"]) == []
    assert finds(labels=["account"], percent=30) == ["a topic that this model is not for: Account"]
    assert finds(labels=["travel"], percent=71) == []


@pytest.mark.django_db
@pytest.mark.parametrize("role", [Role.PRIVACY_REVIEWER, Role.SECURITY_REVIEWER])
def test_reviewers_of_privacy_and_security_decide_too(model, role, system):
    reviewer = make_role(make_person("gail"), role)
    assert policies.set_policy(actor=reviewer, model=model, rules={}, keep_days=1).keep_days == 1


@pytest.mark.django_db
def test_a_quota_without_room_is_told_to_programs_and_in_the_box(client, published, frank, eve):
    quotas.create(actor=frank, subject="organisation", unit="calls", window="day", amount=0)
    client.force_login(eve)
    answer = client.post(
        f"/api/v1/models/{published.model}/predict", {"inputs": [HARMLESS]}, content_type="application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (429, "insufficient_quota")
    assert "0 calls a day for the organisation" in answer.json()["detail"]
    assert answer["Retry-After"].isdecimal()
    assert answer["RateLimit-Policy"].endswith(';q=0;w=86400;qu="requests"')
    address = reverse("portal:try_model", args=[published.model.team.slug, published.model.name])
    assert "leaves nothing" in client.post(address, {"text": HARMLESS}).context["problem"]
    assert not Usage.objects.exists()
