"""From an approved use case to a model that colleagues may call: trained for real, published by a reviewer, stopped."""

from __future__ import annotations

import pytest
from django.test import Client

from governance.models import LedgerEntry
from governance.services import tokens
from tests.training.factories import make_ground
from training import supervisor
from training.models import Publication

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
OFFER = {
    "alias": "champion",
    "audience": "organisation",
    "intended_use": "Suggests the team for a request; a person can change each result.",
}


@pytest.fixture
def trained(alice, bob, carol, frank, team, tmp_path, settings):
    """A version that a real run of the engine made."""
    settings.RUN_ROOT = tmp_path / "runs"
    ground = make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=tmp_path / "tiny")
    job = ground.submit(bob)
    assert supervisor.run(job_id=job.pk) == "succeeded"
    job.refresh_from_db()
    return job.model_version


def test_a_version_is_used_only_while_its_publication_stands(visit, trained, bob, carol, eve, alice):
    builder, reviewer, employee = visit(bob), visit(carol), visit(eve)
    model = f"models/helpdesk/{trained.model.name}"
    ask = {"inputs": ["my laptop screen is dark"]}

    # Trained is not published: nobody outside the team finds it, and nobody in it can call it.
    assert employee.post(f"{model}/predict", ask).status_code == 404
    unpublished = builder.post(f"{model}/predict", ask)
    assert unpublished.status_code == 403
    assert unpublished.json()["code"] == "not_published"

    asked = builder.post(f"{model}/versions/1/publications/", OFFER)
    assert asked.status_code == 201, asked.content
    request = asked.json()["request"]
    assert builder.decide(request).status_code == 403
    assert employee.get(f"approvals/{request}/").status_code == 404
    assert employee.post(f"{model}/predict", ask).status_code == 404

    shown = reviewer.get(f"approvals/{request}/").json()
    assert all(check["met"] for check in shown["checklist"])
    page = reviewer.page.get(f"/reviews/{request}/").text
    for fact in (OFFER["intended_use"], trained.commit.oid, 'value="approve"'):
        assert fact in page
    assert reviewer.decide(request, comment="Better than the majority rule.").status_code == 200

    live = Publication.objects.get(version=trained)
    assert live.state == "published"
    assert employee.page.get(f"/{model}/").status_code == 200
    # No engine process runs in this test: past the gate, the answer is that the engine does not answer.
    assert employee.post(f"{model}/predict", ask).status_code == 503
    # A token that may do nothing but call models reaches it too, and sees none of its pages.
    _row, secret = tokens.create(actor=eve, user=eve, name="calls", scopes=["predict"], days=1)
    caller = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    called = Client().post(f"/api/v1/{model}/predict", ask, content_type="application/json", **caller)
    assert called.status_code == 503, called.content
    assert Client().get(f"/api/v1/{model}/", **caller).status_code in {403, 404}
    assert (
        LedgerEntry.objects.filter(action="model_version.published", actor=carol).exists()
        or LedgerEntry.objects.filter(subject_type="training.publication", actor=carol).exists()
    )

    assert employee.post(f"publications/{live.pk}/suspend/", {"reason": "I do not like it."}).status_code in {403, 404}
    assert (
        visit(alice).post(f"publications/{live.pk}/suspend/", {"reason": "It mixes up two teams."}).status_code == 200
    )
    stopped = employee.post(f"{model}/predict", ask)
    assert stopped.status_code in {403, 404}
    assert employee.post(f"{model}/predict", ask).status_code == stopped.status_code


def test_what_was_approved_cannot_be_swapped(visit, trained, bob, carol):
    builder, reviewer = visit(bob), visit(carol)
    model = f"models/helpdesk/{trained.model.name}"
    first = builder.post(f"{model}/versions/1/publications/", OFFER).json()
    again = builder.post(f"{model}/versions/1/publications/", OFFER | {"intended_use": "Anything at all."})
    if again.status_code == 201:
        # What is asked changed, so the first request is no longer the one that waits.
        assert again.json()["request"] != first["request"]
        assert reviewer.decide(first["request"]).status_code == 409
    else:
        assert again.status_code == 403
        assert again.json()["code"] in {"already_requested", "other_request"}
        assert reviewer.get(f"approvals/{first['request']}/").json()["material"]


def test_the_pages_walk_the_same_path(visit, trained, bob, carol, eve):
    builder, reviewer, employee = visit(bob).page, visit(carol).page, visit(eve).page
    model = f"/models/helpdesk/{trained.model.name}/"
    assert employee.get(model).status_code == 404
    form = builder.get(f"{model}versions/1/publish/")
    assert form.status_code == 200
    bad = builder.post(f"{model}versions/1/publish/", OFFER | {"intended_use": ""})
    assert bad.status_code == 422
    assert 'value="champion"' in bad.text
    asked = builder.post(f"{model}versions/1/publish/", OFFER, follow=True)
    assert asked.status_code == 200
    publication = Publication.objects.get(version=trained)
    listed = reviewer.get("/reviews/")
    assert trained.model.name in listed.text
    found = [row for row in listed.context["page"].items if row.object_id == publication.pk]
    decided = reviewer.post(
        f"/reviews/{found[0].pk}/decide/",
        {"verdict": "approve", "digest": found[0].digest, "comment": "", "conditions": "Look again in a year."},
        follow=True,
    )
    assert decided.status_code == 200
    publication.refresh_from_db()
    assert publication.state == "published"
    shown = employee.get(model)
    assert OFFER["intended_use"] in shown.text
    assert model in employee.get("/models/").text
