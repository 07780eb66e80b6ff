"""What time does to approvals: overdue requests are escalated, what has run out lapses, delegations begin.

For the scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.core.mail import send_mass_mail
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import TIERS, Permission
from governance.services import access, ledger
from governance.services.approvals import delegations, requests, reviewers, standings

AT_ONCE = 100
"""How many requests one sweep takes up; the next sweep goes on."""


@transaction.atomic
def sweep(*, actor: User) -> dict[str, int]:
    """Escalate what is overdue, end what has run out, and let planned delegations begin; return how many of each.

    Safe to run in several processes at once, and to repeat.
    """
    access.require(actor, Permission.SITE_ADMINISTER)
    return {"escalated": _escalate(actor), "expired": _expire(actor), "begun": delegations.begin(actor=actor)}


def _escalate(actor: User) -> int:
    now = timezone.now()
    again = Q()
    for tier, rule in TIERS.items():
        again |= Q(tier=tier.value, escalated_at__lte=now - timedelta(days=rule.remind_days))
    overdue = list(
        ApprovalRequest.objects.select_for_update(skip_locked=True, of=("self",))
        .open()
        .filter(Q(escalated_at=None) | again, due_at__lte=now)
        .select_related("requester")
        .prefetch_related("decisions")
        .order_by("due_at", "pk")[:AT_ONCE]
    )
    found = reviewers.bench() if overdue else reviewers.Bench()
    for request in overdue:
        request.escalated_at, request.escalations = now, request.escalations + 1
        request.save(update_fields=["escalated_at", "escalations"])
        told = _able(request, found)
        ledger.record(
            Action.APPROVAL_ESCALATED,
            actor=actor,
            subject=request,
            digest=request.digest,
            details={"gate": request.gate, "tier": request.tier, "time": request.escalations, "told": len(told)},
            scope_id=request.scope_id,
        )
        transaction.on_commit(_mail(request, told), robust=True)
    return len(overdue)


def _able(request: ApprovalRequest, found: reviewers.Bench) -> list[str]:
    """Return the addresses of everybody who could decide the request now, themselves or for somebody."""
    people = {pk for step in reviewers.steps(request, found) for pk in step.people}
    return list(User.objects.filter(pk__in=people, is_active=True).order_by("pk").values_list("email", flat=True))


def _mail(request: ApprovalRequest, addresses: Sequence[str]):
    subject = f"Overdue: {request.subject_label}"
    due = timezone.localtime(request.due_at)
    text = (
        f"{request.question}\n{request.subject_label}\n\nIt should have been decided by {due:%Y-%m-%d}. "
        f"Anybody whom this message reached can decide it:\n{settings.BASE_URL}/reviews/{request.pk}/\n"
    )
    return lambda: send_mass_mail([(subject, text, None, [address]) for address in addresses])


def _expire(actor: User) -> int:
    over = list(
        ApprovalRequest.objects.select_for_update(skip_locked=True)
        .filter(state=ApprovalRequest.State.APPROVED, expires_at__lte=timezone.now())
        .order_by("expires_at", "pk")[:AT_ONCE]
    )
    for request in over:
        requests.void(actor, request, standings.ended(request), {"expired": True})
    return len(over)
