"""Short ways to what many tests start from. Each goes through the services that production uses."""

from __future__ import annotations

import csv
import datetime
import io
from decimal import Decimal

from django.core.files.uploadedfile import SimpleUploadedFile

from governance.models import ApprovalRequest
from governance.policy import Gate
from governance.services import approvals

STATEMENT = {
    "title": "Sort help-desk requests",
    "problem": "Requests wait four hours in the wrong queue before somebody forwards them by hand.",
    "people": "Employees who ask for help, and the twelve people who answer.",
    "benefit": "Nine of ten requests reach the right queue within a minute.",
    "data_needed": "Two years of answered requests with their category.",
}


def make_use_case(*, actor, team, **statement):
    """Return a draft proposed by `actor`."""
    from projects.services import use_cases

    return use_cases.propose(actor=actor, team=team, **(STATEMENT | statement))


def make_ready_use_case(*, actor, team, tier="minimal", **statement):
    """Return a draft that has all that its gate asks for; `actor` must be able to edit in the team.

    A use case of the tier "minimal" needs one reviewer at each of its gates.
    """
    from projects.services import use_cases

    use_case = make_use_case(actor=actor, team=team, **statement)
    return use_cases.change(
        actor=actor,
        use_case=use_case,
        human_oversight="An agent sees every suggestion and can choose another queue.",
        risk_tier=tier,
        risk_tier_reason=f"It is {tier}: a wrong queue costs an agent one click.",
        objectives=[
            {
                "kpi": "Requests in the right queue",
                "baseline": Decimal("62"),
                "target": Decimal("90"),
                "unit": "%",
                "direction": "up",
                "due_on": datetime.date(2030, 1, 31),
            }
        ],
    )


def approve(*, reviewer, subject, gate: Gate) -> ApprovalRequest:
    """Let `reviewer` approve the open request about the subject, exactly as it is."""
    asked = ApprovalRequest.objects.about(subject).open().get(gate=gate.value)
    return approvals.decide(actor=reviewer, request=asked, verdict="approve", digest=asked.digest)


def make_approved_use_case(*, actor, reviewer, team, **statement):
    """Return a use case that `reviewer` approved for development at the request of `actor`."""
    from projects.services import use_cases

    use_case = make_ready_use_case(actor=actor, team=team, **statement)
    use_case = use_cases.submit(actor=actor, use_case=use_case)
    approve(reviewer=reviewer, subject=use_case, gate=Gate.USE_CASE_DEVELOPMENT)
    use_case.refresh_from_db()
    return use_case


LABELS = ("access", "hardware", "payroll")


def make_rows(*, each: int = 10, labels=LABELS) -> list[dict[str, str]]:
    """Return `each` different texts for every label."""
    return [
        {"text": f"Request number {number} about {label} from desk {number * 7 % 23}", "label": label}
        for number in range(each)
        for label in labels
    ]


def make_csv(rows, *, name: str = "requests.csv") -> SimpleUploadedFile:
    """Return the rows as an upload."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return SimpleUploadedFile(name, text.getvalue().encode(), content_type="text/csv")


def make_dataset(*, actor, team, name: str = "requests", **values):
    """Return a registered dataset without versions."""
    from projects.services import datasets

    given = {
        "title": "Help-desk requests",
        "description": "What employees write to the help desk.",
        "provenance": "Written for these tests.",
        "licence": "CC0-1.0",
    }
    return datasets.register(actor=actor, team=team, name=name, **(given | values))


def make_version(*, actor, dataset, rows=None, **options):
    """Return a version imported from these rows."""
    from projects.services import datasets

    version = datasets.receive(
        actor=actor,
        dataset=dataset,
        file=make_csv(rows or make_rows()),
        options={"text_column": "text", "label_column": "label", "seed": 7} | options,
    )
    return datasets.run_import(version.pk)


def make_cleared_version(*, actor, reviewer, dataset, use_case, rows=None):
    """Return an imported version that `reviewer` cleared for the use case at the request of `actor`."""
    from projects.services import datasets

    version = make_version(actor=actor, dataset=dataset, rows=rows)
    asked = datasets.request_clearance(
        actor=actor, version=version, use_case=use_case, purpose="Train and test a classifier."
    )
    approve(reviewer=reviewer, subject=asked.subject, gate=Gate.DATASET_USE)
    return version
