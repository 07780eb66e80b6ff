"""What must hold before the processes of one machine start; each failure is one sentence that says what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from importlib import metadata
from pathlib import Path
from typing import TextIO

import psutil
from packaging.requirements import InvalidRequirement, Requirement

FREE_MEGABYTES = 500
FOLDERS = ("run", "log", "incoming")


class NotReady(Exception):
    """Gatehouse cannot start here; the message is for the person at the terminal."""


def check_packages(requirements: Path) -> None:
    """Compare the runtime pins of requirements.txt with what is installed.

    Raises:
        NotReady: naming the first packages that are missing or of another version.
    """
    wrong = []
    runtime = requirements.read_text().split("# == Development ==")[0]
    for line in runtime.splitlines():
        try:
            pin = Requirement(line.partition("#")[0].strip())
        except InvalidRequirement:
            continue
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            installed = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{pin.name} is missing")
            continue
        if not pin.specifier.contains(installed, prereleases=True):
            wrong.append(f"{pin.name} is {installed} instead of {str(pin.specifier).removeprefix('==')}")
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise NotReady(
            f"The environment does not match requirements.txt: {', '.join(wrong[:3])}{more}. Run make install."
        )


def make_folders(var: Path) -> None:
    """Create the folder that the site writes to, for this user alone, and what `up` needs in it.

    Raises:
        NotReady: when it cannot be written to.
    """
    try:
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FOLDERS:
            (var / name).mkdir(exist_ok=True)
        probe = var / "run" / f"probe-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NotReady(f"The disk that holds {var} is full; free at least {FREE_MEGABYTES} MB.") from error
        raise NotReady(
            f"Gatehouse cannot write to {var} ({error.strerror}); make it writable for this user, or name another "
            "folder with GATEHOUSE_VAR=/path."
        ) from error


def check_space(var: Path) -> None:
    """Refuse a disk that would be full soon.

    Raises:
        NotReady: below 500 MB.
    """
    free = shutil.disk_usage(var).free // 1_000_000
    if free < FREE_MEGABYTES:
        raise NotReady(
            f"The disk that holds {var} has {free} MB left and Gatehouse needs at least {FREE_MEGABYTES}; free some "
            "space, or name a folder on another disk with GATEHOUSE_VAR=/path."
        )


def lock(var: Path, address: str) -> TextIO:
    """Take the folder for this process; keep the result open as long as the processes run.

    Raises:
        NotReady: when another `up` has it.
    """
    holder = (var / "run" / "up.lock").open("a+")
    try:
        fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder.seek(0)
        who = holder.read().strip() or "another process"
        holder.close()
        raise NotReady(
            f"Gatehouse already runs on {var} ({who}); stop it first, or give this one its own folder and port with "
            "GATEHOUSE_VAR=/path PORT=8001."
        ) from error
    holder.truncate(0)
    holder.write(f"process {os.getpid()}, {address}")
    holder.flush()
    return holder


def check_address(host: str, port: int) -> None:
    """See whether the web process will be able to listen.

    Raises:
        NotReady: when the address is taken, not of this machine, or needs more rights.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            raise NotReady(f"PORT is {port}; it must be between 1 and 65535.") from None
        except socket.gaierror as error:
            raise NotReady(f"HOST is {host!r}, which is not an address of this machine ({error.strerror}).") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise NotReady(
                    f"Port {port} on {host} is in use{_listener(port)}; stop that, or choose another: "
                    f"PORT={port + 1 if port < 65535 else 8000} make run"
                ) from error
            if error.errno == errno.EACCES:
                raise NotReady(
                    f"This user may not listen on port {port}; choose one from 1024 on: PORT=8000 make run"
                ) from error
            raise NotReady(f"Gatehouse cannot listen on {host}:{port}: {error.strerror}; set HOST and PORT.") from error


def _listener(port: int) -> str:
    """Who listens on a port, as far as this user may know: " by python3 (process 42)", or nothing."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return ""
