"""Whether a gate is open for a subject as it is now. Whoever acts asks here, when acting, and gets the reason back."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone
from django.utils.formats import date_format

from governance.models import ApprovalRequest
from governance.policy import GATES, Gate
from governance.proofs import canonical
from governance.services.approvals import materials

State = ApprovalRequest.State


@dataclass(frozen=True)
class Standing:
    """Whether the gate is open for the subject as it is now, in one sentence, and by which request."""

    open: bool
    reason: str
    request: ApprovalRequest | None = None


def standing(gate: Gate, subject) -> Standing:
    """Return whether the gate is open for the subject exactly as it is now, with the reason.

    Open means: the newest request was approved by everybody whom its steps ask for (which the database checks when the
    state is written), was not revoked, has not run out, and every part that it binds to is what was shown.
    """
    latest = ApprovalRequest.objects.about(subject).filter(gate=gate.value).order_by("-requested_at", "-pk").first()
    question = GATES[gate].question
    if latest is None:
        return Standing(False, f"Nobody has asked yet: {question}")
    if latest.state == State.OPEN:
        return Standing(False, f"Waiting for review: {question}", latest)
    if latest.state != State.APPROVED:
        because = f" {latest.closed_because}" if latest.closed_because else ""
        return Standing(False, f"{latest.get_state_display()}.{because}", latest)
    if latest.expires_at is not None and latest.expires_at <= timezone.now():
        return Standing(False, ended(latest), latest)
    now = subject.approval_material(gate)
    if latest.digest != materials.digest_for(latest, subject, now):
        changed = materials.compare(latest.snapshot["material"], canonical.plain(now), materials.immaterial_of(latest))
        names = ", ".join(dict.fromkeys(d.part for d in changed if d.material)) or "the form of the record"
        return Standing(False, f"It changed after it was approved ({names}); ask for approval again.", latest)
    return Standing(True, "Approved.", latest)


def stops(request: ApprovalRequest) -> str:
    """Return how the approval ended, "was revoked" or "ran out", where that also stops what is under way; else "".

    Other ends leave it alone: something changed, or its own team stopped or reopened the work. Nor does an approval
    stop anything that ran out after a newer one was given.
    """
    if request.state == State.REVOKED:
        return "was revoked"
    if request.state != State.LAPSED or not request.ran_out:
        return ""
    subject = request.subject
    return "" if subject is not None and standing(Gate(request.gate), subject).open else "ran out"


def ended(request: ApprovalRequest) -> str:
    """Return the sentence that says when an approval ran out."""
    day = date_format(timezone.localtime(request.expires_at), "j F Y")
    return f"Its approval ended on {day}; ask for approval again."
