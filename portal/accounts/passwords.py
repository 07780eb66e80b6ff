"""Passwords of people who sign in through their organisation: they have none here, and get none by a link in a mail.

Whoever the organisation no longer lets in could otherwise still come in with a password of their own.
"""

from __future__ import annotations

from allauth.account import forms
from allauth.account.adapter import get_adapter
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

REFUSED = _(
    "You sign in through your organisation, so you have no password here. "
    "An administrator can give you one if you need it."
)


def comes_from_outside(user) -> bool:
    """Return whether the person has no password here and is linked to an account of their organisation."""
    return not user.has_usable_password() and SocialAccount.objects.filter(user=user).exists()


class ResetPasswordForm(forms.ResetPasswordForm):
    """Asks for a link by mail. The page answers everybody alike; the mail says it to whom no link is sent.

    It goes to an account's own address alone, whatever else allauth has noted beside the account.
    """

    def clean_email(self):
        """Find who has this address."""
        email = super().clean_email()
        self.users = [user for user in self.users if user.email == email.lower()]
        return email

    def save(self, request, **kwargs):
        """Send the link to those who have a password, and to the others how they sign in."""
        email = self.cleaned_data["email"]
        outside = [user for user in self.users if comes_from_outside(user)]
        for user in outside:
            get_adapter().send_mail("account/email/no_password_here", email, {"user": user, "request": request})
        self.users = [user for user in self.users if user not in outside]
        return super().save(request, **kwargs) if self.users or not outside else email


class ResetPasswordKeyForm(forms.ResetPasswordKeyForm):
    """Takes the new password behind a link; also of a link that was sent before the account was linked."""

    def clean(self):
        """Refuse who has no password here."""
        if comes_from_outside(self.user):
            raise ValidationError(REFUSED)
        return super().clean()


class SetPasswordForm(forms.SetPasswordForm):
    """Gives a first password to whom signed in without one."""

    def clean(self):
        """Refuse who has no password here."""
        if comes_from_outside(self.user):
            raise ValidationError(REFUSED)
        return super().clean()
