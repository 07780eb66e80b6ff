"""The door: sign-in by e-mail through allauth, closed sign-up, and every coming and going in the ledger."""

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.dispatch import receiver

from governance.actions import Action
from governance.models import User
from governance.services import ledger


class AccountAdapter(DefaultAccountAdapter):
    """allauth as we use it: people are created by an administrator, never by signing up."""

    def is_open_for_signup(self, request):
        """Return that nobody signs up by themselves."""
        return False

    def populate_username(self, request, user):
        """Keep allauth from inventing user names: a person is known by e-mail address."""


@receiver(user_logged_in)
def _signed_in(sender, request, user, **_):
    with transaction.atomic():
        ledger.record(Action.SIGNED_IN, actor=user, subject=user)


@receiver(user_logged_out)
def _signed_out(sender, request, user, **_):
    if user is not None:
        with transaction.atomic():
            ledger.record(Action.SIGNED_OUT, actor=user, subject=user)


@receiver(user_login_failed)
def _sign_in_failed(sender, credentials, request=None, **_):
    address = str(credentials.get("email") or credentials.get("username") or "").lower()[:254]
    with transaction.atomic():
        ledger.record(
            Action.SIGN_IN_FAILED,
            actor=User.objects.system(),
            subject=User.objects.filter(email=address).first(),
            texts={"email": address},
        )
