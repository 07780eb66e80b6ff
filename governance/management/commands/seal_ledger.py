"""Seal what the ledger has pending: once, or for ever with --watch (the sequencer process)."""

import logging
import signal
import threading

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, OperationalError, close_old_connections

from governance import anchors
from governance.models import User
from governance.services import ledger

logger = logging.getLogger(__name__)

ERRANDS_EVERY = 5.0


class Command(BaseCommand):
    """The sequencer: numbers committed entries and signs a checkpoint at most one second later.

    With --watch a second thread runs its errands, anchors and receipts by mail: the network may be slow, not sealing.
    """

    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        parser.add_argument("--watch", action="store_true", help="keep sealing until stopped")
        parser.add_argument("--ensure-key", action="store_true", help="create the signing key if there is none")
        parser.add_argument("--rotate-key", action="store_true", help="hand the ledger on to a new signing key")
        parser.add_argument("--interval", type=float, default=0.5, help="seconds between two looks with --watch")

    def handle(self, *, watch, ensure_key, rotate_key, interval, **options):
        """Seal once or until a signal comes."""
        try:
            if ensure_key:
                self.stdout.write(f"The ledger's key is {ledger.ensure_key()}.")
            elif rotate_key:
                public = ledger.rotate_key(actor=User.objects.system())
                self.stdout.write(f"The ledger is signed from now on by the key with the public half {public.hex()}.")
            elif watch:
                self._watch(interval)
            else:
                self.stdout.write(f"Sealed {ledger.seal()} entries.")
        except ledger.LedgerError as error:
            raise CommandError(str(error)) from error

    def _watch(self, interval: float) -> None:
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: stop.set())
        errands = threading.Thread(target=self._run_errands, args=(stop,), daemon=True)
        errands.start()
        try:
            while not stop.is_set():
                try:
                    ledger.seal()
                except OperationalError as error:
                    # A database that is restarting must not end the sequencer; entries wait and lose nothing.
                    self.stderr.write(f"The database did not answer, trying again: {error}")
                close_old_connections()
                stop.wait(interval)
        finally:
            stop.set()
            # What it has begun may be waiting for a mail server; a receipt or an anchor is repeated next time.
            errands.join(timeout=2)

    def _run_errands(self, stop: threading.Event) -> None:
        while not stop.wait(ERRANDS_EVERY):
            run_errands()
            close_old_connections()


def run_errands() -> None:
    """Anchor and mail what is due; what goes wrong is in the rows or in the log, and is tried again."""
    for errand in (ledger.anchor_due, ledger.send_due):
        try:
            errand(actor=User.objects.system())
        except Error as error:
            logger.warning("The database did not answer, trying again: %s", error)
        except anchors.BadSetting as error:
            logger.error("%s", error)
        except Exception:
            logger.exception("An errand of the sequencer ended in an error.")
