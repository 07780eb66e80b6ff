"""What must hold before a run may exist, asked when it is submitted and again when a worker claims it."""

from __future__ import annotations

from governance.policy import Gate
from governance.services import access, approvals
from governance.services.approvals import Check
from projects.models import DatasetVersion, UseCase
from projects.models.use_cases import Stage
from projects.services import datasets
from training.models import BaseModel

DEVELOPED = (Stage.APPROVED, Stage.PILOTING, Stage.LIVE)
"""The stages in which models are trained for a use case."""


class Refused(access.Denied):
    """A run may not be queued; `missing` lists everything that would have to be true."""


class NotApproved(Refused):
    """The use case is not approved for development as it stands."""


class NotCleared(Refused):
    """The dataset version is not cleared for this use case, or is not available."""


class NotAllowed(Refused):
    """The base model is not allowed."""


def checks(*, use_case: UseCase, dataset_version: DatasetVersion, base_model: BaseModel) -> list[Check]:
    """Return the three gates as a page shows them, each met or with what to do."""
    development = approvals.standing(Gate.USE_CASE_DEVELOPMENT, use_case)
    in_development = use_case.stage in DEVELOPED
    cleared = datasets.clearance_standing(version=dataset_version, use_case=use_case)
    available = dataset_version.state == DatasetVersion.State.PROFILED
    return [
        Check(
            "The use case is approved for development",
            development.open and in_development,
            development.reason
            if not development.open
            else f"It is at the stage “{use_case.get_stage_display()}”; move it back to development.",
            use_case.get_absolute_url(),
        ),
        Check(
            "The dataset version is cleared for it",
            cleared.open and available,
            cleared.reason
            if not cleared.open
            else f"The version is {dataset_version.get_state_display().lower()}; choose one that is available.",
            dataset_version.get_absolute_url(),
        ),
        Check(
            "The base model is allowed",
            base_model.state == BaseModel.State.ALLOWED,
            "A reviewer other than who imported it has to allow it.",
            base_model.get_absolute_url(),
        ),
    ]


def refusal(found: list[Check], *, subject: object = None) -> Refused | None:
    """Return the refusal that these checks ask for, or None where all are met."""
    missing = [f"{check.label}: {check.advice}" for check in found if not check.met]
    if not missing:
        return None
    first = next(index for index, check in enumerate(found) if not check.met)
    kind, code = ((NotApproved, "not_approved"), (NotCleared, "not_cleared"), (NotAllowed, "not_allowed"))[first]
    return kind("This run may not start. " + " ".join(missing), code=code, missing=missing, subject=subject)
