"""Live events of jobs for the open pages of this process: one poller asks the database, however many streams wait.

A stream that waits holds no database connection. Events are read per job, by id: one worker writes a job's events at a
time, so their ids grow in the order in which they are committed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connections
from django.db.models import Q

from training.models import JobEvent, TrainingJob

POLL_SECONDS = 0.2
KEEP_ALIVE_SECONDS = 15
BACKLOG = 5000
BATCH = 500


@dataclass(eq=False)
class _Watch:
    """One open stream: which job, what it has been sent, and the queue in which news arrives."""

    job_id: int
    last: int
    state: str
    news: asyncio.Queue = field(default_factory=lambda: asyncio.Queue(maxsize=1000))


class _Poller:
    """Asks the database for all watched jobs at once; runs only while somebody watches."""

    def __init__(self) -> None:
        self.watches: set[_Watch] = set()
        self.task: asyncio.Task | None = None

    def add(self, watch: _Watch) -> None:
        self.watches.add(watch)
        if self.task is None or self.task.done():
            self.task = asyncio.get_running_loop().create_task(self._run())

    def remove(self, watch: _Watch) -> None:
        self.watches.discard(watch)

    async def _run(self) -> None:
        while self.watches:
            wanted: dict[int, int] = {}
            for watch in self.watches:
                wanted[watch.job_id] = min(watch.last, wanted.get(watch.job_id, watch.last))
            with suppress(DatabaseError):
                # A database that is away for a moment must not end the streams: the next look finds what was missed.
                events, states = await sync_to_async(_look, thread_sensitive=False)(wanted)
                for watch in list(self.watches):
                    self._tell(watch, events.get(watch.job_id, []), states.get(watch.job_id))
            await asyncio.sleep(POLL_SECONDS)

    def _tell(self, watch: _Watch, events: list[JobEvent], state: tuple[str, str] | None) -> None:
        for event in events:
            if event.pk > watch.last and not watch.news.full():
                watch.news.put_nowait(message(event))
                watch.last = event.pk
        # The state comes after the last event, so that a page that reloads on it has missed nothing.
        if state is not None and state[0] != watch.state and len(events) < BATCH and not watch.news.full():
            watch.state = state[0]
            watch.news.put_nowait(state_message(*state))


_pollers: dict[asyncio.AbstractEventLoop, _Poller] = {}


def _poller() -> _Poller:
    loop = asyncio.get_running_loop()
    for old in [known for known in _pollers if known.is_closed()]:
        del _pollers[old]
    return _pollers.setdefault(loop, _Poller())


def _look(wanted: dict[int, int]) -> tuple[dict[int, list[JobEvent]], dict[int, tuple[str, str]]]:
    try:
        rule = Q()
        for job_id, last in wanted.items():
            rule |= Q(job_id=job_id, pk__gt=last)
        found: dict[int, list[JobEvent]] = {}
        for event in JobEvent.objects.filter(rule).order_by("pk")[:BATCH]:
            found.setdefault(event.job_id, []).append(event)
        rows = TrainingJob.objects.filter(pk__in=wanted).only("pk", "state")
        return found, {job.pk: (job.state, job.get_state_display()) for job in rows}
    finally:
        connections.close_all()


def _backlog(job_id: int, last: int) -> tuple[list[JobEvent], tuple[str, str]]:
    try:
        job = TrainingJob.objects.only("pk", "state").get(pk=job_id)
        events = list(JobEvent.objects.filter(job_id=job_id, pk__gt=last).order_by("pk")[:BACKLOG])
        newest = max((event.pk for event in events if event.type == "progress"), default=0)
        # Of everything that was, the curves, the log and the stages matter; of progress only where it is now.
        return [e for e in events if e.type != "progress" or e.pk == newest], (job.state, job.get_state_display())
    finally:
        connections.close_all()


def message(event: JobEvent) -> str:
    """Return one event in the text/event-stream format (WHATWG HTML, section 9.2)."""
    data = json.dumps({"at": event.at.isoformat(), **event.data}, separators=(",", ":"))
    return f"id: {event.pk}\nevent: {event.type}\ndata: {data}\n\n"


def state_message(state: str, label: str) -> str:
    """Return the job's state as an event; it has no id, since it is not kept."""
    return f"event: state\ndata: {json.dumps({'state': state, 'label': label})}\n\n"


async def follow(job_id: int, last: int, state: str) -> AsyncIterator[str]:
    """Yield what happened to a job after event `last`, then what happens, until it is finished or the reader leaves.

    `state` is the state that the reader knows. The caller has authorised the reader.
    """
    events, now = await sync_to_async(_backlog, thread_sensitive=False)(job_id, last)
    for event in events:
        yield message(event)
    yield state_message(*now)
    if now[0] in TrainingJob.FINISHED:
        return
    watch = _Watch(job_id, max([last, *(event.pk for event in events)]), now[0])
    poller = _poller()
    poller.add(watch)
    try:
        while True:
            try:
                text = await asyncio.wait_for(watch.news.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            yield text
            if watch.news.empty() and watch.state in TrainingJob.FINISHED:
                return
    finally:
        poller.remove(watch)
