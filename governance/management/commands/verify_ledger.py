"""Recompute the whole ledger and say up to where it is sound."""

from django.core.management.base import BaseCommand, CommandError

from governance.services import ledger


class Command(BaseCommand):
    """Verification from the shell; exits with 1 where anything is wrong."""

    help = __doc__

    def handle(self, **options):
        """Verify and report."""
        try:
            report = ledger.verify()
        except ledger.NoKey as error:
            raise CommandError(str(error)) from error
        for problem in report.problems:
            self.stderr.write(problem)
        tail = f"; {report.unsealed} not sealed yet" if report.unsealed else ""
        if not report.sound:
            raise CommandError(f"The ledger is sound up to {report.size} entries, and not beyond{tail}.")
        self.stdout.write(f"The ledger is sound: {report.size} entries, {report.checkpoints} checkpoints{tail}.")
