"""A steward brings data: a bad file is refused by the line, a good one is profiled, and a reviewer clears it."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from governance.models import ApprovalRequest
from projects.models import Dataset, DatasetVersion
from projects.services import datasets
from tests import factories

pytestmark = pytest.mark.django_db
DESCRIBED = {
    "title": "Help-desk requests",
    "name": "requests",
    "provenance": "Written for these tests.",
    "licence": "CC0-1.0",
    "classification": "internal",
    "lawful_basis": "none",
}
COLUMNS = {
    "text_column": "text",
    "label_column": "label",
    "train": "80",
    "validation": "10",
    "test": "10",
    "seed": "7",
    "on_bad_rows": "refuse",
}


def test_a_file_becomes_a_cleared_version(visit, alice, bob, carol, eve, team):
    use_case = factories.make_approved_use_case(actor=alice, reviewer=carol, team=team)
    steward, reviewer, outsider = visit(bob).page, visit(carol).page, visit(eve).page

    assert steward.post("/datasets/new/", DESCRIBED | {"team": team.pk}).status_code == 302
    address = Dataset.objects.get().get_absolute_url()
    assert outsider.get(address).status_code == 404

    broken = SimpleUploadedFile("broken.csv", b"text,label\nfirst row,access\nsecond row\nthird,x,y\n", "text/csv")
    steward.post(f"{address}upload/", {"file": broken})
    first = DatasetVersion.objects.get()
    steward.post(f"{first.get_absolute_url()}columns/", COLUMNS)
    datasets.run_import(first.pk)
    first.refresh_from_db()
    assert first.state == "refused"
    refused = steward.get(first.get_absolute_url())
    assert first.refusal in refused.text
    assert "3" in {str(problem["line"]) for problem in first.errors}

    steward.post(f"{address}upload/", {"file": factories.make_csv(factories.make_rows(each=20))})
    second = DatasetVersion.objects.latest("number")
    named = steward.post(f"{second.get_absolute_url()}columns/", COLUMNS)
    assert named.status_code == 302, named.text
    datasets.run_import(second.pk)
    second.refresh_from_db()
    assert second.state == "profiled", second.refusal
    assert steward.get(second.get_absolute_url()).status_code == 200

    asked = steward.post(
        f"{second.get_absolute_url()}clearances/",
        {"use_case": use_case.pk, "purpose": "Train and test a classifier.", "note": ""},
    )
    assert asked.status_code == 302
    request = ApprovalRequest.objects.open().get()
    assert (
        steward.post(f"/reviews/{request.pk}/decide/", {"verdict": "approve", "digest": request.digest}).status_code
        == 403
    )
    shown = reviewer.get(f"/reviews/{request.pk}/")
    assert "Train and test a classifier." in shown.text
    reviewer.post(f"/reviews/{request.pk}/decide/", {"verdict": "approve", "digest": request.digest})
    assert datasets.clearance_standing(version=second, use_case=use_case).open

    # The rules on which it was cleared change: the clearance lapses, and the page says so.
    edited = {name: value for name, value in DESCRIBED.items() if name != "name"}
    changed = steward.post(f"{address}edit/", edited | {"licence": "Internal use only", "steward": bob.email})
    assert changed.status_code == 302, changed.text
    assert not datasets.clearance_standing(version=second, use_case=use_case).open
