"""Rings the doorbell: sends a dataset version's id by task name. Nothing else in this package knows Celery.

The row is the truth: a message that is lost is sent again by the sweeper, and one that comes twice finds nothing to
claim. So a broker that is down is worth a line in the log and never an error for the person who uploaded.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.conf import settings

logger = logging.getLogger(__name__)

TASK = "projects.import_version"


def ring(version_id: int) -> bool:
    """Tell the workers that a version waits to be imported; return whether the broker took the message."""
    try:
        # A message that nobody took is stale once the sweeper has rung again several times: it must not pile up.
        current_app.send_task(
            TASK, args=[version_id], queue="data", expires=max(60, 6 * settings.RING_AGAIN_SECONDS), retry=False
        )
    except Exception as error:
        logger.warning("The doorbell for dataset version %s did not ring (%s); it will ring again.", version_id, error)
        return False
    return True
