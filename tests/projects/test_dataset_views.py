"""The pages of datasets, uploads and versions, over HTTP, with real imports."""

from __future__ import annotations

import datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from governance.models import ApprovalRequest, LedgerEntry, Share
from governance.policy import Role
from governance.services import access
from projects.models import Dataset, DatasetVersion
from projects.services import datasets
from tests import factories
from tests.personas import make_role

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def store(settings, tmp_path):
    """Keep blobs and uploads below the test's own folder."""
    settings.STORAGES = settings.STORAGES | {
        "default": {
            "BACKEND": "portal.storages.filesystem.ContentStorage",
            "OPTIONS": {"url": f"file://{tmp_path / 'store'}"},
        }
    }
    settings.VAR = tmp_path / "var"


@pytest.fixture
def as_(client):
    """Return a function that signs the client in as a persona."""

    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def dataset(bob, team):
    """Return a registered dataset that bob looks after."""
    return factories.make_dataset(actor=bob, team=team)


def page(name, dataset=None, *args, number=None):
    place = [dataset.team.slug, dataset.name] if dataset is not None else []
    place += [number] if number is not None else []
    return reverse(f"projects:{name}", args=[*place, *args])


def of(name, version, *args):
    return page(name, version.dataset, *args, number=version.number)


def errors_of(response, form="form") -> dict:
    return response.context[form].errors


REGISTER = {
    "title": "Incident reports",
    "name": "incidents",
    "description": "",
    "provenance": "Exported from the ticket system.",
    "licence": "CC-BY-4.0",
    "classification": "confidential",
    "lawful_basis": "none",
    "region": "EU",
    "retention_until": "2031-12-31",
    "steward": "",
}
COLUMNS = {
    "text_column": "text",
    "label_column": "label",
    "split_column": "",
    "train": "80",
    "validation": "10",
    "test": "10",
    "seed": "7",
    "on_bad_rows": "refuse",
    "delimiter": ",",
}


# Lists and registration


def test_an_outsider_sees_a_list_of_datasets_that_teaches(as_, dataset, eve):
    answer = as_(eve).get(page("datasets"))

    assert answer.status_code == 200
    assert dataset.get_absolute_url() not in answer.text
    assert "shared with you" in answer.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"requests", "incidents"}),
        ("?q=incident", {"incidents"}),
        ("?classification=confidential", {"incidents"}),
        ("?steward=mine", {"requests"}),
        ("?team=helpdesk&classification=nonsense", {"requests", "incidents"}),
    ],
)
def test_the_list_shows_what_the_filters_leave(as_, alice, bob, team, dataset, query, found):
    factories.make_dataset(
        actor=alice, team=team, name="incidents", title="Incident reports", classification="confidential"
    )

    assert {row.name for row in as_(bob).get(page("datasets") + query).context["page"].items} == found


def test_the_export_holds_what_the_filters_leave(as_, bob, dataset, eve):
    read = b"".join(as_(bob).get(page("datasets_export") + "?q=request").streaming_content).decode("utf-8-sig")

    assert "requests" in read
    assert "requests" not in b"".join(as_(eve).get(page("datasets_export")).streaming_content).decode()


def test_registering_leads_on_to_the_upload(as_, bob, team):
    answer = as_(bob).post(page("dataset_new"), REGISTER | {"team": team.pk})

    made = Dataset.objects.get()
    assert answer.headers["Location"] == page("dataset_upload", made)
    assert (made.steward, made.classification, made.retention_until.year) == (bob, "confidential", 2031)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Not A Name"}, "name"),
        ({"provenance": " "}, "provenance"),
        ({"steward": "eve@example.org"}, "steward"),
    ],
)
def test_registering_says_beside_the_field_what_is_wrong(as_, bob, team, eve, change, field):
    answer = as_(bob).post(page("dataset_new"), REGISTER | {"team": team.pk} | change)

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {field}
    assert "Exported from the ticket system." in answer.text or field == "provenance"


def test_a_name_that_is_taken_is_said_beside_it(as_, bob, team, dataset):
    assert "name" in errors_of(as_(bob).post(page("dataset_new"), REGISTER | {"team": team.pk, "name": dataset.name}))


def test_a_team_in_which_one_may_not_register_cannot_be_chosen(as_, bob, other_team):
    answer = as_(bob).post(page("dataset_new"), REGISTER | {"team": other_team.pk})

    assert "team" in errors_of(answer)
    assert not Dataset.objects.exists()


def test_registering_is_refused_to_who_may_in_no_team(as_, carol, eve, team):
    assert as_(eve).get(page("dataset_new")).status_code == 403
    assert as_(carol).post(page("dataset_new"), REGISTER | {"team": team.pk}).status_code == 403


def test_editing_keeps_what_is_not_said_and_records_the_difference(as_, bob, dataset):
    as_(bob).post(page("dataset_edit", dataset), REGISTER | {"steward": "alice"} | {"steward": bob.email})

    dataset.refresh_from_db()
    lines = as_(bob).get(page("dataset_history", dataset)).context["page"].items
    assert dataset.title == "Incident reports"
    assert {"Title", "Licence"} <= {change["label"] for change in lines[0].changes}


# From a file to a version


def test_a_file_becomes_a_version_through_its_columns(as_, bob, dataset):
    client = as_(bob)
    uploaded = client.post(page("dataset_upload", dataset), {"file": factories.make_csv(factories.make_rows())})
    version = DatasetVersion.objects.get()
    assert uploaded.headers["Location"] == of("dataset_columns", version)

    asked = client.get(of("dataset_columns", version))
    assert asked.context["form"]["text_column"].value() == "text"
    assert "Request number 0 about access" in asked.text

    started = client.post(of("dataset_columns", version), COLUMNS)
    assert started.headers["Location"] == version.get_absolute_url()
    assert 'hx-trigger="every 1s"' in client.get(version.get_absolute_url()).text

    datasets.run_import(version.pk)
    done = client.get(version.get_absolute_url())
    assert done.context["splits"] == [("train", 24), ("validation", 3), ("test", 3)]
    assert client.get(of("dataset_progress", version)).headers["HX-Redirect"] == version.get_absolute_url()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("table.pdf", b"%PDF-1.7"),
        ("table.parquet", b"text,label\na,b\n"),
        ("header.csv", b"text,label\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_sent_back_with_a_sentence(as_, bob, dataset, name, content):
    answer = as_(bob).post(page("dataset_upload", dataset), {"file": SimpleUploadedFile(name, content)})

    assert answer.status_code == 422
    assert len(errors_of(answer)["file"][0].split()) > 4
    assert not DatasetVersion.objects.exists()


def test_an_upload_without_a_file_asks_for_one(as_, bob, dataset):
    assert "file" in errors_of(as_(bob).post(page("dataset_upload", dataset), {}))


def test_uploading_is_refused_to_a_reviewer_and_absent_for_another_teams_steward(as_, carol, dataset, eve, other_team):
    make_role(eve, Role.DATA_STEWARD, other_team)
    given = {"file": factories.make_csv(factories.make_rows())}
    assert as_(carol).post(page("dataset_upload", dataset), given).status_code == 403
    assert as_(eve).get(page("dataset_upload", dataset)).status_code == 404
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label_column": "text"}, "label_column"),
        ({"train": "90"}, "train"),
        ({"text_column": "elsewhere"}, "text_column"),
        ({"seed": "-1"}, "seed"),
    ],
)
def test_columns_say_beside_the_field_what_is_wrong(as_, bob, dataset, change, field):
    version = datasets.receive(actor=bob, dataset=dataset, file=factories.make_csv(factories.make_rows()))

    answer = as_(bob).post(of("dataset_columns", version), COLUMNS | change)

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {field}
    version.refresh_from_db()
    assert version.mapped_at is None


def test_reading_it_again_with_another_delimiter_shows_other_columns(as_, bob, dataset):
    file = SimpleUploadedFile("table.csv", b"text;note,label\nhello;there,a\nbye;then,b\n")
    version = datasets.receive(actor=bob, dataset=dataset, file=file)

    answer = as_(bob).post(of("dataset_columns", version), {"delimiter": ";", "again": "yes"})

    assert answer.context["looked"].columns == ["text", "note,label"]
    version.refresh_from_db()
    assert version.mapped_at is None


def broken(bob, dataset):
    rows = [*factories.make_rows(), {"text": "", "label": "access"}, {"text": "=SUM(A1)", "label": ""}]
    return factories.make_version(actor=bob, dataset=dataset, rows=rows)


def test_a_refused_import_lists_the_rows_and_offers_them_as_csv(as_, bob, dataset):
    version = broken(bob, dataset)

    answer = as_(bob).get(version.get_absolute_url())
    read = b"".join(as_(bob).get(of("dataset_errors", version)).streaming_content).decode("utf-8-sig")

    assert version.refusal in answer.text
    assert [problem["line"] for problem in answer.context["problems"]] == [32, 33]
    assert page("dataset_upload", dataset) in answer.text
    assert len(read.splitlines()) == 3


def test_a_refused_import_is_started_again_without_its_bad_rows(as_, bob, dataset):
    version = broken(bob, dataset)

    as_(bob).post(of("dataset_columns", version), COLUMNS | {"on_bad_rows": "skip"})
    datasets.run_import(version.pk)

    version.refresh_from_db()
    assert (version.state, version.rows, version.error_count) == ("profiled", 30, 2)


def test_columns_of_an_imported_version_are_settled(as_, bob, dataset):
    version = factories.make_version(actor=bob, dataset=dataset)

    assert as_(bob).get(of("dataset_columns", version)).headers["Location"] == version.get_absolute_url()


# A version

SECTIONS = [
    "dataset_version",
    "dataset_rows",
    "dataset_changes",
    "dataset_use",
    "dataset_files",
    "dataset_datasheet",
]


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_of_a_version_are_there_for_readers_and_not_for_an_outsider(as_, bob, carol, dataset, eve, name):
    version = factories.make_version(actor=bob, dataset=dataset)

    assert as_(bob).get(of(name, version)).status_code == 200
    assert as_(carol).get(of(name, version)).status_code == 200
    assert as_(eve).get(of(name, version)).status_code == 404


@pytest.mark.parametrize("name", SECTIONS[1:])
def test_sections_of_a_version_that_was_never_imported_are_absent(as_, bob, dataset, name):
    version = datasets.receive(actor=bob, dataset=dataset, file=factories.make_csv(factories.make_rows()))

    assert as_(bob).get(of(name, version)).status_code == 404


def test_the_overview_shows_personal_data_masked_and_contradictions(as_, bob, dataset):
    rows = factories.make_rows()
    rows[0]["text"] = "Write to maria.example@example.com please"
    rows.append({"text": rows[1]["text"], "label": "access"})
    version = factories.make_version(actor=bob, dataset=dataset, rows=rows)

    answer = as_(bob).get(version.get_absolute_url())

    assert {"personal_data", "conflicting_labels"} <= {f["code"] for f in answer.context["profile"]["findings"]}
    assert "maria.example@example.com" not in answer.text


def test_changes_compare_with_the_version_before(as_, bob, dataset):
    rows = factories.make_rows()
    factories.make_version(actor=bob, dataset=dataset, rows=rows)
    second = factories.make_version(
        actor=bob, dataset=dataset, rows=[*rows, {"text": "A new one about pay", "label": "payroll"}]
    )

    changes = as_(bob).get(of("dataset_changes", second)).context["changes"]

    assert (changes["since"], changes["rows"]["added"], changes["rows"]["kept"]) == (1, 1, 30)


def test_rows_are_paged_and_an_unknown_split_is_absent(as_, bob, dataset):
    version = factories.make_version(actor=bob, dataset=dataset, rows=factories.make_rows(each=40))

    first = as_(bob).get(of("dataset_rows", version))
    second = as_(bob).get(of("dataset_rows", version), {"split": "train", "from": first.context["next"]})

    shown = [cells for answer in (first, second) for _line, cells in answer.context["lines"]]
    assert len(shown) == len({cells[0] for cells in shown}) == 50
    assert as_(bob).get(of("dataset_rows", version), {"split": "../train"}).status_code == 404
    assert as_(bob).get(of("dataset_rows", version), {"from": "x"}).context["first"] == 1


def test_a_file_is_downloaded_by_who_may_and_the_ledger_knows(as_, bob, carol, dataset):
    version = factories.make_version(actor=bob, dataset=dataset)

    answer = as_(bob).get(of("dataset_download", version, "data/test.parquet"))

    assert b"".join(answer.streaming_content)[:4] == b"PAR1"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert LedgerEntry.objects.filter(action="dataset.downloaded", actor=bob).count() == 1
    assert as_(carol).get(of("dataset_download", version, "data/test.parquet")).status_code == 403
    assert as_(bob).get(of("dataset_download", version, "../secret")).status_code == 404


def test_clearance_is_asked_from_the_page_and_its_standing_shown(as_, alice, bob, carol, dataset, team):
    version = factories.make_version(actor=bob, dataset=dataset)
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)

    as_(bob).post(of("dataset_clear", version), {"use_case": use_case.pk, "purpose": "Train on it.", "note": ""})

    asked = ApprovalRequest.objects.get(gate="dataset_use")
    assert asked.requester == bob
    [line] = as_(bob).get(of("dataset_use", version)).context["clearances"]
    assert (line["clearance"].use_case, line["request"].state) == (use_case, "open")
    evidence = as_(alice).get(reverse("projects:use_case_evidence", args=[use_case.pk]))
    assert [one["clearance"].version for one in evidence.context["clearances"]] == [version]


def test_clearance_for_a_use_case_that_one_may_not_see_cannot_be_chosen(as_, bob, frank, dataset, other_team):
    version = factories.make_version(actor=bob, dataset=dataset)
    hidden = factories.make_use_case(actor=frank, team=other_team)

    answer = as_(bob).post(of("dataset_clear", version), {"use_case": hidden.pk, "purpose": "Train on it."})

    assert "use_case" in errors_of(answer)


def test_withdrawing_asks_why_and_ends_the_clearance(as_, alice, bob, carol, dataset, team):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)

    silent = as_(bob).post(of("dataset_withdraw", version), {"reason": ""})
    assert silent.context["withdraw_open"]
    assert silent.status_code == 422

    as_(bob).post(of("dataset_withdraw", version), {"reason": "Consent was withdrawn."})
    version.refresh_from_db()
    assert version.state == "withdrawn"
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    assert as_(bob).get(version.get_absolute_url()).context["withdraw"] is None


def test_a_reviewer_cannot_withdraw(as_, bob, carol, dataset):
    version = factories.make_version(actor=bob, dataset=dataset)

    assert as_(carol).post(of("dataset_withdraw", version), {"reason": "I say so."}).status_code == 403


# Shares


def share(client, dataset, **change):
    until = (timezone.now() + datetime.timedelta(days=30)).date().isoformat()
    given = {"person": "eve@example.org", "level": "view", "until": until, "purpose": "Check the labels."}
    return client.post(page("dataset_share", dataset), given | change)


def test_a_share_opens_the_dataset_and_its_end_closes_it(as_, bob, dataset, eve):
    share(as_(bob), dataset)
    assert as_(eve).get(page("dataset", dataset)).status_code == 200

    held = Share.objects.get()
    as_(bob).post(page("dataset_unshare", dataset, held.pk))
    access.forget(eve)
    assert as_(eve).get(page("dataset", dataset)).status_code == 404


def test_a_share_to_download_gives_both_rights(as_, alice, bob, carol, team, dataset, eve):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)
    share(as_(bob), dataset, level="download")

    assert set(Share.objects.values_list("permission", flat=True)) == {"dataset.view", "dataset.download"}
    answer = as_(eve).get(of("dataset_download", version, "README.md"))
    assert b"Help-desk requests" in b"".join(answer.streaming_content)


@pytest.mark.parametrize(
    ("change", "field"),
    [({"until": "2020-01-01"}, "until"), ({"purpose": ""}, "purpose"), ({"person": "nobody"}, "person")],
)
def test_a_share_says_beside_the_field_what_is_wrong(as_, bob, dataset, eve, change, field):
    answer = share(as_(bob), dataset, **change)

    assert answer.status_code == 422
    assert set(errors_of(answer)) == {field}
    assert not Share.objects.exists()


def test_an_auditor_cannot_share(as_, dan, dataset, eve):
    assert share(as_(dan), dataset).status_code == 403


# What a reviewer is shown, and what a page costs


def test_the_evidence_of_a_clearance_renders_with_what_was_found(bob, alice, carol, dataset, team):
    from django.template.loader import render_to_string

    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_version(actor=bob, dataset=dataset)
    asked = datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train.")

    shown = render_to_string("projects/evidence/datasetclearance.html", {"subject": asked.subject})
    assert version.get_absolute_url() in shown
    assert use_case.get_absolute_url() in shown
    shown = render_to_string("projects/evidence/usecase.html", {"subject": use_case})
    assert use_case.get_absolute_url() in shown
    assert "Requests in the right queue" in shown


def count_queries(client, address, limit) -> int:
    client.get(address)
    with limit(12) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


def test_the_list_costs_the_same_at_any_length(as_, bob, carol, team, dataset, django_assert_max_num_queries):
    from projects.models import Repository

    def grow(count):
        names = [f"d{count}-{number}" for number in range(count)]
        held = Repository.objects.bulk_create(
            Repository(kind="dataset", team=team, name=name, created_by=bob) for name in names
        )
        Dataset.objects.bulk_create(
            Dataset(team=team, name=one.name, title=one.name, steward=bob, repository=one, licence="x", provenance="x")
            for one in held
        )

    grow(10)
    few = count_queries(as_(carol), page("datasets"), django_assert_max_num_queries)
    grow(1000)
    assert count_queries(as_(carol), page("datasets"), django_assert_max_num_queries) == few


def test_the_page_of_a_dataset_costs_the_same_with_many_versions(as_, bob, dataset, django_assert_max_num_queries):
    def grow(start, count):
        DatasetVersion.objects.bulk_create(
            DatasetVersion(dataset=dataset, number=start + number, created_by=bob) for number in range(count)
        )

    grow(1, 3)
    few = count_queries(as_(bob), page("dataset", dataset), django_assert_max_num_queries)
    grow(10, 300)
    assert count_queries(as_(bob), page("dataset", dataset), django_assert_max_num_queries) == few


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_of_a_version_costs_at_most_twelve_queries(
    as_, alice, bob, carol, dataset, team, name, django_assert_max_num_queries
):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    version = factories.make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)

    for person in (bob, carol):
        count_queries(as_(person), of(name, version), django_assert_max_num_queries)
