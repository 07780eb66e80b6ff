"""Create the PostgreSQL roles of the running site and give them what the models declare; run it after every migrate."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from governance import database_roles


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        for name, who in (("site", "web, workers and scheduler"), ("sequencer", "the sequencer")):
            parser.add_argument(
                f"--{name}-url-file",
                metavar="PATH",
                help=f"a file with the DATABASE_URL of {who}; its user is created, or its password set",
            )

    def handle(self, *, site_url_file, sequencer_url_file, **options):
        """Grant, and make the logins whose addresses were given; connected as the owner of the tables."""
        try:
            count = database_roles.grant()
            self.stdout.write(f"{' and '.join(database_roles.GROUPS)} have their rights on {count} tables.")
            for path, group in (
                (site_url_file, database_roles.SITE),
                (sequencer_url_file, database_roles.SEQUENCER),
            ):
                if path:
                    name = database_roles.login(Path(path).read_text().strip(), group)
                    self.stdout.write(f"{name} is a member of {group}.")
        except (database_roles.NotPossible, OSError) as error:
            raise CommandError(str(error)) from error
