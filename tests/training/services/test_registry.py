"""Publishing a version: asked, approved by somebody else, used while its approval stands, stopped at once."""

import json

import pytest

from governance.models import ApprovalRequest, LedgerEntry
from governance.policy import Gate
from governance.services import access, approvals
from projects.models import Ref
from projects.services import repositories, use_cases
from tests.chaos.quick_engine import report
from tests.factories import approve
from training.models import ModelVersion, Publication
from training.services import handouts, jobs, registry

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

USE = "Suggest a queue; an agent decides."


def make_version(ground, person, worker, folder, **changes) -> ModelVersion:
    """Return a version whose job was finished with a report like the engine's."""
    job = ground.submit(person, **changes)
    held = jobs.claim(actor=worker, job_id=job.pk, owner="test")
    found = report(job.spec["dataset"]["labels"], job.spec["dataset"]["files"]["test"]["rows"])
    rival = {**found["candidates"][0], "name": "majority"}
    estimate = {"difference": 0.5, "low": 0.4, "high": 0.6, "only_tuned_right": 9, "only_baseline_right": 0}
    found["candidates"].append(rival)
    found["comparisons"] = [
        {
            "baseline": "majority",
            "accuracy": {**estimate, "p_exact": 0.01, "p_mid": 0.01},
            "macro_f1": {"difference": 0.5, "low": 0.4, "high": 0.6, "p": 0.01},
            "better": True,
        }
    ]
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    artifacts = {}
    for name, value in (("evaluation.json", found), ("environment.json", {"python": "3"}), ("weights.json", job.pk)):
        (folder / "artifacts" / name).write_text(json.dumps(value))
        artifacts[f"artifacts/{name}"] = repositories.store_blob(folder / "artifacts" / name).sha256
    return jobs.finish(actor=worker, claim=held, folder=folder, artifacts=artifacts, summary={"steps": 1})


@pytest.fixture
def version(ground, bob, system, tmp_path) -> ModelVersion:
    return make_version(ground, bob, system, tmp_path / "run")


def publish(version, requester, reviewer, **changes) -> Publication:
    asked = registry.request_publication(actor=requester, version=version, **({"intended_use": USE} | changes))
    approve(reviewer=reviewer, subject=asked.subject, gate=Gate.MODEL_PUBLICATION)
    return Publication.objects.get(pk=asked.object_id)


def test_an_approved_publication_is_served_to_its_audience(version, bob, carol, eve):
    publication = publish(version, bob, carol)
    assert publication.state == "published"
    assert registry.servable(user=eve, model=version.model) == publication
    assert Ref.objects.get(repository=version.model.repository, name="champion").commit == version.commit


def test_nothing_is_served_before_it_is_approved(version, bob):
    registry.request_publication(actor=bob, version=version, intended_use=USE)
    with pytest.raises(registry.NotPublished):
        registry.servable(user=bob, model=version.model)


def test_a_team_publication_is_not_there_for_outsiders(version, bob, carol, eve):
    publish(version, bob, carol, audience="team")
    assert registry.servable(user=bob, model=version.model)
    with pytest.raises(registry.NotPublished) as refused:
        registry.servable(user=eve, model=version.model)
    assert refused.value.code == "not_published"


def test_the_requester_never_approves(version, alice):
    asked = registry.request_publication(actor=alice, version=version, intended_use=USE)
    with pytest.raises(access.Denied):
        approvals.decide(actor=alice, request=asked, verdict="approve", digest=asked.digest)


def test_who_may_not_publish_is_refused(version, carol, eve):
    for person in (carol, eve):
        with pytest.raises(access.Denied):
            registry.request_publication(actor=person, version=version, intended_use=USE)


def test_a_new_version_supersedes_the_old_under_the_same_alias(version, ground, bob, carol, system, tmp_path):
    first = publish(version, bob, carol)
    newer = make_version(ground, bob, system, tmp_path / "again", seed=2)
    second = publish(newer, bob, carol)
    first.refresh_from_db()
    assert (first.state, second.state) == ("superseded", "published")
    assert registry.servable(user=bob, model=version.model) == second
    assert Ref.objects.get(repository=version.model.repository, name="champion").commit == newer.commit


def test_a_lapsed_approval_ends_the_service_by_itself(version, ground, bob, carol, alice):
    publication = publish(version, bob, carol)
    # The use case's title is part of what the reviewers of the publication were shown.
    use_cases.change(actor=alice, use_case=ground.use_case, title="Sort requests by urgency")
    fresh = Publication.objects.get(pk=publication.pk)
    assert not registry.standing(fresh).open
    with pytest.raises(registry.NotPublished) as refused:
        registry.servable(user=bob, model=version.model)
    assert refused.value.code in {"approval_void", "suspended"}


def test_suspending_stops_at_once_and_says_why(version, bob, carol, eve):
    publication = publish(version, bob, carol)
    registry.suspend(actor=carol, publication=publication, reason="It answers rudely.")
    with pytest.raises(registry.NotPublished) as refused:
        registry.servable(user=eve, model=version.model)
    assert "rudely" in refused.value.reason or refused.value.code == "not_published"
    assert not Ref.objects.filter(repository=version.model.repository, name="champion").exists()
    assert LedgerEntry.objects.about(publication).filter(action="publication.suspended").exists()
    with pytest.raises(registry.NotPossible):
        registry.suspend(actor=carol, publication=publication, reason="Again.")
    assert registry.retire(actor=bob, publication=publication, reason="Never again.").state == "retired"


def test_retiring_a_version_ends_its_publications_and_proposals(version, bob, carol):
    publication = publish(version, bob, carol)
    waiting = registry.request_publication(actor=bob, version=version, alias="challenger", intended_use=USE)
    registry.retire_version(actor=bob, version=version, reason="Superseded by a better idea.")
    publication.refresh_from_db()
    assert publication.state == "retired"
    assert Publication.objects.get(pk=waiting.object_id).state == "declined"
    assert not ApprovalRequest.objects.open().exists()
    with pytest.raises(approvals.NotReady):
        registry.request_publication(actor=bob, version=version, intended_use=USE)


def test_a_reason_is_needed_to_stop(version, bob, carol):
    publication = publish(version, bob, carol)
    with pytest.raises(registry.Invalid):
        registry.retire(actor=bob, publication=publication, reason=" ")


def test_a_rejected_publication_is_declined_and_may_be_asked_again(version, bob, carol):
    asked = registry.request_publication(actor=bob, version=version, intended_use=USE)
    approvals.decide(actor=carol, request=asked, verdict="reject", digest=asked.digest, comment="Too vague.")
    assert Publication.objects.get(pk=asked.object_id).state == "declined"
    assert publish(version, bob, carol, intended_use="Suggest one of three queues to the agent.").state == "published"


def test_the_same_question_twice_is_refused(version, bob):
    registry.request_publication(actor=bob, version=version, intended_use=USE)
    with pytest.raises(approvals.Closed):
        registry.request_publication(actor=bob, version=version, intended_use=USE)


def test_a_better_worded_question_replaces_ones_own(version, bob, alice):
    first = registry.request_publication(actor=bob, version=version, intended_use=USE)
    second = registry.request_publication(actor=bob, version=version, intended_use="Suggest; an agent decides.")
    first.refresh_from_db()
    assert (first.state, second.state) == ("withdrawn", "open")
    with pytest.raises(approvals.Closed):
        registry.request_publication(actor=alice, version=version, intended_use="Mine.")


def test_main_is_not_an_alias(version, bob):
    with pytest.raises(registry.Invalid):
        registry.request_publication(actor=bob, version=version, alias="main", intended_use=USE)


def test_reading_a_file_is_recorded(version, bob, eve):
    assert handouts.download(actor=bob, version=version, path="weights.json").size
    assert LedgerEntry.objects.about(version).filter(action="model.downloaded", actor=bob).exists()
    with pytest.raises(access.Denied):
        handouts.download(actor=eve, version=version, path="weights.json")
    with pytest.raises(repositories.Missing):
        handouts.download(actor=bob, version=version, path="../secret")
