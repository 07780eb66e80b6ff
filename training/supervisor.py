"""Takes one job from claim to result: lays out its files, runs the engine as a child, reports what it says, stops it.

Three things may end a run early, and each is noticed within a second: somebody else owns the job (the engine is killed
at once, nothing more is written), a person cancels it, or this worker is asked to stop (TERM, a last checkpoint, then
KILL). The engine loads what others made: it gets no database, no key, an empty home and no way to the Hub.

Layout below `RUN_ROOT/<job>/`: `checkpoints/` is shared by all attempts, `attempt-<token>/` is one attempt's own, so an
engine whose worker was paused for too long never touches the files of its successor.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.utils import timezone

from governance.models import User
from governance.services import ledger
from projects.models import Commit
from projects.services import repositories
from training.engine.spec import EXIT_DONE, Event, Placement, RunSpec, SpecError, write_request
from training.models import TrainingJob
from training.services import jobs

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.25
LOOK_SECONDS = 1.0
CANCEL_SECONDS = 20.0
STOP_SECONDS = 8.0
PATIENCE_SECONDS = 0.5
MAX_LINE = 1024 * 1024
MAX_LOGS = 5000
STDERR_TAIL = 4000
PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a library must not be looked up.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "LANG", "TZ", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES")

T = TypeVar("T")


def run(*, job_id: int, stopping: Callable[[], bool] = lambda: False) -> str:
    """Work on one job until it is finished, given back or lost; return what became of it in one word.

    "nothing" where there was nothing to claim; else "succeeded", "failed", "queued", "cancelled" or "lost". `stopping`
    is asked a few times a second whether this worker has to end; SIGTERM says the same where this is the main thread.
    """
    close_old_connections()
    actor = User.objects.system()
    ledger.request_id.set(f"job-{job_id}")
    held = jobs.claim(actor=actor, job_id=job_id, owner=_owner())
    if held is None:
        return "nothing"
    attempt = _Attempt(actor, held, stopping)
    with attempt.listening_for_term():
        try:
            outcome = attempt.work()
        except jobs.LostOwnership as error:
            logger.warning("%s; stopping.", error)
            outcome = "lost"
        except Exception as error:
            # Unsaid, it would look like a lost worker and be tried again, although it would only repeat.
            logger.exception("Job %s met an error that the supervisor does not know", job_id)
            outcome = attempt.broke(error)
        finally:
            attempt.end()
    _tidy(job_id, held.token, outcome)
    return outcome


def _owner() -> str:
    return f"{socket.gethostname()} process {os.getpid()}"


class _Keeper(threading.Thread):
    """Keeps the lease while the main thread works, and looks whether the job is still ours and still wanted.

    The engine is started by the main thread and only killed from here: a child asked to die with its parent dies with
    the *thread* that started it.
    """

    def __init__(self, actor: User, claim: jobs.Claim, on_lost: Callable[[], None]) -> None:
        super().__init__(name=f"keeper of job {claim.job_id}", daemon=True)
        self.actor, self.claim, self.on_lost = actor, claim, on_lost
        self.lost = threading.Event()
        self.cancelled = threading.Event()
        self.ended = threading.Event()
        self.renewed = time.monotonic()

    def run(self) -> None:
        """Look every second, renew every `JOB_HEARTBEAT_SECONDS`, until ended or lost."""
        pause = min(LOOK_SECONDS, settings.JOB_HEARTBEAT_SECONDS / 2)
        try:
            while not self.ended.wait(pause):
                if not self._holds():
                    self.lost.set()
                    self.on_lost()
                    return
        finally:
            connection.close()

    def _holds(self) -> bool:
        try:
            if time.monotonic() - self.renewed >= settings.JOB_HEARTBEAT_SECONDS:
                began = time.monotonic()
                jobs.heartbeat(actor=self.actor, claim=self.claim)
                # Counted from before the write: the lease may have begun that early.
                self.renewed = began
            pulse = jobs.look(claim=self.claim)
        except jobs.LostOwnership:
            return False
        except (OperationalError, InterfaceError) as error:
            logger.warning("The database does not answer the keeper of job %s: %s", self.claim.job_id, error)
            connection.close()
            # Without a database nobody can take the job over either; but once the lease has run out it may be ours no
            # more the moment the database is back, and an engine that runs on would be one too many.
            return time.monotonic() - self.renewed < settings.JOB_LEASE_SECONDS or not settings.JOB_FENCING
        if pulse.cancel_requested:
            self.cancelled.set()
        return pulse.owned

    def end(self) -> None:
        """Stop looking."""
        self.ended.set()
        if self.is_alive():
            self.join(timeout=10)


class _Attempt:
    """One claim's work: its folder, its engine, and what the engine said so far."""

    def __init__(self, actor: User, claim: jobs.Claim, stopping: Callable[[], bool]) -> None:
        self.actor, self.claim = actor, claim
        self._stopping, self._term = stopping, False
        self.root = Path(settings.RUN_ROOT) / str(claim.job_id)
        self.folder = self.root / f"attempt-{claim.token}"
        self.engine: subprocess.Popen[bytes] | None = None
        self.keeper = _Keeper(actor, claim, self._kill)
        self.buffer: list[Event] = []
        self.flushed = time.monotonic()
        self.logs = 0
        self.artifacts: dict[str, str] = {}
        self.summary: dict[str, Any] | None = None
        self.error: Event | None = None

    @contextlib.contextmanager
    def listening_for_term(self) -> Any:
        """Take SIGTERM as "give the job back" while this attempt lasts; the handler before it returns afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: object) -> None:
            self._term = True

        before = signal.signal(signal.SIGTERM, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @property
    def stopping(self) -> bool:
        """Return whether this worker has been asked to end."""
        return self._term or self._stopping()

    def work(self) -> str:
        """Run the engine to its end and write what became of the job; raises LostOwnership."""
        self.keeper.start()
        try:
            placement = self._lay_out()
        except (repositories.Missing, repositories.Damaged, OSError) as error:
            return self._failed(
                "hash_mismatch" if isinstance(error, repositories.Damaged) else "disk_full",
                f"The files of the run could not be laid out: {error}",
                "Look whether the store and the disk of the worker are in order, then retry the job.",
                retryable=True,
            )
        if self.stopping:
            return self._released()
        self._start(placement)
        self._follow()
        return self._conclude()

    # Before the engine

    def _lay_out(self) -> Placement:
        """Link the base model and the dataset into the attempt's folder, checked against their hashes."""
        spec = RunSpec.from_json(self.claim.spec)
        shutil.rmtree(self.folder, ignore_errors=True)
        run, checkpoints = self.folder / "run", self.root / "checkpoints"
        for folder in (run, checkpoints, self.folder / "home", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        (run / "checkpoints").symlink_to(Path("../../checkpoints"), target_is_directory=True)
        for name, oid, paths in (
            ("base_model", spec.base_model.revision, list(spec.base_model.files)),
            ("dataset", spec.dataset.commit, [file.path for file in spec.dataset.files.values()]),
        ):
            commit = self._persist(partial(Commit.objects.get, oid=oid))
            repositories.materialise(commit, self.folder / name, paths=paths)
        return Placement(
            base_model=str(self.folder / "base_model"),
            dataset=str(self.folder / "dataset"),
            run=str(run),
            token=self.claim.token,
        )

    def _start(self, placement: Placement) -> None:
        request = self.folder / "request.json"
        request.write_text(write_request(RunSpec.from_json(self.claim.spec), placement), encoding="utf-8")
        parent, memory = os.getpid(), settings.JOB_MEMORY_MB * 1024 * 1024

        def prepare() -> None:
            # Runs in the child. The kernel kills it when the thread that started it ends, even by kill -9; if that
            # has happened already, nobody will ever read what it says.
            if _LIBC is not None:
                _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if memory:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        with request.open("rb") as stdin, self._stderr.open("ab") as stderr:
            self.engine = subprocess.Popen(
                settings.ENGINE_COMMAND,
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=prepare,
            )
        # When memory runs out the kernel shall take the engine, whose run can continue, and not the worker.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.engine.pid}/oom_score_adj").write_text("800")
        if self.keeper.lost.is_set():
            self._kill()

    @property
    def _stderr(self) -> Path:
        return self.root / f"stderr-{self.claim.token}.log"

    # While it runs

    def _follow(self) -> None:
        """Read the engine's lines until it has ended; pass on cancel and stop; raises LostOwnership."""
        assert self.engine is not None
        assert self.engine.stdout is not None
        pipe = self.engine.stdout.fileno()
        os.set_blocking(pipe, False)
        rest = b""
        deadline: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            open_ = True
            while open_ or self.engine.poll() is None:
                if self.keeper.lost.is_set():
                    self._kill()
                    raise jobs.LostOwnership(
                        f"Job {self.claim.job_id} is no longer held with token {self.claim.token}."
                    )
                ended = self.engine.poll() is not None
                if open_ and selector.select(timeout=0.0 if ended else 0.1):
                    data = os.read(pipe, 65536)
                    open_ = bool(data)
                    rest = self._take(rest + data)
                elif ended:
                    # A grandchild may hold the pipe open for ever.
                    open_ = False
                elif not open_:
                    time.sleep(0.05)
                self._flush_when_due()
                if deadline is None and (self.keeper.cancelled.is_set() or self.stopping):
                    wait = CANCEL_SECONDS if self.keeper.cancelled.is_set() else STOP_SECONDS
                    deadline = time.monotonic() + wait
                    self._signal(signal.SIGTERM)
                elif deadline is not None and time.monotonic() > deadline:
                    self._kill()
        self._take(rest + b"\n")
        self._kill()

    def _take(self, data: bytes) -> bytes:
        """Turn whole lines into events and return the unfinished rest."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if line.strip():
                self._hear(line)
        if len(rest) > MAX_LINE:
            self._log("The engine wrote a line of more than 1 MiB; it was dropped.")
            return b""
        return rest

    def _hear(self, line: bytes) -> None:
        try:
            event = Event.from_json(line)
            # What cannot be JSON again (a NaN among metrics) must not reach the database.
            json.dumps(event.data, allow_nan=False)
        except (SpecError, ValueError, RecursionError):
            shown = line[:300].decode("utf-8", "replace").replace("\0", "�")
            self._log(f"The engine wrote a line that is not an event: {shown}")
            return
        if event.type == "artifact":
            self.artifacts[event.data["path"]] = event.data["sha256"]
        elif event.type == "done":
            # Written together with the result, so that nobody reads "done" before there is one.
            self.summary = dict(event.data["summary"])
            return
        elif event.type == "error":
            self.error = event
        elif event.type == "log":
            self.logs += 1
            if self.logs > MAX_LOGS:
                return
        elif event.type == "progress" and self.buffer and self.buffer[-1].type == "progress":
            # Only the newest of a batch is of use to anyone.
            self.buffer[-1] = event
            return
        self.buffer.append(event)

    def _log(self, message: str, level: str = "warning") -> None:
        self.logs += 1
        if self.logs <= MAX_LOGS:
            self.buffer.append(Event("log", {"level": level, "message": message}))

    def _flush_when_due(self) -> None:
        if self.buffer and time.monotonic() - self.flushed >= FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self.buffer:
            self._persist(lambda: jobs.record_events(actor=self.actor, claim=self.claim, events=self.buffer))
            self.buffer = []
        self.flushed = time.monotonic()

    def _persist(self, write: Callable[[], T]) -> T:
        """Do it, again while the database is away and the job may still be ours; raises LostOwnership."""
        while True:
            try:
                return write()
            except (OperationalError, InterfaceError) as error:
                logger.warning("The database does not answer (%s); trying again.", error)
                connection.close()
                if self.keeper.lost.is_set():
                    raise jobs.LostOwnership(
                        f"Job {self.claim.job_id} was lost while the database was away."
                    ) from error
                time.sleep(PATIENCE_SECONDS)

    # Afterwards

    def _conclude(self) -> str:
        assert self.engine is not None
        code = self.engine.wait()
        if self.summary is not None and code == EXIT_DONE:
            self._flush()
            return self._finished()
        if self.keeper.cancelled.is_set():
            self._flush()
            self._persist(lambda: jobs.confirm_cancelled(actor=self.actor, claim=self.claim))
            return "cancelled"
        if self.stopping:
            return self._released()
        if self.error is not None:
            data = self.error.data
            return self._failed(data["code"], data["message"], data["advice"], retryable=data["retryable"])
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        advice = "Retry the job. If it happens again, give the log of this run to your administrator."
        if code == -signal.SIGKILL:
            advice = "Memory most often ran out: halve the batch size, shorten the longest text or choose LoRA."
        return self._failed(jobs.ENGINE_DIED, f"The engine was ended {how} without saying why.", advice, retryable=True)

    def _finished(self) -> str:
        try:
            self._persist(
                lambda: jobs.finish(
                    actor=self.actor,
                    claim=self.claim,
                    folder=self.folder / "run",
                    artifacts=self.artifacts,
                    summary=self.summary or {},
                )
            )
        except jobs.BadResult as error:
            return self._failed(
                jobs.ENGINE_DIED, str(error), "Retry the job; if it happens again, look at the log.", retryable=True
            )
        return "succeeded"

    def _failed(self, code: str, message: str, advice: str, *, retryable: bool) -> str:
        tail = _tail(self._stderr)
        if tail:
            self._log(f"The end of what the engine wrote to its error stream:\n{tail}")
        self._flush()
        job = self._persist(
            lambda: jobs.fail(
                actor=self.actor, claim=self.claim, code=code, message=message, advice=advice, retryable=retryable
            )
        )
        return str(job.state)

    def broke(self, error: Exception) -> str:
        """End the job because this side of the pipe is broken, as far as that can still be written."""
        try:
            return self._failed(
                "internal",
                f"The worker met an error that it does not know: {type(error).__name__}.",
                "Give the number of this job to your administrator; the worker's log says more.",
                retryable=False,
            )
        except jobs.LostOwnership:
            return "lost"

    def _released(self) -> str:
        self._flush()
        job = self._persist(
            lambda: jobs.release(
                actor=self.actor, claim=self.claim, reason="The worker was asked to stop and gave the job back."
            )
        )
        return str(job.state)

    def _signal(self, number: signal.Signals) -> None:
        if self.engine is not None and self.engine.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self.engine.send_signal(number)

    def _kill(self) -> None:
        """Kill the engine and everything it started."""
        if self.engine is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.engine.pid, signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing behind: no engine, no thread, no pipe."""
        self._kill()
        if self.engine is not None:
            self.engine.wait()
            if self.engine.stdout is not None:
                self.engine.stdout.close()
        self.keeper.end()


def _environment(folder: Path) -> dict[str, str]:
    """Return the whole environment of the engine: what it needs to find libraries, and nothing else of ours."""
    threads = str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **kept,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(settings.BASE_DIR),
        # The run folder is the working directory: a module there must never be imported.
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
    }


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - STDERR_TAIL))
            return file.read().decode("utf-8", "replace").replace("\0", "�").strip()
    except OSError:
        return ""


def _tidy(job_id: int, token: int, outcome: str) -> None:
    """Remove what nobody needs any more: everything after success or cancel, all but the logs after a failure."""
    root = Path(settings.RUN_ROOT) / str(job_id)
    shutil.rmtree(root / f"attempt-{token}", ignore_errors=True)
    if outcome in {"succeeded", "cancelled"}:
        shutil.rmtree(root, ignore_errors=True)
    elif outcome == "failed":
        shutil.rmtree(root / "checkpoints", ignore_errors=True)


def prune(*, older_than_days: int = 7) -> int:
    """Remove the folders, logs included, of runs that have been finished for some days; return how many."""
    removed = 0
    root = Path(settings.RUN_ROOT)
    for folder in root.iterdir() if root.is_dir() else ():
        if not folder.name.isdigit():
            continue
        job = TrainingJob.objects.filter(pk=int(folder.name)).only("state", "finished_at").first()
        if job is None or not job.is_finished or job.finished_at is None:
            continue
        if (timezone.now() - job.finished_at).days >= older_than_days:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


__all__ = ["prune", "run"]
