"""Real workers, a real scheduler and a real broker around one database, and the monkey that kills and pauses them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from tests.rig import processes

ROOT = Path(__file__).resolve().parents[2]
LEASE = 2.0


@dataclass
class Site:
    """The processes of one site, their folder and their environment."""

    var: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    scheduler: subprocess.Popen[bytes] | None = None
    feeder: subprocess.Popen[str] | None = None

    def feed(self, jobs: int) -> int:
        """Submit some jobs through a process that stays, and return how many there are now."""
        if self.feeder is None:
            self.feeder = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.world", "feed"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.feeder.stdin is not None
        assert self.feeder.stdout is not None
        self.feeder.stdin.write(f"{jobs}\n")
        self.feeder.stdin.flush()
        answer = self.feeder.stdout.readline()
        assert answer, self.logs()
        return int(json.loads(answer)["submitted"])

    def ask(self, *arguments: object, seconds: float = 240) -> dict:
        """Run tests.chaos.world and return its answer."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.world", *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def standing(self) -> dict[str, int]:
        """Return how many jobs are in each state, without starting a program for it."""
        return dict(self._query("SELECT state, count(*) FROM training_trainingjob GROUP BY state"))

    def _query(self, query: str) -> list[tuple]:
        url = self.environment.get("DATABASE_URL")
        if url:
            with psycopg.connect(url) as connection:
                return connection.execute(query).fetchall()
        with contextlib.closing(sqlite3.connect(self.var / "gatehouse.sqlite3", timeout=20)) as connection:
            return connection.execute(query).fetchall()

    def rows(self, columns: str) -> list[tuple]:
        """Return these columns of every job, in order."""
        return self._query(f"SELECT {columns} FROM training_trainingjob ORDER BY id")  # noqa: S608

    def said(self, job_id: int) -> list[str]:
        """Return the messages of the stages of a job, in order."""
        rows = self._query(
            f"SELECT data FROM training_jobevent WHERE job_id = {int(job_id)} AND type = 'stage' ORDER BY id"  # noqa: S608
        )
        return [(json.loads(data) if isinstance(data, str) else data)["message"] for (data,) in rows]

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start one Celery worker for training jobs."""
        number = len(self.workers)
        command = [sys.executable, "-m", "celery", "--app", "portal", "worker", "--queues", "training"]
        command += ["--concurrency", "1", "--pool", "prefork", "--hostname", f"w{number}@%h", "--loglevel", "WARNING"]
        command += ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        worker = processes.start(command, log=self.var / "log" / f"worker-{number}.log", cwd=ROOT, env=self.environment)
        self.workers.append(worker)
        return worker

    def start_scheduler(self) -> None:
        """Start the sweeping process."""
        self.scheduler = processes.start(
            [sys.executable, "manage.py", "scheduler"],
            log=self.var / "log" / "scheduler.log",
            cwd=ROOT,
            env=self.environment,
        )

    def busy(self) -> list[psutil.Process]:
        """Return the pool processes that have an engine running now."""
        found = []
        for worker in self.workers:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(worker.pid).children():
                    with contextlib.suppress(psutil.Error):
                        if child.children() and child.status() != psutil.STATUS_STOPPED:
                            found.append(child)
        return found

    def revive(self) -> None:
        """Start a worker again for each that is gone."""
        gone = [worker for worker in self.workers if worker.poll() is not None]
        for worker in gone:
            self.workers.remove(worker)
            self.start_worker()

    def stop(self) -> None:
        """End everything."""
        if self.feeder is not None:
            self.feeder.communicate()
            self.feeder = None
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            for child in _tree(process.pid):
                with contextlib.suppress(psutil.Error):
                    child.resume()
                    child.kill()
            processes.stop(process, seconds=5)

    def logs(self) -> str:
        """Return the end of every log."""
        return "\n".join(f"--- {log.name}\n{processes.tail(log, 15)}" for log in sorted((self.var / "log").iterdir()))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


@contextlib.contextmanager
def site(
    *, database_url: str | None, broker_url: str, fencing: bool = True, step_seconds: float = 0.08
) -> Iterator[Site]:
    """Prepare a folder and an environment; nothing runs yet. Afterwards nothing is left, which is asserted."""
    var = Path(tempfile.mkdtemp(prefix="gh-chaos-"))
    for name in ("log", "run", "incoming"):
        (var / name).mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    environment = {
        **kept,
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "GATEHOUSE_VAR": str(var),
        "SECRET_KEY": "only-for-this-run-of-the-chaos-tests-0123456789",
        "CELERY_BROKER_URL": broker_url,
        "JOB_LEASE_SECONDS": str(LEASE),
        "JOB_HEARTBEAT_SECONDS": "0.5",
        "JOB_FENCING": "1" if fencing else "0",
        "CHAOS": "1",
        "CHAOS_STEP_SECONDS": str(step_seconds),
        "LOG_LEVEL": "WARNING",
        **({"DATABASE_URL": database_url} if database_url else {}),
    }
    found = Site(var, environment)
    try:
        yield found
    finally:
        found.stop()
        left = [f"{one.pid} {' '.join(one.cmdline())}" for one in processes.speaking_of(str(var))]
        shutil.rmtree(var, ignore_errors=True)
    assert not left, "These processes stayed behind:\n" + "\n".join(left)


@dataclass
class Monkey:
    """Kills and pauses busy workers until it has done as much as was asked; `resume_at` are those it paused."""

    site: Site
    kills: int
    pauses: int
    seed: int = 0
    killed: int = 0
    paused: int = 0
    resume_at: dict[psutil.Process, float] = field(default_factory=dict)

    @property
    def content(self) -> bool:
        """Return whether it has done what was asked and nobody sleeps any more."""
        return self.killed >= self.kills and self.paused >= self.pauses and not self.resume_at

    def act(self, rng: random.Random) -> None:
        """Wake who has slept long enough, then do one thing to one busy worker."""
        now = time.monotonic()
        for process in [process for process, at in self.resume_at.items() if at <= now]:
            del self.resume_at[process]
            with contextlib.suppress(psutil.Error):
                process.resume()
        busy = [process for process in self.site.busy() if process not in self.resume_at]
        left = (self.kills - self.killed) + (self.pauses - self.paused)
        if not busy or left <= 0:
            return
        victim = rng.choice(busy)
        # Between the look and the act an engine may end by itself: then nothing was done to it and nothing counts.
        with contextlib.suppress(psutil.Error, ProcessLookupError, IndexError):
            if rng.random() < (self.pauses - self.paused) / left:
                if len(self.resume_at) >= len(self.site.workers) - 1:
                    return
                engines = victim.children()
                victim.suspend()
                self.resume_at[victim] = now + LEASE * rng.uniform(1.6, 2.6)
                if engines and rng.random() < 0.3:
                    engines[0].suspend()
                    self.resume_at[engines[0]] = self.resume_at[victim] + rng.uniform(0, 0.3)
                self.paused += 1
                return
            kind = rng.random()
            if kind < 0.12:
                os.killpg(victim.ppid(), signal.SIGKILL)
            elif kind < 0.35:
                victim.children()[0].kill()
            else:
                victim.kill()
            self.killed += 1


def torment(
    found: Site, *, jobs: int, kills: int, pauses: int, seed: int, seconds: float, linger: float = 3600
) -> Monkey:
    """Feed jobs to three workers with the monkey among them, until so many are done and it is content; return it.

    The queue is kept short, so that a worker is free to take over whatever a paused one holds: with a long queue the
    sleeper would wake before its job is claimed again, and the pauses would show nothing. What is unfinished `linger`
    seconds after the monkey's last act is left as it is. Raises AssertionError with the logs after `seconds`.
    """
    rng = random.Random(seed)
    monkey = Monkey(found, kills, pauses, seed)
    for _ in range(3):
        found.start_worker()
    found.start_scheduler()
    deadline = time.monotonic() + seconds
    submitted = found.feed(3)
    ended: float | None = None
    while True:
        monkey.act(rng)
        found.revive()
        assert found.scheduler is not None
        assert found.scheduler.poll() is None, found.logs()
        standing = found.standing()
        waiting = standing.get("queued", 0) + standing.get("running", 0)
        enough = submitted >= jobs and monkey.content
        ended = time.monotonic() if enough and ended is None else ended
        if enough and (not waiting or time.monotonic() - (ended or 0) > linger):
            return monkey
        if waiting < 3 and not enough:
            submitted = found.feed(2)
        assert time.monotonic() < deadline, f"after {seconds:g} s: {standing}, {monkey.killed} kills\n{found.logs()}"
        time.sleep(rng.uniform(0.05, 0.3))
