"""The scheduler's duties, done once, and that a database that is away does not end it."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from governance.models import IdempotencyKey
from training.models import TrainingJob
from training.services import jobs

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


def test_once_takes_up_everything_that_fell_down(ground, bob, system):
    job = ground.submit(bob)
    jobs.claim(actor=system, job_id=job.pk, owner="gone")
    TrainingJob.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    old = timezone.now() - timedelta(days=2)
    for key, at in (("old", old), ("new", timezone.now())):
        IdempotencyKey.objects.create(user=bob, key=key, method="POST", path="/", body_digest="", created_at=at)
    call_command("scheduler", once=True)
    job.refresh_from_db()
    assert job.state == "queued"
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["new"]


def test_a_duty_that_fails_does_not_keep_the_others(ground, bob, system, monkeypatch, settings):
    def broken(**_):
        raise RuntimeError("boom")

    monkeypatch.setattr("projects.services.datasets.requeue_lost", broken)
    job = ground.submit(bob)
    jobs.claim(actor=system, job_id=job.pk, owner="gone")
    TrainingJob.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    settings.LOGGING_CONFIG = None
    call_command("scheduler", once=True)
    job.refresh_from_db()
    assert job.state == "queued"
