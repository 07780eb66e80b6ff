"""Fixtures over the real parts. Registered by tests/conftest.py, so that they win over the plugins they adjust."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import chromium, postgres, redis


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Keep SQLite's test database in a file, as in production: threads and processes share it and locks are real."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        database.setdefault("TEST", {})["NAME"] = str(Path(os.environ["GATEHOUSE_VAR"]) / "test.sqlite3")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """A PostgreSQL server for this session, which may be killed and started: what it acknowledged survives."""
    server = postgres.Server(durable=True)
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_url(postgres_server: postgres.Server) -> str:
    """The DATABASE_URL of a real PostgreSQL server, whatever database the session itself runs on."""
    return postgres_server.url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.Server]:
    """A Redis server for this session, on a private unix socket, with an append-only file."""
    server = redis.Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_url(redis_server: redis.Server) -> str:
    """The CELERY_BROKER_URL of a real Redis server."""
    return redis_server.broker_url


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The system's Chromium; a test that asks for it fails with a sentence where there is none."""
    try:
        return chromium.path()
    except chromium.ChromiumMissing as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], chromium_path: Path) -> dict[str, Any]:
    """Let pytest-playwright drive the system's Chromium instead of one it downloads."""
    # Playwright's loop runs in this thread, so Django would refuse the ORM that browser tests prepare their data with.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    return {
        **browser_type_launch_args,
        "executable_path": str(chromium_path),
        "args": [*browser_type_launch_args.get("args", []), *chromium.launch_arguments()],
    }
