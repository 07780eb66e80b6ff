"""Seal what the ledger has pending: once, or for ever with --watch (the sequencer process)."""

import signal
import time

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, close_old_connections

from governance.services import ledger


class Command(BaseCommand):
    """The sequencer: numbers committed entries and signs a checkpoint at most one second later."""

    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        parser.add_argument("--watch", action="store_true", help="keep sealing until stopped")
        parser.add_argument("--ensure-key", action="store_true", help="create the signing key if there is none")
        parser.add_argument("--interval", type=float, default=0.5, help="seconds between two looks with --watch")

    def handle(self, *, watch, ensure_key, interval, **options):
        """Seal once or until a signal comes."""
        if ensure_key:
            self.stdout.write(f"The ledger's key is {ledger.ensure_key()}.")
            return
        try:
            if not watch:
                self.stdout.write(f"Sealed {ledger.seal()} entries.")
                return
            stopping = []
            for name in (signal.SIGTERM, signal.SIGINT):
                signal.signal(name, lambda *_: stopping.append(True))
            while not stopping:
                try:
                    ledger.seal()
                except OperationalError as error:
                    # A database that is restarting must not end the sequencer; entries wait and lose nothing.
                    self.stderr.write(f"The database did not answer, trying again: {error}")
                close_old_connections()
                time.sleep(interval)
        except ledger.LedgerError as error:
            raise CommandError(str(error)) from error
