"""Create the account of an operator; the first one becomes administrator. Takes the place of Django's own command.

That one writes past the ledger.
"""

from __future__ import annotations

import getpass
import os
import sys

from django.core.management.base import BaseCommand, CommandError

from governance.models import User
from governance.services import people


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        """Declare the options; they are those of Django's command."""
        parser.add_argument("--email", default=os.environ.get("DJANGO_SUPERUSER_EMAIL", ""))
        parser.add_argument("--name", default="", help="by which others know the person; the address without it")
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help="ask nothing: --email, and the password in DJANGO_SUPERUSER_PASSWORD",
        )

    def handle(self, *, email, name, interactive, **options):
        """Ask for what was not given, and create the account in the name of the system."""
        password = os.environ.get("DJANGO_SUPERUSER_PASSWORD", "")
        if interactive and not (email and password):
            if not sys.stdin.isatty():
                raise CommandError("There is no terminal to ask on: give --email and DJANGO_SUPERUSER_PASSWORD.")
            email = email or input("E-mail address: ")
            password = getpass.getpass("Password: ")
            if getpass.getpass("Password (again): ") != password:
                raise CommandError("The two passwords differ; nothing was created.")
        if not email or not password:
            raise CommandError("Give --email, and the password in DJANGO_SUPERUSER_PASSWORD.")
        try:
            made = people.create_superuser(
                actor=User.objects.system(), email=email, name=name or email.partition("@")[0], password=password
            )
        except people.Invalid as error:
            raise CommandError(str(error)) from error
        held = ", ".join(made.role_assignments.order_by("role").values_list("role", flat=True))
        self.stdout.write(f"{made.email} is there, with the roles: {held}.")
