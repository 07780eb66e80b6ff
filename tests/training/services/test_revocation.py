"""Revoking an approval stops what rests on it, through the real doors: jobs, serving, downloads."""

import datetime

import pytest
from django.utils import timezone

from governance.models import ApprovalRequest, LedgerEntry, User
from governance.policy import Gate, Role
from governance.services import access, approvals, roles
from portal.gateway import predictions
from projects.services import datasets, use_cases
from projects.services.datasets.catalogue import split_path
from tests.factories import make_cleared_version, make_dataset
from tests.personas import make_role
from tests.training.services.test_registry import USE, make_version, publish
from training.models import Publication, TrainingJob
from training.services import handouts, jobs, registry

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]
WHY = "It harms somebody."


@pytest.fixture
def version(ground, bob, system, tmp_path):
    """Return a version whose job was finished."""
    return make_version(ground, bob, system, tmp_path / "run")


def revoke(reviewer, subject, gate):
    """Let the reviewer revoke the approval of the subject."""
    asked = ApprovalRequest.objects.about(subject).get(gate=gate.value, state="approved")
    return approvals.revoke(actor=reviewer, request=asked, reason=WHY)


def called(person, model) -> str:
    """Call the model as the gateway does, and return the code of the refusal."""
    with pytest.raises(registry.NotPublished) as refused:
        predictions.predict(actor=person, model=model, texts=["My screen is black."])
    return refused.value.code


def test_a_revoked_publication_answers_nobody_and_hands_out_nothing(version, bob, alice, carol, dan, eve):
    publication = publish(version, bob, carol)
    assert registry.servable(user=eve, model=version.model) == publication
    assert handouts.download(actor=alice, version=version, path="README.md")
    revoke(carol, publication, Gate.MODEL_PUBLICATION)
    publication.refresh_from_db()
    assert publication.state == "suspended"
    assert WHY in publication.ended_because
    assert called(eve, version.model) == "suspended"
    assert called(bob, version.model) == "suspended"
    with pytest.raises(registry.NotPublished, match=WHY):
        handouts.download(actor=alice, version=version, path="README.md")
    # Those who read everything need it as evidence.
    assert handouts.download(actor=dan, version=version, path="README.md")
    again = publish(version, bob, carol, intended_use="Something narrower.")
    assert registry.servable(user=eve, model=version.model) == again
    assert handouts.download(actor=alice, version=version, path="README.md")


def test_a_revoked_use_case_stops_its_jobs_and_its_models(version, ground, bob, alice, carol, eve, system):
    publication = publish(version, bob, carol)
    running, queued = ground.submit(bob, seed=2), ground.submit(bob, seed=3)
    held = jobs.claim(actor=system, job_id=running.pk, owner="test")
    revoke(carol, ground.use_case, Gate.USE_CASE_DEVELOPMENT)
    for row in (running, queued, publication, ground.use_case):
        row.refresh_from_db()
    assert queued.state == "cancelled"
    assert (running.state, jobs.look(claim=held).cancel_requested) == ("running", True)
    assert jobs.confirm_cancelled(actor=system, claim=held).state == "cancelled"
    assert (publication.state, ground.use_case.stage) == ("suspended", "draft")
    assert called(bob, version.model) == "suspended"
    assert any("was revoked" in event.data["message"] for event in running.events.filter(type="log"))
    with pytest.raises(jobs.NotApproved):
        ground.submit(bob, seed=4)
    with pytest.raises(jobs.NotApproved):
        jobs.retry(actor=bob, job=queued)
    with pytest.raises(registry.NotPublished, match="use case"):
        handouts.download(actor=alice, version=version, path="README.md")


def test_a_revoked_clearance_stops_what_was_made_of_the_data_for_that_use_case(version, ground, bob, carol, system):
    publication = publish(version, bob, carol)
    queued = ground.submit(bob, seed=2)
    other = make_cleared_version(
        actor=bob, reviewer=carol, dataset=make_dataset(actor=bob, team=ground.use_case.team, name="other"),
        use_case=ground.use_case,
    )  # fmt: skip
    revoke(carol, other.clearances.get(), Gate.DATASET_USE)
    assert TrainingJob.objects.get(pk=queued.pk).state == "queued"
    revoke(carol, ground.version.clearances.get(), Gate.DATASET_USE)
    assert TrainingJob.objects.get(pk=queued.pk).state == "cancelled"
    assert Publication.objects.get(pk=publication.pk).state == "suspended"
    assert approvals.standing(Gate.USE_CASE_DEVELOPMENT, ground.use_case).open
    with pytest.raises(jobs.NotCleared):
        ground.submit(bob, seed=3)


@pytest.fixture
def clock(monkeypatch):
    """Return a function that moves the clock ahead by days."""
    real = timezone.now

    def move(days):
        monkeypatch.setattr(timezone, "now", lambda: real() + datetime.timedelta(days=days))

    return move


def until(reviewer, requester, subject, gate, days=10):
    """Ask again and let the reviewer approve it for so many days; the first approval ends."""
    for held in ApprovalRequest.objects.about(subject).filter(gate=gate.value, state="approved"):
        approvals.end(actor=requester, gate=gate, subject=subject, because=f"Instead of {held.pk}, for a time.")
    asked = approvals.request(actor=requester, gate=gate, subject=subject)
    ends = timezone.localdate() + datetime.timedelta(days=days)
    return approvals.decide(actor=reviewer, request=asked, verdict="approve", digest=asked.digest, expires_on=ends)


def test_a_use_case_whose_approval_ran_out_stops_its_jobs_and_its_models(
    version, ground, bob, alice, carol, eve, system, clock
):
    use_cases.move(actor=alice, use_case=ground.use_case, target="draft", reason="To be approved for a time.")
    ground.use_case.refresh_from_db()
    use_cases.submit(actor=alice, use_case=ground.use_case)
    asked = ApprovalRequest.objects.about(ground.use_case).open().get()
    ends = timezone.localdate() + datetime.timedelta(days=10)
    approvals.decide(actor=carol, request=asked, verdict="approve", digest=asked.digest, expires_on=ends)
    ground.use_case.refresh_from_db()
    publication = publish(version, bob, carol)
    running, queued = ground.submit(bob, seed=2), ground.submit(bob, seed=3)
    held = jobs.claim(actor=system, job_id=running.pk, owner="test")
    assert registry.servable(user=eve, model=version.model) == publication
    clock(12)
    with pytest.raises(jobs.NotApproved):
        ground.submit(bob, seed=4)
    assert approvals.sweep(actor=system)["expired"] == 1
    publication.refresh_from_db()
    queued.refresh_from_db()
    assert (publication.state, queued.state) == ("suspended", "cancelled")
    assert "Its approval ended on" in publication.ended_because
    assert jobs.look(claim=held).cancel_requested
    assert any("ran out" in event.data["message"] for event in running.events.filter(type="log"))
    assert called(eve, version.model) == "suspended"


def test_a_clearance_that_ran_out_stops_training_and_not_what_was_made_before(
    version, ground, bob, alice, carol, eve, system, clock
):
    clearance = ground.version.clearances.get()
    asked = until(carol, alice, clearance, Gate.DATASET_USE)
    publication = publish(version, bob, carol)
    queued = ground.submit(bob, seed=2)
    clock(12)
    assert approvals.sweep(actor=system)["expired"] == 1
    assert approvals.stops(ApprovalRequest.objects.get(pk=asked.pk)) == "ran out"
    assert TrainingJob.objects.get(pk=queued.pk).state == "cancelled"
    assert registry.servable(user=eve, model=version.model) == publication


def test_what_ran_out_after_it_was_approved_again_stops_nothing(ground, bob, alice, carol, system, clock):
    clearance = ground.version.clearances.get()
    first = until(carol, alice, clearance, Gate.DATASET_USE)
    clock(12)
    # Asked and approved again before the sweep came by.
    again = approvals.request(actor=alice, gate=Gate.DATASET_USE, subject=clearance)
    approvals.decide(actor=carol, request=again, verdict="approve", digest=again.digest)
    queued = ground.submit(bob, seed=2)
    assert approvals.sweep(actor=system)["expired"] == 1
    assert ApprovalRequest.objects.get(pk=first.pk).state == "lapsed"
    assert TrainingJob.objects.get(pk=queued.pk).state == "queued"


def test_a_running_job_of_a_lapsed_use_case_is_refused_at_the_next_claim(ground, bob, alice, system):
    job = ground.submit(bob)
    held = jobs.claim(actor=system, job_id=job.pk, owner="test")
    use_cases.change(actor=alice, use_case=ground.use_case, problem="Quite another problem than before.")
    assert not jobs.look(claim=held).cancel_requested
    jobs.release(actor=system, claim=held, reason="The worker stops.")
    assert jobs.claim(actor=system, job_id=job.pk, owner="test") is None
    assert TrainingJob.objects.get(pk=job.pk).error_code == "not_approved"


def test_who_trained_it_or_prepared_the_data_does_not_publish_it(version, ground, alice, bob, carol):
    asked = registry.request_publication(actor=alice, version=version, intended_use=USE)
    assert set(asked.involvements.values_list("user_id", flat=True)) == {alice.pk, bob.pk}
    make_role(bob, Role.REVIEWER)
    with pytest.raises(access.Denied) as refused:
        approvals.decide(actor=bob, request=asked, verdict="approve", digest=asked.digest)
    assert f"submitted training job {version.job_id}" in refused.value.reason
    assert approvals.decide(actor=carol, request=asked, verdict="approve", digest=asked.digest).state == "approved"


def test_who_retried_the_job_and_who_submitted_it_first_are_both_involved(ground, bob, alice, system, tmp_path):
    first = ground.submit(bob)
    jobs.cancel(actor=bob, job=first)
    retried = jobs.retry(actor=alice, job=first)
    assert [job.pk for job in retried.line()] == [retried.pk, first.pk]


def test_a_new_tier_voids_a_publication_at_once(version, ground, alice, bob, carol, eve):
    publication = publish(version, bob, carol)
    use_cases.change(
        actor=alice, use_case=ground.use_case, risk_tier="high", risk_tier_reason="It bears on people's work."
    )
    publication.refresh_from_db()
    assert publication.state == "suspended"
    assert "Risk tier" in publication.ended_because
    assert called(bob, version.model) == "suspended"
    assert LedgerEntry.objects.about(publication).filter(action="publication.suspended").exists()


def test_data_is_handed_out_for_use_only_while_it_is_cleared(ground, alice, bob, carol, eve, frank, other_team):
    version = ground.version
    path = split_path("train")
    assert datasets.download(actor=bob, version=version, path=path)
    ends = timezone.now() + datetime.timedelta(days=3)
    for permission in ("dataset.view", "dataset.download"):
        roles.share(
            actor=alice, user=eve, permission=permission, subject=version.dataset, purpose="Joint work", expires_at=ends
        )
    assert datasets.download(actor=User.objects.get(pk=eve.pk), version=version, path=path)
    revoke(carol, version.clearances.get(), Gate.DATASET_USE)
    with pytest.raises(datasets.NotCleared, match="Ask its team"):
        datasets.download(actor=User.objects.get(pk=eve.pk), version=version, path=path)
    make_role(eve, Role.BUSINESS_ANALYST, ground.use_case.team)
    with pytest.raises(datasets.NotCleared, match=WHY):
        datasets.download(actor=User.objects.get(pk=eve.pk), version=version, path=path)
    assert datasets.download(actor=bob, version=version, path=path)
