"""Datasets as a catalogue lists them: registered, described, downloaded, withdrawn. Content comes with uploads."""

from __future__ import annotations

import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, approvals, ledger
from projects import tables
from projects.models import CommitFile, Dataset, DatasetClearance, DatasetVersion, Repository, Team
from projects.services import fields, repositories
from projects.services.datasets import clearances
from projects.services.fields import Invalid

CHANGEABLE = (*Dataset.MATERIAL, "steward")
MAX_EXAMPLES = 200


class Withdrawn(access.Denied):
    """The version may no longer be used."""


@transaction.atomic
def register(
    *,
    actor: User,
    team: Team,
    name: str,
    title: str,
    provenance: str,
    licence: str,
    description: str = "",
    classification: str = Dataset.Classification.INTERNAL,
    lawful_basis: str = Dataset.LawfulBasis.NONE,
    region: str = "",
    retention_until: datetime.date | None = None,
    steward: User | None = None,
) -> Dataset:
    """Register a dataset, empty as yet, and return it. Raises Denied, or Invalid for a field.

    The person who registers it is its steward unless another member is named.
    """
    access.require(actor, Permission.DATASET_REGISTER, team)
    values = fields.clean(
        Dataset,
        {
            "name": name,
            "title": title,
            "description": description,
            "provenance": provenance,
            "licence": licence,
            "classification": classification,
            "lawful_basis": lawful_basis,
            "region": region,
            "retention_until": retention_until,
        },
    )
    if steward is not None:
        _check_steward(steward, team)
    repository = repositories.create(actor=actor, kind=Repository.Kind.DATASET, team=team, name=values["name"])
    dataset = Dataset.objects.create(team=team, steward=steward or actor, repository=repository, **values)
    texts = {name: values.pop(name) for name in sorted(Dataset.FREE_TEXT)}
    ledger.record(
        Action.DATASET_REGISTERED,
        actor=actor,
        subject=dataset,
        details={**values, "team": team.slug, "steward": str(dataset.steward.ledger_id)},
        texts=texts,
    )
    return dataset


def _check_steward(steward: User, scope: Team | Dataset) -> None:
    if steward.is_service or not steward.is_active or not access.allows(steward, Permission.DATASET_VIEW, scope):
        raise Invalid(f"{steward} has no role in this team, so they cannot look after its data.", field="steward")


@transaction.atomic
def change(*, actor: User, dataset: Dataset, **values: Any) -> Dataset:
    """Change what is said about the dataset and return it; clearances that were given on other terms lapse.

    Raises Denied, or Invalid for a field that does not fit or stays as it is.
    """
    access.require(actor, Permission.DATASET_EDIT, dataset)
    fields.only(values, CHANGEABLE)
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    before: dict[str, Any] = {name: getattr(dataset, name) for name in values}
    after = fields.clean(Dataset, values)
    if "steward" in after:
        _check_steward(after["steward"], dataset)
    for name, value in after.items():
        setattr(dataset, name, value)
    if "steward" in after:
        before["steward"], after["steward"] = str(before["steward"].ledger_id), str(after["steward"].ledger_id)
    if before == after:
        return dataset
    dataset.changed_at = timezone.now()
    dataset.save()
    details, texts = ledger.changes(before, after, free_text=set(Dataset.FREE_TEXT))
    ledger.record(Action.DATASET_CHANGED, actor=actor, subject=dataset, details=details, texts=texts)
    _lapse(actor, DatasetClearance.objects.filter(version__dataset=dataset))
    return dataset


def _lapse(actor: User, clearances: Any) -> None:
    for clearance in clearances.select_related("version__dataset__team", "version__commit", "use_case"):
        approvals.lapse_changed(actor=actor, subject=clearance)


@transaction.atomic
def withdraw(*, actor: User, version: DatasetVersion, reason: str) -> DatasetVersion:
    """Take a version out of use at once, whatever it was cleared for; its clearances lapse. Raises Denied, Invalid."""
    access.require(actor, Permission.DATASET_WITHDRAW, version.dataset)
    version = DatasetVersion.objects.select_for_update().get(pk=version.pk)
    if version.state != DatasetVersion.State.PROFILED:
        raise access.Denied(
            f"Only an imported version can be withdrawn; this one is {version.get_state_display().lower()}.",
            code="not_now",
            subject=version,
        )
    if not reason.strip():
        raise Invalid("Say why it is withdrawn; those who used it will read it.", field="reason")
    version.state = DatasetVersion.State.WITHDRAWN
    version.save(update_fields=["state"])
    ledger.record(
        Action.DATASET_WITHDRAWN,
        actor=actor,
        subject=version,
        digest=version.commit.oid if version.commit else "",
        details={"dataset": str(version.dataset), "version": version.number},
        texts={"reason": reason.strip()},
    )
    _lapse(actor, version.clearances.all())
    return version


def require_cleared(*, actor: User, version: DatasetVersion) -> None:
    """Raise unless a clearance of the version stands, whoever asks. Raises NotCleared, Withdrawn."""
    if version.state == DatasetVersion.State.WITHDRAWN:
        raise Withdrawn("This version was withdrawn, so it is no longer handed out.", code="withdrawn", subject=version)
    clearances.require_any(actor, version)


def require_download(*, actor: User, version: DatasetVersion) -> None:
    """Raise unless the files of the version may be handed out to this person now.

    Who looks after the data in its team always gets it; with whom it is shared gets it while a clearance of it stands.
    Raises Denied, NotCleared, Withdrawn, or repositories.Missing where it was not imported.
    """
    access.require(actor, Permission.DATASET_DOWNLOAD, version.dataset)
    if version.state == DatasetVersion.State.WITHDRAWN:
        raise Withdrawn("This version was withdrawn, so it is no longer handed out.", code="withdrawn", subject=version)
    if not access.allows(actor, Permission.DATASET_EDIT, version.dataset):
        clearances.require_any(actor, version)
    if version.commit is None:
        raise repositories.Missing("This version was not imported, so it has no files yet.")


@transaction.atomic
def download(*, actor: User, version: DatasetVersion, path: str) -> CommitFile:
    """Return one file of a version for its bytes to be sent, recorded as a read that matters.

    For pages and the REST API; what clients of the Hub fetch is recorded by the gateway's meter. Raises what
    `require_download` raises, or repositories.Missing where the version has no such file.
    """
    require_download(actor=actor, version=version)
    assert version.commit is not None
    file = repositories.file_of(version.commit, path)
    ledger.record(
        Action.DATASET_DOWNLOADED,
        actor=actor,
        subject=version,
        digest=file.sha256,
        details={"path": file.path, "commit": version.commit.oid, "size": file.size},
    )
    return file


def split_path(split: str) -> str:
    """Return where a split's rows lie in a version's commit."""
    return f"data/{split}.parquet"


def example_rows(
    *, version: DatasetVersion, split: str = "train", offset: int = 0, count: int = 20
) -> list[dict[str, str | None]]:
    """Return at most `count` (200) rows of a split from the 0-based `offset`; a version without files has none.

    Raises repositories.Missing for a split that is not there.
    """
    if version.commit is None:
        return []
    file = repositories.file_of(version.commit, split_path(split))
    return tables.page(repositories.local_path(file.blob), max(0, offset), min(max(0, count), MAX_EXAMPLES))
