"""Feedback: said by who made the call, read by who looks after the use case, taken as labelled data; bodies that go."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from governance.actions import Action
from governance.models import LedgerEntry
from governance.services import access, ledger
from portal.gateway import bodies, metering
from portal.models import Body, Feedback, QuotaCount, QuotaRefusal
from portal.services import feedback, guardrails, quotas
from projects.services.fields import Invalid
from tests.portal.gateway.models import make_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(alice, team):
    return make_model(alice, team)


@pytest.fixture(autouse=True)
def key(settings, tmp_path):
    settings.BODIES_KEY_FILE = tmp_path / "keys" / "bodies.key"


def answered(person, model, text: str = "My screen is black.", label: str = "hardware", kind: str = "predict"):
    """Return the usage of a call, as the gateway leaves it."""
    with metering.call(actor=person, model=model, kind=kind) as call:
        call.used(texts=1)
    bodies.keep(call.usage, {"inputs": [text], "results": [[{"label": label, "score": 0.9}]]})
    return call.usage


def test_who_made_the_call_says_how_its_answer_was(model, alice, bob, eve, dan):
    usage = answered(eve, model)
    said = feedback.give(actor=eve, usage=usage, thumb="down", comment=" No. ", label="access  rights")
    assert (said.thumb, said.comment, said.label) == ("down", "No.", "access rights")
    assert said.scope_id == model.team_id
    assert str(said) == f"It did not help: Prediction {usage.pk}"
    assert feedback.give(actor=eve, usage=usage, thumb="up").pk == said.pk
    with pytest.raises(access.Denied, match="Only who made the call"):
        feedback.give(actor=alice, usage=usage, thumb="up")
    entry = LedgerEntry.objects.filter(action=Action.FEEDBACK_GIVEN).earliest("pk")
    assert ledger.body(entry)["details"] == {"call": usage.pk, "thumb": "down"}
    assert ledger.texts_of(entry) == {"comment": "No.", "label": "access rights"}
    seen = [one.name for one in (alice, bob, eve, dan) if Feedback.objects.visible_to(one).exists()]
    assert seen == ["Alice", "Bob", "Eve", "Dan"]


def test_what_was_no_answer_or_is_too_long_is_refused(model, eve):
    usage = answered(eve, model)
    for wrong, field in (
        ({"thumb": "sideways"}, "thumb"),
        ({"thumb": "up", "comment": "x" * 2001}, "comment"),
        ({"thumb": "up", "label": "x" * 201}, "label"),
    ):
        with pytest.raises(Invalid) as refused:
            feedback.give(actor=eve, usage=usage, **wrong)
        assert refused.value.field == field
    for other in (
        metering.begin(actor=eve, model=model, kind="predict").finish("failed"),
        metering.begin(actor=eve, model=model, kind="download").finish("answered"),
    ):
        with pytest.raises(Invalid, match="no answer"):
            feedback.give(actor=eve, usage=other, thumb="up")


def test_bodies_are_kept_only_where_the_policy_says_so_and_for_as_long(model, carol, eve, system, settings):
    silent = answered(eve, model, "Nobody keeps this.")
    assert not Body.objects.exists()
    assert bodies.opened(silent) is None
    guardrails.set_policy(actor=carol, model=model, rules={}, keep_days=3)
    usage = answered(eve, model, "Keep this for three days.")
    body = Body.objects.get()
    assert str(body) == f"Body of {usage.pk}"
    assert timedelta(days=2, hours=23) < body.purge_at - timezone.now() <= timedelta(days=3)
    assert b"three" not in bytes(body.sealed)
    assert bodies.opened(usage)["inputs"] == ["Keep this for three days."]
    assert settings.BODIES_KEY_FILE.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in settings.BODIES_KEY_FILE.parent.iterdir()] == ["bodies.key"]
    assert not any(b"three days" in bytes(one.canonical) for one in LedgerEntry.objects.all())

    assert bodies.purge(actor=system) == 0
    Body.objects.update(purge_at=timezone.now())
    assert bodies.opened(usage) is None
    assert bodies.purge(actor=system) == 1
    assert not Body.objects.exists()
    assert ledger.body(LedgerEntry.objects.get(action=Action.BODIES_PURGED))["details"] == {"bodies": 1}
    with pytest.raises(access.Denied):
        bodies.purge(actor=eve)


def test_another_key_opens_nothing_and_a_key_that_is_there_is_used(model, carol, eve, settings, tmp_path, monkeypatch):
    guardrails.set_policy(actor=carol, model=model, rules={}, keep_days=3)
    usage = answered(eve, model)
    first = settings.BODIES_KEY_FILE
    settings.BODIES_KEY_FILE = tmp_path / "other.key"
    assert bodies.opened(usage) is None
    # Another process made the key between looking and making: its key counts.
    settings.BODIES_KEY_FILE = first
    original = type(first).exists
    monkeypatch.setattr(type(first), "exists", lambda path: False if path == first else original(path))
    assert bodies.opened(usage) is not None


def test_feedback_becomes_labelled_data(client, model, alice, bob, carol, eve, dan):
    guardrails.set_policy(actor=carol, model=model, rules={}, keep_days=3)
    for text, thumb, label in (
        ("The screen is black.", "up", ""),
        ("I cannot log in.", "down", "access"),
        ("=1+1", "down", "payroll"),
        ("Nobody knows.", "down", ""),
    ):
        feedback.give(actor=eve, usage=answered(eve, model, text), thumb=thumb, label=label)
    gone = answered(eve, model, "This one is gone.")
    feedback.give(actor=eve, usage=gone, thumb="up")
    Body.objects.filter(usage=gone).update(purge_at=timezone.now())
    Body.objects.filter(usage=answered(eve, model)).delete()
    address = reverse("portal:feedback_labelled", args=[model.use_case_id])
    client.force_login(bob)
    rows = list(csv.reader(io.StringIO(b"".join(client.get(address).streaming_content).decode("utf-8-sig"))))
    assert rows == [
        ["text", "label"], ["'=1+1", "payroll"], ["I cannot log in.", "access"], ["The screen is black.", "hardware"],
    ]  # fmt: skip
    assert ledger.body(LedgerEntry.objects.get(action=Action.FEEDBACK_TAKEN))["details"] == {"rows": 3}
    held = client.get("/api/v1/feedback/labelled/", {"use_case": model.use_case_id}).json()["rows"]
    assert held[0] == {"text": "=1+1", "label": "payroll"}
    for nobody in (dan, eve):
        client.force_login(nobody)
        assert client.get(address).status_code in {403, 404}
        assert client.get("/api/v1/feedback/labelled/", {"use_case": model.use_case_id}).status_code in {400, 403}


def test_feedback_is_given_and_read_in_the_browser(client, model, alice, eve):
    usage = answered(eve, model)
    client.force_login(eve)
    give = reverse("portal:feedback_give", args=[usage.pk])
    thanks = client.post(give, {"thumb": "up", "comment": "Right at once."}, headers={"HX-Request": "true"})
    assert thanks.context["thanks"] is True
    wrong = client.post(give, {"thumb": "x", "comment": "Kept."}, headers={"HX-Request": "true"})
    assert wrong.context["problem"]
    assert "Kept." in wrong.text
    assert client.post(give, {"thumb": "down"}).status_code == 302
    assert client.post(give, {"thumb": "x"}).status_code == 302
    client.force_login(alice)
    assert client.post(give, {"thumb": "up"}).status_code == 404
    listing = reverse("portal:feedback")
    page = client.get(listing, {"of": f"use-case:{model.use_case_id}"})
    assert page.context["may_take"] is True
    assert [row.thumb for row in page.context["shown"].rows] == ["down"]
    assert not client.get(listing, {"of": f"model:{model}", "thumb": "up"}).context["shown"].rows
    assert not client.get(listing, {"of": "mine"}).context["shown"].rows
    assert not client.get(listing, {"of": "team:nowhere"}).context["shown"].rows


def test_feedback_is_given_and_read_by_programs(client, model, alice, eve):
    usage = answered(eve, model)
    client.force_login(eve)
    kind = {"content_type": "application/json"}
    body = {"call": usage.pk, "thumb": "down", "label": "access"}
    made = client.post("/api/v1/feedback/", body, **kind)
    assert (made.status_code, made.json()["label"], made.json()["model"]) == (201, "access", "helpdesk/router")
    assert client.post("/api/v1/feedback/", body | {"call": usage.pk + 9}, **kind).status_code == 400
    client.force_login(alice)
    # Alice sees the call, as owner of the team; it is not hers to say something of.
    assert client.post("/api/v1/feedback/", body, **kind).status_code == 403
    rows = client.get("/api/v1/feedback/", {"use_case": model.use_case_id, "thumb": "down"}).json()["results"]
    assert [row["call"] for row in rows] == [usage.pk]
    assert client.get(f"/api/v1/feedback/{rows[0]['id']}/").json()["person"] == "eve@example.org"


@pytest.mark.django_db(transaction=True)
def test_the_scheduler_purges_bodies_and_tells_refusals(model, carol, eve, frank):
    guardrails.set_policy(actor=carol, model=model, rules={}, keep_days=1)
    answered(eve, model)
    Body.objects.update(purge_at=timezone.now())
    quota = quotas.create(actor=frank, subject="organisation", unit="calls", window="day", amount=0)
    for _ in range(3):
        with pytest.raises(metering.Exceeded):
            metering.begin(actor=eve, model=model, kind="chat")
    old = timezone.now() - timedelta(days=99)
    QuotaCount.objects.create(quota=quota, begins_at=old)
    QuotaRefusal.objects.filter(pk__gt=0).update(untold=5)
    ledger_entries = LedgerEntry.objects.filter(action=Action.QUOTA_EXCEEDED)
    call_command("scheduler", once=True)
    assert not Body.objects.exists()
    assert not QuotaCount.objects.filter(begins_at=old).exists()
    # Told less than a minute ago: not yet again.
    assert ledger_entries.count() == 1
