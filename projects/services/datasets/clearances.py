"""Clearances: the question whether one version may be used for one use case and purpose, and where it stands."""

from __future__ import annotations

from django.db import transaction

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import GATES, Gate, Permission
from governance.services import access, approvals, ledger
from projects.models import DatasetClearance, DatasetVersion, UseCase
from projects.services.fields import Invalid

GATE = Gate.DATASET_USE


class NotCleared(access.Denied):
    """No clearance of the version stands."""


@transaction.atomic
def request_clearance(
    *, actor: User, version: DatasetVersion, use_case: UseCase, purpose: str, note: str = ""
) -> ApprovalRequest:
    """Ask that the version may be used for the use case and purpose; return the request that waits for review.

    A purpose that differs from an earlier one voids what was asked or approved before. Raises Denied, Invalid for the
    purpose or a use case elsewhere, approvals.NotReady with what is missing, approvals.Closed where it already waits.
    """
    dataset = version.dataset
    access.require(actor, Permission.DATASET_CLEAR, dataset)
    if not UseCase.objects.visible_to(actor).filter(pk=use_case.pk).exists():
        raise Invalid("There is no such use case that you may see.", field="use_case")
    if use_case.team_id != dataset.team_id and not access.allows(use_case.owner, Permission.DATASET_VIEW, dataset):
        raise Invalid(
            f"“{use_case.title}” belongs to another team. Share the dataset with its owner, {use_case.owner}, first.",
            field="use_case",
        )
    purpose = purpose.strip()
    if not purpose:
        raise Invalid(
            "Say what the data will be used for; the clearance covers that and nothing else.", field="purpose"
        )
    clearance, created = DatasetClearance.objects.select_for_update().get_or_create(
        version=version, use_case=use_case, defaults={"purpose": purpose, "requested_by": actor}
    )
    if not created and clearance.purpose != purpose:
        clearance.purpose = purpose
        clearance.save(update_fields=["purpose"])
        approvals.lapse_changed(actor=actor, subject=clearance)
    asked = approvals.request(actor=actor, gate=GATE, subject=clearance, note=note)
    ledger.record(
        Action.CLEARANCE_REQUESTED,
        actor=actor,
        subject=clearance,
        digest=asked.digest,
        details={
            "dataset": str(dataset),
            "version": version.number,
            "commit": version.commit.oid if version.commit else "",
            "use_case": use_case.pk,
            "request": asked.pk,
        },
        texts={"purpose": purpose, "note": note},
    )
    return asked


def clearance_standing(*, version: DatasetVersion, use_case: UseCase) -> approvals.Standing:
    """Return whether the version may be used for the use case now, and why not."""
    if version.state == DatasetVersion.State.WITHDRAWN:
        return approvals.Standing(False, "The version was withdrawn.")
    clearance = (
        DatasetClearance.objects.filter(version=version, use_case=use_case)
        .select_related("version__dataset__team", "version__commit", "use_case")
        .first()
    )
    if clearance is None:
        return approvals.Standing(False, f"Nobody has asked yet: {GATES[GATE].question}")
    return approvals.standing(GATE, clearance)


def require_any(actor: User, version: DatasetVersion) -> None:
    """Raise NotCleared unless a clearance of the version stands now, for whichever use case.

    Whoever has it by a share need not see the use case; what it says about those that they do not see stays untold.
    """
    reasons = []
    seen = set(UseCase.objects.visible_to(actor).filter(clearances__version=version).values_list("pk", flat=True))
    for clearance in version.clearances.select_related("version__dataset__team", "version__commit", "use_case")[:20]:
        found = approvals.standing(GATE, clearance)
        if found.open:
            return
        if clearance.use_case_id in seen:
            reasons.append(f"{clearance.use_case.title}: {found.reason}")
    raise NotCleared(
        f"{version} is not cleared for use now, so it is not handed out. "
        + (" ".join(reasons) or "Ask its team to have it cleared."),
        code="not_cleared",
        missing=reasons,
        subject=version,
    )
