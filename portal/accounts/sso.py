"""Single sign-on through the organisation's own identity provider, by OpenID Connect or SAML.

Whom the provider names must have an account here under an address that the provider has verified, or gets one where the
operator allows that for the address's domain (SSO_CREATE_DOMAINS). A claim never gives a role.
"""

from __future__ import annotations

import logging
from functools import wraps

import requests
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.shortcuts import render
from django.utils.translation import gettext as _
from onelogin.saml2.errors import OneLogin_Saml2_Error

from governance.actions import Action
from governance.models import User
from governance.services import ledger, people

logger = logging.getLogger(__name__)


def verified_address(sociallogin) -> str:
    """Return the address that the provider has verified, in small letters, or an empty string.

    Some providers send the claim as text, and "false" would count as true.
    """
    for address in sociallogin.email_addresses:
        if address.email and str(address.verified).lower() == "true":
            return address.email.lower()
    return ""


def refused(request, *, provider: str, code: str, reason: str, email: str = "", user: User | None = None, status=403):
    """Record that nobody was let in and return the page that says why and what to do."""
    with transaction.atomic():
        ledger.record(
            Action.SIGN_IN_REFUSED,
            actor=User.objects.system(),
            subject=user,
            details={"code": code, "provider": provider},
            texts={"email": email},
        )
    return render(request, "socialaccount/refused.html", {"reason": reason, "email": email}, status=status)


class SocialAdapter(DefaultSocialAccountAdapter):
    """allauth's single sign-on as we use it: providers from the settings alone, and people as the operator allows."""

    def list_apps(self, request, provider=None, client_id=None):
        """Return the providers of the settings; none is kept in the database."""
        found = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in found.values() for app in apps]

    def is_open_for_signup(self, request, sociallogin):
        """Return that nobody signs up by themselves; `pre_social_login` has let in whoever may come in."""
        return False

    def populate_user(self, request, sociallogin, data):
        """Take the name and the address, and keep none of the other claims."""
        user = sociallogin.user
        parts = [data.get("first_name") or "", data.get("last_name") or ""]
        user.email = str(data.get("email") or "").lower()[:254]
        user.name = (data.get("name") or " ".join(part for part in parts if part) or "")[:150]
        sociallogin.account.extra_data = {}
        return user

    def pre_social_login(self, request, sociallogin):
        """Find, or create, the person whom the provider names; a refusal raises ImmediateHttpResponse with its page."""
        provider = sociallogin.account.provider
        email = verified_address(sociallogin)

        def refuse(code, reason, user=None):
            given = email or (sociallogin.user.email if sociallogin.user else "")
            page = refused(request, provider=provider, code=code, reason=reason, email=given, user=user)
            raise ImmediateHttpResponse(page)

        if sociallogin.state.get("process", AuthProcess.LOGIN) != AuthProcess.LOGIN:
            refuse("only_sign_in", _("Single sign-on is for signing in. Accounts are linked by their address alone."))
        if sociallogin.is_existing:
            person = sociallogin.user
        else:
            if not email:
                refuse(
                    "not_verified",
                    _(
                        "Your organisation's sign-in did not confirm an e-mail address for you. "
                        "Ask whoever looks after it to send a verified address."
                    ),
                )
            person = User.objects.filter(email=email).first()
            if person is None and email.rpartition("@")[2] not in settings.SSO_CREATE_DOMAINS:
                refuse(
                    "unknown",
                    _(
                        "You were recognised, but nobody here has this address. "
                        "Ask an administrator to create an account for it."
                    ),
                )
        if person is not None and (person.is_service or not person.is_active):
            refuse("inactive", _("This account is switched off. An administrator can switch it on again."), person)
        if not sociallogin.is_existing:
            self._link(request, sociallogin, person, email)
        if sociallogin.user.must_change_password:
            people.drop_password(actor=sociallogin.user)

    @transaction.atomic
    def _link(self, request, sociallogin, person, email):
        system = User.objects.system()
        if person is None:
            person = people.create(actor=system, email=email, name=sociallogin.user.name or email.partition("@")[0])
        sociallogin.connect(request, person)
        ledger.record(
            Action.IDENTITY_LINKED,
            actor=system,
            subject=person,
            details={"provider": sociallogin.account.provider},
            texts={"uid": sociallogin.account.uid},
        )

    def on_authentication_error(self, request, provider, error=None, exception=None, extra_context=None):
        """Explain what went wrong on the way to the provider and back; raises ImmediateHttpResponse with that page."""
        if error == AuthError.CANCELLED:
            code, reason = "cancelled", _("You did not finish signing in with your organisation. Try again.")
        else:
            code, reason = "provider_error", _unacceptable()
        name = provider.sub_id if hasattr(provider, "sub_id") else str(provider)
        raise ImmediateHttpResponse(refused(request, provider=name, code=code, reason=reason))


def _unacceptable() -> str:
    return _(
        "Your organisation's sign-in sent an answer that cannot be accepted: it is too old, was used already, or is "
        "not meant for this site. Try again from the sign-in page."
    )


def explained(view):
    """Return the view with a page in place of a fault where the provider cannot be reached or answers nonsense."""

    @wraps(view)
    def guarded(request, **kwargs):
        provider = str(next(iter(kwargs.values()), ""))
        try:
            return view(request, **kwargs)
        except PermissionDenied:
            # allauth's word for an answer to a question that this browser did not ask.
            return refused(request, provider=provider, code="provider_error", reason=_unacceptable())
        except (requests.RequestException, OAuth2Error, OneLogin_Saml2_Error, ValueError, KeyError):
            # The page is for the person; what the operator needs to put it right is here.
            logger.warning("Single sign-on through %s failed.", provider, exc_info=True)
            reason = _(
                "Your organisation's sign-in cannot be reached, or does not answer as it should. "
                "Try again in a minute; if it stays so, tell whoever runs this site."
            )
            return refused(request, provider=provider, code="unreachable", reason=reason, status=502)

    return guarded


def absent(request, **_kwargs):
    """Say that there is no such page: allauth needs the name for its metadata, and signing out stays on this site."""
    raise Http404


absent.gatehouse_policy = "public"
