"""The REST API of projects: the same rules as the pages, ids of others refused wherever they come, honest answers."""

import asyncio
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncRequestFactory, Client, RequestFactory

from governance.models import LedgerEntry
from governance.policy import Gate
from governance.services import tokens
from projects import downloads
from projects.models import Dataset, DatasetClearance, Objective, Team, UseCase
from projects.services import datasets, repositories
from tests.factories import (
    STATEMENT,
    approve,
    make_approved_use_case,
    make_csv,
    make_dataset,
    make_ready_use_case,
    make_rows,
    make_use_case,
    make_version,
)

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]

API = "/api/v1"


class Caller:
    """A person with a browser session, who speaks JSON."""

    def __init__(self, user):
        self.client = Client()
        self.client.force_login(user)

    def get(self, path, **headers):
        return self.client.get(f"{API}{path}", headers=headers)

    def post(self, path, body=None, **headers):
        return self.client.post(
            f"{API}{path}", json.dumps(body or {}), content_type="application/json", headers=headers
        )

    def patch(self, path, body, **headers):
        return self.client.patch(f"{API}{path}", json.dumps(body), content_type="application/json", headers=headers)

    def upload(self, path, file, **fields):
        return self.client.post(f"{API}{path}", {"file": file, **fields})


@pytest.fixture
def as_bob(bob):
    return Caller(bob)


@pytest.fixture
def as_alice(alice):
    return Caller(alice)


@pytest.fixture
def as_eve(eve):
    return Caller(eve)


@pytest.fixture
def as_carol(carol):
    return Caller(carol)


@pytest.fixture
def as_frank(frank):
    return Caller(frank)


@pytest.fixture
def dataset(bob, team):
    return make_dataset(actor=bob, team=team)


# Teams and goals


def test_teams_are_created_changed_and_listed(as_frank, as_alice, team):
    answer = as_frank.post("/teams/", {"slug": "sales", "name": "Sales"})
    assert (answer.status_code, answer["Location"]) == (201, f"{API}/teams/sales/")
    assert [row["slug"] for row in as_alice.get("/teams/").json()["results"]] == ["helpdesk"]
    assert as_alice.get("/teams/sales/").status_code == 404
    answer = as_alice.patch("/teams/helpdesk/", {"name": "Service desk"})
    assert answer.json()["name"] == "Service desk"
    answer = as_frank.post("/teams/", {"slug": "api", "name": "Reserved"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["slug"])


def test_goals_are_read_by_everyone_and_made_by_administrators(as_frank, as_eve):
    made = as_frank.post("/goals/", {"title": "Answer faster"}).json()
    assert as_eve.get(f"/goals/{made['id']}/").json()["title"] == "Answer faster"
    assert as_eve.post("/goals/", {"title": "Mine"}).status_code == 403
    assert as_frank.patch(f"/goals/{made['id']}/", {"is_current": False}).json()["is_current"] is False
    assert as_eve.get("/goals/?is_current=true").json()["results"] == []


# Use cases


def test_a_use_case_goes_from_proposal_to_approval(as_alice, carol, team):
    made = as_alice.post("/use-cases/", {"team": "helpdesk", **STATEMENT})
    assert made.status_code == 201
    path = f"/use-cases/{made.json()['id']}/"
    refused = as_alice.post(f"{path}submit/")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_ready")
    assert len(refused.json()["missing"]) == 3
    codes = {row["code"] for row in as_alice.get(f"{path}pitfalls/").json()}
    assert "vague_objective" in codes
    changed = as_alice.patch(
        path,
        {
            "human_oversight": "An agent can choose another queue.",
            "risk_tier": "minimal",
            "risk_tier_reason": "A wrong queue costs an agent one click.",
            "objectives": [
                {"kpi": "Right queue", "baseline": "62", "target": "90", "unit": "%", "due_on": "2030-01-31"}
            ],
            "stakeholders": [{"name": "Works council", "role": "consulted"}],
        },
    )
    assert changed.status_code == 200
    assert changed.json()["version"] == 2
    assert changed.json()["objectives"][0]["target"] == "90.0000"
    assert as_alice.post(f"{path}submit/", {"note": "Please"}).json()["stage"] == "submitted"
    moves = {row["target"]: row for row in as_alice.get(f"{path}moves/").json()}
    assert not moves["approved"]["allowed"]
    assert as_alice.post(f"{path}move/", {"target": "approved"}).status_code == 403
    approve(reviewer=carol, subject=UseCase.objects.get(), gate=Gate.USE_CASE_DEVELOPMENT)
    assert as_alice.get(path).json()["stage"] == "approved"
    assert as_alice.post(f"{path}move/", {"target": "live"}).json()["stage"] == "live"


def test_a_move_that_is_not_in_the_table_names_the_moves_there_are(as_alice, alice, team):
    use_case = make_use_case(actor=alice, team=team)
    answer = as_alice.post(f"/use-cases/{use_case.pk}/move/", {"target": "live"}).json()
    assert answer["code"] == "no_such_move"
    assert len(answer["missing"]) == 2


def test_a_change_against_an_older_state_is_refused(as_alice, alice, team):
    use_case = make_use_case(actor=alice, team=team)
    path = f"/use-cases/{use_case.pk}/"
    etag = as_alice.get(path)["ETag"]
    assert as_alice.get(path, **{"If-None-Match": etag}).status_code == 304
    first = as_alice.patch(path, {"title": "First"}, **{"If-Match": etag})
    assert first.status_code == 200
    second = as_alice.patch(path, {"title": "Second"}, **{"If-Match": etag})
    assert second.status_code == 412
    assert as_alice.patch(path, {"title": "Third"}, **{"If-Match": first["ETag"]}).status_code == 200
    use_case.refresh_from_db()
    assert use_case.title == "Third"


def test_lists_are_filtered_by_allowed_names_only_and_paged(as_alice, alice, team):
    for number in range(3):
        make_use_case(actor=alice, team=team, title=f"Idea {number}")
    page = as_alice.get("/use-cases/?limit=2").json()
    assert [row["title"] for row in page["results"]] == ["Idea 2", "Idea 1"]
    assert "problem" not in page["results"][0]
    rest = as_alice.client.get(page["next"]).json()
    assert [row["title"] for row in rest["results"]] == ["Idea 0"]
    assert len(as_alice.get("/use-cases/?q=idea 1").json()["results"]) == 1
    assert as_alice.get("/use-cases/?stage=live").json()["results"] == []
    assert as_alice.get("/use-cases/?stage=famous").status_code == 400
    assert len(as_alice.get("/use-cases/?proposer__password__startswith=x").json()["results"]) == 3


def test_a_list_costs_the_same_for_few_and_many(as_alice, alice, team, django_assert_max_num_queries):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make_use_case(actor=alice, team=team, title="One")
    as_alice.get("/use-cases/")
    with CaptureQueriesContext(connection) as few:
        as_alice.get("/use-cases/")
    for number in range(10):
        make_use_case(actor=alice, team=team, title=f"More {number}")
    with CaptureQueriesContext(connection) as many:
        assert len(as_alice.get("/use-cases/").json()["results"]) == 11
    assert len(many) == len(few) <= 12


def test_outsiders_find_nothing_and_may_propose(as_eve, as_alice, alice, team):
    use_case = make_use_case(actor=alice, team=team)
    assert as_eve.get("/use-cases/").json()["results"] == []
    for verb, path, body in [
        (as_eve.get, f"/use-cases/{use_case.pk}/", None),
        (as_eve.patch, f"/use-cases/{use_case.pk}/", {"title": "Mine"}),
        (as_eve.post, f"/use-cases/{use_case.pk}/submit/", {}),
    ]:
        assert (verb(path) if body is None else verb(path, body)).status_code == 404
    # Who may move nothing anywhere is told so, and learns nothing about what is there.
    answers = [as_eve.post(f"/use-cases/{pk}/move/", {"target": "on_hold"}) for pk in (use_case.pk, 999999)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert as_eve.post("/use-cases/", {"team": "helpdesk", **STATEMENT}).status_code == 201


def test_ids_of_others_in_a_body_do_not_exist(as_bob, bob, alice, frank, eve, team, other_team):
    theirs = make_use_case(actor=eve, team=other_team)
    mine = make_ready_use_case(actor=alice, team=team)
    foreign = Objective.objects.create(use_case=theirs, kpi="Theirs")
    answer = as_bob.patch(f"/use-cases/{mine.pk}/", {"objectives": [{"id": foreign.pk, "kpi": "Taken"}]})
    assert answer.status_code == 400
    foreign.refresh_from_db()
    assert (foreign.kpi, foreign.use_case_id) == ("Theirs", theirs.pk)
    dataset = make_dataset(actor=bob, team=team)
    make_version(actor=bob, dataset=dataset)
    path = f"/datasets/{dataset.pk}/versions/1/clearances/"
    answer = as_bob.post(path, {"use_case": theirs.pk, "purpose": "Take it"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["use_case"])
    assert not DatasetClearance.objects.exists()
    answer = as_bob.post(
        "/datasets/", {"team": "finance", "name": "x", "title": "X", "provenance": "P", "licence": "MIT"}
    )
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["team"])


@pytest.mark.parametrize("name", ["stage", "version", "proposer", "team", "id", "changed_at"])
def test_fields_that_are_not_for_people_are_left_alone(as_alice, alice, team, name):
    use_case = make_use_case(actor=alice, team=team)
    as_alice.patch(f"/use-cases/{use_case.pk}/", {name: 99, "title": "New"})
    fresh = UseCase.objects.get(pk=use_case.pk)
    assert fresh.title == "New"
    assert (fresh.stage, fresh.version, fresh.proposer, fresh.team) == ("draft", 2, alice, team)


def test_an_idempotent_proposal_is_made_once(as_alice, team):
    body = {"team": "helpdesk", **STATEMENT}
    first = as_alice.post("/use-cases/", body, **{"Idempotency-Key": "k1"})
    again = as_alice.post("/use-cases/", body, **{"Idempotency-Key": "k1"})
    assert first.json()["id"] == again.json()["id"]
    assert UseCase.objects.count() == 1


# Datasets


def test_a_dataset_goes_from_registration_to_clearance(as_bob, as_alice, alice, carol, team):
    made = as_bob.post(
        "/datasets/",
        {"team": "helpdesk", "name": "requests", "title": "Requests", "provenance": "Written.", "licence": "CC0-1.0"},
    )
    assert made.status_code == 201
    path = f"/datasets/{made.json()['id']}/"
    uploaded = as_bob.upload(f"{path}versions/", make_csv(make_rows()))
    assert uploaded.status_code == 201
    assert uploaded.json()["waits_for_columns"] is True
    assert "incoming" not in uploaded.json()["source"]
    looked = as_bob.get(f"{path}versions/1/preview/").json()
    assert looked["guess"] == {"text": "text", "label": "label", "split": "", "layout": "classes", "columns": {}}
    mapped = as_bob.post(
        f"{path}versions/1/map/",
        {"text_column": "text", "label_column": "label", "seed": 3, "fractions": {"train": 0.6, "test": 0.4}},
    )
    assert (mapped.status_code, mapped.json()["waits_for_columns"]) == (200, False)
    datasets.run_import(uploaded.json()["id"])
    version = as_bob.get(f"{path}versions/1/").json()
    assert (version["state"], version["split_rows"]) == ("profiled", {"train": 18, "test": 12})
    rows = as_bob.get(f"{path}versions/1/rows/?split=test&limit=2").json()
    assert len(rows) == 2
    use_case = make_approved_use_case(actor=alice, reviewer=carol, team=team)
    asked = as_bob.post(f"{path}versions/1/clearances/", {"use_case": use_case.pk, "purpose": "Train."})
    assert asked.status_code == 201
    again = as_bob.post(f"{path}versions/1/clearances/", {"use_case": use_case.pk, "purpose": "Train."})
    assert again.json()["code"] == "already_requested"
    approve(reviewer=carol, subject=DatasetClearance.objects.get(), gate=Gate.DATASET_USE)
    assert as_bob.get(f"{path}versions/1/clearances/").json()[0]["open"] is True
    assert as_alice.post(f"{path}versions/1/withdraw/", {"reason": "Objection"}).json()["state"] == "withdrawn"
    assert as_bob.get(f"{path}versions/1/clearances/").json()[0]["open"] is False


def test_an_upload_may_name_its_columns_at_once(as_bob, dataset):
    answer = as_bob.upload(
        f"/datasets/{dataset.pk}/versions/",
        make_csv(make_rows()),
        **{"text_column": "text", "label_column": "label", "fractions.train": "0.5", "fractions.test": "0.5"},
    )
    assert answer.status_code == 201, answer.json()
    assert answer.json()["source"]["options"]["fractions"] == {"train": 0.5, "test": 0.5}


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [("x.exe", b"MZ", "file"), ("x.csv", b"", "file"), ("x.csv", b"\x00\x01\x02" * 50, "file")],
)
def test_a_bad_upload_is_refused_beside_its_field(as_bob, dataset, name, content, field):
    answer = as_bob.upload(f"/datasets/{dataset.pk}/versions/", SimpleUploadedFile(name, content))
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_a_body_over_the_limit_is_refused_before_it_is_read(as_bob, dataset, settings):
    settings.MAX_UPLOAD_BYTES = -1024 * 1024
    answer = as_bob.upload(f"/datasets/{dataset.pk}/versions/", make_csv(make_rows()))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_outsiders_cannot_reach_a_dataset_by_any_address(as_eve, as_bob, bob, dataset):
    make_version(actor=bob, dataset=dataset)
    path = f"/datasets/{dataset.pk}/"
    for tail in ("", "versions/", "versions/1/", "versions/1/rows/", "versions/1/files/", "versions/1/clearances/"):
        assert as_eve.get(f"{path}{tail}").status_code == 404
    # Who may do such a thing nowhere gets the same answer for what is there and for what is not.
    for place in (path, "/datasets/999999/"):
        assert as_eve.get(f"{place}versions/1/files/data/train.parquet").status_code == 403
        assert as_eve.upload(f"{place}versions/", make_csv(make_rows())).status_code == 403
        for tail in ("map/", "withdraw/", "clearances/"):
            assert as_eve.post(f"{place}versions/1/{tail}", {"reason": "x"}).status_code == 403
        assert as_eve.patch(place, {"title": "Mine"}).status_code == 403
    assert as_bob.get("/datasets/999999/versions/").status_code == 404


def test_a_reviewer_reads_and_cannot_change(as_carol, bob, dataset):
    make_version(actor=bob, dataset=dataset)
    assert as_carol.get(f"/datasets/{dataset.pk}/versions/1/").status_code == 200
    assert as_carol.patch(f"/datasets/{dataset.pk}/", {"title": "Mine"}).status_code == 403
    assert as_carol.upload(f"/datasets/{dataset.pk}/versions/", make_csv(make_rows())).status_code == 403
    assert as_carol.get(f"/datasets/{dataset.pk}/versions/1/files/README.md").status_code == 403
    assert LedgerEntry.objects.filter(action="request.refused").count() == 3


def test_a_read_token_cannot_change_anything(bob, dataset):
    _row, secret = tokens.create(actor=bob, user=bob, name="Reader", scopes=["read"], days=1)
    client = Client()
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get(f"{API}/datasets/{dataset.pk}/", headers=headers).status_code == 200
    answer = client.patch(
        f"{API}/datasets/{dataset.pk}/", '{"title": "X"}', content_type="application/json", headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "token_scope")
    assert Dataset.objects.get().title == "Help-desk requests"


# Files


@pytest.fixture
def version(bob, dataset):
    return make_version(actor=bob, dataset=dataset)


def test_a_file_comes_as_an_attachment_that_no_browser_shows(as_bob, dataset, version):
    answer = as_bob.get(f"/datasets/{dataset.pk}/versions/1/files/README.md")
    body = b"".join(answer.streaming_content)
    assert answer.status_code == 200
    assert body.startswith(b"---\nlicense: cc0-1.0")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="requests-v1-README.md"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert int(answer["Content-Length"]) == len(body)
    assert LedgerEntry.objects.filter(action="dataset.downloaded").count() == 1
    listed = {row["path"]: row for row in as_bob.get(f"/datasets/{dataset.pk}/versions/1/files/").json()}
    assert answer["ETag"] == f'"{listed["README.md"]["sha256"]}"'


@pytest.mark.parametrize("path", ["../../secret", "data/none", "data", "README.md/x", "%2e%2e/x"])
def test_a_file_that_the_commit_does_not_list_is_not_there(as_bob, dataset, version, path):
    assert as_bob.get(f"/datasets/{dataset.pk}/versions/1/files/{path}").status_code == 404


DATA = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("wanted", "code", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=1000-", 206, 1000, 1024),
        ("bytes=-24", 206, 1000, 1024),
        ("bytes=1000-9999", 206, 1000, 1024),
        ("bytes=-9999", 206, 0, 1024),
        ("bytes=0-1,5-6", 200, 0, 1024),
        ("bytes=9-2", 200, 0, 1024),
        ("bytes=-", 200, 0, 1024),
        ("rows=0-9", 200, 0, 1024),
    ],
)
def test_ranges_are_answered_as_the_rfc_says(wanted, code, start, end):
    blob = repositories.store_blob(DATA)
    answer = downloads.respond(RequestFactory().get("/", headers={"Range": wanted}), blob, "x.bin")
    assert answer.status_code == code
    assert b"".join(answer.streaming_content) == DATA[start:end]
    assert answer["Content-Length"] == str(end - start)
    assert answer.get("Content-Range") == (f"bytes {start}-{end - 1}/1024" if code == 206 else None)


@pytest.mark.parametrize("wanted", ["bytes=1024-", "bytes=-0", "bytes=5000-6000"])
def test_a_range_behind_the_end_is_416(wanted):
    blob = repositories.store_blob(DATA)
    answer = downloads.respond(RequestFactory().get("/", headers={"Range": wanted}), blob, "x.bin")
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */1024")


def test_a_range_of_other_content_gives_the_whole_file_and_known_content_gives_304():
    blob = repositories.store_blob(DATA)
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert downloads.respond(RequestFactory().get("/", headers=headers), blob, "x").status_code == 200
    headers = {"If-None-Match": f'"{blob.sha256}"'}
    assert downloads.respond(RequestFactory().get("/", headers=headers), blob, "x").status_code == 304


def test_under_asgi_the_file_is_streamed_piece_by_piece():
    blob = repositories.store_blob(DATA * 1000)
    answer = downloads.respond(AsyncRequestFactory().get("/"), blob, "x.bin")
    assert answer.is_async

    async def read():
        return [piece async for piece in answer.streaming_content]

    pieces = asyncio.run(read())
    assert len(pieces) == 4
    assert b"".join(pieces) == DATA * 1000


def test_a_team_is_found_by_its_slug_alone(as_frank, team):
    assert Team.objects.count() == 1
    assert as_frank.get("/teams/helpdesk/").json()["id"] == team.pk
    assert as_frank.get("/teams/?slug=helpdesk").json()["results"][0]["slug"] == "helpdesk"
