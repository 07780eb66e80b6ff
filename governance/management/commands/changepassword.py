"""Give a person a new password and end their sessions. Takes the place of Django's own command.

That one writes past the ledger.
"""

from __future__ import annotations

import getpass
import sys

from django.core.management.base import BaseCommand, CommandError

from governance.models import User
from governance.services import people


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        """Declare whose password it is."""
        parser.add_argument("email", help="the person's address")

    def handle(self, *, email, **options):
        """Ask for the password twice, and set it in the name of the system."""
        person = User.objects.people().filter(email=email.lower()).first()
        if person is None:
            raise CommandError(f"Nobody has the address {email}.")
        if not sys.stdin.isatty():
            raise CommandError("There is no terminal to ask on.")
        password = getpass.getpass("Password: ")
        if getpass.getpass("Password (again): ") != password:
            raise CommandError("The two passwords differ; nothing was changed.")
        try:
            people.set_password(actor=User.objects.system(), user=person, password=password)
        except people.Invalid as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{person.email} has the new password; their sessions have ended.")
