"""People: created, changed, deactivated and taken back. What they may do is given by `roles`."""

from __future__ import annotations

import secrets
import zoneinfo

from django.contrib.auth.hashers import get_hasher, identify_hasher, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from governance.actions import Action
from governance.models import User
from governance.policy import Permission, Role
from governance.services import access, ledger, roles, sessions


class Invalid(ValueError):
    """What was given about the person does not fit; the message says why and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


def first_password() -> str:
    """Return a random password of 100 bits that can be read out, to be shown once and changed by the person."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


@transaction.atomic
def create(*, actor: User, email: str, name: str, password: str | None = None) -> User:
    """Create a person who is an employee; raises Denied, or Invalid for a bad or known address or a weak password.

    A password that an administrator gives is known to two people: it has to be changed at the first sign-in.
    """
    access.require(actor, Permission.PERSON_MANAGE)
    email = User.objects.normalize_email(email.strip()).lower()
    taken = Invalid(f"There is already a person with the address {email}.", field="email")
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid(f"“{email}” is not an e-mail address.", field="email") from error
    if User.objects.filter(email=email).exists():
        raise taken
    if password is not None:
        try:
            validate_password(password, User(email=email, name=name))
        except ValidationError as error:
            raise Invalid(" ".join(error.messages), field="password") from error
    try:
        with transaction.atomic():
            user = User.objects.create_user(
                email,
                password,
                name=name.strip()[:150],
                must_change_password=password is not None and not actor.is_service,
            )
    except IntegrityError as error:
        raise taken from error
    ledger.record(
        Action.PERSON_CREATED, actor=actor, subject=user, details={}, texts={"email": user.email, "name": user.name}
    )
    roles.grant(actor=actor, user=user, role=Role.EMPLOYEE)
    return user


@transaction.atomic
def create_superuser(*, actor: User, email: str, name: str, password: str) -> User:
    """Create a person who may open Django's read-only admin; the first one, with nobody to give roles, administers.

    For the operator's shell. Raises Denied, Invalid.
    """
    user = create(actor=actor, email=email, name=name, password=password)
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])
    details, _texts = ledger.changes({"is_superuser": False}, {"is_superuser": True})
    ledger.record(Action.PERSON_CHANGED, actor=actor, subject=user, details=details)
    if not access.holders(Permission.PERSON_MANAGE).exists():
        roles.grant(actor=actor, user=user, role=Role.ADMINISTRATOR)
    return user


@transaction.atomic
def change(*, actor: User, user: User, name: str, time_zone: str) -> User:
    """Change a person's name and time zone: their own, or anybody's for who manages people. Raises Denied, Invalid."""
    if actor.pk != user.pk or getattr(actor, "token", None) is not None:
        access.require(actor, Permission.PERSON_MANAGE)
    name = name.strip()
    if not name or len(name) > 150:
        raise Invalid("Give the name by which others know you, of at most 150 characters.", field="name")
    if time_zone and time_zone not in zoneinfo.available_timezones():
        raise Invalid(f"There is no time zone “{time_zone}”; use a name such as Europe/Paris.", field="time_zone")
    before = {"name": user.name, "time_zone": user.time_zone}
    after = {"name": name, "time_zone": time_zone}
    if before == after:
        return user
    user.name, user.time_zone = name, time_zone
    user.save(update_fields=["name", "time_zone"])
    details, texts = ledger.changes(before, after, free_text={"name"})
    ledger.record(Action.PERSON_CHANGED, actor=actor, subject=user, details=details, texts=texts)
    return user


@transaction.atomic
def deactivate(*, actor: User, user: User, reason: str) -> None:
    """End a person's access at once: sessions are ended and tokens die with the account. Raises Denied, Invalid."""
    access.require(actor, Permission.PERSON_MANAGE)
    if user.pk == actor.pk:
        raise access.Denied("You cannot deactivate your own account; ask another administrator.", code="own_account")
    if user.is_service:
        raise access.Denied("The service account belongs to the system and stays.", code="service_account")
    if not reason.strip():
        raise Invalid("Say why; the auditor will read it.", field="reason")
    if not user.is_active:
        return
    if user.role_assignments.live().filter(role=Role.ADMINISTRATOR).exists():
        roles.keep_an_administrator(without=user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    access.forget(user)
    # Refused anyway while the account is switched off; ended, so that taking the person back does not revive them.
    sessions.end_all(actor=actor, user=user, why="deactivated")
    ledger.record(Action.PERSON_DEACTIVATED, actor=actor, subject=user, texts={"reason": reason.strip()})


@transaction.atomic
def reactivate(*, actor: User, user: User) -> None:
    """Take a person back with the roles and tokens that they had. Raises Denied."""
    access.require(actor, Permission.PERSON_MANAGE)
    if user.is_active:
        return
    user.is_active = True
    user.save(update_fields=["is_active"])
    access.forget(user)
    details, _texts = ledger.changes({"is_active": False}, {"is_active": True})
    ledger.record(Action.PERSON_CHANGED, actor=actor, subject=user, details=details)


# Where allauth keeps addresses, linked accounts and second factors of a person, by the name of the relation.
_CREDENTIALS = ("emailaddress_set", "socialaccount_set", "authenticator_set")


@transaction.atomic
def anonymise(*, actor: User, user: User, reason: str, written: bool = False) -> int:
    """Erase who a person is: name, address, sign-in, and the texts about them in the ledger; return how many texts.

    Their access ends first. What they did stays, under the `ledger_id` that the ledger's bytes hold, so that every
    proof stays valid. `written` erases the texts of their own acts too. It cannot be undone. Raises Denied, Invalid.
    """
    access.require(actor, Permission.TEXT_ERASE)
    if user.is_active:
        deactivate(actor=actor, user=user, reason=reason)
    elif user.is_service:
        raise access.Denied("The service account belongs to the system and stays.", code="service_account")
    try:
        erased = ledger.erase_person(actor=actor, person=user, reason=reason, written=written)
    except ledger.Invalid as error:
        raise Invalid(str(error), field=error.field) from error
    for relation in _CREDENTIALS:
        if hasattr(user, relation):
            getattr(user, relation).all().delete()
    user.email, user.name, user.time_zone = f"erased-{user.ledger_id}@gatehouse.invalid", "Erased person", ""
    user.set_unusable_password()
    user.save(update_fields=["email", "name", "time_zone", "password"])
    ledger.record(Action.PERSON_ANONYMISED, actor=actor, subject=user, details={"texts": erased, "written": written})
    return erased


@transaction.atomic
def set_password(*, actor: User, user: User, password: str, reason: str = "") -> None:
    """Give a person a password in place of the one they had, and end their sessions. Raises Denied, Invalid.

    For a person who cannot get in. An administrator must say why, and the person has to change the password at the next
    sign-in; what the operator sets in the shell may stay.
    """
    access.require(actor, Permission.PERSON_MANAGE)
    if user.pk == actor.pk:
        raise access.Denied("Change your own password under Your account.", code="own_account")
    if user.is_service:
        raise access.Denied("The service account never signs in.", code="service_account")
    if not reason.strip() and not actor.is_service:
        raise Invalid("Say why; the auditor will read it.", field="reason")
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid(" ".join(error.messages), field="password") from error
    user.set_password(password)
    user.must_change_password = not actor.is_service
    user.save(update_fields=["password", "must_change_password"])
    sessions.end_all(actor=actor, user=user, why="password")
    ledger.record(Action.PASSWORD_ISSUED, actor=actor, subject=user, texts={"reason": reason.strip()})


@transaction.atomic
def password_changed(*, actor: User, how: str, session: str | None = None) -> None:
    """Note that a person has chosen a password of their own, and sign out every browser but the one that did it.

    `how` is "changed", "set" or "reset" (through a link in a mail); `session` is the key of the session to keep.
    """
    if actor.must_change_password:
        actor.must_change_password = False
        actor.save(update_fields=["must_change_password"])
    sessions.end_all(actor=actor, user=actor, but=session, why="password")
    ledger.record(Action.PASSWORD_CHANGED, actor=actor, subject=actor, details={"how": how})


@transaction.atomic
def renew_hash(*, actor: User, password: str) -> bool:
    """Hash the password anew that a person has just proved, where the method has moved on; return whether it had."""
    preferred = get_hasher()
    held = identify_hasher(actor.password)
    if held.algorithm == preferred.algorithm and not preferred.must_update(actor.password):
        return False
    actor.password = make_password(password)
    actor.save(update_fields=["password"])
    ledger.record(Action.PASSWORD_CHANGED, actor=actor, subject=actor, details={"how": "hashed anew"})
    return True


@transaction.atomic
def drop_password(*, actor: User) -> None:
    """Throw away a first password that its person does not need: they came in through their organisation's own sign-in.

    Somebody else knows it, and asking the person to change it would ask for a password that they may never have been
    given.
    """
    actor.set_unusable_password()
    actor.must_change_password = False
    actor.save(update_fields=["password", "must_change_password"])
    ledger.record(Action.PASSWORD_CHANGED, actor=actor, subject=actor, details={"how": "dropped"})
