"""allauth's account pages as we use them: nobody signs up, and a mail goes to people who have an account alone."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from governance.services import people


class AccountAdapter(DefaultAccountAdapter):
    """People are created by an administrator or by the organisation's own sign-in, never by signing up."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": _(
            "Too many wrong codes. Wait five minutes and try again; an administrator cannot shorten this."
        ),
        "rate_limited": _("That was often in a short time. Wait a minute and try again."),
        "incorrect_code": _("This code is not right. Codes change every 30 seconds; try the next one."),
        "incorrect_password": _("This is not your password."),
        "email_password_mismatch": _("The e-mail address or the password is not right."),
    }

    def is_open_for_signup(self, request):
        """Return that nobody signs up by themselves."""
        return False

    def populate_username(self, request, user):
        """Keep allauth from inventing user names: a person is known by e-mail address."""

    def pre_authenticate(self, request, **credentials):
        """Leave counting wrong passwords to axes, which says how long a lock lasts and can be opened; see `locking`."""

    def authenticate(self, request, **credentials):
        """Return who proved themselves; their password is hashed anew where the method of hashing has moved on."""
        user = super().authenticate(request, **credentials)
        if user is not None and credentials.get("password"):
            people.renew_hash(actor=user, password=credentials["password"])
        return user

    def get_password_change_redirect_url(self, request):
        """Return the account's page, from which the password is changed."""
        return reverse("governance:account")
