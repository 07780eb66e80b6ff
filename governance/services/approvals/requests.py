"""Requests: put before a gate, talked about, withdrawn, and voided when what they are about changes or ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalComment, ApprovalInvolvement, ApprovalRequest, ApprovalStep, User
from governance.policy import GATES, TIERS, Gate, Permission, RiskTier, reviewer_roles
from governance.proofs import canonical
from governance.services import access, ledger
from governance.services.approvals import effects, materials
from governance.services.approvals.refusals import Closed, Invalid, NotReady

State = ApprovalRequest.State


@transaction.atomic
def request(*, actor: User, gate: Gate, subject, note: str = "") -> ApprovalRequest:
    """Put the subject before the gate. Raises Denied, NotReady (with what is missing), or Closed if already asked.

    Who has to agree, by when, and who is excluded is read from the policy now and kept with the request.
    """
    access.require(actor, Permission.REVIEW_REQUEST, subject)
    checklist = subject.approval_checklist(gate)
    missing = [check for check in checklist if not check.met]
    if missing:
        raise NotReady(
            "This cannot be reviewed yet: " + "; ".join(check.label for check in missing) + ".",
            code="not_ready",
            missing=[f"{check.label}: {check.advice}" if check.advice else check.label for check in missing],
            subject=subject,
        )
    rule, tier = GATES[gate], RiskTier(subject.approval_tier(gate))
    # One reading of the material gives both the digest and what is shown, so that they cannot disagree.
    material = canonical.plain(subject.approval_material(gate))
    digest = materials.digest(gate, subject, material, rule.immaterial)
    waiting = Closed("This is already waiting for review.", code="already_requested", subject=subject)
    # A reviewer may be deciding the pending request at this moment; the lock makes one of the two wait.
    pending = ApprovalRequest.objects.select_for_update().about(subject).open().filter(gate=gate.value).first()
    if pending is not None:
        if pending.digest == digest:
            raise waiting
        _lapse(actor, pending, material)
    elif _approved_as_it_is(gate, subject, digest):
        raise Closed("This is already approved exactly as it is now.", code="already_approved", subject=subject)
    now = timezone.now()
    parts: dict[int, materials.Involved] = {}
    for part in subject.approval_involved(gate):
        if part.kind in rule.excluded:
            parts.setdefault(part.user_id, part)
    steps: list[dict[str, Any]] = [
        {
            "key": step.key,
            "label": step.label,
            "roles": [role.value for role in reviewer_roles(step.approvers)],
            "quorum": step.quorum,
        }
        for step in rule.steps[tier]
    ]
    try:
        with transaction.atomic():
            asked = ApprovalRequest.objects.create(
                gate=gate.value,
                subject=subject,
                subject_label=subject.approval_title(gate)[:300],
                scope_id=access.scope_id_of(subject),
                digest=digest,
                snapshot={
                    "material": material,
                    # A JSON column of PostgreSQL forgets the order of keys; a list keeps it.
                    "order": [part for part, _text in materials.flatten(material)],
                    "immaterial": sorted(rule.immaterial & set(material)),
                    "checklist": [check.as_dict() for check in checklist],
                    "steps": steps,
                    "involved": {str(pk): part.sentence for pk, part in parts.items()},
                },
                requester=actor,
                note=note,
                requested_at=now,
                tier=tier.value,
                due_at=now + timedelta(days=TIERS[tier].due_days),
                compared_with=materials.last_approved(subject, gate),
            )
    except IntegrityError as error:
        raise waiting from error
    # The database keeps to what is in these rows, whoever writes to it.
    ApprovalStep.objects.bulk_create(
        ApprovalStep(
            request=asked,
            key=step["key"],
            label=step["label"],
            roles=f" {' '.join(step['roles'])} ",
            quorum=step["quorum"],
        )
        for step in steps
    )
    ApprovalInvolvement.objects.bulk_create(
        ApprovalInvolvement(request=asked, user_id=pk, kind=part.kind.value, sentence=part.sentence[:300])
        for pk, part in parts.items()
    )
    ledger.record(
        Action.APPROVAL_REQUESTED,
        actor=actor,
        subject=asked,
        digest=digest,
        details={
            "gate": gate.value,
            "subject": materials.address(subject),
            "tier": tier.value,
            "steps": [{"key": step["key"], "roles": step["roles"], "quorum": step["quorum"]} for step in steps],
            "excluded": len(parts),
        },
        texts={"note": note},
        scope_id=asked.scope_id,
    )
    return asked


def _approved_as_it_is(gate: Gate, subject, digest: str) -> bool:
    latest = ApprovalRequest.objects.about(subject).filter(gate=gate.value).order_by("-requested_at", "-pk").first()
    if latest is None or latest.state != State.APPROVED or latest.digest != digest:
        return False
    return latest.expires_at is None or latest.expires_at > timezone.now()


@transaction.atomic
def comment(*, actor: User, request: ApprovalRequest, text: str, part: str = "") -> ApprovalComment:
    """Say something about a request, or about one part of it. Raises Denied, or Invalid for an empty text."""
    access.require(actor, Permission.REVIEW_COMMENT, request)
    if not text.strip():
        raise Invalid("Write something first; the comment is empty.", field="text")
    if part and part not in dict(materials.parts(request)):
        raise Invalid(f"The material has no part “{part}”.", field="part")
    said = ApprovalComment.objects.create(request=request, author=actor, text=text.strip(), part=part)
    ledger.record(
        Action.APPROVAL_COMMENTED,
        actor=actor,
        subject=request,
        details={"comment": said.pk, "part": part},
        texts={"text": said.text},
        scope_id=request.scope_id,
    )
    return said


@transaction.atomic
def withdraw(*, actor: User, request: ApprovalRequest) -> ApprovalRequest:
    """Take a request back. Raises Denied unless the actor asked for it, Closed where it no longer waits."""
    request = ApprovalRequest.objects.select_for_update().get(pk=request.pk)
    access.require(actor, Permission.REVIEW_REQUEST, request)
    if actor.pk != request.requester_id:
        raise access.Denied("Only the person who asked can withdraw the request.", code="not_yours", subject=request)
    if request.state != State.OPEN:
        raise Closed(f"This request is closed: {request.get_state_display().lower()}.", code="closed", subject=request)
    close(request, State.WITHDRAWN, "Withdrawn by the requester.")
    ledger.record(
        Action.APPROVAL_WITHDRAWN, actor=actor, subject=request, digest=request.digest, scope_id=request.scope_id
    )
    effects.closed(actor, request)
    return request


@transaction.atomic
def lapse_changed(*, actor: User, subject) -> list[ApprovalRequest]:
    """Void every open or approved request about the subject of which a part that binds is no longer what was shown.

    Called, in the same transaction, by whatever changed the subject; returns the requests that lapsed.
    """
    lapsed = []
    for request in (
        ApprovalRequest.objects.select_for_update()
        .about(subject)
        .filter(state__in=[State.OPEN, State.APPROVED])
        .order_by("pk")
    ):
        material = subject.approval_material(Gate(request.gate))
        if materials.digest_for(request, subject, material) != request.digest:
            _lapse(actor, request, material)
            lapsed.append(request)
    return lapsed


@transaction.atomic
def end(*, actor: User, gate: Gate, subject, because: str) -> list[ApprovalRequest]:
    """Void every open or approved request about the subject at this gate, since its work was stopped or reopened.

    Called, in the same transaction, by the service that stops it, which has checked the right to; returns what lapsed.
    """
    ended = list(
        ApprovalRequest.objects.select_for_update()
        .about(subject)
        .filter(gate=gate.value, state__in=[State.OPEN, State.APPROVED])
        .order_by("pk")
    )
    for request in ended:
        void(actor, request, because, {"stopped": True})
    return ended


def _lapse(actor: User, request: ApprovalRequest, material: dict) -> None:
    changed = materials.compare(
        request.snapshot["material"], canonical.plain(material), materials.immaterial_of(request)
    )
    parts = [d.part for d in changed if d.material]
    void(actor, request, f"Changed after it was shown: {', '.join(parts)}.", {"parts": parts[:100]})


def void(actor: User, request: ApprovalRequest, because: str, details: dict) -> None:
    """Let a locked request lapse, record it, and let follow what follows. For the services of this package."""
    close(request, State.LAPSED, because)
    ledger.record(
        Action.APPROVAL_LAPSED,
        actor=actor,
        subject=request,
        digest=request.digest,
        details=details,
        scope_id=request.scope_id,
    )
    effects.closed(actor, request)


def close(request: ApprovalRequest, state: str, because: str, *more: str) -> None:
    """Write the state in which a locked request ends, and `more` columns with it. For the services of this package."""
    request.state = state
    request.closed_at = timezone.now()
    request.closed_because = because[:500]
    request.save(update_fields=["state", "closed_at", "closed_because", *more])
