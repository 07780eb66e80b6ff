"""The pages of models and base models: who sees what, the life of a publication, downloads."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from governance.models import ApprovalRequest, LedgerEntry
from tests.training.factories import make_base_model
from tests.training.services.test_registry import make_version, publish
from training.models import BaseModel, Publication, RegisteredModel
from training.services import registry

pytestmark = pytest.mark.django_db

USE = "Suggest a queue; an agent decides."


def pages_of(version) -> list[str]:
    model = version.model
    return [
        model.get_absolute_url(),
        reverse("training:model_versions", args=[model.team.slug, model.name]),
        reverse("training:model_history", args=[model.team.slug, model.name]),
        version.get_absolute_url(),
    ]


# Who sees what


def test_an_outsider_finds_nothing_of_an_unpublished_model(as_, version, eve):
    client = as_(eve)
    assert [client.get(page).status_code for page in pages_of(version)] == [404] * 4
    assert not client.get(reverse("training:models")).context["page"].items


def test_an_outsider_sees_a_model_that_is_published_to_everybody(as_, ground, published, eve, bob, system, tmp_path):
    later = make_version(ground, bob, system, tmp_path / "later")
    client = as_(eve)
    assert [client.get(page).status_code for page in pages_of(published)] == [200] * 4
    assert client.get(later.get_absolute_url()).status_code == 404
    overview = client.get(published.model.get_absolute_url())
    assert reverse("portal:try_model", args=["helpdesk", "sorter"]) in overview.text
    assert published.job.get_absolute_url() not in overview.text
    versions = client.get(pages_of(published)[1]).context["page"].items
    assert [row.number for row in versions] == [published.number]


def test_a_model_of_the_team_alone_stays_in_the_team(as_, version, bob, carol, eve):
    publish(version, bob, carol, audience="team")
    assert as_(bob).get(version.model.get_absolute_url()).context["usable"]
    assert as_(eve).get(version.model.get_absolute_url()).status_code == 404


@pytest.mark.parametrize(
    ("who", "publishes", "stops"), [("bob", True, True), ("carol", False, True), ("dan", False, False)]
)
def test_buttons_follow_rights(as_, published, personas, ground, system, tmp_path, who, publishes, stops):
    later = make_version(ground, personas["bob"], system, tmp_path / "later")
    text = as_(personas[who]).get(published.model.get_absolute_url()).text
    assert (reverse("training:publish", args=["helpdesk", "sorter", later.number]) in text) is publishes
    assert ('data-dialog-open="suspend"' in text) is stops


# The life of a publication


def test_asking_to_publish_puts_it_before_reviewers(as_, version, bob, carol):
    client = as_(bob)
    address = reverse("training:publish", args=["helpdesk", "sorter", version.number])
    empty = client.post(address, {"alias": "champion", "audience": "organisation", "intended_use": " "})
    assert empty.status_code == 422
    assert list(empty.context["form"].errors) == ["intended_use"]
    bad = client.post(address, {"alias": "main", "audience": "organisation", "intended_use": USE})
    assert list(bad.context["form"].errors) == ["alias"]

    answer = client.post(address, {"alias": "champion", "audience": "organisation", "intended_use": USE})

    request = ApprovalRequest.objects.open().get()
    assert answer.url == reverse("governance:review", args=[request.pk])
    page = client.get(version.model.get_absolute_url())
    assert page.context["state"] == "in_review"
    assert answer.url in page.text
    evidence = as_(carol).get(answer.url)
    assert evidence.status_code == 200
    assert version.get_absolute_url() in evidence.text


def test_a_suspended_model_says_why(as_, published, bob):
    publication = Publication.objects.get(state="published")
    client = as_(bob)
    stop = reverse("training:publication_stop", args=[publication.pk, "suspend"])
    client.post(stop, {"reason": ""})
    assert client.post(reverse("training:publication_stop", args=[publication.pk, "eat"])).status_code == 404
    publication.refresh_from_db()
    assert publication.state == "published"

    client.post(stop, {"reason": "It sends security incidents to payroll."})

    page = client.get(published.model.get_absolute_url())
    assert page.context["state"] == "suspended"
    assert "It sends security incidents to payroll." in page.text
    client.post(reverse("training:publication_stop", args=[publication.pk, "retire"]), {"reason": "Replaced."})
    assert client.get(published.model.get_absolute_url()).context["state"] == "retired"


def test_an_outsider_cannot_stop_a_model(as_, published, eve):
    publication = Publication.objects.get(state="published")
    stop = reverse("training:publication_stop", args=[publication.pk, "suspend"])
    assert as_(eve).post(stop, {"reason": "Because."}).status_code == 403
    publication.refresh_from_db()
    assert publication.state == "published"


def test_a_newer_version_supersedes_the_older_one(as_, ground, published, bob, carol, system, tmp_path):
    later = make_version(ground, bob, system, tmp_path / "later")
    publish(later, bob, carol)
    assert as_(bob).get(published.get_absolute_url()).context["state"] == "superseded"
    assert as_(bob).get(later.get_absolute_url()).context["state"] == "published"


# Files


def test_a_download_is_in_the_ledger_and_only_for_whom_the_version_is(as_, published, bob, carol, eve):
    file = published.commit.files.get(path__endswith="README.md")
    address = reverse("training:model_file", args=["helpdesk", "sorter", published.number, file.path])
    answer = as_(bob).get(address)
    assert answer.status_code == 200
    assert len(b"".join(answer.streaming_content)) == file.size
    assert LedgerEntry.objects.filter(action="model.downloaded").count() == 1
    assert as_(bob).get(address + ".not").status_code == 404
    # It is published to everybody, so that everybody may fetch it, and nobody outside the team once it is stopped.
    assert as_(eve).get(address).status_code == 200
    registry.suspend(actor=carol, publication=Publication.objects.get(state="published"), reason="It answers rudely.")
    assert as_(eve).get(address).status_code in {403, 404}


def test_who_holds_a_version_is_listed_for_those_who_may_stop_it(as_, published, alice, bob, carol, dan, eve):
    place = ["helpdesk", "sorter", published.number]
    as_(eve).get(reverse("training:model_file", args=[*place, "README.md"]))
    as_(eve).get(reverse("training:model_file", args=[*place, "weights.json"]))
    held = reverse("training:model_holders", args=place)
    for person in (bob, carol):
        assert held in as_(person).get(published.get_absolute_url()).text
        assert held in as_(person).get(published.model.get_absolute_url()).text
        found = as_(person).get(held).context["holders"]
        assert [(one.person, one.files, one.reads) for one in found] == [(eve, 2, 2)]
    for person in (dan, eve):
        assert held not in as_(person).get(published.get_absolute_url()).text
        assert as_(person).get(held).status_code == 403
    listed = as_(alice).get(reverse("api:model-holders", args=place))
    assert [(one["person"], one["files"]) for one in listed.json()] == [("eve@example.org", 2)]
    assert as_(eve).get(reverse("api:model-holders", args=place)).status_code == 403


def test_the_code_to_copy_names_the_readers_own_host(as_, published, eve):
    snippets = dict(as_(eve).get(published.model.get_absolute_url(), headers={"host": "localhost"}).context["snippets"])
    assert "HF_ENDPOINT=http://localhost\n" in snippets["hf"]
    assert snippets["hf"].endswith("hf download helpdesk/sorter")
    assert "transformers" not in snippets, "a classifier of ours has a head that no library knows"


# Base models


def test_one_person_imports_and_another_allows(as_, frank, carol, tmp_path):
    model = make_base_model(actor=frank, reviewer=None, folder=tmp_path / "tiny")
    decide = reverse("training:base_model_decide", args=[model.pk])
    assert decide in as_(carol).get(model.get_absolute_url()).text
    as_(carol).post(decide, {"act": "allow", "reason": ""})
    assert BaseModel.objects.get().state == "proposed"
    as_(carol).post(decide, {"act": "allow", "reason": "Small and harmless."})
    assert BaseModel.objects.get().state == "allowed"
    as_(carol).post(decide, {"act": "disallow", "reason": "The licence changed."})
    assert BaseModel.objects.get().state == "disallowed"
    assert as_(frank).post(decide, {"act": "allow", "reason": "Mine."}).status_code == 403
    assert BaseModel.objects.get().state == "disallowed"


def test_everybody_sees_the_catalogue_and_few_may_import(as_, ground, eve, bob):
    listing = reverse("training:base_models")
    assert ground.base_model.title in as_(eve).get(listing).text
    assert reverse("training:base_model_new") not in as_(eve).get(listing).text
    assert reverse("training:base_model_new") in as_(bob).get(listing).text
    assert as_(eve).get(ground.base_model.get_absolute_url()).status_code == 200


def test_a_model_on_this_server_is_imported_from_the_page(as_, bob, settings, tmp_path):
    from tests.training.factories import make_tiny_model

    make_tiny_model(tmp_path / "roots" / "tiny")
    settings.MODEL_ROOTS = [tmp_path / "roots"]
    client = as_(bob)
    address = reverse("training:base_model_new")
    given = {"source": "folder:tiny", "name": "tiny", "title": "Tiny", "licence": "Apache-2.0", "task": "testing"}
    wrong = client.post(address, given | {"name": "Not A Name"})
    assert wrong.status_code == 422
    assert list(wrong.context["form"].errors) == ["name"]
    assert client.post(address, given).status_code == 302
    assert BaseModel.objects.get().state == "proposed"


# How many queries


def test_pages_of_models_ask_the_database_the_same_few_times(as_, published, bob):
    client = as_(bob)
    pages = [reverse("training:models"), *pages_of(published), reverse("training:base_models")]

    def counted() -> list[int]:
        found = []
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(connection) as seen:
                assert client.get(page).status_code == 200
            found.append(len(seen))
        return found

    few = counted()
    model = RegisteredModel.objects.get()
    from projects.models import Repository

    for number in range(30):
        repository = Repository.objects.create(
            kind=Repository.Kind.MODEL, team=model.team, name=f"m{number}", created_by=bob
        )
        RegisteredModel.objects.create(
            team=model.team, name=f"m{number}", title=f"M {number}", use_case=model.use_case, task=model.task,
            repository=repository, created_by=bob,
        )  # fmt: skip
    for number in range(30):
        Publication.objects.create(
            model=model, version=published, alias=f"a{number}", intended_use=USE, requested_by=bob,
            state="published", published_at=model.changed_at,
        )  # fmt: skip
    assert counted() == few
    assert max(few) <= 12, dict(zip(pages, few, strict=True))


def test_the_verdict_never_calls_a_tie_a_win(published):
    from training.views import reports

    evaluation = published.job.evaluation
    report = evaluation.report
    report["comparisons"][0]["accuracy"] |= {"p_mid": 0.2, "difference": 0.5}
    assert reports.read(evaluation).verdict["tone"] == "warn"
    report["comparisons"][0]["accuracy"] |= {"p_mid": 0.001, "difference": 0.5}
    assert reports.read(evaluation).verdict["tone"] == "good"
    report["comparisons"][0]["accuracy"] |= {"p_mid": 0.001, "difference": -0.5}
    assert reports.read(evaluation).verdict["tone"] == "bad"
    assert registry.standing(Publication.objects.get()).open
