"""Approvals: asked for, decided by someone else, bound to the digest of what was shown, void when it changes.

A subject (a use case, a clearance, a publication) offers, for each gate it stands before:

- `approval_title(gate) -> str`, `scope_id`, `get_absolute_url()`;
- `approval_material(gate) -> dict`: everything a reviewer is shown and binds to, in canonical values;
- `approval_checklist(gate) -> list[Check]`: what must be true before it may be asked;
- `approval_predecessor(gate)`: the subject whose last approval this one is compared with (often itself), or None.

`standing` is the one function that says whether a gate is open, and why not; whoever acts asks it when
acting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import Count, Q
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalComment, ApprovalRequest, Decision, User
from governance.policy import GATES, Gate, Permission
from governance.proofs import canonical
from governance.services import access, ledger

State = ApprovalRequest.State
Verdict = Decision.Verdict


@dataclass(frozen=True)
class Check:
    """One thing a gate wants: what it is, whether it is met, and what to do where it is not."""

    label: str
    met: bool
    advice: str = ""
    url: str = ""

    def as_dict(self) -> dict:
        """Return the check as it is kept in a snapshot."""
        return {"label": self.label, "met": self.met, "advice": self.advice, "url": self.url}


@dataclass(frozen=True)
class Standing:
    """Whether the gate is open for the subject as it is now, in one sentence, and by which request."""

    open: bool
    reason: str
    request: ApprovalRequest | None = None


@dataclass(frozen=True)
class Difference:
    """One part of the material that differs between two snapshots; an absent part is an empty string."""

    part: str
    before: str
    after: str


class Invalid(ValueError):
    """What was typed does not fit; `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


class NotReady(access.Denied):
    """The subject cannot be put before the gate yet; `missing` lists what to do."""


class Stale(access.Denied):
    """What the reviewer looked at is no longer what is there."""


class Closed(access.Denied):
    """The request was already decided, withdrawn or has lapsed."""


_effects: dict[Gate, Callable] = {}


def on_approved(gate: Gate, effect: Callable) -> None:
    """Say what happens, in the same transaction, when the gate opens: `effect(actor=..., request=...)`."""
    _effects[gate] = effect


_closings: dict[Gate, Callable] = {}


def on_closed(gate: Gate, effect: Callable) -> None:
    """Say what happens, in the same transaction, when a request ends without opening the gate or its approval lapses.

    `effect(actor=..., request=...)` sees the request in its final state: changes requested, rejected, withdrawn or
    lapsed.
    """
    _closings[gate] = effect


def _closed(actor: User, request: ApprovalRequest) -> None:
    effect = _closings.get(Gate(request.gate))
    if effect is not None:
        effect(actor=actor, request=request)


def digest_of(subject, gate: Gate) -> str:
    """Return the digest of what a reviewer of this subject would be shown now."""
    return _digest(gate, subject, subject.approval_material(gate))


def _digest(gate: Gate, subject, material: dict) -> str:
    return canonical.digest({"gate": gate.value, "subject": _address(subject), "material": material})


def _address(subject) -> str:
    return f"{subject._meta.label_lower}:{subject.pk}"


@transaction.atomic
def request(*, actor: User, gate: Gate, subject, note: str = "") -> ApprovalRequest:
    """Put the subject before the gate. Raises Denied, NotReady (with what is missing), or Closed if already asked."""
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
    # One reading of the material gives both the digest and what is shown, so that they cannot disagree.
    material = canonical.plain(subject.approval_material(gate))
    digest = _digest(gate, subject, material)
    waiting = Closed("This is already waiting for review.", code="already_requested", subject=subject)
    # A reviewer may be deciding the pending request at this moment; the lock makes one of the two wait.
    pending = ApprovalRequest.objects.select_for_update().about(subject).open().filter(gate=gate.value).first()
    if pending is not None:
        if pending.digest == digest:
            raise waiting
        _lapse(actor, pending, material)
    elif _approved_as_it_is(gate, subject, digest):
        raise Closed("This is already approved exactly as it is now.", code="already_approved", subject=subject)
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
                    "order": [part for part, _text in flatten(material)],
                    "checklist": [check.as_dict() for check in checklist],
                },
                requester=actor,
                note=note,
            )
    except IntegrityError as error:
        raise waiting from error
    ledger.record(
        Action.APPROVAL_REQUESTED,
        actor=actor,
        subject=asked,
        digest=digest,
        details={"gate": gate.value, "subject": _address(subject)},
        texts={"note": note},
        scope_id=asked.scope_id,
    )
    return asked


def _approved_as_it_is(gate: Gate, subject, digest: str) -> bool:
    latest = ApprovalRequest.objects.about(subject).filter(gate=gate.value).order_by("-requested_at", "-pk").first()
    return latest is not None and latest.state == State.APPROVED and latest.digest == digest


@transaction.atomic
def decide(
    *, actor: User, request: ApprovalRequest, verdict: str, digest: str, comment: str = "", conditions: str = ""
) -> ApprovalRequest:
    """Record one approver's verdict on exactly `digest`; open the gate when the quorum is reached.

    Raises Denied (no right, or the actor asked for it), Closed, Stale when the subject changed since it was shown, or
    Invalid for an unknown verdict or a refusal without a comment.
    """
    # Locking the row makes two reviewers who press at the same time take turns.
    request = ApprovalRequest.objects.select_for_update().get(pk=request.pk)
    rule = GATES[Gate(request.gate)]
    if actor.is_service:
        raise access.Denied("Only a person can decide.", code="not_a_person", subject=request)
    access.require(actor, rule.approver)
    if actor.pk == request.requester_id:
        raise access.Denied(
            "You asked for this approval, so someone else has to decide it.", code="own_request", subject=request
        )
    if request.state != State.OPEN:
        raise Closed(f"This request is closed: {request.get_state_display().lower()}.", code="closed", subject=request)
    if verdict not in Verdict.values:
        raise Invalid(f"Choose one of {', '.join(Verdict.values)}.", field="verdict")
    verdict = Verdict(verdict)
    if verdict != Verdict.APPROVE and not comment.strip():
        raise Invalid("Say in a comment what has to change.", field="comment")
    current = digest_of(request.subject, Gate(request.gate)) if request.subject is not None else ""
    if digest != request.digest or current != request.digest:
        raise Stale(
            "It changed after it was put before you. Reload the page and look at what is different; "
            "the requester has to ask again.",
            code="stale",
            subject=request,
        )
    try:
        with transaction.atomic():
            decision = Decision.objects.create(
                request=request,
                approver=actor,
                requester_id=request.requester_id,
                verdict=verdict,
                digest=digest,
                comment=comment.strip(),
                conditions=conditions.strip(),
            )
    except IntegrityError as error:
        raise Closed("You have already decided this request.", code="already_decided", subject=request) from error
    action = {
        Verdict.APPROVE: Action.APPROVAL_APPROVED,
        Verdict.REQUEST_CHANGES: Action.APPROVAL_CHANGES_REQUESTED,
        Verdict.REJECT: Action.APPROVAL_REJECTED,
    }[verdict]
    ledger.record(
        action,
        actor=actor,
        subject=request,
        digest=digest,
        details={"gate": request.gate, "decision": decision.pk, "subject": _address(request.subject)},
        texts={"comment": comment, "conditions": conditions},
        scope_id=request.scope_id,
    )
    if verdict == Verdict.REQUEST_CHANGES:
        _close(request, State.CHANGES_REQUESTED, "The reviewer asked for changes.")
        _closed(actor, request)
    elif verdict == Verdict.REJECT:
        _close(request, State.REJECTED, "The reviewer rejected it.")
        _closed(actor, request)
    elif request.decisions.filter(verdict=Verdict.APPROVE).count() >= rule.quorum:
        _close(request, State.APPROVED, "")
        effect = _effects.get(Gate(request.gate))
        if effect is not None:
            effect(actor=actor, request=request)
    return request


@transaction.atomic
def comment(*, actor: User, request: ApprovalRequest, text: str, part: str = "") -> ApprovalComment:
    """Say something about a request, or about one part of it. Raises Denied, or Invalid for an empty text."""
    access.require(actor, Permission.REVIEW_COMMENT, request)
    if not text.strip():
        raise Invalid("Write something first; the comment is empty.", field="text")
    if part and part not in dict(parts(request)):
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
    _close(request, State.WITHDRAWN, "Withdrawn by the requester.")
    ledger.record(
        Action.APPROVAL_WITHDRAWN, actor=actor, subject=request, digest=request.digest, scope_id=request.scope_id
    )
    _closed(actor, request)
    return request


@transaction.atomic
def lapse_changed(*, actor: User, subject) -> list[ApprovalRequest]:
    """Void every open or approved request about the subject whose material is no longer what was shown.

    Called, in the same transaction, by whatever changed the subject; returns the requests that lapsed.
    """
    lapsed = []
    for request in (
        ApprovalRequest.objects.select_for_update()
        .about(subject)
        .filter(state__in=[State.OPEN, State.APPROVED])
        .order_by("pk")
    ):
        gate = Gate(request.gate)
        if digest_of(subject, gate) != request.digest:
            _lapse(actor, request, subject.approval_material(gate))
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
        _void(actor, request, because, {"stopped": True})
    return ended


def _lapse(actor: User, request: ApprovalRequest, material: dict) -> None:
    parts = [d.part for d in compare(request.snapshot["material"], canonical.plain(material))]
    _void(actor, request, f"Changed after it was shown: {', '.join(parts)}.", {"parts": parts[:100]})


def _void(actor: User, request: ApprovalRequest, because: str, details: dict) -> None:
    _close(request, State.LAPSED, because[:500])
    ledger.record(
        Action.APPROVAL_LAPSED,
        actor=actor,
        subject=request,
        digest=request.digest,
        details=details,
        scope_id=request.scope_id,
    )
    _closed(actor, request)


def _close(request: ApprovalRequest, state: str, because: str) -> None:
    request.state = state
    request.closed_at = timezone.now()
    request.closed_because = because
    request.save(update_fields=["state", "closed_at", "closed_because"])


def standing(gate: Gate, subject) -> Standing:
    """Return whether the gate is open for the subject exactly as it is now, with the reason."""
    latest = ApprovalRequest.objects.about(subject).filter(gate=gate.value).order_by("-requested_at", "-pk").first()
    question = GATES[gate].question
    if latest is None:
        return Standing(False, f"Nobody has asked yet: {question}")
    if latest.state == State.OPEN:
        return Standing(False, f"Waiting for review: {question}", latest)
    if latest.state != State.APPROVED:
        because = f" {latest.closed_because}" if latest.closed_because else ""
        return Standing(False, f"{latest.get_state_display()}.{because}", latest)
    if latest.digest != digest_of(subject, gate):
        return Standing(False, "It changed after it was approved; ask for approval again.", latest)
    return Standing(True, "Approved.", latest)


def previous(request: ApprovalRequest) -> ApprovalRequest | None:
    """Return the last approved request that this one is to be compared with, or None."""
    subject = request.subject
    older = subject.approval_predecessor(Gate(request.gate)) if subject is not None else None
    if older is None:
        return None
    return (
        ApprovalRequest.objects.about(older)
        .filter(gate=request.gate, pk__lt=request.pk, state__in=[State.APPROVED, State.LAPSED])
        .annotate(approvals=Count("decisions", filter=Q(decisions__verdict=Verdict.APPROVE)))
        .filter(approvals__gte=GATES[Gate(request.gate)].quorum)
        .select_related("requester")
        .order_by("-pk")
        .first()
    )


def compare(before: dict, after: dict) -> list[Difference]:
    """Return the parts that differ between two materials, in the order of the newer one."""
    old, new = dict(_flatten(before)), dict(_flatten(after))
    parts = [*new, *(part for part in old if part not in new)]
    return [Difference(part, old.get(part, ""), new.get(part, "")) for part in parts if old.get(part) != new.get(part)]


def parts(request: ApprovalRequest) -> list[tuple[str, str]]:
    """Return what was put before the reviewers as (part, text) pairs, in the order in which it was asked."""
    texts = dict(_flatten(request.snapshot["material"]))
    order = request.snapshot.get("order") or list(texts)
    return [(part, texts[part]) for part in order if part in texts]


def differences(before: ApprovalRequest, after: ApprovalRequest) -> list[Difference]:
    """Return the parts that differ between what two requests put before the reviewers, in the newer one's order."""
    found = {d.part: d for d in compare(before.snapshot["material"], after.snapshot["material"])}
    order = [part for part, _text in parts(after)]
    return [found[part] for part in [*order, *(part for part in found if part not in order)] if part in found]


def drift(request: ApprovalRequest) -> list[Difference]:
    """Return what is different now from what the request put before the reviewers; empty where nothing is."""
    if request.subject is None:
        return []
    now = canonical.plain(request.subject.approval_material(Gate(request.gate)))
    found = compare(request.snapshot["material"], now)
    if not found and now != request.snapshot["material"]:
        # Reads alike and is not: a number that became a text, say. The digest differs, so the page has to say so.
        return [Difference("Form of the record", "as it was asked", "another form with the same words")]
    return found


def flatten(material: dict) -> list[tuple[str, str]]:
    """Return the material as (part, text) pairs in order, for a page."""
    return list(_flatten(material))


def _flatten(value, path: str = ""):
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{path} › {key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value, 1):
            yield from _flatten(item, f"{path} › {index}")
    elif isinstance(value, list):
        yield path, "\n".join(_word(item) for item in value)
    else:
        yield path, "" if value == {} else _word(value)


def _word(value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def outstanding(request: ApprovalRequest, *, changed: bool | None = None) -> list[str]:
    """Return what is still missing before the gate opens, each a sentence.

    `changed` says whether the subject differs from what was asked, where the caller knows it already.
    """
    if request.state != State.OPEN:
        return []
    rule = GATES[Gate(request.gate)]
    approved = sum(d.verdict == Verdict.APPROVE for d in request.decisions.all())
    missing = []
    if approved < rule.quorum:
        left = rule.quorum - approved
        noun = "reviewer" if left == 1 else "reviewers"
        missing.append(f"{left} more {noun} other than {request.requester} must approve.")
    if changed is None:
        subject = request.subject
        changed = subject is not None and digest_of(subject, Gate(request.gate)) != request.digest
    if changed:
        missing.append("The subject changed after the request; it must be asked again.")
    return missing
