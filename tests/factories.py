"""Short ways to what many tests start from. Each goes through the services that production uses."""

from __future__ import annotations

import datetime
from decimal import Decimal

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


def make_ready_use_case(*, actor, team, **statement):
    """Return a draft that has all that its gate asks for; `actor` must be able to edit in the team."""
    from projects.services import use_cases

    use_case = make_use_case(actor=actor, team=team, **statement)
    return use_cases.change(
        actor=actor,
        use_case=use_case,
        human_oversight="An agent sees every suggestion and can choose another queue.",
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
