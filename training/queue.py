"""Rings the doorbell: sends a job's id by task name. Nothing else in this package knows Celery's client side.

The row is the truth: a message that is lost is sent again by the sweeper, and one that comes twice finds nothing to
claim. So a broker that is down is worth a line in the log and never an error for the person who submitted.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.conf import settings

logger = logging.getLogger(__name__)

TASK = "training.run_job"


def ring(job_id: int) -> bool:
    """Tell the workers that a job waits; return whether the broker took the message."""
    try:
        # A message that nobody took before the next ring is stale: without an end it would pile up while workers are
        # away and keep them busy with nothing when they come back.
        current_app.send_task(
            TASK, args=[job_id], queue="training", expires=max(60, 6 * settings.RING_AGAIN_SECONDS), retry=False
        )
    except Exception as error:
        logger.warning("The doorbell for job %s did not ring (%s); the sweeper will ring again.", job_id, error)
        return False
    return True
