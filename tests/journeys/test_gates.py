"""Every gate of the path refuses over the API, says what is missing, and leaves the refusal in the ledger."""

from __future__ import annotations

import pytest

from governance.models import LedgerEntry
from governance.policy import Gate, Role
from governance.services import access
from projects.services import datasets
from tests import factories
from tests.personas import make_role
from tests.training.factories import QUICK, clear, make_base_model, make_dataset_version
from training.models import Publication, TrainingJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def base_model(frank, carol, tmp_path):
    return make_base_model(actor=frank, reviewer=carol, folder=tmp_path / "tiny")


@pytest.fixture
def data(bob, team):
    return make_dataset_version(actor=bob, team=team)


def run_of(use_case, version, base_model) -> dict:
    return {
        "use_case": use_case.pk,
        "dataset_version": version.pk,
        "base_model": base_model.pk,
        "model_name": "sorter",
        "preset": "quick",
        "overrides": QUICK,
        "baselines": ["majority"],
    }


def refusal(answer, code: str) -> dict:
    """Check that the answer is a refusal with this code; return its problem details."""
    assert answer.status_code == 403, answer.content
    problem = answer.json()
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert problem["code"] == code
    assert problem["detail"]
    assert problem["request_id"]
    entry = LedgerEntry.objects.filter(request_id=problem["request_id"]).first()
    assert entry is not None, "The refusal is not in the ledger."
    return problem


def test_a_run_needs_an_approved_use_case(visit, alice, bob, carol, team, data, base_model):
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    problem = refusal(visit(bob).post("jobs/", run_of(use_case, data, base_model)), "not_approved")
    assert any("approved for development" in line for line in problem["missing"])
    assert any("cleared" in line for line in problem["missing"])
    assert not TrainingJob.objects.exists()


def test_a_run_needs_cleared_data(visit, alice, bob, carol, team, data, base_model):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    problem = refusal(visit(bob).post("jobs/", run_of(use_case, data, base_model)), "not_cleared")
    assert len(problem["missing"]) == 1


def test_a_clearance_for_one_use_case_is_none_for_another(visit, alice, bob, carol, team, data, base_model):
    one = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    other = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team, title="Another question")
    clear(actor=bob, reviewer=carol, version=data, use_case=one)
    refusal(visit(bob).post("jobs/", run_of(other, data, base_model)), "not_cleared")
    assert visit(bob).post("jobs/", run_of(one, data, base_model)).status_code == 201


def test_a_run_needs_an_allowed_base_model(visit, alice, bob, carol, frank, team, data, tmp_path):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    clear(actor=bob, reviewer=carol, version=data, use_case=use_case)
    proposed = make_base_model(actor=frank, reviewer=None, folder=tmp_path / "proposed")
    refusal(visit(bob).post("jobs/", run_of(use_case, data, proposed)), "not_allowed")
    assert visit(frank).post(f"base-models/{proposed.pk}/allow/", {"reason": "I want it."}).status_code == 403
    assert visit(carol).post(f"base-models/{proposed.pk}/allow/", {"reason": "Known files."}).status_code == 200
    assert visit(bob).post("jobs/", run_of(use_case, data, proposed)).status_code == 201
    assert visit(carol).post(f"base-models/{proposed.pk}/disallow/", {"reason": "Recalled."}).status_code == 200
    again = run_of(use_case, data, proposed) | {"model_name": "other"}
    refusal(visit(bob).post("jobs/", again), "not_allowed")


def test_withdrawn_data_stops_the_next_run(visit, alice, bob, carol, team, data, base_model):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    clear(actor=bob, reviewer=carol, version=data, use_case=use_case)
    address = f"datasets/{data.dataset_id}/versions/{data.number}/withdraw/"
    assert visit(bob).post(address, {"reason": "It held a name."}).status_code == 200
    refusal(visit(bob).post("jobs/", run_of(use_case, data, base_model)), "not_cleared")


def test_nobody_approves_what_they_asked_for(visit, alice, team):
    # A reviewer who also owns a team: two hats, and still somebody else has to decide.
    both = make_role(alice, Role.REVIEWER)
    use_case = factories.make_ready_use_case(actor=both, team=team)
    asking = visit(both)
    assert asking.post(f"use-cases/{use_case.pk}/submit/", {"note": ""}).status_code == 200
    found = asking.get(f"approvals/?subject=projects.usecase:{use_case.pk}").json()["results"]
    problem = refusal(asking.decide(found[0]["id"]), "own_request")
    assert "someone else" in problem["detail"]
    shown = asking.page.get(f"/reviews/{found[0]['id']}/")
    assert 'value="approve"' not in shown.text


def test_an_approval_is_for_exactly_what_was_read(visit, alice, carol, team):
    use_case = factories.make_ready_use_case(actor=alice, team=team)
    owner, reviewer = visit(alice), visit(carol)
    owner.post(f"use-cases/{use_case.pk}/submit/", {"note": ""})
    first = owner.get(f"approvals/?subject=projects.usecase:{use_case.pk}").json()["results"][0]
    read = reviewer.get(f"approvals/{first['id']}/").headers["ETag"]

    assert reviewer.post(f"approvals/{first['id']}/decide/", {"verdict": "approve"}).status_code == 428
    assert reviewer.decide(first["id"], etag='"something else"').status_code == 412

    changed = owner.patch(f"use-cases/{use_case.pk}/", {"benefit": "Ten of ten, which nobody has read."})
    assert changed.status_code == 200
    late = reviewer.post(f"approvals/{first['id']}/decide/", {"verdict": "approve"}, **{"If-Match": read})
    assert late.status_code in {403, 409, 412}, late.content
    use_case.refresh_from_db()
    assert use_case.stage == "draft"

    owner.post(f"use-cases/{use_case.pk}/submit/", {"note": ""})
    second = owner.get(f"approvals/?subject=projects.usecase:{use_case.pk}&state=open").json()["results"][0]
    assert second["digest"] != first["digest"]
    assert reviewer.decide(second["id"]).status_code == 200
    use_case.refresh_from_db()
    assert use_case.stage == "approved"


def test_a_changed_use_case_closes_the_gate_behind_it(visit, alice, bob, carol, team, data, base_model):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    clear(actor=bob, reviewer=carol, version=data, use_case=use_case)
    changed = visit(alice).patch(f"use-cases/{use_case.pk}/", {"problem": "Quite another problem."})
    assert changed.status_code == 200, changed.content
    refusal(visit(bob).post("jobs/", run_of(use_case, data, base_model)), "not_approved")


def test_an_outsider_finds_nothing_and_can_name_nothing(visit, alice, bob, carol, eve, team, data, base_model):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    clear(actor=bob, reviewer=carol, version=data, use_case=use_case)
    outsider = visit(eve)
    for address in (f"use-cases/{use_case.pk}/", f"datasets/{data.dataset_id}/", "teams/helpdesk/"):
        assert outsider.get(address).status_code == 404
    for listed in ("use-cases/", "datasets/", "jobs/", "models/", "approvals/"):
        assert outsider.get(listed).json()["results"] == []
    # A foreign id in a body is refused like one that does not exist.
    answer = outsider.post("jobs/", run_of(use_case, data, base_model))
    assert answer.status_code in {400, 403}
    assert "sorter" not in outsider.get("jobs/").content.decode()
    for address in (use_case.get_absolute_url(), data.get_absolute_url(), "/teams/helpdesk/"):
        assert outsider.page.get(address).status_code == 404


def test_a_reviewer_decides_and_builds_nothing(visit, alice, bob, carol, team, data, base_model):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    clear(actor=bob, reviewer=carol, version=data, use_case=use_case)
    assert visit(carol).post("jobs/", run_of(use_case, data, base_model)).status_code == 403
    assert visit(carol).patch(f"use-cases/{use_case.pk}/", {"title": "Mine"}).status_code == 403


def test_an_auditor_reads_everything_and_changes_nothing(visit, alice, carol, dan, team, data):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    auditor = visit(dan)
    assert auditor.get(f"use-cases/{use_case.pk}/").status_code == 200
    assert auditor.get("ledger/").json()["results"]
    assert auditor.patch(f"use-cases/{use_case.pk}/", {"title": "Mine"}).status_code == 403
    assert auditor.post("goals/", {"title": "A goal"}).status_code == 403


def test_a_token_does_no_more_than_its_scopes(visit, alice, bob, team):
    from governance.models import User
    from governance.services import tokens

    _row, secret = tokens.create(actor=User.objects.system(), user=bob, name="narrow", scopes=["read"], days=1)
    narrow = type(visit(bob))(bob, visit(bob).page, secret)
    assert narrow.get("use-cases/").status_code == 200
    assert narrow.post("use-cases/", {"team": "helpdesk", **factories.STATEMENT}).status_code == 403


@pytest.mark.parametrize("verdict", ["request_changes", "reject"])
def test_a_refusal_needs_a_reason_and_leaves_the_gate_shut(visit, alice, bob, carol, team, data, base_model, verdict):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    asked = datasets.request_clearance(actor=bob, version=data, use_case=use_case, purpose="Train.")
    access.forget(carol)
    reviewer = visit(carol)
    assert reviewer.decide(asked.pk, verdict).status_code == 400
    assert reviewer.decide(asked.pk, verdict, comment="Say who reads the outputs.").status_code == 200
    refusal(visit(bob).post("jobs/", run_of(use_case, data, base_model)), "not_cleared")


def test_the_gates_are_the_three_of_the_policy():
    # A fourth gate needs its own refusal here.
    assert {gate.value for gate in Gate} == {"use_case_development", "dataset_use", "model_publication"}
    assert Publication.State.values
