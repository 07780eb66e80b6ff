"""Second factors: authenticator apps, passkeys and recovery codes through allauth, who needs one, and what is recorded.

Their secrets are stored encrypted under a key derived from SECRET_KEY: a copy of the database alone opens no account.
"""

from __future__ import annotations

import base64
import secrets
from functools import cache, wraps

import qrcode
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa import signals
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import transaction
from django.dispatch import receiver
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from qrcode.image.svg import SvgPathFillImage

from governance.actions import Action
from governance.services import factors, ledger

HELD = "second_factor"
"""Where the session keeps that its person has a second factor, so that a page need not ask again."""


@cache
def _keys(known: tuple[str, ...]) -> MultiFernet:
    """Return what encrypts with the first secret and decrypts with any of them."""

    def key(secret: str) -> Fernet:
        derived = HKDF(hashes.SHA256(), length=32, salt=None, info=b"gatehouse second factors").derive(secret.encode())
        return Fernet(base64.urlsafe_b64encode(derived))

    return MultiFernet([key(secret) for secret in known])


class FactorAdapter(DefaultMFAAdapter):
    """allauth's second factors as we use them: secrets encrypted, and a name for each key."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": gettext_lazy(
            "This code is not right. A code from an app changes every 30 seconds; try the next one."
        ),
    }

    def encrypt(self, text):
        """Return the secret encrypted with SECRET_KEY."""
        return _keys((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text):
        """Return the secret, or a random one, which no code fits, where the key that encrypted it is gone.

        An empty one would not do: the codes of an empty secret can be computed by anybody.
        """
        try:
            keys = _keys((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
            return keys.decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(20)).decode()

    def get_totp_issuer(self):
        """Return the name under which an app lists the account."""
        return f"Gatehouse ({self._get_site_name()})"

    def build_totp_svg(self, url):
        """Return the drawing to scan on white ground, so that it can be read on a dark page too."""
        return qrcode.make(url, image_factory=SvgPathFillImage).to_string(encoding="unicode")

    def generate_authenticator_name(self, user, type):
        """Return the name that a new passkey is proposed under."""
        number = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return _("Passkey") if not number else _("Passkey %(number)d") % {"number": number + 1}


def wanting(request) -> bool:
    """Return whether the person needs a second factor and has none.

    The answer "has one" is kept in the session. A factor that is taken away by an administrator ends the sessions, and
    one that the person removes is forgotten here.
    """
    if request.session.get(HELD):
        return False
    user = request.user
    if settings.SSO_SECOND_FACTOR and any(
        record["method"] == "socialaccount" for record in get_authentication_records(request, user)
    ):
        return False
    if not (user.is_staff or factors.roles_that_need_one(user)):
        return False
    if factors.has_any(user):
        request.session[HELD] = True
        return False
    return True


def _held(user) -> dict[int, tuple[str, dict]]:
    return {row.pk: (row.type, row.data) for row in Authenticator.objects.filter(user=user)}


def recorded(view):
    """Return the view with its changes of a person's factors and their entries in one transaction.

    allauth tells of some changes after they are committed and of a new name not at all, so what is there before and
    after is compared. Without their entries the database would refuse the changes.
    """

    @wraps(view)
    def bound(request, *args, **kwargs):
        if not request.user.is_authenticated:
            return view(request, *args, **kwargs)
        with transaction.atomic():
            before = _held(request.user)
            response = view(request, *args, **kwargs)
            _note(request, before, _held(request.user))
        return response

    return bound


def _note(request, before: dict[int, tuple[str, dict]], after: dict[int, tuple[str, dict]]) -> None:
    gone = sorted(before[pk][0] for pk in before.keys() - after.keys())
    new = sorted(after[pk][0] for pk in after.keys() - before.keys())
    renewed = [Authenticator.Type.RECOVERY_CODES] if Authenticator.Type.RECOVERY_CODES in {*gone} & {*new} else []
    if gone:
        request.session.pop(HELD, None)
    changes = [(Action.FACTOR_REMOVED, kind, {}) for kind in gone if kind not in renewed]
    changes += [(Action.FACTOR_ADDED, kind, {}) for kind in new if kind not in renewed]
    changes += [(Action.FACTOR_CHANGED, kind, {"what": "codes"}) for kind in renewed]
    changes += [
        (Action.FACTOR_CHANGED, before[pk][0], {"what": "name"})
        for pk in sorted(before.keys() & after.keys())
        if before[pk][1].get("name") != after[pk][1].get("name")
    ]
    for action, kind, details in changes:
        ledger.record(action, actor=request.user, subject=request.user, details={"type": kind, **details})


@receiver(signals.authentication_failed)
def _failed(sender, request, user, authenticator, reauthentication=False, **_):
    with transaction.atomic():
        details = {"type": authenticator.type, "reauthentication": reauthentication}
        ledger.record(Action.FACTOR_FAILED, actor=user, subject=user, details=details)
