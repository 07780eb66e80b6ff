"""Prepares the ground before Django's settings load: the database, a folder for files, and no way to the network.

Loaded by `-p tests.rig.plugin` in pyproject.toml. `--database=postgres` runs the tests on a PostgreSQL server started
for this run; otherwise DATABASE_URL decides, and by default each test process has an SQLite file of its own.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import postgres

# Variables of the developer's own shell that would change what the tests see.
FOREIGN = ("CELERY_BROKER_URL", "CACHE_URL", "STORAGE_URL", "SECRET_KEY", "SECRET_KEY_FILE", "DEBUG", "HOST", "PORT")
FOREIGN += ("ALLOWED_HOSTS", "BASE_URL", "HTTPS", "BEHIND_PROXY", "LEDGER_KEY_PATH")

_server: postgres.Server | None = None
_folder: Path | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare --database."""
    parser.addoption(
        "--database",
        choices=["default", "postgres"],
        default="default",
        help="postgres: run on a PostgreSQL server started for this run; default: what DATABASE_URL says, or SQLite",
    )


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Set the environment, and start the database, before pytest-django loads the settings."""
    global _server, _folder
    first_process = "PYTEST_XDIST_WORKER" not in os.environ
    if first_process:
        for name in FOREIGN:
            os.environ.pop(name, None)
        # Short, because unix sockets inside it may have at most 107 characters.
        _folder = Path(tempfile.mkdtemp(prefix="gh-test-"))
        os.environ["GATEHOUSE_TEST_ROOT"] = str(_folder)
        os.environ["HF_HUB_OFFLINE"] = "1"
        if early_config.known_args_namespace.database == "postgres":
            _server = postgres.Server()
            os.environ["DATABASE_URL"] = _server.url
    var = Path(os.environ["GATEHOUSE_TEST_ROOT"]) / os.environ.get("PYTEST_XDIST_WORKER", "main")
    for name in ("run", "log", "incoming", "static"):
        (var / name).mkdir(parents=True, exist_ok=True)
    os.environ["GATEHOUSE_VAR"] = str(var)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Close the way to the network for this process."""
    _keep_to_loopback()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the database and remove what the tests wrote."""
    global _server, _folder
    if _server is not None:
        _server.close()
        _server = None
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)
        _folder = None


def _stays_here(address: Any) -> bool:
    """Whether a socket address is a unix socket or on this machine."""
    if not isinstance(address, tuple):
        return True
    host = address[0]
    if host in {"localhost", ""}:
        return True
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _keep_to_loopback() -> None:
    """Make every attempt to reach another machine fail the test, past any `except OSError` on the way."""

    def guarded(name: str) -> None:
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *arguments: Any) -> Any:
            if self.family != socket.AF_UNIX and not _stays_here(arguments[-1]):
                pytest.fail(
                    f"This test tried to reach {arguments[-1]}. Tests stay on this machine: use a real local part."
                )
            return original(self, *arguments)

        setattr(socket.socket, name, call)

    for name in ("connect", "connect_ex", "sendto"):
        guarded(name)
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        if text is not None and text != socket.gethostname() and not _stays_here((text,)):
            # Names such as an address in a hostile URL may be looked up by the code under test: they do not resolve.
            raise socket.gaierror(socket.EAI_NONAME, f"{text} is not looked up in tests")
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
