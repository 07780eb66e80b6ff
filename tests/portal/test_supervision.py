"""The supervisor restarts what dies, gives up on what cannot live, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from portal import supervision
from tests.rig import processes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20


def program(name: str, code: str) -> supervision.Program:
    return supervision.Program(name, (sys.executable, "-c", textwrap.dedent(code)), dict(os.environ))


class Running:
    """A supervisor in this process, driven by hand."""

    def __init__(self, folder: Path, *programs: supervision.Program) -> None:
        self.said: list[str] = []
        self.folder = folder
        self.supervisor = supervision.Supervisor(programs, folder=folder, log_folder=folder, say=self.said.append)

    def until(self, condition) -> None:
        def step() -> bool:
            self.supervisor.watch()
            return condition()

        processes.wait_until(step, seconds=PATIENCE, what="the expected state")

    def written(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


@pytest.fixture
def running(tmp_path, request):
    started = []

    def start(*programs: supervision.Program) -> Running:
        one = Running(tmp_path, *programs)
        started.append(one)
        one.supervisor.start()
        return one

    yield start
    for one in started:
        one.supervisor.stop(seconds=1)


LIVES = """
    import os, time
    with open("pids", "a") as file:
        print(os.getpid(), file=file)
    time.sleep(1000)
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_process_that_is_killed_starts_again(running):
    one = running(program("web", LIVES))
    one.until(lambda: len(one.written("pids")) == 1)

    os.kill(int(one.written("pids")[0]), signal.SIGKILL)

    one.until(lambda: len(one.written("pids")) == 2)
    assert "web was killed by SIGKILL" in one.said[0]


def test_a_process_that_cannot_live_is_given_up_with_the_end_of_its_log_and_the_others_stay(running, monkeypatch):
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 0.05)
    broken = program("worker", 'raise SystemExit("the reason why")')
    one = running(broken, program("web", LIVES))

    one.until(lambda: any("given up" in line for line in one.said))

    message = one.said[-1]
    assert "worker failed with exit code 1, 5 times in a row" in message
    assert "the reason why" in message
    assert one.supervisor.anything_left
    assert len(one.written("pids")) == 1


def test_a_program_that_runs_once_is_started_again_only_when_it_failed(running):
    once = supervision.Program(
        "example",
        (sys.executable, "-c", "import os; print('x', file=open('runs', 'a')); os.path.exists('ok') or exit(1)"),
        dict(os.environ),
        once=True,
    )
    # Another test's site may run under this process for the whole session.
    others = set(psutil.Process().children())
    one = running(once, program("web", LIVES))
    one.until(lambda: len(one.written("runs")) == 1)
    (one.folder / "ok").write_text("")

    one.until(lambda: len(one.written("runs")) >= 2 and len(set(psutil.Process().children()) - others) == 2)

    # What is left is the mourner and web: the program ended well and stays ended.
    assert len(one.said) == len(one.written("runs")) - 1
    assert any("example failed" in line for line in one.said)


def test_nothing_is_left_when_every_program_was_given_up(running, monkeypatch):
    monkeypatch.setattr(supervision, "LONGEST_PAUSE", 0.01)
    one = running(program("worker", "raise SystemExit(3)"))

    one.until(lambda: not one.supervisor.anything_left)


def test_stop_kills_a_program_that_ignores_the_signal_and_its_children(running):
    one = running(
        program(
            "stubborn",
            """
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.fork()
            with open("pids", "a") as file:
                print(os.getpid(), file=file)
            time.sleep(1000)
            """,
        )
    )
    one.until(lambda: len(one.written("pids")) == 2)
    pids = [int(pid) for pid in one.written("pids")]

    one.supervisor.stop(seconds=0.3)

    assert [pid for pid in pids if not gone(pid)] == []
    assert "stubborn did not end within 0.3 seconds and is killed." in one.said


def test_stop_lets_a_program_finish_what_it_does(running):
    one = running(
        program(
            "worker",
            """
            import signal, sys, time
            def finish(*_):
                open("finished", "w").write("yes")
                sys.exit()
            signal.signal(signal.SIGTERM, finish)
            open("pids", "w").write("1")
            time.sleep(1000)
            """,
        )
    )
    one.until(lambda: bool(one.written("pids")))

    one.supervisor.stop(seconds=5)

    assert one.written("finished") == ["yes"]


def test_children_and_grandchildren_die_when_the_supervisor_is_killed(tmp_path):
    pool = """
        import os, time
        os.fork()
        with open("pids", "a") as file:
            print(os.getpid(), file=file)
        time.sleep(1000)
    """
    script = f"""
        import os, sys, time
        from pathlib import Path
        from portal.supervision import Program, Supervisor
        code = {textwrap.dedent(pool)!r}
        one = Supervisor([Program("pool", (sys.executable, "-c", code), dict(os.environ))],
                         folder=Path({str(tmp_path)!r}), log_folder=Path({str(tmp_path)!r}), say=print)
        one.start()
        time.sleep(1000)
    """
    supervisor = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    pids = tmp_path / "pids"
    processes.wait_until(
        lambda: pids.exists() and len(pids.read_text().split()) == 2, seconds=PATIENCE, what="the start"
    )

    supervisor.kill()
    supervisor.wait()

    alive = [int(pid) for pid in pids.read_text().split()]
    processes.wait_until(lambda: all(gone(pid) for pid in alive), seconds=PATIENCE, what="the end of the pool")


def test_a_child_sees_the_plain_environment_and_named_variables_only():
    shell = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "CUDA_VISIBLE_DEVICES": "0",
        "AWS_SECRET_ACCESS_KEY": "s",
        "DATABASE_URL": "u",
        "SECRET_KEY_FILE": "f",
    }

    assert set(supervision.plain_environment(shell)) == {"PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES"}
    assert set(supervision.plain_environment(shell, ["DATABASE_URL", "SECRET_KEY"])) == {
        "PATH",
        "LC_ALL",
        "CUDA_VISIBLE_DEVICES",
        "DATABASE_URL",
        "SECRET_KEY_FILE",
    }


def test_rotate_keeps_the_last_logs_and_no_more(tmp_path):
    log = tmp_path / "web.log"
    for text in ("first", "second", "third", "fourth"):
        log.write_text(text)
        supervision.rotate(log, above=1, keep=2)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "web.log.1": "fourth",
        "web.log.2": "third",
    }


def test_rotate_leaves_a_small_log_alone(tmp_path):
    log = tmp_path / "web.log"
    log.write_text("short")

    supervision.rotate(log, above=100)

    assert log.read_text() == "short"


def test_last_lines_says_when_there_is_nothing_to_show(tmp_path):
    (tmp_path / "empty.log").write_text("")

    assert "empty" in supervision.last_lines(tmp_path / "empty.log")
    assert "cannot be read" in supervision.last_lines(tmp_path / "absent.log")
