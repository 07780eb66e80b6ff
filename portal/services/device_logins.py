"""Logging in a program without a browser (RFC 8628): a code is issued, confirmed by its person, and exchanged.

Nothing is written when a code is issued: the device code is signed, and the user code follows from it. The token is
made when the program asks for it, so that no secret is ever kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApiToken, User
from governance.policy import TokenScope
from governance.services import access, ledger, tokens
from portal.models import DeviceLogin
from projects.services.fields import Invalid

ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""Letters that spell no words (RFC 8628, section 6.1)."""

LIFETIME = 600
"""Seconds for which a code is good."""

INTERVAL = 5
DAYS = 1
_SALT = "portal.device_login"
State = DeviceLogin.State


class Pending(Exception):
    """Nobody has answered yet."""


class Refused(Exception):
    """The person said no, or may not have a token."""


class Expired(Exception):
    """The code is not ours, too old, or was used."""


def issue() -> tuple[str, str]:
    """Return a new (device code, user code)."""
    nonce = secrets.token_urlsafe(32)
    return signing.TimestampSigner(salt=_SALT).sign(nonce), _user_code(nonce)


def _letters(data: bytes, count: int) -> str:
    number = int.from_bytes(data, "big")
    found = ""
    for _place in range(count):
        number, at = divmod(number, len(ALPHABET))
        found += ALPHABET[at]
    return found


def _keyed(text: str) -> bytes:
    return hmac.new(f"{_SALT}{settings.SECRET_KEY}".encode(), text.encode(), hashlib.sha256).digest()


def _user_code(nonce: str) -> str:
    """Return eight letters: six that follow from the nonce, and two that show a mistyped or invented code."""
    first = _letters(_keyed(nonce), 6)
    return first + _letters(_keyed(first), 2)


def clean(code: str) -> str:
    """Return a user code as it was issued; raises Invalid for one that never was."""
    letters = "".join(letter for letter in code.upper() if letter.isalpha())
    if len(letters) != 8 or not hmac.compare_digest(_letters(_keyed(letters[:6]), 2).encode(), letters[6:].encode()):
        raise Invalid("This is not a code of this site. Look at it again in your terminal.", field="code")
    return letters


def shown(code: str) -> str:
    """Return a user code as people read it."""
    return f"{code[:4]}-{code[4:]}"


@transaction.atomic
def decide(*, actor: User, code: str, allow: bool, scopes: list[str]) -> DeviceLogin:
    """Answer for the code that a program of one's own shows. Raises Denied, Invalid."""
    if getattr(actor, "token", None) is not None:
        raise access.Denied("A token cannot make another token; sign in to confirm a code.", code="token_by_token")
    letters = clean(code)
    known = {scope.value for scope in TokenScope}
    if allow and (not scopes or set(scopes) - known):
        raise Invalid("Choose at least one thing that the program may do.", field="scopes")
    if DeviceLogin.objects.filter(code=letters).exists():
        raise Invalid("This code was answered already. Start the login again in your terminal.", field="code")
    login = DeviceLogin.objects.create(
        code=letters,
        user=actor,
        scopes=sorted(set(scopes)) if allow else [],
        state=State.ALLOWED if allow else State.REFUSED,
    )
    ledger.record(
        Action.DEVICE_ALLOWED if allow else Action.DEVICE_REFUSED,
        actor=actor,
        subject=login,
        details={"scopes": login.scopes},
    )
    return login


@transaction.atomic
def redeem(*, device_code: str) -> tuple[ApiToken, str]:
    """Return the token for the program that holds this device code, once. Raises Pending, Refused, Expired."""
    try:
        nonce = signing.TimestampSigner(salt=_SALT).unsign(device_code, max_age=LIFETIME)
    except signing.BadSignature as error:
        raise Expired from error
    since = timezone.now() - timedelta(seconds=LIFETIME)
    rows = DeviceLogin.objects.select_for_update(of=("self",)).select_related("user")
    login = rows.filter(code=_user_code(nonce), decided_at__gt=since).first()
    if login is None:
        raise Pending
    if login.state == State.REFUSED:
        raise Refused
    if login.state == State.USED:
        raise Expired
    try:
        token, secret = tokens.create(
            actor=login.user, user=login.user, name=f"Login with {shown(login.code)}", scopes=login.scopes, days=DAYS
        )
    except (access.Denied, tokens.Invalid) as error:
        raise Refused from error
    login.state, login.token = State.USED, token
    login.save(update_fields=["state", "token"])
    return token, secret
