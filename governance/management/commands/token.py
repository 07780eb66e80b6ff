"""Mint an API token for a person; prints the token, and nothing else, on stdout."""

from django.core.management.base import BaseCommand, CommandError

from governance.models import User
from governance.policy import TokenScope
from governance.services import access, tokens


class Command(BaseCommand):
    help = __doc__

    def add_arguments(self, parser):
        """Declare the options."""
        parser.add_argument("--as", dest="email", required=True, metavar="EMAIL", help="whose token it will be")
        parser.add_argument(
            "--scopes", required=True, help=f"what it may be used for, separated by commas: {', '.join(TokenScope)}"
        )
        parser.add_argument("--days", type=int, default=30, help="for how many days (default 30)")
        parser.add_argument("--name", default="made in the shell", help="what uses it")
        parser.add_argument("--team", metavar="SLUG", help="limit it to one team")

    def handle(self, *, email, scopes, days, name, team, **options):
        """Mint the token in the name of the system, on behalf of the person."""
        user = User.objects.people().filter(email=email.strip().lower()).first()
        if user is None:
            raise CommandError(f"Nobody has the e-mail address {email}; see who has an account under Administration.")
        only = None
        if team:
            only = access.scope_model().objects.filter(slug=team).first()
            if only is None:
                raise CommandError(f"There is no team with the short name {team}.")
        wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
        try:
            _token, secret = tokens.create(
                actor=User.objects.system(), user=user, name=name, scopes=wanted, days=days, team=only
            )
        except tokens.Invalid as error:
            raise CommandError(str(error)) from error
        self.stdout.write(secret)
