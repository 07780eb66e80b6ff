"""API tokens: minted, shown once, recognised, revoked."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApiToken, IdempotencyKey, User
from governance.policy import Permission, TokenScope
from governance.services import access, ledger

PREFIX = "gh_"
MAX_DAYS = 366
MAX_NAME = 100
_TOUCH = timedelta(minutes=1)


class Invalid(ValueError):
    """The token cannot be made as asked; the message says why and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


@transaction.atomic
def create(*, actor: User, user: User, name: str, scopes: list[str], days: int, team=None) -> tuple[ApiToken, str]:
    """Mint a token for `user`; return the row and the token itself, which is never shown again.

    A person mints their own, and the operator's shell mints for others. An administrator does not: with a token of a
    reviewer they would have the say over approvals that their role withholds. Raises Denied, Invalid.
    """
    if actor.pk != user.pk and not actor.is_service:
        raise access.Denied(
            "Only the person themselves can create a token in their name, or the operator of the machine.",
            code="not_yours",
        )
    if getattr(actor, "token", None) is not None:
        raise access.Denied("A token cannot make another token; sign in to create one.", code="token_by_token")
    if user.must_change_password and not actor.is_service:
        raise access.Denied(
            "Choose a password of your own first: somebody else knows the one you have.", code="first_password"
        )
    unknown = [scope for scope in scopes if scope not in set(TokenScope)]
    if unknown or not scopes:
        known = ", ".join(TokenScope)
        message = f"Unknown scope “{unknown[0]}”; choose from {known}." if unknown else f"Choose from {known}."
        raise Invalid(message, field="scopes")
    if not 1 <= days <= MAX_DAYS:
        raise Invalid(f"A token lives from 1 to {MAX_DAYS} days; {days} is outside.", field="days")
    if not user.is_active or user.is_service:
        raise Invalid(f"{user.email} cannot sign in, so a token for them would be of no use.", field="user")
    if not name.strip() or len(name.strip()) > MAX_NAME:
        raise Invalid(f"Give the token a name that tells what uses it, of at most {MAX_NAME} characters.", field="name")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name.strip(),
        prefix=secret[:10],
        digest=_digest(secret),
        scopes=sorted(set(scopes)),
        scope_id=team.pk if team else None,
        expires_at=timezone.now() + timedelta(days=days),
    )
    ledger.record(
        Action.TOKEN_CREATED,
        actor=actor,
        subject=token,
        details={"person": str(user.ledger_id), "scopes": token.scopes, "until": token.expires_at},
        texts={"name": token.name},
        on_behalf_of=user if actor.is_service else None,
        scope_id=token.scope_id,
    )
    return token, secret


@transaction.atomic
def revoke(*, actor: User, token: ApiToken) -> None:
    """End a token at once; a second call changes nothing. Raises Denied.

    Of its person's tokens a token may end itself alone; those of others take who manages people, and the scope for it.
    """
    used = getattr(actor, "token", None)
    if used is not None and used.pk != token.pk and token.user_id == actor.pk:
        raise access.Denied("A token can revoke itself and no other; sign in to do that.", code="token_by_token")
    if token.user_id != actor.pk:
        access.require(actor, Permission.PERSON_MANAGE)
    if token.revoked_at:
        return
    token.revoked_at = timezone.now()
    token.save(update_fields=["revoked_at"])
    ledger.record(Action.TOKEN_REVOKED, actor=actor, subject=token, details={"person": str(token.user.ledger_id)})


def authenticate(secret: str) -> ApiToken | None:
    """Return the live token with this secret, its person attached, or None. Notes the use at most once a minute."""
    if not secret.startswith(PREFIX) or len(secret) > 100:
        return None
    token = ApiToken.objects.live().select_related("user").filter(digest=_digest(secret)).first()
    if token is None or not token.user.is_active:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _TOUCH:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    token.user.token = token
    return token


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def forget_answers(*, actor: User, older_than: timedelta) -> int:
    """Forget answers kept for repeated calls that are too old to be repeated; return how many. For the scheduler."""
    access.require(actor, Permission.SITE_ADMINISTER)
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - older_than).delete()[0]
