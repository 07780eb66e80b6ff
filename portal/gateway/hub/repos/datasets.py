"""Datasets as repositories: `main` is the newest version that is cleared, `v1` and commit ids are versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.utils.functional import cached_property

from governance.models import User
from governance.services import access
from portal.gateway.hub.repos import DATASETS, MAIN, OID, TAG, Ref, Refs, no_repo, stands_for_nothing, tags_of, unknown
from projects.models import Commit, Dataset, DatasetVersion
from projects.services import datasets

LOOKED_AT = 20
"""Among how many of the newest versions a cleared one is looked for."""


@dataclass
class DatasetRevision:
    """One version of a dataset, by whichever name it was asked for."""

    repo: DatasetRepo
    oid: str
    version: DatasetVersion
    refusal: access.Denied | None = None

    @property
    def commit(self) -> Commit:
        """Return the commit whose files it has."""
        return self.version.commit

    def require(self) -> None:
        """Raise access.Denied unless the files may be handed out to this person now."""
        if self.refusal is not None:
            raise self.refusal
        datasets.require_download(actor=self.repo.user, version=self.version)

    def metered(self) -> dict[str, Any]:
        """Return what the meter asks of a download."""
        return {"dataset_version": self.version}

    def notices(self) -> list[str]:
        """Return how it is to be kept, under which licence and until when."""
        dataset = self.version.dataset
        said = [f"{self.version} is {dataset.get_classification_display().lower()} data under {dataset.licence}."]
        if dataset.retention_until:
            said.append(f"It must be deleted by {dataset.retention_until.isoformat()}.")
        said.append("Use it for what it is cleared for and nothing else.")
        return said


class DatasetRepo:
    """A dataset."""

    kind = DATASETS

    def __init__(self, user: User, dataset: Dataset):
        self.user, self.subject = user, dataset
        self.id = str(dataset)
        self.page = dataset.get_absolute_url()
        self.created_at = dataset.created_at

    @cached_property
    def _versions(self):
        rows = self.subject.versions.exclude(commit=None).defer("profile", "changes", "errors")
        return rows.select_related("commit__author", "dataset__team", "dataset__steward")

    def revision(self, name: str) -> DatasetRevision:
        """Return what a branch, tag or commit id names; raises errors.RevisionNotFound."""
        tag = TAG.fullmatch(name)
        if name == MAIN or name == stands_for_nothing(self, MAIN):
            return self._main
        if OID.fullmatch(name):
            version = self._versions.filter(commit__oid=name).first()
        else:
            version = self._versions.filter(number=int(tag[1])).first() if tag else None
        if version is None:
            raise unknown(name)
        return DatasetRevision(self, version.commit.oid, version)

    @cached_property
    def _main(self) -> DatasetRevision:
        refusal: access.Denied | None = None
        rows = list(self._versions.order_by("-number")[:LOOKED_AT])
        for version in rows:
            try:
                datasets.require_cleared(actor=self.user, version=version)
            except access.Denied as error:
                refusal = refusal or error
            else:
                return DatasetRevision(self, version.commit.oid, version)
        if not rows:
            raise unknown(MAIN)
        return DatasetRevision(self, stands_for_nothing(self, MAIN), rows[0], refusal)

    def refs(self) -> Refs:
        """Return `main`, and the versions as tags."""
        tags = self._versions.order_by("number").values_list("number", "commit__oid")
        found = [Ref(f"v{number}", oid) for number, oid in tags]
        return Refs([Ref(MAIN, self._main.oid)] if found else [], found)

    def history(self, commit: Commit) -> list[Commit]:
        """Return the commits of the versions up to this one, newest first."""
        rows = Commit.objects.filter(dataset_version__dataset=self.subject, created_at__lte=commit.created_at)
        return list(rows.select_related("author").order_by("-created_at", "-pk")[:1000])

    def facts(self, commit: Commit | None = None) -> dict[str, Any]:
        """Return what clients show of it."""
        dataset = self.subject
        licence = dataset.licence.lower()
        return {
            "tags": tags_of(("license", licence), ("classification", dataset.classification), words=["gatehouse"]),
            "cardData": {"license": licence, "pretty_name": dataset.title},
            "description": dataset.description[:1000],
        }


def find(user: User, team: str, name: str) -> DatasetRepo:
    """Return the dataset if this person may see it; raises errors.RepoNotFound."""
    rows = Dataset.objects.visible_to(user).select_related("team", "steward")
    dataset = rows.filter(team__slug=team, name=name).first()
    if dataset is None:
        raise no_repo(f"{team}/{name}")
    return DatasetRepo(user, dataset)


def listed(user: User, *, search: str, author: str, after: str, limit: int) -> list[DatasetRepo]:
    """Return the datasets that the person may see, by id, those behind `after`."""
    rows = Dataset.objects.visible_to(user).select_related("team").defer("words")
    if search:
        rows = rows.filter(Q(name__icontains=search) | Q(title__icontains=search) | Q(team__slug__icontains=search))
    if author:
        rows = rows.filter(team__slug=author)
    if after:
        team, _slash, name = after.partition("/")
        rows = rows.filter(Q(team__slug__gt=team) | Q(team__slug=team, name__gt=name))
    return [DatasetRepo(user, row) for row in rows.order_by("team__slug", "name")[:limit]]
