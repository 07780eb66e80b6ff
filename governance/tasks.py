"""Celery's entry point to verifications: a doorbell that may ring late, twice or never without harm."""

from __future__ import annotations

import logging

from celery import shared_task

from governance import queue
from governance.services import ledger

logger = logging.getLogger(__name__)


@shared_task(name=queue.TASK, ignore_result=True)
def verify_ledger(verification_id: int) -> None:
    """Verify if the row waits; whatever goes wrong is in the row or in the log, never in the queue."""
    try:
        ledger.run_verification(verification_id)
    except Exception:
        logger.exception("Verification %s ended in an error.", verification_id)
