"""The REST endpoints of jobs, base models and models, as a program with a token uses them."""

import pytest
from rest_framework.test import APIClient

from governance.models import ApprovalRequest
from governance.policy import Role
from governance.services import tokens
from tests.personas import make_role
from tests.training.factories import QUICK, make_tiny_model
from tests.training.services.test_registry import USE, make_version
from training.models import BaseModel, TrainingJob
from training.services import base_models

pytestmark = [pytest.mark.django_db]


def client_of(person, *scopes) -> APIClient:
    """Return a client with a token of these scopes, as a program has it."""
    _token, secret = tokens.create(
        actor=person, user=person, name="test", scopes=list(scopes or ("read", "write", "train")), days=1
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def body(ground, **changes):
    return {
        "use_case": ground.use_case.pk,
        "dataset_version": ground.version.pk,
        "base_model": ground.base_model.pk,
        "model_name": "sorter",
        "method": "lora",
        "preset": "quick",
        "overrides": QUICK,
        "seed": 1,
    } | changes


def test_a_job_is_planned_submitted_followed_and_cancelled(ground, bob):
    client = client_of(bob)
    plan = client.post("/api/v1/jobs/dry-run/", body(ground))
    assert plan.status_code == 200, plan.data
    assert plan.data["ready"]
    assert not TrainingJob.objects.exists()
    made = client.post("/api/v1/jobs/", body(ground), headers={"Idempotency-Key": "k1"})
    assert made.status_code == 201, made.data
    assert made.data["spec_digest"] == plan.data["spec_digest"]
    again = client.post("/api/v1/jobs/", body(ground), headers={"Idempotency-Key": "k1"})
    assert again.data["id"] == made.data["id"]
    address = f"/api/v1/jobs/{made.data['id']}/"
    shown = client.get(address)
    assert shown.data["queue"]["ahead"] == 0
    stale = client.post(f"{address}cancel/", headers={"If-Match": '"other"'})
    assert stale.status_code == 412
    assert client.post(f"{address}cancel/", headers={"If-Match": shown["ETag"]}).data["state"] == "cancelled"
    retried = client.post(f"{address}retry/", {"overrides": {"epochs": 3}})
    assert retried.status_code == 201
    assert (retried.data["retry_of"], retried.data["spec"]["hyperparameters"]["epochs"]) == (made.data["id"], 3)
    listed = client.get("/api/v1/jobs/", {"state": "cancelled"})
    assert [job["id"] for job in listed.data["results"]] == [made.data["id"]]
    assert client.get("/api/v1/jobs/", {"state": "dreaming"}).status_code == 400
    assert client.get(f"{address}events/").data["results"] == []


def test_a_refusal_says_what_is_missing(ground, bob, carol):
    base_models.disallow(actor=carol, base_model=ground.base_model, reason="No.")
    answer = client_of(bob).post("/api/v1/jobs/", body(ground))
    assert (answer.status_code, answer.data["code"]) == (403, "not_allowed")
    assert len(answer.data["missing"]) == 1


def test_wrong_settings_come_back_by_field(ground, bob):
    answer = client_of(bob).post("/api/v1/jobs/", body(ground, overrides={"epochs": 0, "nonsense": 1}))
    assert answer.status_code == 400
    assert set(answer.data["errors"]) == {"epochs", "nonsense"}


def test_ids_of_other_teams_do_not_exist(ground, bob, eve):
    client = client_of(eve)
    assert client.post("/api/v1/jobs/", body(ground)).status_code == 403
    job = ground.submit(bob)
    for suffix in ("", "events/", "evaluation/"):
        assert client.get(f"/api/v1/jobs/{job.pk}/{suffix}").status_code == 404
    # Who controls no job anywhere gets the same answer for one that is there and one that is not.
    for pk in (job.pk, 999999):
        assert client.post(f"/api/v1/jobs/{pk}/cancel/").status_code == 403


def test_ids_of_other_teams_in_a_body_do_not_exist(ground, eve, other_team):
    stranger = make_role(eve, Role.ML_ENGINEER, other_team)
    answer = client_of(stranger).post("/api/v1/jobs/", body(ground))
    assert answer.status_code == 400
    assert {"use_case", "dataset_version"} <= set(answer.data["errors"])


def test_a_token_without_the_scope_cannot_train(ground, bob):
    answer = client_of(bob, "read").post("/api/v1/jobs/", body(ground))
    assert (answer.status_code, answer.data["code"]) == (403, "token_scope")


def test_recipes_tell_everything_that_can_be_set(bob):
    answer = client_of(bob).get("/api/v1/recipes/")
    by_name = {one["name"]: one for one in answer.data}
    assert by_name["causal_lm"]["layouts"] == ["prompts", "conversations", "texts"]
    assert by_name["regression"]["metrics"][0] == {
        "name": "mae",
        "title": "Mean absolute error",
        "help": "How far off an estimate is on average.",
        "unit": "number",
        "higher": False,
        "interval": "percentile bootstrap over the test rows",
    }
    for one in answer.data:
        assert one["baselines"]
        assert all(set(setting["methods"]) <= set(one["methods"]) for setting in one["hyperparameters"])
    recipe = by_name["sequence_classification"]
    declared = {setting["name"]: setting for setting in recipe["hyperparameters"]}
    assert declared["learning_rate"]["minimum"] > 0
    assert declared["epochs"]["help"]
    assert {"majority", "tfidf_linear"} <= {rival["name"] for rival in recipe["baselines"]}
    assert client_of(bob).get("/api/v1/recipes/nonsense/").status_code == 404


def test_a_base_model_is_imported_from_a_listed_source_and_allowed_by_another(frank, carol, eve, settings, tmp_path):
    settings.MODEL_ROOTS = [tmp_path]
    make_tiny_model(tmp_path / "small")
    described = {"name": "small", "title": "Small", "licence": "MIT"}
    client = client_of(frank, "read", "admin")
    assert "folder:small" in [source["key"] for source in client.get("/api/v1/base-models/sources/").data]
    for source in ("/etc", "folder:../..", "package:os", "folder:nothing"):
        assert client.post("/api/v1/base-models/", described | {"source": source}).status_code == 400
    made = client.post("/api/v1/base-models/", described | {"source": "folder:small"})
    assert made.status_code == 201, made.data
    assert {file["path"] for file in made.data["files"]} >= {"model.safetensors", "config.json"}
    address = f"/api/v1/base-models/{made.data['id']}/"
    own = client.post(f"{address}allow/", {"reason": "It is mine."})
    assert own.status_code == 403
    assert client_of(eve, "read", "admin").post(f"{address}allow/", {"reason": "x"}).status_code == 403
    assert client_of(carol, "read", "admin").post(f"{address}allow/", {"reason": "Fine."}).data["state"] == "allowed"
    assert BaseModel.objects.get().allowed_by == carol


def test_a_version_is_read_downloaded_and_put_before_the_reviewers(ground, bob, eve, system, tmp_path):
    version = make_version(ground, bob, system, tmp_path / "run")
    client = client_of(bob)
    assert [model["name"] for model in client.get("/api/v1/models/").data["results"]] == ["sorter"]
    address = "/api/v1/models/helpdesk/sorter/"
    assert client.get(address).data["publications"] == []
    assert [row["number"] for row in client.get(f"{address}versions/").data["results"]] == [1]
    shown = client.get(f"{address}versions/1/")
    assert shown.data["commit"] == version.commit.oid
    assert {"README.md", "evaluation.json"} <= {file["path"] for file in shown.data["files"]}
    card = client.get(f"{address}versions/1/card/")
    assert b"## Intended use" in card.content
    weights = client.get(f"{address}versions/1/files/weights.json")
    assert b"".join(weights.streaming_content) == str(version.job_id).encode()
    assert "attachment" in weights["Content-Disposition"]
    assert client.get(f"{address}versions/1/files/../../secret").status_code == 404
    evaluation = client.get(f"/api/v1/jobs/{version.job_id}/evaluation/")
    assert evaluation.data["report"]["candidates"][0]["name"] == "tuned"
    asked = client.post(f"{address}versions/1/publications/", {"intended_use": USE})
    assert asked.status_code == 201, asked.data
    assert ApprovalRequest.objects.get(pk=asked.data["request"]).digest == asked.data["digest"]
    assert asked.data["publication"]["servable"] is False
    outsider = client_of(eve)
    for path in (address, f"{address}versions/1/", f"{address}versions/1/files/weights.json"):
        assert outsider.get(path).status_code == 404
    for place in (address, "/api/v1/models/helpdesk/unknown/"):
        assert outsider.post(f"{place}versions/1/publications/", {"intended_use": USE}).status_code == 403


@pytest.mark.parametrize("rows", [1, 12])
def test_a_list_costs_the_same_for_many_rows(ground, bob, rows, django_assert_max_num_queries):
    for number in range(rows):
        ground.submit(bob, seed=number)
    client = client_of(bob)
    with django_assert_max_num_queries(12):
        assert len(client.get("/api/v1/jobs/").data["results"]) == rows
