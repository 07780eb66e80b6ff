"""An employee has an idea, a team takes it up, a reviewer agrees: three people at pages."""

from __future__ import annotations

import pytest

from governance.models import ApprovalRequest
from projects.models import UseCase
from tests import factories

pytestmark = pytest.mark.django_db
OBJECTIVE = {
    "kpi": "Requests in the right queue",
    "baseline": "62",
    "target": "90",
    "unit": "%",
    "direction": "up",
    "due_on": "2031-01-31",
}


def test_an_idea_from_outside_becomes_a_use_case_that_may_be_developed(visit, alice, carol, eve, team):
    employee, owner, reviewer = visit(eve).page, visit(alice).page, visit(carol).page

    form = employee.get("/use-cases/new/")
    assert form.status_code == 200
    half = employee.post("/use-cases/new/", factories.STATEMENT | {"team": team.pk, "benefit": ""})
    assert half.status_code == 422
    assert factories.STATEMENT["problem"] in half.text
    made = employee.post("/use-cases/new/", factories.STATEMENT | {"team": team.pk})
    assert made.status_code == 302
    use_case = UseCase.objects.get()
    address = use_case.get_absolute_url()
    assert use_case.proposer == eve

    # Not described well enough yet: the page says what the gate wants, and submitting is refused with the same words.
    page = owner.get(address).text
    assert "Human oversight is described" in page
    early = owner.post(f"{address}move/", {"target": "submitted"}, follow=True)
    use_case.refresh_from_db()
    assert use_case.stage == "draft"
    assert "Human oversight" in early.text

    edited = factories.STATEMENT | {"human_oversight": "An agent sees each suggestion.", "owner": use_case.owner.email}
    edited |= {"risk_tier": "minimal", "risk_tier_reason": "A wrong queue costs an agent one click."}
    assert owner.post(f"{address}edit/", edited).status_code == 302
    assert owner.post(f"{address}objectives/new/", OBJECTIVE).status_code == 302
    assert owner.post(f"{address}move/", {"target": "submitted", "reason": "We want this."}).status_code == 302
    asked = ApprovalRequest.objects.get()
    assert asked.requester == alice

    own = owner.get(f"/reviews/{asked.pk}/").text
    assert "You asked for this approval" in own
    assert owner.post(f"/reviews/{asked.pk}/decide/", {"verdict": "approve", "digest": asked.digest}).status_code == 403

    said = reviewer.post(
        f"/reviews/{asked.pk}/decide/",
        {"verdict": "request_changes", "digest": asked.digest, "comment": "Who counts wrong suggestions?"},
    )
    assert said.status_code == 302
    use_case.refresh_from_db()
    assert use_case.stage == "draft"

    edited["human_oversight"] = "An agent sees each suggestion; wrong ones are counted every week."
    assert owner.post(f"{address}edit/", edited).status_code == 302
    assert owner.post(f"{address}move/", {"target": "submitted"}).status_code == 302
    second = ApprovalRequest.objects.open().get()
    stale = reviewer.post(f"/reviews/{second.pk}/decide/", {"verdict": "approve", "digest": asked.digest})
    assert stale.status_code == 409
    done = reviewer.post(f"/reviews/{second.pk}/decide/", {"verdict": "approve", "digest": second.digest})
    assert done.status_code == 302
    use_case.refresh_from_db()
    assert use_case.stage == "approved"
    history = owner.get(f"{address}history/").text
    assert "Carol" in history
