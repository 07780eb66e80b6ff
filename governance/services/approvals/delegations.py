"""Delegations: a reviewer hands their duty to somebody for a time. It widens nothing and is not handed on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ReviewDelegation, RoleAssignment, User
from governance.policy import MAX_DELEGATION_DAYS, NEVER_DELEGATES, REVIEWER_ROLES, Permission, Role
from governance.services import access, ledger, roles
from governance.services.approvals.refusals import Closed, Invalid


@transaction.atomic
def delegate(*, actor: User, delegate: User, ends_at: datetime, reason: str = "") -> ReviewDelegation:
    """Let `delegate` do the actor's reviews from now until `ends_at`, on their behalf.

    The delegate may read what reviewers read for that time. Raises Denied for who has no duty of their own (what was
    delegated is not handed on), Invalid for the person or the date.
    """
    access.require(actor, Permission.REVIEW_DECIDE)
    if not access.roles_of(actor) & REVIEWER_ROLES:
        raise access.Denied(
            "Only a reviewer can delegate. What somebody delegated to you cannot be handed on: tell them.",
            code="not_a_reviewer",
        )
    if delegate.pk == actor.pk:
        raise Invalid("Choose somebody else than yourself.", field="delegate")
    if delegate.is_service or not delegate.is_active:
        raise Invalid(f"{delegate} has no active account.", field="delegate")
    barred = RoleAssignment.objects.live().filter(user=delegate, role__in=[role.value for role in NEVER_DELEGATES])
    if held := barred.first():
        raise Invalid(
            f"{delegate} is {held.get_role_display().lower()} and so has no say over approvals. Choose somebody else.",
            field="delegate",
        )
    now = timezone.now()
    if ends_at <= now:
        raise Invalid("The end date is in the past.", field="ends_at")
    if ends_at > now + timedelta(days=MAX_DELEGATION_DAYS + 1):
        raise Invalid(f"At most {MAX_DELEGATION_DAYS} days; delegate again when they are over.", field="ends_at")
    if ReviewDelegation.objects.live().filter(delegator=actor, delegate=delegate).exists():
        raise Invalid(f"{delegate} stands in for you already; end that first.", field="delegate")
    made = ReviewDelegation.objects.create(
        delegator=actor, delegate=delegate, ends_at=ends_at, reason=reason.strip()[:300], starts_at=now, created_at=now
    )
    _follow(delegate)
    ledger.record(
        Action.REVIEW_DELEGATED,
        actor=actor,
        subject=made,
        details={"delegate": str(delegate.ledger_id), "until": ends_at},
        texts={"reason": made.reason},
    )
    return made


@transaction.atomic
def end(*, actor: User, delegation: ReviewDelegation) -> ReviewDelegation:
    """End a delegation at once. Raises Denied for who is on neither side and does not look after people, or Closed."""
    delegation = ReviewDelegation.objects.select_for_update().get(pk=delegation.pk)
    if actor.pk not in {delegation.delegator_id, delegation.delegate_id}:
        access.require(actor, Permission.PERSON_MANAGE)
    access.require_token(actor, Permission.REVIEW_DECIDE)
    now = timezone.now()
    if delegation.ends_at <= now:
        raise Closed("This delegation has ended already.", code="ended", subject=delegation)
    delegation.ends_at = now
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
