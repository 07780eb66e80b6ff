"""Load the worked example, print its people's passwords once, and publish its model when it is trained."""

from __future__ import annotations

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from governance.services import access
from portal import welcome
from portal.demo import example
from portal.demo import language_model as loader


class Command(BaseCommand):
    """The worked example; running it again changes nothing that is there."""

    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        parser.add_argument("--follow", action="store_true", help="wait for the example's job and publish its model")
        parser.add_argument(
            "--links", action="store_true", help="print one-click sign-in links (DEBUG on loopback only)"
        )
        parser.add_argument(
            "--language-model",
            action="store_true",
            help="add SmolLM2 to the catalogue and tune an assistant from it (fetches 93 MB)",
        )
        parser.add_argument("--new-passwords", action="store_true", help="give every persona a new random password")

    def handle(self, *, follow, links, new_passwords, language_model, **_):
        """Load, or do what the options ask."""
        try:
            if follow:
                self.stdout.write(example.follow())
                return
            # Passwords are told before anything else can go wrong: they are known to nobody afterwards.
            self._introduce(example.renew_passwords() if new_passwords else example.load_people())
            if not new_passwords:
                team = example.load_team()
                use_case = example.load_use_cases(team)
                version = example.load_dataset(team, use_case)
                example.load_job(team, use_case, version, example.load_base_model())
            if language_model:
                base_model = loader.load()
                job = loader.load_assistant(base_model)
                self.stdout.write(
                    f"The catalogue holds {base_model.title}; job {job.pk} tunes {job.model_name} from it, and "
                    "`python manage.py demo --follow` publishes it when it is trained."
                )
        except loader.Unavailable as error:
            raise CommandError(str(error)) from error
        except access.Denied as error:
            missing = "".join(f"\n  - {line}" for line in error.missing)
            raise CommandError(f"{error.reason}{missing}") from error
        if links:
            self._links()

    def _introduce(self, made):
        if not made:
            self.stdout.write(
                "The worked example is loaded. Passwords were printed when it was made; "
                "`python manage.py demo --new-passwords` makes new ones."
            )
            return
        self.stdout.write("\nThe worked example's people, with passwords that are printed only now:\n")
        for name, what, email, password in made:
            self.stdout.write(f"  {name:<6} {email:<20} {password:<22} {what}")
        self.stdout.write("")

    def _links(self):
        if not welcome.are_open():
            raise CommandError("Sign-in links work with DEBUG=true and HOST=127.0.0.1 only; use the passwords.")
        for name, _what, _roles in example.PERSONAS:
            ticket = welcome.issue(example.person(name))
            self.stdout.write(f"  {name:<6} {settings.BASE_URL}/welcome/{ticket}/")
