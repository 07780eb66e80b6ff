"""Celery's entry point to imports: a doorbell that may ring late, twice or never without harm."""

from __future__ import annotations

import logging

from celery import shared_task

from projects import queue
from projects.services import datasets

logger = logging.getLogger(__name__)


@shared_task(name=queue.TASK, ignore_result=True)
def import_version(version_id: int) -> None:
    """Import the version if it waits; whatever goes wrong is in the row or in the log, never in the queue."""
    try:
        datasets.run_import(version_id)
    except Exception:
        logger.exception("The import of dataset version %s ended in an error.", version_id)
