"""`manage.py up` starts everything, keeps it running, and leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Sequence

import psutil
import pytest
import yaml

from portal.management.commands.up import programs
from tests.rig import live, processes

PATIENCE = 60


def refused(tmp_path, **variables: str) -> str:
    """What `up` says when it refuses to start."""
    environment = live.environment(tmp_path / "var", live.free_port(), variables)
    done = subprocess.run(
        [sys.executable, str(live.ROOT / "manage.py"), "up", "--without-demo"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_up_refuses_a_busy_port_in_one_sentence(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        said = refused(tmp_path, PORT=str(port))

    assert said.strip().count("\n") == 0
    assert f"Port {port} on 127.0.0.1 is in use" in said


def test_up_refuses_a_folder_that_it_cannot_write_to(tmp_path):
    (tmp_path / "var").write_text("in the way")

    assert "cannot write to" in refused(tmp_path)


def test_up_says_that_the_database_does_not_answer(tmp_path):
    said = refused(tmp_path, DATABASE_URL="postgresql://gatehouse@127.0.0.1:1/gatehouse")

    assert said.startswith("The database did not answer")
    assert "check DATABASE_URL" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_up_runs_every_process_restarts_what_dies_and_stops_without_a_trace():
    with live.stack() as site:
        children = {name: one for one in psutil.Process(site.process.pid).children() for name in _names(one)}
        assert set(children) == {program.name for program in programs()}, site.log()

        web = children["web"].pid
        os.kill(web, signal.SIGKILL)
        processes.wait_until(
            lambda: any(_names(one) == ["web"] and one.pid != web for one in _children(site)),
            seconds=PATIENCE,
            what="another web process",
        )

        for secret in ("secret.key", "ledger/ledger.key", "run/engine.token"):
            assert stat.S_IMODE((site.var / secret).stat().st_mode) == 0o600
    # Leaving the block fails when a process of this site is still alive.


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nothing_survives_the_kill_of_the_supervisor():
    with live.stack() as site:
        site.process.kill()
        site.process.wait()

        processes.wait_until(
            lambda: not list(processes.speaking_of(str(site.var))), seconds=PATIENCE, what="the end of every process"
        )


def test_the_engine_sees_no_secret(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("SECRET_KEY_FILE", "secret")
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    seen = {program.name: program.environment for program in programs()}

    assert not [name for name, value in seen["engine"].items() if "secret" in value]
    assert seen["web"]["DATABASE_URL"] == "postgresql://secret"
    assert "AWS_SECRET_ACCESS_KEY" not in seen["web"]


def test_compose_runs_the_same_processes():
    compose = yaml.safe_load((live.ROOT / "deploy" / "compose.yaml").read_text())["services"]

    for program in programs():
        words = set(shlex.split(compose[program.name]["command"])) - {"python", "celery", "0.0.0.0"}
        ours = {word.rpartition("/")[2] for word in program.command}
        assert {word.rpartition("/")[2] for word in words} <= ours | {"--host", "8000"}, program.name


def test_the_operator_guide_tells_of_every_setting():
    from portal.management.commands.up import setting_names

    guide = (live.ROOT / "docs" / "operator-guide.md").read_text()

    assert [name for name in setting_names() if f"`{name}`" not in guide] == []


def _children(site: live.Live) -> list[psutil.Process]:
    return psutil.Process(site.process.pid).children()


def _names(process: psutil.Process) -> list[str]:
    """The name of the program that a child runs; the mourner has none."""
    try:
        line = process.cmdline()
    except psutil.Error:
        return []
    return [program.name for program in programs() if _words(line) == _words(program.command)]


def _words(command: Sequence[str]) -> list[str]:
    """A command line without what differs between two sites: paths and ports."""
    return [word for word in command if "/" not in word and not word.isdigit()]
