"""Workers that are asked to stop and brokers that lose everything: jobs go on by themselves."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.monkey import site
from tests.rig import processes
from tests.rig import redis as rig_redis

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def own_redis():
    """A broker that this test alone may kill."""
    server = rig_redis.Server()
    yield server
    server.close()


def test_a_worker_that_is_asked_to_stop_gives_its_job_back_and_another_goes_on(own_redis, tmp_path):
    with site(database_url=None, broker_url=own_redis.broker_url, step_seconds=0.5) as found:
        found.ask("prepare", tmp_path)
        worker = found.start_worker()
        found.start_scheduler()
        found.feed(1)
        processes.wait_until(lambda: found.rows("step")[0][0] >= 2, seconds=60, what="the second step")
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        (state, attempts, step) = found.rows("state, attempts, step")[0]
        assert (state, attempts) == ("queued", 0)
        assert step < 10
        found.start_worker()
        processes.wait_until(lambda: found.standing() == {"succeeded": 1}, seconds=60, what="the job's success")
        audit = found.ask("audit")
        assert audit["found"] == {name: [] for name in audit["found"]}
        assert found.rows("attempts, token") == [(1, 2)]
        assert "Going on after step" in str(found.said(found.rows("id")[0][0]))
        assert "Going on after step 0." not in found.said(found.rows("id")[0][0])[-1]


def test_jobs_outlive_a_broker_that_is_killed_and_emptied(own_redis, tmp_path):
    from redis import Redis

    with site(database_url=None, broker_url=own_redis.broker_url) as found:
        found.ask("prepare", tmp_path)
        own_redis.kill()
        # The doorbell cannot ring: the jobs are queued all the same.
        assert found.feed(4) == 4
        assert found.standing() == {"queued": 4}
        own_redis.start()
        found.start_worker()
        found.start_scheduler()
        found.feed(6)
        client = Redis(unix_socket_path=str(own_redis.socket))
        client.flushall()
        client.close()
        processes.wait_until(lambda: found.standing() == {"succeeded": 10}, seconds=90, what="the success of all jobs")
        audit = found.ask("audit")
        assert audit["found"] == {name: [] for name in audit["found"]}
