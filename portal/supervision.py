"""Keeps the processes of one machine running: starts them, restarts what dies, and leaves none behind.

It knows nothing of Django. Run as a program it is the mourner: a small process that outlives a killed supervisor just
long enough to kill what that left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOG_BYTES = 5_000_000
LOGS_KEPT = 3
# A process that lived less than this, over its last lives together, is given up.
LIVES = 5
LIVES_SECONDS = 30.0
LONGEST_PAUSE = 15.0
STOP_SECONDS = 10.0

# What a program needs to find its files, its language and its accelerator, and nothing that belongs to someone's shell.
PLAIN_NAMES = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|VIRTUAL_ENV|PYTHON\w*|DJANGO_SETTINGS_MODULE|"
    r"LD_LIBRARY_PATH|CUDA_\w+|NVIDIA_\w+|ROCR_\w+|HIP_\w+|OMP_\w+|MKL_\w+|SSL_CERT_\w+|COVERAGE_\w+|GATEHOUSE_VAR"
)


@dataclass(frozen=True)
class Program:
    """One process to keep running: a name for people, its command line and the environment it sees.

    One that runs `once` is started again only when it failed.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    once: bool = False


@dataclass
class _Life:
    """What the supervisor remembers of one program."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    lives: deque[float] = field(default_factory=lambda: deque(maxlen=LIVES))
    start_again_at: float | None = None
    over: bool = False


def plain_environment(environment: Mapping[str, str], names: Iterable[str] = ()) -> dict[str, str]:
    """The part of an environment that a child should see: the plain names, and `names` with their _FILE forms."""
    wanted = set(names)
    return {
        name: value
        for name, value in environment.items()
        if PLAIN_NAMES.fullmatch(name) or name in wanted or name.removesuffix("_FILE") in wanted
    }


def rotate(log: Path, *, above: int = LOG_BYTES, keep: int = LOGS_KEPT) -> None:
    """Rename `log` to `log.1`, older ones along, when it is larger than `above` bytes; `keep` old ones stay."""
    if not log.exists() or log.stat().st_size <= above:
        return
    for number in range(keep, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if newer.exists():
            newer.replace(older)


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, indented, as a message shows it."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - 20_000))
            lines = source.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return "    (its log cannot be read)"
    return "\n".join(f"    {line}" for line in lines) or "    (its log is empty)"


def die_with(parent: int) -> Callable[[], None]:
    """What a child does before it becomes another program, so that the kernel kills it when its parent dies."""

    def prepare() -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # When the parent died between fork and here, there is no one left to be warned by.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def run(command: Iterable[str], *, folder: Path) -> int:
    """Run one command to its end, on this terminal, and return its exit code; an interrupt ends it too."""
    process = subprocess.Popen(
        list(command), cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=die_with(os.getpid())
    )
    try:
        return process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Supervisor:
    """Runs programs until told to stop.

    Each program leads a session and process group of its own, so that Ctrl-C in the terminal reaches the supervisor
    alone, and writes to `<log_folder>/<name>.log`. `say` prints one line for the person at the terminal.
    """

    def __init__(
        self, programs: Iterable[Program], *, folder: Path, log_folder: Path, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.log_folder = log_folder
        self.say = say
        self.stopping = False
        self._lives = [_Life(program) for program in programs]
        self._mourner: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start every program."""
        self._mourner = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            start_new_session=True,
            close_fds=True,
        )
        for life in self._lives:
            self._start(life)

    def watch(self) -> None:
        """Restart programs that died and are due; call it a few times a second."""
        now = time.monotonic()
        for life in self._lives:
            if life.process is not None and life.process.poll() is not None:
                self._bury(life, now)
            elif life.start_again_at is not None and now >= life.start_again_at:
                self._start(life)

    @property
    def anything_left(self) -> bool:
        """Whether a program runs or will be started again."""
        return any(not life.over and not life.program.once for life in self._lives)

    def ask_to_stop(self, *_: object) -> None:
        """Note that everything should stop; fit to be a signal handler."""
        self.stopping = True

    def stop(self, *, seconds: float = STOP_SECONDS) -> None:
        """Ask every program to end, wait up to `seconds`, and kill what is left of each process group."""
        living = [life.process for life in self._lives if life.process is not None]
        for life in self._lives:
            life.start_again_at = None
            if life.process is not None and life.process.poll() is None:
                life.process.terminate()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(process.poll() is None for process in living):
            time.sleep(0.05)
        for life in self._lives:
            if life.process is not None:
                if life.process.poll() is None:
                    self.say(f"{life.program.name} did not end within {seconds:g} seconds and is killed.")
                self._clear(life)
        if self._mourner is not None and self._mourner.stdin is not None:
            self._mourner.stdin.close()
            self._mourner.wait()

    def _start(self, life: _Life) -> None:
        program = life.program
        log = self.log_folder / f"{program.name}.log"
        rotate(log)
        with log.open("ab") as output:
            life.process = subprocess.Popen(
                program.command,
                cwd=self.folder,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        life.started = time.monotonic()
        life.start_again_at = None
        self._tell_mourner("+", life.process.pid)

    def _bury(self, life: _Life, now: float) -> None:
        """Note a death, clear the group, and decide whether and when to start again."""
        assert life.process is not None
        code = life.process.returncode
        lived = now - life.started
        life.lives.append(lived)
        self._clear(life)
        if self.stopping:
            return
        if life.program.once and code == 0:
            life.over = True
            return
        name, log = life.program.name, self.log_folder / f"{life.program.name}.log"
        if len(life.lives) == LIVES and sum(life.lives) < LIVES_SECONDS:
            life.over = True
            self.say(
                f"{name} {_ended(code)}, {LIVES} times in a row soon after its start, and is given up; the rest keeps "
                f"running. The end of {log}:\n{last_lines(log)}"
            )
            return
        short = sum(1 for seconds in life.lives if seconds < LIVES_SECONDS)
        pause = min(LONGEST_PAUSE, 0.25 * 2**short) if lived < LIVES_SECONDS else 0.25
        life.start_again_at = now + pause
        self.say(f"{name} {_ended(code)} after {lived:.0f} s and starts again in {pause:g} s. Its log is {log}")

    def _clear(self, life: _Life) -> None:
        """Kill what is left of a program's process group and forget the process."""
        if life.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(life.process.pid, signal.SIGKILL)
        life.process.wait()
        self._tell_mourner("-", life.process.pid)
        life.process = None

    def _tell_mourner(self, sign: str, group: int) -> None:
        if self._mourner is not None and self._mourner.stdin is not None:
            with contextlib.suppress(OSError):
                self._mourner.stdin.write(f"{sign}{group}\n".encode())
                self._mourner.stdin.flush()


def _ended(code: int) -> str:
    if code < 0:
        return (
            f"was killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"died of signal {-code}"
        )
    return "ended" if code == 0 else f"failed with exit code {code}"


def mourn() -> None:
    """Read `+group` and `-group` lines until the writer is gone, then kill the groups that are still noted.

    The kernel's parent-death signal reaches the supervisor's children but not theirs: a worker pool would stay. The
    pipe closes however the supervisor ends.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    mourn()
