"""Jobs under kills and pauses longer than the lease: none lost, none done twice, nothing written by a stale owner.

CHAOS_SCALE=1 is what CI can afford on two cores; larger values multiply jobs, kills and pauses.
"""

from __future__ import annotations

import os

import pytest

from tests.chaos.monkey import site, torment

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]

SCALE = float(os.environ.get("CHAOS_SCALE", "1"))
JOBS, KILLS, PAUSES = int(120 * SCALE), int(30 * SCALE), int(10 * SCALE)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request) -> str | None:
    """An SQLite file of the site's own, or a database on a real PostgreSQL server."""
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("fresh_postgres")
    return server.url


@pytest.fixture
def fresh_postgres():
    """A PostgreSQL server whose database nobody else uses."""
    from tests.rig import postgres

    server = postgres.Server()
    yield server
    server.close()


def test_kills_and_long_pauses_lose_and_double_nothing(database_url, redis_url, tmp_path, record_property):
    with site(database_url=database_url, broker_url=redis_url) as found:
        found.ask("prepare", tmp_path)
        monkey = torment(found, jobs=JOBS, kills=KILLS, pauses=PAUSES, seed=1, seconds=900 * max(1.0, SCALE))
        audit = found.ask("audit")
    for name, figure in (("jobs", audit["jobs"]), ("attempts", audit["attempts"]), ("kills", monkey.killed)):
        record_property(name, figure)
    assert monkey.killed >= KILLS
    assert monkey.paused >= PAUSES
    assert audit["attempts"] > audit["jobs"]
    assert audit["found"] == {name: [] for name in audit["found"]}


def test_without_fencing_the_same_pauses_leave_stale_writes(redis_url, tmp_path):
    with site(database_url=None, broker_url=redis_url, fencing=False) as found:
        found.ask("prepare", tmp_path)
        # Without fencing a job may never end: its second result meets the constraint that there is but one.
        torment(found, jobs=10, kills=0, pauses=6, seed=2, seconds=900, linger=5)
        audit = found.ask("audit")
    wrong = audit["found"]["duplicated"] + audit["found"]["stale_writes"]
    assert wrong
