"""Datasets: described by their steward, cleared by reviewers for one purpose, withdrawn at once."""

import datetime

import pytest
from django.db import IntegrityError, transaction

from governance.models import ApprovalRequest, LedgerEntry
from governance.policy import Gate
from governance.services import access, approvals, ledger, roles
from projects.models import Dataset, DatasetClearance, DatasetVersion
from projects.services import datasets, repositories
from tests.factories import (
    approve,
    make_approved_use_case,
    make_cleared_version,
    make_dataset,
    make_use_case,
    make_version,
)

pytestmark = [pytest.mark.django_db, pytest.mark.postgres]


def actions(subject):
    return list(LedgerEntry.objects.about(subject).order_by("id").values_list("action", flat=True))


@pytest.fixture
def dataset(bob, team):
    return make_dataset(actor=bob, team=team)


@pytest.fixture
def use_case(alice, carol, team):
    return make_approved_use_case(actor=alice, reviewer=carol, team=team)


@pytest.fixture
def version(bob, dataset):
    return make_version(actor=bob, dataset=dataset)


def test_registering_makes_a_repository_and_an_entry_without_free_text(bob, dataset):
    assert dataset.repository.name == "requests"
    assert dataset.steward == bob
    entry = LedgerEntry.objects.about(dataset).get()
    details = ledger.body(entry)["details"]
    assert (details["licence"], details["classification"]) == ("CC0-1.0", "internal")
    assert b"Written for these tests" not in bytes(entry.canonical)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "requests"),
        ("name", "api"),
        ("name", "../up"),
        ("title", ""),
        ("provenance", ""),
        ("licence", ""),
        ("classification", "secret"),
        ("lawful_basis", "because"),
        ("retention_until", "tomorrow"),
    ],
)
def test_register_refuses_what_does_not_fit_and_names_the_field(bob, team, dataset, field, value):
    with pytest.raises(datasets.Invalid) as caught:
        make_dataset(actor=bob, team=team, **({"name": "another"} | {field: value}))
    assert caught.value.field == field
    assert Dataset.objects.count() == 1


def test_register_refuses_people_without_the_right_and_foreign_stewards(eve, carol, dan, bob, team):
    for person in (eve, carol, dan):
        with pytest.raises(access.Denied):
            make_dataset(actor=person, team=team)
    with pytest.raises(datasets.Invalid) as caught:
        make_dataset(actor=bob, team=team, steward=eve)
    assert caught.value.field == "steward"


def test_change_records_what_differs_and_refuses_the_rest(bob, alice, eve, dataset):
    datasets.change(actor=bob, dataset=dataset, licence="MIT", steward=alice)
    entry = LedgerEntry.objects.about(dataset).get(action="dataset.changed")
    assert {c.name for c in ledger.changes_of(entry)} == {"licence", "steward"}
    with pytest.raises(datasets.Invalid):
        datasets.change(actor=bob, dataset=dataset, team=None)
    with pytest.raises(access.Denied):
        datasets.change(actor=eve, dataset=dataset, licence="MIT")


# Clearance


def test_a_version_is_cleared_for_one_use_case_and_purpose(bob, alice, carol, team, version, use_case):
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    asked = datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train a classifier.")
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    approve(reviewer=carol, subject=asked.subject, gate=Gate.DATASET_USE)
    assert datasets.clearance_standing(version=version, use_case=use_case).open
    other = make_use_case(actor=alice, team=team, title="Another purpose")
    assert not datasets.clearance_standing(version=version, use_case=other).open
    assert actions(asked.subject) == ["clearance.requested"]


def test_the_requester_cannot_clear_it_themselves(bob, version, use_case):
    asked = datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train.")
    with pytest.raises(access.Denied):
        approvals.decide(actor=bob, request=asked, verdict="approve", digest=asked.digest)


def test_another_purpose_needs_another_clearance(bob, carol, dataset, use_case):
    version = make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)
    datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Publish it on the web.")
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    assert sorted(ApprovalRequest.objects.filter(gate=Gate.DATASET_USE).values_list("state", flat=True)) == [
        "lapsed",
        "open",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("licence", "CC-BY-4.0"), ("classification", "restricted"), ("retention_until", datetime.date(2031, 1, 1))],
)
def test_a_change_of_the_terms_voids_the_clearance(bob, carol, dataset, use_case, field, value):
    version = make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)
    datasets.change(actor=bob, dataset=dataset, **{field: value})
    version.refresh_from_db()
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    assert ApprovalRequest.objects.filter(gate=Gate.DATASET_USE).get().state == "lapsed"


def test_a_new_steward_leaves_the_clearance_as_it_is(bob, alice, carol, dataset, use_case):
    version = make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)
    datasets.change(actor=bob, dataset=dataset, steward=alice)
    assert datasets.clearance_standing(version=version, use_case=use_case).open


def test_clearance_refuses_a_use_case_that_one_may_not_see_or_that_is_elsewhere(
    bob, alice, frank, eve, other_team, version
):
    theirs = make_use_case(actor=eve, team=other_team)
    with pytest.raises(datasets.Invalid) as caught:
        datasets.request_clearance(actor=bob, version=version, use_case=theirs, purpose="Take it.")
    assert caught.value.field == "use_case"
    mine = make_use_case(actor=bob, team=other_team, title="Elsewhere")
    mine.owner, mine.risk_tier, mine.risk_tier_reason = eve, "minimal", "Nobody is judged by it."
    mine.save()
    with pytest.raises(datasets.Invalid, match="another team"):
        datasets.request_clearance(actor=bob, version=version, use_case=mine, purpose="Take it.")
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    roles.share(
        actor=alice,
        user=eve,
        permission="dataset.view",
        subject=version.dataset,
        purpose="Joint work",
        expires_at=until,
    )
    assert datasets.request_clearance(actor=bob, version=version, use_case=mine, purpose="Joint work.").pk


def test_clearance_refuses_outsiders_and_an_empty_purpose(bob, eve, carol, version, use_case):
    for person in (eve, carol):
        with pytest.raises(access.Denied):
            datasets.request_clearance(actor=person, version=version, use_case=use_case, purpose="Train.")
    with pytest.raises(datasets.Invalid) as caught:
        datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="  ")
    assert caught.value.field == "purpose"
    assert not DatasetClearance.objects.exists()


def test_personal_data_without_a_lawful_basis_cannot_be_put_before_a_reviewer(bob, dataset, use_case):
    rows = [
        {"text": f"Please write to person{n}@example.org about {label}", "label": label}
        for n in range(10)
        for label in ("payroll", "hardware")
    ]
    version = make_version(actor=bob, dataset=dataset, rows=rows)
    with pytest.raises(approvals.NotReady, match="lawful basis"):
        datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train.")
    datasets.change(actor=bob, dataset=dataset, lawful_basis="legitimate_interests")
    version.refresh_from_db()
    asked = datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train.")
    assert asked.snapshot["material"]["Personal data found"] == {"e-mail address": 20}


# Withdrawal and download


def test_withdrawing_voids_every_clearance_and_stops_downloads(bob, carol, dataset, use_case):
    version = make_cleared_version(actor=bob, reviewer=carol, dataset=dataset, use_case=use_case)
    with pytest.raises(datasets.Invalid):
        datasets.withdraw(actor=bob, version=version, reason=" ")
    version = datasets.withdraw(actor=bob, version=version, reason="A person objected.")
    assert version.state == "withdrawn"
    assert not datasets.clearance_standing(version=version, use_case=use_case).open
    assert ApprovalRequest.objects.filter(gate=Gate.DATASET_USE).get().state == "lapsed"
    with pytest.raises(access.Denied, match="withdrawn"):
        datasets.download(actor=bob, version=version, path="data/train.parquet")
    with pytest.raises(access.Denied, match="withdrawn"):
        datasets.withdraw(actor=bob, version=version, reason="Again")


def test_a_download_is_recorded_with_the_digest_of_what_was_read(bob, carol, eve, version):
    blob = datasets.download(actor=bob, version=version, path="data/train.parquet")
    entry = LedgerEntry.objects.about(version).get(action="dataset.downloaded")
    assert (entry.subject_digest, entry.actor) == (blob.sha256, bob)
    for person in (carol, eve):
        with pytest.raises(access.Denied):
            datasets.download(actor=person, version=version, path="data/train.parquet")
    for path in ("../../etc/passwd", "data/none.parquet", ""):
        with pytest.raises(repositories.Missing):
            datasets.download(actor=bob, version=version, path=path)


def test_example_rows_come_in_order_and_in_bounded_number(version):
    first = datasets.example_rows(version=version, split="train", offset=0, count=3)
    assert [set(row) for row in first] == [{"text", "label"}] * 3
    assert datasets.example_rows(version=version, split="train", offset=1, count=1) == first[1:2]
    assert datasets.example_rows(version=version, split="test", offset=10_000, count=5) == []
    with pytest.raises(repositories.Missing):
        datasets.example_rows(version=version, split="secret")


def test_the_card_is_filled_from_what_is_known(bob, dataset, version):
    card = datasets.card(dataset=dataset, version=version)
    assert card.startswith("---\nlicense: cc0-1.0\n")
    assert "data/train.parquet" in card
    assert "30 rows: 24 train, 3 validation, 3 test." in card
    assert "| access | 10 |" in card
    assert "[More Information Needed]" not in card


def test_the_database_refuses_a_profiled_version_without_a_commit(version):
    with pytest.raises(IntegrityError), transaction.atomic():
        DatasetVersion.objects.filter(pk=version.pk).update(commit=None)


def test_outsiders_see_neither_datasets_nor_versions_nor_clearances(bob, eve, carol, version, use_case):
    datasets.request_clearance(actor=bob, version=version, use_case=use_case, purpose="Train.")
    for model in (Dataset, DatasetVersion, DatasetClearance):
        assert model.objects.visible_to(eve).count() == 0
        assert model.objects.visible_to(carol).count() == 1
