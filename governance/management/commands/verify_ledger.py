"""Recompute the whole ledger and say up to where it is sound, also against checkpoints that were kept elsewhere."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from governance.services import ledger


class Command(BaseCommand):
    """Verification from the shell; exits with 1 where anything is wrong."""

    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        parser.add_argument(
            "--pin", type=Path, action="append", default=[], metavar="FILE",
            help="signed checkpoints that were kept, such as the file of an anchor; may be given several times",
        )  # fmt: skip
        parser.add_argument(
            "--key", default="", metavar="HEX", help="the ledger's first public key, known from elsewhere"
        )

    def handle(self, *, pin, key, **options):
        """Verify and report."""
        try:
            pins = [one for path in pin for one in ledger.pins_of(path.read_text("utf-8"))]
            report = ledger.verify(pins=sorted(pins, key=lambda one: one.size), first_key=bytes.fromhex(key) or None)
        except (ledger.LedgerError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        for problem in report.problems:
            self.stderr.write(problem)
        tail = f"; {report.unsealed} not sealed yet" if report.unsealed else ""
        if report.forked:
            raise CommandError(f"This is not the ledger that the kept checkpoints speak of{tail}.")
        if not report.sound:
            raise CommandError(f"The ledger is sound up to {report.size} entries, and not beyond{tail}.")
        compared = f", {len(pins)} kept checkpoints fit" if pins else ""
        self.stdout.write(
            f"The ledger is sound: {report.size} entries, {report.checkpoints} checkpoints{compared}{tail}."
        )
