"""People: created, deactivated. What they may do is given by `roles`."""

from __future__ import annotations

from django.contrib.auth.password_validation import validate_password
from django.db import transaction

from governance.actions import Action
from governance.models import User
from governance.policy import Permission, Role
from governance.services import access, ledger, roles


@transaction.atomic
def create(*, actor: User, email: str, name: str, password: str | None = None) -> User:
    """Create a person who is an employee; raises Denied, or ValidationError for a weak password."""
    access.require(actor, Permission.PERSON_MANAGE)
    if password is not None:
        validate_password(password)
    user = User.objects.create_user(email, password, name=name)
    ledger.record(
        Action.PERSON_CREATED, actor=actor, subject=user, details={}, texts={"email": user.email, "name": name}
    )
    roles.grant(actor=actor, user=user, role=Role.EMPLOYEE)
    return user


@transaction.atomic
def deactivate(*, actor: User, user: User, reason: str) -> None:
    """End a person's access at once: sessions are refused and tokens die with the account. Raises Denied."""
    access.require(actor, Permission.PERSON_MANAGE)
    if user.pk == actor.pk:
        raise access.Denied("You cannot deactivate your own account; ask another administrator.", code="own_account")
    user.is_active = False
    user.save(update_fields=["is_active"])
    ledger.record(Action.PERSON_DEACTIVATED, actor=actor, subject=user, texts={"reason": reason})
