"""Decisions: a reviewer's verdict, what follows from it, the conditions that come with it, and taking it back."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalCondition, ApprovalRequest, ApprovalStep, Decision, User
from governance.policy import TIERS, RiskTier
from governance.services import access, ledger
from governance.services.approvals import effects, materials, requests, reviewers
from governance.services.approvals.refusals import Closed, Invalid, Stale

State = ApprovalRequest.State
Verdict = Decision.Verdict

_ACTIONS = {
    Verdict.APPROVE: Action.APPROVAL_APPROVED,
    Verdict.REQUEST_CHANGES: Action.APPROVAL_CHANGES_REQUESTED,
    Verdict.REJECT: Action.APPROVAL_REJECTED,
}
_REFUSED = {
    Verdict.REQUEST_CHANGES: (State.CHANGES_REQUESTED, "The reviewer asked for changes."),
    Verdict.REJECT: (State.REJECTED, "The reviewer rejected it."),
}


@transaction.atomic
def decide(
    *,
    actor: User,
    request: ApprovalRequest,
    verdict: str,
    digest: str,
    comment: str = "",
    conditions: str = "",
    expires_on: date | None = None,
    step: str = "",
) -> ApprovalRequest:
    """Record one approver's verdict on exactly `digest`; open the gate when everybody whom its steps ask for approved.

    `conditions` holds one condition per line, `expires_on` the last day on which the approval holds; `step` chooses
    where the actor may decide several. Raises Denied (no right, own request, involved), Closed, Stale when the subject
    changed since it was shown, or Invalid for an unknown verdict, a refusal without a comment, or a date in the past.
    """
    # Locking the row makes two reviewers who press at the same time take turns.
    request = ApprovalRequest.objects.select_for_update(of=("self",)).select_related("requester").get(pk=request.pk)
    may = reviewers.say(actor, request)
    if not may.allowed:
        raise may.refusal(request)
    chosen, principal_id = may.choose(step)
    if verdict not in Verdict.values:
        raise Invalid(f"Choose one of {', '.join(Verdict.values)}.", field="verdict")
    verdict = Verdict(verdict)
    if verdict != Verdict.APPROVE and not comment.strip():
        raise Invalid("Say in a comment what has to change.", field="comment")
    if expires_on is not None and expires_on < timezone.localdate():
        raise Invalid("The last day of an approval cannot be in the past.", field="expires_on")
    subject = request.subject
    current = materials.digest_for(request, subject) if subject is not None else ""
    if digest != request.digest or current != request.digest:
        raise Stale(
            "It changed after it was put before you. Reload the page and look at what is different; "
            "the requester has to ask again.",
            code="stale",
            subject=request,
        )
    until = expires_on if verdict == Verdict.APPROVE else None
    try:
        with transaction.atomic():
            decision = Decision.objects.create(
                request=request,
                approver=actor,
                requester_id=request.requester_id,
                step=chosen.key,
                on_behalf_of_id=principal_id,
                verdict=verdict,
                digest=digest,
                comment=comment.strip(),
                conditions=conditions.strip(),
                expires_on=until,
            )
    except IntegrityError as error:
        raise Closed("You have already decided this request.", code="already_decided", subject=request) from error
    if verdict == Verdict.APPROVE:
        lines = [line.strip(" -•\t") for line in conditions.splitlines()]
        ApprovalCondition.objects.bulk_create(
            ApprovalCondition(request=request, decision=decision, text=line) for line in lines if line
        )
    ledger.record(
        _ACTIONS[verdict],
        actor=actor,
        on_behalf_of=decision.on_behalf_of,
        subject=request,
        digest=digest,
        details={
            "gate": request.gate,
            "decision": decision.pk,
            "step": chosen.key,
            "subject": materials.address(subject),
            "until": until.isoformat() if until else "",
        },
        texts={"comment": comment, "conditions": conditions},
        scope_id=request.scope_id,
    )
    if verdict != Verdict.APPROVE:
        requests.close(request, *_REFUSED[verdict])
        effects.closed(actor, request)
    elif chosen.needed == 1:
        ApprovalStep.objects.filter(request=request, key=chosen.key).update(met_at=timezone.now())
        if not request.steps.filter(met_at=None).exists():
            _open(actor, request)
    return request


def _open(actor: User, request: ApprovalRequest) -> None:
    """Write that the gate is open, until when, and let follow what follows."""
    now = timezone.now()
    ends = [_end_of(day) for day in request.decisions.values_list("expires_on", flat=True) if day is not None]
    valid = TIERS[RiskTier(request.tier)].valid_days
    if valid is not None:
        ends.append(now + timedelta(days=valid))
    request.approved_at = now
    request.expires_at = min(ends, default=None)
    requests.close(request, State.APPROVED, "", "approved_at", "expires_at")
    effects.opened(actor, request)


def _end_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time(23, 59, 59)))


@transaction.atomic
def revoke(*, actor: User, request: ApprovalRequest, reason: str) -> ApprovalRequest:
    """Take an approval back at once: the gate is shut from the end of this transaction.

    Raises Denied for who is neither a reviewer nor approved it, Closed where no approval stands, Invalid without a
    reason.
    """
    request = ApprovalRequest.objects.select_for_update().get(pk=request.pk)
    obstacle = reviewers.may_revoke(actor, request)
    if obstacle and request.state != State.APPROVED:
        raise Closed(obstacle, code="closed", subject=request)
    if obstacle:
        raise access.Denied(obstacle, code="not_a_reviewer", subject=request)
    if not reason.strip():
        raise Invalid("Say why, in a sentence: whoever relied on it will read it.", field="reason")
    requests.close(request, State.REVOKED, f"Revoked by {actor}: {reason.strip()}")
    ledger.record(
        Action.APPROVAL_REVOKED,
        actor=actor,
        subject=request,
        digest=request.digest,
        details={"gate": request.gate},
        texts={"reason": reason.strip()},
        scope_id=request.scope_id,
    )
    effects.closed(actor, request)
    return request


@transaction.atomic
def meet(*, actor: User, condition: ApprovalCondition, note: str = "") -> ApprovalCondition:
    """Note that a condition of an approval holds, and how one knows. Raises Denied, or Closed where it was noted."""
    condition = ApprovalCondition.objects.select_for_update().get(pk=condition.pk)
    request = condition.request
    if obstacle := reviewers.may_meet(actor, request):
        raise access.Denied(obstacle, code="not_a_reviewer", subject=request)
    if condition.met_at is not None:
        raise Closed("This condition is marked as met already.", code="already_met", subject=request)
    condition.met_at, condition.met_by, condition.met_note = timezone.now(), actor, note.strip()
    condition.save(update_fields=["met_at", "met_by", "met_note"])
    ledger.record(
        Action.CONDITION_MET,
        actor=actor,
        subject=request,
        digest=request.digest,
        details={"condition": condition.pk, "decision": condition.decision_id},
        texts={"condition": condition.text, "note": condition.met_note},
        scope_id=request.scope_id,
    )
    return condition
