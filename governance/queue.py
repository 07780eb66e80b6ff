"""Rings the doorbell: sends a verification's id by task name. Nothing else in this package knows Celery's client side.

The row is the truth: a message that is lost is sent again by the scheduler, and one that comes twice finds nothing to
claim. So a broker that is down is worth a line in the log and never an error for the person who asked.
"""

from __future__ import annotations

import logging

from celery import current_app

logger = logging.getLogger(__name__)

TASK = "governance.verify_ledger"


def ring(verification_id: int) -> bool:
    """Tell the workers that a verification waits; return whether the broker took the message."""
    try:
        current_app.send_task(TASK, args=[verification_id], queue="data", expires=60, retry=False)
    except Exception as error:
        logger.warning("The doorbell for verification %s did not ring (%s); it will again.", verification_id, error)
        return False
    return True
