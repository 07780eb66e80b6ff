"""The short way to a published version of any kind: a job is submitted, finished with given files, and approved.

It must not import pytest: the process that settles a live site uses it as well.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from django.db import transaction

from governance.actions import Action
from governance.models import User
from governance.policy import Gate
from governance.services import ledger
from projects.services import repositories
from tests.chaos.quick_engine import report
from tests.factories import approve
from tests.training.factories import Ground
from training.models import ModelVersion, Publication, RegisteredModel, TrainingJob
from training.services import jobs, registry

USE = "Answer questions of employees; a person reads what it writes before it is sent."


def finish(*, worker: User, job: TrainingJob, held: jobs.Claim, files: Path, run: Path, task: str) -> ModelVersion:
    """Return the version that a job leaves when its engine wrote `files`; `task` is what the model is for."""
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
    target = run / "artifacts"
    shutil.copytree(files, target)
    (target / "evaluation.json").write_text(json.dumps(found))
    (target / "environment.json").write_text(json.dumps({"python": "3"}))
    artifacts = {
        f"artifacts/{path.relative_to(target).as_posix()}": repositories.store_blob(path).sha256
        for path in sorted(target.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }
    version = jobs.finish(actor=worker, claim=held, folder=run, artifacts=artifacts, summary={"steps": 1})
    if version.model.task != task:
        with transaction.atomic():
            RegisteredModel.objects.filter(pk=version.model_id).update(task=task)
            ledger.record(Action.MODEL_REGISTERED, actor=worker, subject=version.model, details={"task": task})
        version.model.refresh_from_db()
    return version


def make_served(
    *, ground: Ground, actor: User, worker: User, reviewer: User, files: Path, run: Path, name: str, task: str,
    audience: str = "organisation",
) -> Publication:  # fmt: skip
    """Return the publication of a new version of the model `name`, made of `files`, as champion for an audience."""
    # In one transaction, so that no worker of a live site takes the job first.
    with transaction.atomic():
        job = ground.submit(actor, model_name=name)
        held = jobs.claim(actor=worker, job_id=job.pk, owner="test")
    assert held is not None
    version = finish(worker=worker, job=job, held=held, files=files, run=run, task=task)
    asked = registry.request_publication(actor=actor, version=version, audience=audience, intended_use=USE)
    approve(reviewer=reviewer, subject=asked.subject, gate=Gate.MODEL_PUBLICATION)
    return Publication.objects.get(pk=asked.object_id)
