"""Celery's entry point for training: a message names a job, and the supervisor does the rest."""

from __future__ import annotations

import mmap

from celery import shared_task
from celery.signals import worker_shutting_down

from training import queue, supervisor

# One byte shared with the pool's processes, which are forked from the one that hears of the shutdown. A worker that
# ends waits for its running task; without this it would wait for the end of the training.
_shutdown = mmap.mmap(-1, 1)


@worker_shutting_down.connect
def _tell_the_pool(**_) -> None:
    _shutdown[0] = 1


@shared_task(name=queue.TASK)
def run_job(job_id: int) -> str:
    """Work on the job if there is anything to claim; return what became of it."""
    return supervisor.run(job_id=job_id, stopping=lambda: bool(_shutdown[0]))
