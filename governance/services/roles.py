"""Roles granted, revoked and expired, and single objects shared; guardian's rows follow through `access`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.interfaces.paging import CappedCount
from governance.models import RoleAssignment, Share, User
from governance.policy import (
    CONFLICTS,
    ORGANISATION_ROLES,
    REVIEWER_ROLES,
    ROLE_PERMISSIONS,
    SHAREABLE,
    Conflict,
    Permission,
    Role,
)
from governance.services import access, ledger


class Invalid(ValueError):
    """The role, place or date does not fit; the message says what does and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Effect:
    """What giving a role would do: what is new, what is held already, what will be seen, what is in the way.

    `sees` is (name of the kind of thing, how many, at most CappedCount's cap) of what the role newly shows.
    """

    new: list[str]
    already: list[str]
    sees: list[tuple[str, int]]
    conflicts: list[Conflict]

    @property
    def refused(self) -> bool:
        """Return whether the role cannot be given at all."""
        return any(conflict.refused for conflict in self.conflicts)


def effect(*, user: User, role: Role | str, team=None) -> Effect:
    """Return what giving `user` the role would change, without doing it. Costs two queries."""
    role = Role(role)
    held = list(RoleAssignment.objects.live().filter(user=user))
    scope_id = team.pk if team is not None else None
    has = set().union(*(ROLE_PERMISSIONS[Role(h.role)] for h in held if h.scope_id in {None, scope_id}))
    gives = ROLE_PERMISSIONS[role]
    seen = {}
    model: Any
    for model in apps.get_models():
        permission = getattr(model, "SEEN_WITH", None)
        if permission is not None and permission in gives - has:
            rows = model.objects.all()
            if scope_id is not None:
                rows = rows.filter(**{"pk" if model is access.scope_model() else "team_id": scope_id})
            seen[str(model._meta.verbose_name_plural)] = CappedCount(rows)
    counted = User.objects.filter(pk=user.pk).values(**{f"n{i}": count for i, count in enumerate(seen.values())}).get()
    return Effect(
        new=sorted(permission.value for permission in gives - has),
        already=sorted(permission.value for permission in gives & has),
        sees=list(zip(seen, counted.values(), strict=True)) if seen else [],
        conflicts=conflicts({Role(h.role) for h in held}, role),
    )


def conflicts(held: set[Role], role: Role) -> list[Conflict]:
    """Return the conflicts that `role` would have with roles held already; one that is refused comes first."""
    found = [
        conflict
        for conflict in CONFLICTS
        if (role in conflict.one and held & conflict.other - {role})
        or (role in conflict.other and held & conflict.one - {role})
    ]
    return sorted(found, key=lambda conflict: not conflict.refused)


@transaction.atomic
def grant(
    *, actor: User, user: User, role: Role | str, team=None, expires_at: datetime | None = None
) -> RoleAssignment:
    """Give `user` the role in `team` (or in the organisation) and return the assignment, also if it was there.

    Raises Denied without member.manage in the team (person.manage for the organisation) and for a role that conflicts
    with one they hold; Invalid for a role that does not belong there or a guest without an end date.
    """
    if role not in set(Role):
        raise Invalid(f"There is no role “{role}”; choose from {', '.join(Role)}.", field="role")
    role = Role(role)
    if role is Role.REVIEW_DELEGATE and not actor.is_service:
        raise Invalid("A reviewer delegates their duty themselves, on the page of their account.", field="role")
    if role in ORGANISATION_ROLES:
        if team is not None:
            raise Invalid(f"“{role.value}” is a role in the whole organisation, not in one team.", field="team")
        access.require(actor, Permission.PERSON_MANAGE)
        if user.pk == actor.pk and role in REVIEWER_ROLES:
            raise access.Denied(
                "You cannot make yourself a reviewer; another administrator has to.", code="own_role", subject=user
            )
    else:
        if team is None:
            raise Invalid(f"“{role.value}” is a role in one team: say which.", field="team")
        access.require(actor, Permission.MEMBER_MANAGE, team)
    if user.is_service or not user.is_active:
        raise Invalid(f"{user} has no active account; activate it first.", field="user")
    if role is Role.GUEST and expires_at is None:
        raise Invalid("A guest needs an end date.", field="expires_at")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The end date is in the past.", field="expires_at")
    # Two grants at once must not each miss the other's role.
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    held = {Role(held) for held in RoleAssignment.objects.live().filter(user=user).values_list("role", flat=True)}
    for conflict in conflicts(held, role):
        if conflict.refused:
            name = role.value.replace("_", " ")
            raise access.Denied(
                f"{user} cannot be {name} with the roles they hold. {conflict.reason} Take the other role away first.",
                code="conflicting_roles",
                subject=user,
            )
    assignment, created = RoleAssignment.objects.get_or_create(
        user=user,
        role=role.value,
        scope_id=team.pk if team else None,
        defaults={"granted_by": actor, "expires_at": expires_at},
    )
    if not created and assignment.expires_at != expires_at:
        assignment.expires_at = expires_at
        assignment.save(update_fields=["expires_at"])
        created = True
    if team is not None:
        access.sync_team(user, team.pk)
    access.forget(user)
    if created:
        ledger.record(
            Action.ROLE_GRANTED,
            actor=actor,
            subject=assignment,
            details={"person": str(user.ledger_id), "role": role.value, "until": expires_at},
            scope_id=team.pk if team else None,
        )
    return assignment


@transaction.atomic
def revoke(*, actor: User, assignment: RoleAssignment) -> None:
    """Take a role away at once. Raises Denied."""
    team = access.scope_model().objects.get(pk=assignment.scope_id) if assignment.scope_id else None
    access.require(actor, Permission.MEMBER_MANAGE if team else Permission.PERSON_MANAGE, team)
    if assignment.role == Role.ADMINISTRATOR:
        keep_an_administrator(without=assignment.user)
    _remove(actor, assignment, Action.ROLE_REVOKED)


def keep_an_administrator(*, without: User) -> None:
    """Raise Denied where nobody but this person could look after people any more: no page could undo that."""
    others = (
        RoleAssignment.objects.select_for_update()
        .filter(role=Role.ADMINISTRATOR.value, expires_at=None, user__is_active=True)
        .exclude(user=without)
    )
    if not list(others.values_list("pk", flat=True)):
        raise access.Denied(
            f"{without} is the last administrator without an end date; make someone else an administrator first.",
            code="last_administrator",
        )


@transaction.atomic
def expire(*, actor: User) -> int:
    """Remove every assignment and share whose end date has passed; return how many. For the scheduler."""
    access.require(actor, Permission.PERSON_MANAGE)
    now = timezone.now()
    count = 0
    for assignment in RoleAssignment.objects.filter(expires_at__lte=now).select_related("user"):
        _remove(actor, assignment, Action.ROLE_EXPIRED)
        count += 1
    for share in Share.objects.filter(expires_at__lte=now).select_related("user", "content_type"):
        _unshare(actor, share)
        count += 1
    return count


def _remove(actor: User, assignment: RoleAssignment, action: Action) -> None:
    user, scope_id = assignment.user, assignment.scope_id
    ledger.record(
        action,
        actor=actor,
        subject=assignment,
        details={"person": str(user.ledger_id), "role": assignment.role},
        scope_id=scope_id,
    )
    assignment.delete()
    if scope_id is not None:
        access.sync_team(user, scope_id)
    access.forget(user)


_SHARE_RIGHT = {
    "projects.dataset": Permission.DATASET_SHARE,
    "training.registeredmodel": Permission.MODEL_SHARE,
}


@transaction.atomic
def share(
    *, actor: User, user: User, permission: Permission | str, subject, purpose: str, expires_at: datetime
) -> Share:
    """Open one object to one person until a date. Raises Denied, or Invalid for what cannot be shared."""
    if permission not in set(Permission):
        raise Invalid(f"There is no permission “{permission}”.", field="permission")
    permission = Permission(permission)
    label = subject._meta.label_lower
    if permission not in SHAREABLE.get(label, ()):
        raise Invalid(
            f"“{permission.value}” cannot be given on a single {subject._meta.verbose_name}.", field="permission"
        )
    access.require(actor, _SHARE_RIGHT[label], subject)
    if user.is_service or not user.is_active:
        raise Invalid(f"{user} has no active account.", field="user")
    if expires_at <= timezone.now():
        raise Invalid("The end date is in the past.", field="expires_at")
    if not purpose.strip():
        raise Invalid("Say what the share is for; the reviewer and the auditor will read it.", field="purpose")
    row, _created = Share.objects.update_or_create(
        user=user,
        permission=permission.value,
        content_type=ContentType.objects.get_for_model(subject),
        object_id=subject.pk,
        defaults={
            "purpose": purpose.strip()[:300],
            "granted_by": actor,
            "expires_at": expires_at,
            "granted_at": timezone.now(),
            "scope_id": access.scope_id_of(subject),
        },
    )
    access.grant_object(user, permission, subject)
    ledger.record(
        Action.OBJECT_SHARED,
        actor=actor,
        subject=subject,
        details={"person": str(user.ledger_id), "permission": permission.value, "until": expires_at},
        texts={"purpose": purpose},
    )
    return row


@transaction.atomic
def unshare(*, actor: User, share: Share) -> None:
    """End a share at once. Raises Denied."""
    if share.subject is None:
        access.require(actor, Permission.PERSON_MANAGE)
    else:
        access.require(actor, _SHARE_RIGHT[share.subject._meta.label_lower], share.subject)
    _unshare(actor, share)


def _unshare(actor: User, share: Share) -> None:
    subject = share.subject
    if subject is not None:
        access.revoke_object(share.user, Permission(share.permission), subject)
        ledger.record(
            Action.OBJECT_UNSHARED,
            actor=actor,
            subject=subject,
            details={"person": str(share.user.ledger_id), "permission": share.permission},
        )
    share.delete()
