"""Fixtures over the real parts. Registered by tests/conftest.py, so that they win over the plugins they adjust."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig import chromium, postgres, redis


@pytest.fixture(scope="session")
def migrated(request: pytest.FixtureRequest) -> Path | None:
    """Where an SQLite database lies, or may be left, that these very migrations have made; None on PostgreSQL."""
    from django.apps import apps
    from django.conf import settings

    if not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        return None
    found = hashlib.sha256()
    for app in sorted(apps.get_app_configs(), key=lambda app: app.label):
        for file in sorted(Path(app.path, "migrations").glob("*.py")):
            found.update(f"{app.label}/{file.name}\0".encode() + file.read_bytes())
    folder = request.config.rootpath / ".pytest_cache" / "databases"
    return folder / f"{found.hexdigest()[:32]}.sqlite3"


@pytest.fixture(scope="session")
def django_db_keepdb(migrated: Path | None, django_db_keepdb: bool) -> bool:
    """Let `migrate` go on from the copy of a migrated database, which leaves it nothing but its signals to send."""
    return migrated is not None or django_db_keepdb


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, migrated: Path | None) -> None:
    """Keep SQLite's test database in a file, as in production: threads and processes share it and locks are real."""
    from django.conf import settings

    if migrated is not None:
        name = Path(os.environ["GATEHOUSE_VAR"]) / "test.sqlite3"
        settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = str(name)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(migrated, name)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any, migrated: Path | None) -> None:
    """Leave a copy of the database, before any test has written to it, for whoever tests the same migrations next."""
    from django.db import connection

    if migrated is None or migrated.exists():
        return
    migrated.parent.mkdir(parents=True, exist_ok=True)
    fresh = migrated.with_suffix(f".{os.getpid()}")
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(fresh)])
    fresh.rename(migrated)
    # Every change of a migration leaves another file.
    for old in sorted(migrated.parent.glob("*.sqlite3"), key=lambda file: file.stat().st_mtime)[:-4]:
        old.unlink(missing_ok=True)


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
