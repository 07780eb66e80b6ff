"""Write the ledger, or a stretch of it, into a ZIP file that proves itself without this server."""

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from governance.models import User
from governance.services import ledger


class Command(BaseCommand):
    """An export from the shell, recorded in the name of the system."""

    help = __doc__

    def add_arguments(self, parser):
        """Declare the file and the stretch."""
        parser.add_argument("path", type=Path, help="the ZIP file to write; it must not exist")
        parser.add_argument("--from", dest="start", type=int, default=0, metavar="N", help="the first entry, from 0")
        parser.add_argument(
            "--upto", type=int, metavar="M", help="how many entries to cover; the next checkpoint ends it"
        )
        parser.add_argument(
            "--texts", action="store_true", help="with free texts and personal data that are not erased"
        )

    def handle(self, *, path, start, upto, texts, **options):
        """Record the export and write it."""
        try:
            export = ledger.begin(actor=User.objects.system(), start=start, upto=upto, texts=texts)
            with path.open("xb") as file:
                for piece in ledger.pieces(export):
                    file.write(piece)
        except (ledger.LedgerError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Wrote entries {export.start} to {export.checkpoint.size - 1} to {path} ({path.stat().st_size:,} bytes).\n"
            f"Check it anywhere: unzip {path.name} verify.py && python verify.py {path.name}"
        )
