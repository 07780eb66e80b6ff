"""Delegations: a reviewer hands their duty to somebody for a time. It widens nothing and is not handed on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from governance.actions import Action
from governance.models import ReviewDelegation, RoleAssignment, User
from governance.policy import MAX_DELEGATION_DAYS, NEVER_DELEGATES, REVIEWER_ROLES, Permission, Role
from governance.services import access, ledger, roles
from governance.services.approvals.refusals import Closed, Invalid

AT_ONCE = 100
"""How many delegations one sweep lets begin; the next sweep goes on."""


@transaction.atomic
def delegate(
    *, actor: User, delegate: User, ends_at: datetime, starts_at: datetime | None = None, reason: str = ""
) -> ReviewDelegation:
    """Let `delegate` do the actor's reviews from `starts_at` (by default now) until `ends_at`, on their behalf.

    The delegate may read what reviewers read for that time; where it begins later, from when the scheduler notices.
    Raises Denied for who has no duty of their own (what was delegated is not handed on), Invalid for the person or the
    dates.
    """
    access.require(actor, Permission.REVIEW_DECIDE)
    if not access.roles_of(actor) & REVIEWER_ROLES:
        raise access.Denied(
            "Only a reviewer can delegate. What somebody delegated to you cannot be handed on: tell them.",
            code="not_a_reviewer",
        )
    if delegate.pk == actor.pk:
        raise Invalid("Choose somebody else than yourself.", field="delegate")
    if obstacle := _obstacle(delegate):
        raise Invalid(obstacle, field="delegate")
    now = timezone.now()
    begins = now if starts_at is None or starts_at <= now else starts_at
    most = timedelta(days=MAX_DELEGATION_DAYS + 1)
    if ends_at <= now:
        raise Invalid("The end date is in the past.", field="ends_at")
    if ends_at <= begins:
        raise Invalid("It would end before it begins.", field="ends_at")
    if begins > now + most:
        raise Invalid(f"It may begin within {MAX_DELEGATION_DAYS} days; plan it when it is nearer.", field="starts_at")
    if ends_at > begins + most:
        raise Invalid(f"At most {MAX_DELEGATION_DAYS} days; delegate again when they are over.", field="ends_at")
    same = ReviewDelegation.objects.filter(delegator=actor, delegate=delegate, ends_at__gt=F("starts_at"))
    if same.filter(starts_at__lt=ends_at, ends_at__gt=begins).exists():
        raise Invalid(f"{delegate} stands in for you in that time already; end that first.", field="delegate")
    made = ReviewDelegation.objects.create(
        delegator=actor,
        delegate=delegate,
        starts_at=begins,
        ends_at=ends_at,
        reason=reason.strip()[:300],
        created_at=now,
        waits=begins > now,
    )
    if not made.waits:
        _follow(delegate)
    ledger.record(
        Action.REVIEW_DELEGATED,
        actor=actor,
        subject=made,
        details={"delegate": str(delegate.ledger_id), "from": begins, "until": ends_at},
        texts={"reason": made.reason},
    )
    return made


def _obstacle(person: User) -> str:
    """Return why nobody can hand this person their duty, or an empty string."""
    if person.is_service or not person.is_active:
        return f"{person} has no active account."
    barred = RoleAssignment.objects.live().filter(user=person, role__in=[role.value for role in NEVER_DELEGATES])
    if held := barred.first():
        return f"{person} is {held.get_role_display().lower()} and so has no say over approvals. Choose somebody else."
    return ""


@transaction.atomic
def begin(*, actor: User) -> int:
    """Give those their role whose time to stand in has come; return how many delegations that were. For the scheduler.

    Who has become somebody that must not decide, or has no account any more, gets none: the delegation ends.
    """
    access.require(actor, Permission.SITE_ADMINISTER)
    waiting = (
        ReviewDelegation.objects.beginning()
        .select_for_update(skip_locked=True, of=("self",))
        .select_related("delegate", "delegator")
        .order_by("pk")
    )
    begun = list(waiting[:AT_ONCE])
    for delegation in begun:
        delegation.waits = False
        obstacle = _obstacle(delegation.delegate)
        if obstacle:
            delegation.ends_at = timezone.now()
        delegation.save(update_fields=["waits", "ends_at"])
        if not obstacle:
            _follow(delegation.delegate)
        ledger.record(
            Action.REVIEW_DELEGATION_ENDED if obstacle else Action.REVIEW_DELEGATION_BEGAN,
            actor=actor,
            on_behalf_of=delegation.delegator,
            subject=delegation,
            details={"delegate": str(delegation.delegate.ledger_id), "delegator": str(delegation.delegator.ledger_id)},
            texts={"because": obstacle},
        )
    return len(begun)


@transaction.atomic
def end(*, actor: User, delegation: ReviewDelegation) -> ReviewDelegation:
    """End a delegation at once, or before it begins.

    Raises Denied for who is on neither side and does not look after people, or Closed.
    """
    delegation = ReviewDelegation.objects.select_for_update().get(pk=delegation.pk)
    if actor.pk not in {delegation.delegator_id, delegation.delegate_id}:
        access.require(actor, Permission.PERSON_MANAGE)
    access.require_token(actor, Permission.REVIEW_DECIDE)
    over = max(timezone.now(), delegation.starts_at)
    if delegation.ends_at <= over:
        raise Closed("This delegation has ended already.", code="ended", subject=delegation)
    # One that has not begun keeps its beginning, which cannot change, and lasts no time.
    delegation.ends_at = over
    delegation.save(update_fields=["ends_at"])
    _follow(delegation.delegate)
    ledger.record(
        Action.REVIEW_DELEGATION_ENDED,
        actor=actor,
        subject=delegation,
        details={"delegate": str(delegation.delegate.ledger_id), "delegator": str(delegation.delegator.ledger_id)},
    )
    return delegation


def _follow(person: User) -> None:
    """Let the person hold the role of a delegate for as long as somebody's duty is in their hands."""
    system = User.objects.system()
    last = ReviewDelegation.objects.live().filter(delegate=person).order_by("-ends_at").first()
    if last is not None:
        roles.grant(actor=system, user=person, role=Role.REVIEW_DELEGATE, expires_at=last.ends_at)
        return
    held = RoleAssignment.objects.filter(user=person, role=Role.REVIEW_DELEGATE.value, scope_id=None).first()
    if held is not None:
        roles.revoke(actor=system, assignment=held)
