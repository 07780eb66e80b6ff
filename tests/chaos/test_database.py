"""PostgreSQL is killed while writers commit rows with their ledger entries: nothing that was acknowledged is lost.

DATABASE_KILLS=30 is the promise; CI can afford five.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.chaos.monkey import ROOT
from tests.rig import postgres, processes

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1800)]
KILLS = int(os.environ.get("DATABASE_KILLS", "5"))
WRITERS, THREADS = 2, 4
AT_LEAST = 20
"""Acknowledged commits between two kills: every one of them happens under load."""


@pytest.fixture
def server():
    """A PostgreSQL server that promises what it acknowledges, on a disk that it waits for."""
    made = postgres.Server(durable=True)
    yield made
    made.close()


def power_cut(server: postgres.Server) -> None:
    """Kill the postmaster and every backend at once, by signal 9: nothing is shut down, nothing flushed."""
    assert server.process is not None
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.kill()
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def acknowledged(folder: Path) -> int:
    """Return how many commits the writers were told of."""
    return sum(file.read_bytes().count(b"\n") for file in folder.glob("writer-*.txt"))


def test_no_acknowledged_commit_entry_or_checkpoint_is_lost(server, tmp_path, record_property):
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": server.url,
        "GATEHOUSE_VAR": str(tmp_path / "var"),
        "SECRET_KEY": "x" * 60,
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "LOG_LEVEL": "ERROR",
    }

    def ask(*arguments: object) -> dict:
        command = [sys.executable, "-m", "tests.chaos.acknowledged", *map(str, arguments)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}:\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    ask("prepare")
    files = [tmp_path / f"writer-{number}.txt" for number in range(WRITERS)]
    commands = [("write", str(file), str(THREADS)) for file in files] + [("seal", str(tmp_path / "sealer.txt"))]
    running = [
        processes.start(
            [sys.executable, "-m", "tests.chaos.acknowledged", *command],
            log=tmp_path / f"log-{number}",
            cwd=ROOT,
            env=environment,
        )
        for number, command in enumerate(commands)
    ]
    chance = random.Random(1)
    try:
        for _kill in range(KILLS):
            wanted = acknowledged(tmp_path) + AT_LEAST
            processes.wait_until(
                lambda wanted=wanted: acknowledged(tmp_path) >= wanted, seconds=60, what="commits under load"
            )
            time.sleep(chance.uniform(0, 0.3))
            power_cut(server)
            server.start()
        wanted = acknowledged(tmp_path) + AT_LEAST
        processes.wait_until(lambda: acknowledged(tmp_path) >= wanted, seconds=60, what="commits after the last kill")
    finally:
        for file in [*files, tmp_path / "sealer.txt"]:
            file.with_suffix(".stop").touch()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            processes.stop(process)
    logs = "\n".join(processes.tail(tmp_path / f"log-{number}") for number in range(len(commands)))
    assert [process.returncode for process in running] == [0] * len(running), logs
    found = ask("audit", tmp_path)
    for name in ("acknowledged", "entries", "checkpoints", "verified"):
        record_property(name, found[name])
    print(f"{KILLS} kills of PostgreSQL: {found}")  # noqa: T201 - shown with -s, and when it fails
    assert found["acknowledged"] >= KILLS * AT_LEAST
    assert found["checkpoints"] >= KILLS
    assert found["verified"] == found["entries"]
    assert found["found"] == {name: [] for name in found["found"]}
    failures = sum(json.loads(processes.tail(tmp_path / f"log-{n}", 1))["failures"] for n in range(WRITERS))
    assert failures >= KILLS, "the writers did not notice that the server was killed"
