"""Children of the test rig: started so that they die with the test run, and stopped so that none stays behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel, in the new child, to kill it when the thread that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(arguments: list[str], *, log: Path, user: str | None = None, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to `log`, in a session of its own, as `user` when one is named."""
    identity: dict[str, Any] = {}
    if user is not None:
        entry = pwd.getpwnam(user)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    with log.open("ab") as output:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
            **identity,
            **options,
        )


def stop(process: subprocess.Popen[bytes], *, with_signal: int = signal.SIGTERM, seconds: float = 10) -> None:
    """End a process and everything in its group: the signal first, then KILL."""
    if process.poll() is None:
        process.send_signal(with_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(seconds)


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return once `condition()` holds.

    Raises:
        TimeoutError: naming `what` did not happen.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} seconds")
        time.sleep(0.02)


def tail(path: Path, lines: int = 30) -> str:
    """The last lines of a log, for the message of a failed start."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def speaking_of(word: str) -> Iterator[psutil.Process]:
    """Living processes, this one excepted, whose command line or environment contains `word`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(word in part for part in [*process.cmdline(), *process.environ().values()]):
                yield process
