"""The whole site as a person starts it, for browser and contract tests: real processes on a free port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rig import processes

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Live:
    """A running site: its address, the folder it writes to, and the environment its processes got."""

    url: str
    var: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]

    def manage(self, *arguments: str, seconds: float = 120) -> str:
        """Run a management command on the site's own database and return what it printed.

        Raises:
            AssertionError: with its output, when it fails.
        """
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"manage.py {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}"
        return done.stdout

    def log(self, name: str = "up") -> str:
        """The end of one process's log; "up" is what the supervisor printed."""
        return processes.tail(self.var / "log" / f"{name}.log", 60)


def free_port() -> int:
    """A port of the loopback address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(var: Path, port: int, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a fresh shell would give `manage.py up`, with a folder and port of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ", "TMPDIR") if name in os.environ}
    return {**kept, "GATEHOUSE_VAR": str(var), "PORT": str(port), "PYTHONUNBUFFERED": "1", **(extra or {})}


@contextmanager
def stack(*, demo: bool = False, seconds: float = 120, extra: Mapping[str, str] | None = None) -> Iterator[Live]:
    """Start web, workers, scheduler, sequencer and engine through `manage.py up`; stop them and remove their folder.

    Args:
        demo: load the worked example too.
        seconds: how long the site may take until /readyz says yes.
        extra: variables such as DATABASE_URL or CELERY_BROKER_URL.

    Raises:
        AssertionError: when it does not start, with what it printed; or when a process stayed behind after the stop.
    """
    # A short path: unix sockets below it may have at most 107 characters.
    var = Path(tempfile.mkdtemp(prefix="gh-live-"))
    (var / "log").mkdir()
    port = free_port()
    shell = environment(var, port, extra)
    command = [sys.executable, str(ROOT / "manage.py"), "up", *([] if demo else ["--without-demo"])]
    process = processes.start(command, log=var / "log" / "up.log", cwd=ROOT, env=shell)
    live = Live(url=f"http://127.0.0.1:{port}", var=var, environment=shell, process=process)
    try:
        _wait_until_ready(live, seconds)
        yield live
    finally:
        processes.stop(process, with_signal=signal.SIGINT, seconds=30)
        left = [f"{one.pid} {' '.join(one.cmdline())}" for one in processes.speaking_of(str(var))]
        shutil.rmtree(var, ignore_errors=True)
    assert not left, "These processes stayed behind after the stop:\n" + "\n".join(left)


def _wait_until_ready(live: Live, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    reason = ""
    while time.monotonic() < deadline:
        assert live.process.poll() is None, f"manage.py up ended at once:\n{live.log()}"
        try:
            with urllib.request.urlopen(f"{live.url}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(500).decode(errors="replace")
        except OSError as error:
            reason = str(error)
        time.sleep(0.1)
    raise AssertionError(
        f"The site was not ready after {seconds:g} s ({reason}):\n{live.log()}\nweb:\n{live.log('web')}"
    )
