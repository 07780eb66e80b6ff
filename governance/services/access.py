"""Who may do what: the one place that reads roles, guardian's object permissions, shares and token scopes.

A page or an endpoint never decides by itself. It loads objects through `Model.objects.visible_to(user)`, which ends
here, and acts through a service, which calls `require`. Rights come from `governance.policy` alone; a superuser has
none by being one, but that of breaking the glass. What emergency access gives is given only inside `witness()`, whose
holder records it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import Permission as PermissionRow
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db.models import BigIntegerField, F, Q, Value
from django.utils import timezone
from django.utils.functional import cached_property
from guardian.models import UserObjectPermission
from guardian.shortcuts import assign_perm, remove_perm

from governance.models import BreakGlass, RoleAssignment, Share
from governance.policy import (
    BREAK_GLASS,
    ORGANISATION_ROLES,
    ROLE_PERMISSIONS,
    SCOPE_PERMISSIONS,
    SHAREABLE,
    SUPERUSER_PERMISSIONS,
    GlassLevel,
    Permission,
    Role,
    TokenScope,
)


class Denied(PermissionDenied):
    """A refusal that carries its reason; the page, the API and the ledger show the same sentence.

    `code` is a stable word for programs; `missing` lists what would have to be true, each a sentence.
    """

    def __init__(self, reason: str, *, code: str = "denied", missing: list[str] | None = None, subject=None):
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.missing = missing or []
        self.subject = subject


@dataclass(frozen=True)
class Glass:
    """One emergency access that was open when the person's rights were read."""

    pk: int
    level: GlassLevel
    scope_id: int | None
    expires_at: datetime


_uses: ContextVar[set[tuple[int, str]] | None] = ContextVar("uses of emergency access", default=None)


@contextmanager
def witness() -> Iterator[set[tuple[int, str]]]:
    """Let emergency access count within the block and yield what it was used for, as (id of the access, permission).

    Whoever opens the block must record what it yields. Outside of one, as in a worker or a shell, emergency access
    gives nothing: it cannot be used where nobody would write it down.
    """
    uses: set[tuple[int, str]] = set()
    token = _uses.set(uses)
    try:
        yield uses
    finally:
        _uses.reset(token)


class _Grants:
    """What one person holds, read once per request: permissions in the organisation and per team, single shares."""

    def __init__(self, user):
        now = timezone.now()
        self._user = user
        self.organisation: set[str] = set()
        self.roles: set[tuple[str, int | None]] = set()
        self.glass: list[Glass] = []
        self._live: dict[int, set[str]] = {}
        self._lapsed = False
        if not (user.is_authenticated and user.is_active):
            return
        if user.is_superuser:
            self.organisation |= SUPERUSER_PERMISSIONS
        for role, scope_id, expires_at, glass in _held(user, now):
            if glass:
                self.glass.append(Glass(glass, GlassLevel(role), scope_id, expires_at))
                continue
            if expires_at is not None and expires_at <= now:
                self._lapsed = True
                continue
            self.roles.add((role, scope_id))
            if scope_id is None:
                self.organisation |= ROLE_PERMISSIONS[Role(role)]
            else:
                self._live.setdefault(scope_id, set()).update(ROLE_PERMISSIONS[Role(role)])

    @cached_property
    def _guarded(self) -> tuple[dict[int, set[str]], dict[tuple[int, str], set[int]]]:
        """What guardian's rows give, per team and on single objects; read when first asked for."""
        teams: dict[int, set[str]] = {}
        shared: dict[tuple[int, str], set[int]] = {}
        if not (self._user.is_authenticated and self._user.is_active):
            return teams, shared
        places = ContentType.objects.get_for_model(scope_model()).pk
        rows = UserObjectPermission.objects.filter(user=self._user)
        for kind, object_pk, codename in rows.values_list("content_type_id", "object_pk", "permission__codename"):
            if kind == places:
                teams.setdefault(int(object_pk), set()).add(codename)
            else:
                shared.setdefault((kind, codename), set()).add(int(object_pk))
        if self._lapsed:
            # Guardian's rows have no end date: until the sweeper removes them, an assignment that has ended must
            # not count for a second longer.
            teams = {team: held & self._live.get(team, set()) for team, held in teams.items()}
        return teams, _in_force(self._user, shared)

    @property
    def teams(self) -> dict[int, set[str]]:
        """Return the permissions held per team."""
        return self._guarded[0]

    @property
    def shared(self) -> dict[tuple[int, str], set[int]]:
        """Return the ids of shared objects by (content type, permission)."""
        return self._guarded[1]


def _in_force(user, shared: dict[tuple[int, str], set[int]]) -> dict[tuple[int, str], set[int]]:
    """Return what is still shared: guardian's rows have no end date, the shares that they stand for do."""
    if not shared:
        return shared
    live: dict[tuple[int, str], set[int]] = {}
    rows = Share.objects.filter(user=user, expires_at__gt=timezone.now())
    for kind, object_id, permission in rows.values_list("content_type_id", "object_id", "permission"):
        live.setdefault((kind, permission), set()).add(object_id)
    return {key: held & live[key] for key, held in shared.items() if key in live}


def _held(user, now):
    """Return (role, team, end, 0) of each assignment of the person, (level, team, end, id) of each emergency access."""
    number = BigIntegerField()
    rows = RoleAssignment.objects.filter(user=user).order_by()
    assigned = rows.values_list("role", "scope_id", "expires_at", Value(0, output_field=number))
    opened = BreakGlass.objects.filter(person=user, ended_at=None, expires_at__gt=now).order_by()
    # One statement for both: every request asks it.
    return assigned.union(opened.values_list("level", "scope_id", "expires_at", F("pk")), all=True)


def scope_model():
    """Return the model whose rows are the teams that a role can be held in."""
    return apps.get_model(settings.GATEHOUSE_SCOPE_MODEL)


def _grants(user) -> _Grants:
    cached = getattr(user, "_gatehouse_grants", None)
    if cached is None:
        cached = _Grants(user)
        user._gatehouse_grants = cached
    return cached


def forget(user) -> None:
    """Read the person's rights afresh next time; called after their roles change."""
    if hasattr(user, "_gatehouse_grants"):
        del user._gatehouse_grants


def _token_allows(user, permission: Permission, scope_id: int | None) -> bool:
    """A request made with a token is limited to the token's scopes, and to its team where it names one."""
    token = getattr(user, "token", None)
    if token is None:
        return True
    return token_permits(user, permission) and (token.scope_id is None or scope_id == token.scope_id)


def emergency_of(user) -> list[Glass]:
    """Return the emergency accesses of the person that are open now, the longest first; none for who uses a token."""
    if not user.is_authenticated or getattr(user, "token", None) is not None:
        return []
    now = timezone.now()
    return sorted((g for g in _grants(user).glass if g.expires_at > now), key=lambda g: g.expires_at, reverse=True)


def _through_glass(user, permission: Permission, scope_id: int | None) -> bool:
    """Return whether emergency access gives this, and note that it was relied on; nothing where nobody records it."""
    uses = _uses.get()
    if uses is None:
        return False
    for glass in emergency_of(user):
        if glass.scope_id in {None, scope_id} and permission in BREAK_GLASS[glass.level]:
            uses.add((glass.pk, permission.value))
            return True
    return False


def organisation_allows(user, permission: Permission | str) -> bool:
    """Return whether `user` holds the permission in the whole organisation."""
    permission = Permission(permission)
    if permission in _grants(user).organisation and _token_allows(user, permission, None):
        return True
    return _through_glass(user, permission, None)


def _teams(user, permission: Permission) -> set[int]:
    """Return the teams in which the person holds the permission by a role there, or by emergency access to them."""
    found = {
        team
        for team, held in _grants(user).teams.items()
        if permission in held and _token_allows(user, permission, team)
    }
    opened = {glass.scope_id for glass in emergency_of(user) if glass.scope_id is not None} - found
    return found | {team for team in opened if _through_glass(user, permission, team)}


def roles_of(user) -> set[Role]:
    """Return the roles that the person holds in the whole organisation now."""
    return {Role(role) for role, scope_id in _grants(user).roles if scope_id is None}


def scope_ids(user, permission: Permission | str) -> set[int]:
    """Return the ids of the teams in which `user` holds the permission by a team role.

    With a token that is limited to one team this is at most that team, also for what is held in the organisation.
    """
    permission = Permission(permission)
    found = _teams(user, permission)
    token = getattr(user, "token", None)
    if token is not None and token.scope_id is not None and permission in _grants(user).organisation:
        # Held everywhere, carried by a token for one team: there, and nowhere else.
        found |= {token.scope_id} if _token_allows(user, permission, token.scope_id) else set()
    return found


def scope_id_of(subject) -> int | None:
    """Return the id of the team that the subject belongs to; None means the organisation."""
    if subject is None:
        return None
    if isinstance(subject, scope_model()):
        return subject.pk
    return getattr(subject, "scope_id", None)


def allows(user, permission: Permission | str, subject=None) -> bool:
    """Return whether `user` may do this to the subject (a team, something in a team, or None for the organisation)."""
    permission = Permission(permission)
    if not (user.is_authenticated and user.is_active):
        return False
    scope_id = scope_id_of(subject)
    if not _token_allows(user, permission, scope_id):
        return False
    grants = _grants(user)
    if permission in grants.organisation:
        return True
    if scope_id is not None and permission in grants.teams.get(scope_id, ()):
        return True
    if hasattr(subject, "_meta") and subject.pk in _shared_ids(user, permission, type(subject)):
        return True
    return _through_glass(user, permission, scope_id)


def require(actor, permission: Permission | str, subject=None) -> None:
    """Raise Denied with a reason unless `actor` may do this. An actor who is None is a programming error."""
    if actor is None:
        raise TypeError("actor is None; background work acts for a named person")
    permission = Permission(permission)
    if getattr(actor, "is_service", False) or allows(actor, permission, subject):
        return
    token = getattr(actor, "token", None)
    if (
        token is not None
        and token_permits(actor, permission)
        and not _token_allows(actor, permission, scope_id_of(subject))
    ):
        raise Denied(
            "This token is limited to one team, and this is outside of it. Create a token without that limit.",
            code="token_team",
            subject=subject,
        )
    if token is not None and not token_permits(actor, permission):
        raise Denied(
            f"This token's scopes ({', '.join(token.scopes)}) do not include “{permission.value}”. "
            "Create a token with a scope that does.",
            code="token_scope",
            subject=subject,
        )
    roles = [
        role.value.replace("_", " ")
        for role in Role
        if permission in ROLE_PERMISSIONS[role] and (role in ORGANISATION_ROLES or subject is not None)
    ]
    where = " in this team" if scope_id_of(subject) is not None else ""
    source = f"it comes with the role {' or '.join(roles)}" if roles else "no role gives it"
    raise Denied(
        f"You need the permission “{permission.value}”{where}; {source}. Ask the team owner or an administrator.",
        code="missing_permission",
        subject=subject,
    )


def require_somewhere(actor, permission: Permission | str) -> None:
    """Raise Denied for a person who holds the permission nowhere: not in the organisation, a team, or by a share.

    The door of a route: whoever passes it is still asked by the service whether they may do it to this object.
    """
    permission = Permission(permission)
    if getattr(actor, "is_service", False) or organisation_allows(actor, permission) or scope_ids(actor, permission):
        return
    if token_permits(actor, permission) and any(codename == permission for _kind, codename in _grants(actor).shared):
        return
    require(actor, permission)


def require_token(actor, permission: Permission | str, subject=None) -> None:
    """Raise Denied where the actor came with a token that is not made for this; without a token, pass.

    For acts that need no role, such as calling a model that is published to everybody.
    """
    permission = Permission(permission)
    if not _token_allows(actor, permission, scope_id_of(subject)):
        raise Denied(
            f"This token's scopes ({', '.join(actor.token.scopes)}) do not include “{permission.value}”, or it is "
            "limited to another team. Create a token that does.",
            code="token_scope",
            subject=subject,
        )


def visible(
    queryset,
    user,
    permission: Permission | str,
    *,
    scope: str = "team_id",
    own: Q | None = None,
    everywhere: bool = True,
):
    """Return the rows of `queryset` on which `user` holds the permission.

    `scope` is the lookup that leads from a row to its team's id. `own` also selects rows that are the person's by
    themselves (they proposed it, it is about them); like everything else they are limited to a token's scopes and
    team. `everywhere=False` ignores that the permission is held in the whole organisation. Costs no query of its own
    beyond reading the person's rights once per request.
    """
    permission = Permission(permission)
    if not (user.is_authenticated and user.is_active):
        return queryset.none()
    if user.is_service or (everywhere and organisation_allows(user, permission)):
        return queryset
    teams = scope_ids(user, permission) if everywhere else _teams(user, permission)
    token = getattr(user, "token", None)
    rule = Q(**{f"{scope}__in": teams})
    shared = _shared_ids(user, permission, queryset.model)
    if shared:
        rule |= Q(pk__in=shared)
    if own is not None and token_permits(user, permission):
        rule |= own
    if token is not None and token.scope_id is not None:
        rule &= Q(**{scope: token.scope_id})
    return queryset.filter(rule)


def token_permits(user, permission: Permission | str) -> bool:
    """Return whether the request's token (if it was made with one) has a scope that includes the permission."""
    token = getattr(user, "token", None)
    if token is None:
        return True
    return any(Permission(permission) in SCOPE_PERMISSIONS[TokenScope(scope)] for scope in token.scopes)


def _shared_ids(user, permission: Permission, model) -> set[int]:
    """Return the ids of `model` rows that are shared with `user` for this permission, and in force."""
    if permission not in SHAREABLE.get(model._meta.label_lower, ()) or not token_permits(user, permission):
        return set()
    return _grants(user).shared.get((ContentType.objects.get_for_model(model).pk, permission.value), set())


def holders(permission: Permission | str):
    """Return the people who hold the permission in the whole organisation now."""
    from governance.models import User

    roles = [r.value for r in ORGANISATION_ROLES if Permission(permission) in ROLE_PERMISSIONS[r]]
    return User.objects.people().filter(
        is_active=True,
        pk__in=RoleAssignment.objects.live().filter(scope_id=None, role__in=roles).values("user_id"),
    )


def sync_team(user, scope_id: int) -> None:
    """Make guardian's rows on the team equal to what the person's live roles there give."""
    team = scope_model().objects.get(pk=scope_id)
    content_type = ContentType.objects.get_for_model(team)
    wanted: set[str] = set()
    for role in RoleAssignment.objects.live().filter(user=user, scope_id=scope_id).values_list("role", flat=True):
        wanted |= {p.value for p in ROLE_PERMISSIONS[Role(role)]}
    rows = UserObjectPermission.objects.filter(user=user, content_type=content_type, object_pk=str(scope_id))
    held = set(rows.values_list("permission__codename", flat=True))
    if wanted - held:
        # Not assign_perm, which asks the database four times for each of some thirty permissions.
        UserObjectPermission.objects.bulk_create(
            UserObjectPermission(user=user, permission=row, content_type=content_type, object_pk=str(scope_id))
            for row in PermissionRow.objects.filter(content_type=content_type, codename__in=wanted - held).order_by(
                "pk"
            )
        )
    if held - wanted:
        rows.filter(permission__codename__in=held - wanted).delete()
    forget(user)


def grant_object(user, permission: Permission, subject) -> None:
    """Write guardian's row behind a Share."""
    row = PermissionRow.objects.get(content_type=ContentType.objects.get_for_model(subject), codename=permission.value)
    assign_perm(row, user, subject)
    forget(user)


def revoke_object(user, permission: Permission, subject) -> None:
    """Remove guardian's row behind a Share."""
    row = PermissionRow.objects.get(content_type=ContentType.objects.get_for_model(subject), codename=permission.value)
    remove_perm(row, user, subject)
    forget(user)


@dataclass(frozen=True)
class Held:
    """Why a person may see something, since when, by whose hand and until when; `person` is None for everybody.

    `source` is the row that gives it, and None where no row can be taken away: it is theirs, or open to everybody.
    """

    person: Any
    via: str
    words: str
    since: datetime | None = None
    granted_by: Any = None
    until: datetime | None = None
    source: Any = None
    everywhere: bool = False


def reviewable(label: str):
    """Return the model of this label if it is one whose readers can be listed (it says `SEEN_WITH`), else None."""
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        return None
    return model if getattr(model, "SEEN_WITH", None) else None


def who_sees(subject) -> list[Held]:
    """Return everyone who may see the subject now, and why; a person with two reasons is there twice.

    The answer to the same question as `visible_to`, asked the other way round; a test compares the two. Costs three
    queries, and what the subject's own `seen_besides` costs.
    """
    permission = Permission(subject.SEEN_WITH)
    scope_id = scope_id_of(subject)
    giving = [role for role in Role if permission in ROLE_PERMISSIONS[role]]
    everywhere = Q(scope_id=None, role__in=[role.value for role in giving if role in ORGANISATION_ROLES])
    there = Q(scope_id=scope_id, role__in=[role.value for role in giving if role not in ORGANISATION_ROLES])
    rule = everywhere | there if scope_id is not None else everywhere
    active = {"user__is_active": True, "user__is_service": False}
    assigned = RoleAssignment.objects.live().filter(rule, **active).select_related("user", "granted_by")
    found = [
        Held(
            person=row.user,
            via="role",
            words=row.get_role_display(),
            since=row.granted_at,
            granted_by=row.granted_by,
            until=row.expires_at,
            source=row,
            everywhere=row.scope_id is None,
        )
        for row in assigned.order_by("user__email", "scope_id", "role")
    ]
    if permission in SHAREABLE.get(subject._meta.label_lower, ()):
        shared = Share.objects.live().filter(
            content_type=ContentType.objects.get_for_model(subject),
            object_id=subject.pk,
            permission=permission.value,
            **active,
        )
        found += [
            Held(row.user, "share", row.purpose, row.granted_at, row.granted_by, row.expires_at, row)
            for row in shared.select_related("user", "granted_by").order_by("user__email")
        ]
    levels = [level.value for level, held in BREAK_GLASS.items() if permission in held]
    opened = BreakGlass.objects.live().filter(
        Q(scope_id=None) | Q(scope_id=scope_id), level__in=levels, person__is_active=True
    )
    found += [
        Held(
            row.person,
            "emergency",
            row.get_level_display(),
            row.opened_at,
            row.person,
            row.expires_at,
            row,
            row.scope_id is None,
        )
        for row in opened.select_related("person").order_by("person__email")
    ]
    besides = getattr(subject, "seen_besides", None)
    if besides is not None:
        found += [
            Held(person, "own" if person is not None else "everybody", words, since)
            for person, words, since in besides()
            if person is None or person.is_active
        ]
    return found
