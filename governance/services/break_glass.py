"""Emergency access: opened by a named person with a reason, alarmed at once, over by itself, reviewed by someone else.

What it gives is in `policy.BREAK_GLASS`; `access` gives it, and only within a request whose boundary records every use.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from governance.actions import Action
from governance.models import BreakGlass, LedgerEntry, RoleAssignment, User
from governance.policy import GlassLevel, Permission, Role
from governance.services import access, ledger

logger = logging.getLogger(__name__)

SHORTEST_REASON = 10


class Invalid(ValueError):
    """What was given does not fit; the message says why and `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


@transaction.atomic
def open(*, actor: User, level: GlassLevel | str, reason: str, hours: int, team=None) -> BreakGlass:
    """Give `actor` emergency access in the team (or everywhere) for so many hours; once committed, mail who must know.

    Raises Denied for who may not, or comes with a token; Invalid for a missing reason, too long a time, an unknown
    level, or where such an access is open already.
    """
    if actor.is_service:
        raise access.Denied("Emergency access belongs to a named person, not to the system.", code="service_account")
    if getattr(actor, "token", None) is not None:
        raise access.Denied(
            "Emergency access is opened by a person who signed in, never with a token.", code="not_by_token"
        )
    access.require(actor, Permission.BREAK_GLASS_OPEN)
    if level not in set(GlassLevel):
        raise Invalid(f"There is no level “{level}”; choose from {', '.join(GlassLevel)}.", field="level")
    most = settings.BREAK_GLASS_MAX_HOURS
    if not 1 <= hours <= most:
        raise Invalid(f"Emergency access lasts from 1 to {most} hours; {hours} is outside.", field="hours")
    reason = reason.strip()
    if len(reason) < SHORTEST_REASON:
        raise Invalid("Say in a sentence what the emergency is; whoever reviews it will read this.", field="reason")
    scope_id = team.pk if team is not None else None
    # Two presses at once must not open two: the second waits for the first and then finds it.
    User.objects.select_for_update().get(pk=actor.pk)
    if BreakGlass.objects.live().filter(person=actor, scope_id=scope_id).exists():
        raise Invalid("You have such an access open already; end it before you open another.", field="")
    now = timezone.now()
    glass = BreakGlass.objects.create(
        person=actor,
        level=GlassLevel(level).value,
        scope_id=scope_id,
        reason=reason,
        opened_at=now,
        expires_at=now + timedelta(hours=hours),
    )
    ledger.record(
        Action.BREAK_GLASS_OPENED,
        actor=actor,
        subject=glass,
        details={"level": glass.level, "until": glass.expires_at},
        texts={"reason": reason},
        scope_id=scope_id,
    )
    access.forget(actor)
    transaction.on_commit(lambda: _alarm(glass, team), robust=True)
    return glass


@transaction.atomic
def end(*, actor: User, glass: BreakGlass) -> BreakGlass:
    """End it at once: one's own, or anybody's for who reviews emergencies, manages people, or the members of the team.

    One that is over already stays as it is. Raises Denied.
    """
    glass = BreakGlass.objects.select_for_update().get(pk=glass.pk)
    if actor.pk != glass.person_id and not access.allows(actor, Permission.BREAK_GLASS_REVIEW):
        access.require(actor, Permission.MEMBER_MANAGE, _Place(glass.scope_id) if glass.scope_id else None)
    if not glass.is_live:
        return glass
    glass.ended_at, glass.ended_by = timezone.now(), actor
    glass.save(update_fields=["ended_at", "ended_by"])
    ledger.record(Action.BREAK_GLASS_ENDED, actor=actor, subject=glass, scope_id=glass.scope_id)
    access.forget(actor)
    return glass


@transaction.atomic
def review(*, actor: User, glass: BreakGlass, verdict: str, note: str) -> BreakGlass:
    """Say afterwards whether it was justified. Raises Denied for one's own, while it is open, or twice; Invalid."""
    access.require(actor, Permission.BREAK_GLASS_REVIEW)
    glass = BreakGlass.objects.select_for_update().get(pk=glass.pk)
    if glass.person_id == actor.pk:
        raise access.Denied(
            "You cannot review your own emergency access; somebody else has to.", code="own_access", subject=glass
        )
    if glass.is_live:
        raise access.Denied("It is still open; end it, or wait until it is over.", code="closed", subject=glass)
    if glass.reviewed_at is not None:
        raise access.Denied("It has been reviewed already.", code="closed", subject=glass)
    if verdict not in set(BreakGlass.Verdict):
        raise Invalid(f"Choose one of {', '.join(BreakGlass.Verdict)}.", field="verdict")
    if not note.strip():
        raise Invalid("Say what you looked at and why you think so.", field="note")
    glass.reviewed_by, glass.reviewed_at = actor, timezone.now()
    glass.verdict, glass.review_note = BreakGlass.Verdict(verdict).value, note.strip()
    glass.save(update_fields=["reviewed_by", "reviewed_at", "verdict", "review_note"])
    ledger.record(
        Action.BREAK_GLASS_REVIEWED,
        actor=actor,
        subject=glass,
        details={"verdict": glass.verdict, "person": str(glass.person.ledger_id)},
        texts={"note": glass.review_note},
        scope_id=glass.scope_id,
    )
    return glass


@transaction.atomic
def note_use(*, actor: User, uses: Collection[tuple[int, str]], method: str, path: str) -> None:
    """Record that a request went through only because of emergency access; one entry for each access that it relied on.

    Called by the boundary before the answer leaves: where this fails, so does the request.
    """
    for glass in BreakGlass.objects.filter(pk__in={pk for pk, _ in uses}).order_by("pk"):
        ledger.record(
            Action.BREAK_GLASS_USED,
            actor=actor,
            subject=glass,
            details={
                "method": method,
                "path": path[:300],
                "permissions": sorted({permission for pk, permission in uses if pk == glass.pk}),
            },
            scope_id=glass.scope_id,
        )


@dataclass(frozen=True)
class Line:
    """One entry about an emergency access, with the request that relied on it where there was one."""

    entry: LedgerEntry
    method: str
    path: str
    permissions: list[str]


def history(entries: Iterable[LedgerEntry]) -> list[Line]:
    """Return the entries with what they say of the requests; each costs reading its bytes, so give a page of them."""
    found = []
    for entry in entries:
        details = ledger.body(entry)["details"]
        found.append(
            Line(entry, details.get("method", ""), details.get("path", ""), list(details.get("permissions", ())))
        )
    return found


class _Place:
    """Stands for a team of which only the id is at hand."""

    def __init__(self, scope_id: int):
        self.scope_id = scope_id


def to_alarm(glass: BreakGlass) -> list[str]:
    """Return the addresses of who must know: auditors, administrators and, where it is about a team, its owners."""
    wanted = Q(scope_id=None, role__in=[Role.AUDITOR.value, Role.ADMINISTRATOR.value])
    if glass.scope_id is not None:
        wanted |= Q(scope_id=glass.scope_id, role=Role.TEAM_OWNER.value)
    held = RoleAssignment.objects.live().filter(wanted)
    people = User.objects.people().filter(is_active=True, pk__in=held.values("user_id"))
    return list(people.order_by("email").values_list("email", flat=True))


def _alarm(glass: BreakGlass, team) -> None:
    where = f"in the team {team}" if team is not None else "in the whole organisation"
    subject = f"Emergency access opened by {glass.person}"
    body = (
        f"{glass.person} ({glass.person.email}) opened emergency access {where}: {glass.get_level_display().lower()}, "
        f"until {glass.expires_at:%Y-%m-%d %H:%M} UTC.\n\n"
        f"The reason given: {glass.reason}\n\n"
        f"Every use is recorded. Look at it, end it, or review it afterwards: "
        f"{settings.BASE_URL}{glass.get_absolute_url()}\n"
    )
    addresses = to_alarm(glass)
    try:
        # One message each: who else was told is nobody's business.
        messages = [EmailMessage(subject.replace("\n", " "), body, to=[address]) for address in addresses]
        get_connection().send_messages(messages)
    except OSError:
        # The access is open and recorded, and pages show it: a mail server that is down must not hide the reason.
        logger.exception(
            "The alarm about emergency access %s could not be mailed to %s people.", glass.pk, len(addresses)
        )
