"""`manage.py scheduler`: the process that takes up what fell down and ends what has run out."""

from __future__ import annotations

import logging
import signal
import threading
import time
from datetime import timedelta

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import Error, close_old_connections, connection

from governance.models import User
from governance.services import approvals, ledger, roles, tokens
from projects.services import datasets
from training import duties, supervisor
from training.duties import Duty
from training.services import jobs

logger = logging.getLogger(__name__)

ANSWERS_KEPT = timedelta(hours=24)
LONGEST_PAUSE = 15.0


class Command(BaseCommand):
    help = (
        "Requeue lost work, ring for waiting jobs, end expired roles and approvals, remind of reviews, until stopped."
    )

    def add_arguments(self, parser):
        """Declare --once."""
        parser.add_argument("--once", action="store_true", help="do everything once and return")

    def handle(self, *, once: bool, **_):
        """Run until SIGTERM or SIGINT. Several schedulers may run at once: each act is safe to repeat."""
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: stop.set())
        todo = [*_duties(), *duties.registered()]
        pause = float(settings.SWEEP_SECONDS)
        while True:
            close_old_connections()
            failed = [duty.name for duty in todo if duty.due <= time.monotonic() and not _do(duty)]
            if once:
                return
            # A database that is away is asked again, less and less often, until it is back.
            pause = min(LONGEST_PAUSE, pause * 2) if failed else float(settings.SWEEP_SECONDS)
            if stop.wait(pause):
                return


def _duties() -> list[Duty]:
    sweep = float(settings.SWEEP_SECONDS)
    return [
        Duty("sweep jobs", sweep, lambda: jobs.sweep(actor=User.objects.system())),
        Duty("requeue imports", sweep, lambda: datasets.requeue_lost(actor=User.objects.system())),
        Duty("ring for verifications", 10, ledger.ring_again),
        Duty("look after approvals", 5, lambda: approvals.sweep(actor=User.objects.system())),
        Duty("expire roles", 30, lambda: roles.expire(actor=User.objects.system())),
        Duty(
            "forget old answers",
            600,
            lambda: tokens.forget_answers(actor=User.objects.system(), older_than=ANSWERS_KEPT),
        ),
        Duty("prune run folders", 3600, supervisor.prune),
    ]


def _do(duty: Duty) -> bool:
    try:
        done = duty.act()
    except Error as error:
        logger.warning("Could not %s: the database said: %s", duty.name, error)
        connection.close()
        return False
    except Exception:
        # One duty that fails must not keep the others from being done.
        logger.exception("Could not %s", duty.name)
        duty.due = time.monotonic() + max(duty.every, LONGEST_PAUSE)
        return True
    if done and (not isinstance(done, dict) or any(done.values())):
        logger.info("%s: %s", duty.name.capitalize(), done)
    duty.due = time.monotonic() + duty.every
    return True
