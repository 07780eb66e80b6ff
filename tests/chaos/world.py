"""The database side of the chaos tests, a program of its own: prepare a site with jobs, audit what became of it.

`python -m tests.chaos.world prepare FOLDER` | `feed` (submits as many jobs as each line of its input says) | `audit`;
answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path

import django


def prepare(folder: Path) -> dict:
    """Migrate, make the people and open every gate."""
    from django.core.management import call_command

    from governance.models import User
    from governance.policy import Role
    from projects.services import teams
    from tests.personas import make_person, make_role
    from tests.training.factories import make_ground

    call_command("migrate", interactive=False, verbosity=0)
    frank = make_role(make_person("frank"), Role.ADMINISTRATOR)
    team = teams.create(actor=frank, slug="helpdesk", name="Help desk", description="")
    alice = make_role(make_person("alice"), Role.TEAM_OWNER, team)
    carol = make_role(make_person("carol"), Role.REVIEWER)
    make_ground(owner=alice, reviewer=carol, administrator=frank, team=team, folder=folder / "tiny")
    User.objects.system()
    return {"ready": True}


def submit(jobs_wanted: int) -> dict:
    """Submit so many jobs, each with a seed of its own."""
    from governance.models import User
    from projects.models import DatasetVersion, UseCase
    from tests.training.factories import Ground
    from training.models import BaseModel, TrainingJob

    ground = Ground(UseCase.objects.get(), DatasetVersion.objects.get(), BaseModel.objects.get())
    alice = User.objects.get(email="alice@example.org")
    start = TrainingJob.objects.count()
    for number in range(start, start + jobs_wanted):
        ground.submit(alice, seed=number, model_name=f"model-{number % 5}")
    return {"submitted": start + jobs_wanted}


def audit() -> dict:
    """Return what went wrong: each list names jobs. All empty means that nothing did."""
    from governance.models import LedgerEntry
    from governance.services import ledger
    from projects.services import repositories
    from tests.chaos.quick_engine import STEPS, link
    from training.models import Evaluation, JobEvent, ModelVersion, TrainingJob

    found: dict[str, list] = {"lost": [], "duplicated": [], "stale_writes": [], "wrong_results": [], "numbering": []}
    succeeded: dict[str, list[int]] = {}
    for entry in LedgerEntry.objects.filter(action="job.succeeded"):
        succeeded.setdefault(entry.subject_id, []).append(ledger.body(entry)["details"]["token"])
    attempts = 0
    for job in TrainingJob.objects.order_by("pk"):
        attempts += job.token
        if job.state != "succeeded":
            found["lost"].append([job.pk, job.state, job.error_code])
            continue
        versions = ModelVersion.objects.filter(job=job)
        tokens = succeeded.get(str(job.pk), [])
        if len(tokens) != 1 or versions.count() != 1 or Evaluation.objects.filter(job=job).count() != 1:
            found["duplicated"].append([job.pk, tokens, versions.count()])
            continue
        files = {file.path: file for file in versions.get().commit.files.select_related("blob")}
        maker = json.loads(repositories.read_blob(files["maker.json"].blob))["token"]
        if maker != job.token or tokens != [job.token]:
            found["stale_writes"].append([job.pk, "result", maker, job.token])
        state = str(job.spec["seed"])
        for step in range(1, STEPS + 1):
            state = link(state, step)
        if json.loads(repositories.read_blob(files["weights.json"].blob))["state"] != state:
            found["wrong_results"].append(job.pk)
    newest: Counter[int] = Counter()
    for job_id, token in JobEvent.objects.order_by("pk").values_list("job_id", "token"):
        if token < newest[job_id]:
            found["stale_writes"].append([job_id, "event", token, newest[job_id]])
        newest[job_id] = max(newest[job_id], token)
    for model_id in set(ModelVersion.objects.values_list("model_id", flat=True)):
        numbers = sorted(ModelVersion.objects.filter(model_id=model_id).values_list("number", flat=True))
        if numbers != list(range(1, len(numbers) + 1)):
            found["numbering"].append([model_id, numbers])
    return {"found": found, "attempts": attempts, "jobs": TrainingJob.objects.count()}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
    django.setup()
    verb, *rest = sys.argv[1:]
    if verb == "feed":
        for line in sys.stdin:
            sys.stdout.write(json.dumps(submit(int(line))) + "\n")
            sys.stdout.flush()
    else:
        sys.stdout.write(json.dumps(prepare(Path(rest[0])) if verb == "prepare" else audit()) + "\n")
