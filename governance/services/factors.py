"""Second factors: who has which, who needs one for a role, and how an administrator takes them from somebody.

Enrolling and using them is allauth's, at the site's door; here nothing reads their secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction

from governance.actions import Action
from governance.models import RoleAssignment, User
from governance.policy import Permission
from governance.services import access, ledger, sessions


class Invalid(ValueError):
    """What was given does not do; the message says why and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Factor:
    """One way, beside the password, by which a person proves who they are; `name` is what they called it."""

    id: int
    type: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


def of(user: User) -> list[Factor]:
    """Return the person's factors: an authenticator app, passkeys, recovery codes."""
    return [
        Factor(row.pk, row.type, row.data.get("name", "") or row.get_type_display(), row.created_at, row.last_used_at)
        for row in Authenticator.objects.filter(user=user).order_by("type", "pk")
    ]


def has_any(user: User) -> bool:
    """Return whether the person has a factor other than recovery codes, which only stand in for one."""
    return Authenticator.objects.filter(user=user).exclude(type=Authenticator.Type.RECOVERY_CODES).exists()


def roles_that_need_one(user: User) -> list[str]:
    """Return the roles that the person holds now and for which the operator asks for a second factor."""
    held = RoleAssignment.objects.live().filter(user=user, scope_id=None, role__in=settings.MFA_REQUIRED_ROLES)
    return sorted(held.values_list("role", flat=True))


@transaction.atomic
def remove_all(*, actor: User, user: User, reason: str) -> int:
    """Take every factor from a person who lost theirs, end their sessions, and return how many there were.

    The password alone opens their account until they enrol again. Raises Denied, Invalid.
    """
    access.require(actor, Permission.PERSON_MANAGE)
    if user.pk == actor.pk:
        raise access.Denied(
            "Remove your own factors under Your account, or ask another administrator.", code="own_account"
        )
    if not reason.strip():
        raise Invalid("Say why; the auditor will read it.", field="reason")
    rows = Authenticator.objects.filter(user=user)
    types = sorted(rows.values_list("type", flat=True))
    if not types:
        return 0
    rows.delete()
    sessions.end_all(actor=actor, user=user, why="factors")
    ledger.record(
        Action.FACTOR_REMOVED, actor=actor, subject=user, details={"types": types}, texts={"reason": reason.strip()}
    )
    return len(types)
