"""Live events under a real uvicorn: they arrive, a reader resumes where it left off, many readers cost one poller."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx
import pytest
import uvicorn
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import Client
from django.utils import timezone

from tests.rig.live import free_port
from training import streams
from training.models import JobEvent, TrainingJob

pytestmark = pytest.mark.django_db(transaction=True)

READERS = 50


def tell(job, kind="log", **data) -> JobEvent:
    """Write an event as a worker does."""
    given = data or {"level": "info", "message": "hello"}
    return JobEvent.objects.create(job=job, token=1, type=kind, at=timezone.now(), data=given)


def parse(text: str) -> list[dict]:
    """Return the messages of a stream; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if line and not line.startswith(":")]
        if lines:
            found.append({name: value for name, _colon, value in lines})
    return found


@pytest.fixture
def job(ground, bob) -> TrainingJob:
    return ground.submit(bob)


@pytest.fixture
def site(settings):
    """Serve the site with uvicorn in a thread; give its address."""
    from portal.asgi import application

    port = free_port()
    config = uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join(20)
    connections.close_all()


def cookies_of(user) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    return {name: morsel.value for name, morsel in client.cookies.items()}


async def read(client, address, *, until, headers=None) -> list[dict]:
    """Return what a stream says until `until(messages)` is true or it ends."""
    text = ""
    async with client.stream("GET", address, headers=headers or {}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for chunk in answer.aiter_text():
            text += chunk
            if until(parse(text)):
                break
    return parse(text)


def has(count):
    """Return a condition: so many kept events have arrived."""
    return lambda messages: sum("id" in message for message in messages) >= count


def test_a_message_follows_the_format_of_event_streams(job):
    event = tell(job, level="info", message="two\nlines: one")
    text = streams.message(event)
    assert text.endswith("\n\n")
    assert text.count("\n") == 4, "a line break in the data must not end the field"
    (message,) = parse(text)
    assert (message["id"], message["event"]) == (str(event.pk), "log")
    assert json.loads(message["data"])["message"] == "two\nlines: one"


def test_events_arrive_and_a_reader_resumes_where_it_left_off(site, job, bob):
    address, cookies = f"{site}/training/jobs/{job.pk}/events/", cookies_of(bob)
    first = tell(job)

    async def story():
        async with httpx.AsyncClient(cookies=cookies, timeout=20) as client:
            reading = asyncio.create_task(read(client, address, until=has(2)))
            await asyncio.sleep(0.5)
            second = await sync_to_async(tell)(job, "metrics", step=1, values={"loss": 0.5})
            seen = await reading
            assert [m["id"] for m in seen if "id" in m] == [str(first.pk), str(second.pk)]
            third = await sync_to_async(tell)(job)
            resumed = await read(client, address, until=has(1), headers={"Last-Event-ID": str(second.pk)})
            assert [m["id"] for m in resumed if "id" in m] == [str(third.pk)]
            by_query = await read(client, f"{address}?last_event_id={second.pk}", until=has(1))
            assert [m["id"] for m in by_query if "id" in m] == [str(third.pk)]
            bad = await client.get(address, headers={"Last-Event-ID": "x"})
            assert bad.status_code == 400

    asyncio.run(story())


def test_the_state_is_told_after_the_last_event_and_ends_the_stream(site, job, bob):
    address, cookies = f"{site}/training/jobs/{job.pk}/events/", cookies_of(bob)

    async def story():
        async with httpx.AsyncClient(cookies=cookies, timeout=20) as client:
            reading = asyncio.create_task(read(client, address, until=lambda messages: False))
            await asyncio.sleep(0.5)
            last = await sync_to_async(tell)(job)
            ended = TrainingJob.objects.filter(pk=job.pk)
            await ended.aupdate(state="cancelled", finished_at=timezone.now())
            seen = await asyncio.wait_for(reading, 15)
            assert [m.get("id") for m in seen[-2:]] == [str(last.pk), None]
            assert json.loads(seen[-1]["data"])["state"] == "cancelled"

    asyncio.run(story())


def test_many_readers_cost_one_poller_and_leave_nothing_behind(site, job, bob, monkeypatch):
    looks, addresses = [], f"{site}/training/jobs/{job.pk}/events/"
    real = streams._look

    def counted(wanted):
        looks.append(time.monotonic())
        return real(wanted)

    monkeypatch.setattr(streams, "_look", counted)
    cookies = cookies_of(bob)

    async def story():
        limits = httpx.Limits(max_connections=READERS + 5)
        async with httpx.AsyncClient(cookies=cookies, timeout=60, limits=limits) as client:
            reading = [asyncio.create_task(read(client, addresses, until=has(1))) for _ in range(READERS)]
            while sum(len(poller.watches) for poller in streams._pollers.values()) < READERS:
                await asyncio.sleep(0.05)
            start, before = time.monotonic(), len(looks)
            await asyncio.sleep(1.5)
            seconds, made = time.monotonic() - start, len(looks) - before
            assert len([p for p in streams._pollers.values() if p.watches]) == 1
            assert 1 <= made <= seconds / streams.POLL_SECONDS + 2, "readers must share the looks"
            event = await sync_to_async(tell)(job)
            for seen in await asyncio.gather(*reading):
                assert [m["id"] for m in seen if "id" in m] == [str(event.pk)]

    asyncio.run(story())
    end = time.monotonic() + 20
    while any(poller.watches for poller in streams._pollers.values()) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(poller.watches for poller in streams._pollers.values()), "a reader that left is still waited for"
