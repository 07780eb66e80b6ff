"""Base models of the catalogue as repositories of the name `base`: `main` is the newest revision that is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from governance.models import User
from governance.services import access
from portal.gateway.hub.repos import MAIN, MODELS, OID, Ref, Refs, no_repo, stands_for_nothing, tags_of, unknown
from projects.models import Commit
from training.models import BaseModel
from training.services import handouts

OWNER = "base"


@dataclass
class BaseRevision:
    """One revision of a base model."""

    repo: BaseRepo
    oid: str
    base_model: BaseModel
    refusal: access.Denied | None = None

    @property
    def commit(self) -> Commit:
        """Return the commit whose files it has."""
        return self.base_model.commit

    def require(self) -> None:
        """Raise access.Denied unless the files may be handed out now."""
        handouts.require_base(actor=self.repo.user, base_model=self.base_model)

    def metered(self) -> dict[str, Any]:
        """Return what the meter asks of a download."""
        return {"base_model": self.base_model}

    def notices(self) -> list[str]:
        """Return the licence, and what its being allowed does not say."""
        return [
            f"{self.repo.id} is a base model under the licence {self.base_model.licence}.",
            "It is allowed for fine-tuning; what is made of it needs an approval of its own.",
        ]


class BaseRepo:
    """A base model with all its revisions, newest first."""

    kind = MODELS

    def __init__(self, user: User, rows: list[BaseModel]):
        self.user, self.rows = user, rows
        allowed = [row for row in rows if row.state == BaseModel.State.ALLOWED]
        self.subject = (allowed or rows)[0]
        self.id = f"{OWNER}/{self.subject.name}"
        self.page = self.subject.get_absolute_url()
        self.created_at = rows[-1].imported_at

    def revision(self, name: str) -> BaseRevision:
        """Return what `main` or a commit id names; raises errors.RevisionNotFound."""
        if name == MAIN or name == stands_for_nothing(self, MAIN):
            found = BaseRevision(self, self.subject.commit.oid, self.subject)
            if self.subject.state != BaseModel.State.ALLOWED:
                found.oid = stands_for_nothing(self, MAIN)
                try:
                    found.require()
                except access.Denied as refusal:
                    found.refusal = refusal
            return found
        for row in self.rows:
            if OID.fullmatch(name) and row.commit.oid == name:
                return BaseRevision(self, name, row)
        raise unknown(name)

    def refs(self) -> Refs:
        """Return `main`; revisions are told apart by their commit ids."""
        return Refs([Ref(MAIN, self.revision(MAIN).oid)])

    def history(self, commit: Commit) -> list[Commit]:
        """Return the commits from this one back."""
        return [row.commit for row in self.rows if row.commit.created_at <= commit.created_at]

    def facts(self, commit: Commit | None = None) -> dict[str, Any]:
        """Return what clients show of it."""
        row = next((row for row in self.rows if commit and row.commit_id == commit.pk), self.subject)
        licence = row.licence.lower()
        return {
            "pipeline_tag": row.task.lower().replace(" ", "-"),
            "library_name": "transformers",
            "tags": tags_of(("license", licence), words=["transformers", "safetensors", row.family, "gatehouse"]),
            "cardData": {"license": licence, "library_name": "transformers"},
        }


def _rows(user: User):
    rows = BaseModel.objects.visible_to(user).select_related("commit__author", "repository")
    return rows.order_by("-imported_at", "-pk")


def find(user: User, name: str) -> BaseRepo:
    """Return the base model if this person may see the catalogue; raises errors.RepoNotFound."""
    rows = list(_rows(user).filter(name=name)[:100])
    if not rows:
        raise no_repo(f"{OWNER}/{name}")
    return BaseRepo(user, rows)


def listed(user: User, *, search: str, author: str, after: str, limit: int) -> list[BaseRepo]:
    """Return the base models, by name, those behind `after`."""
    if author not in {"", OWNER}:
        return []
    rows = _rows(user).filter(Q(name__icontains=search) | Q(title__icontains=search)) if search else _rows(user)
    if after:
        rows = rows.filter(name__gt=after.partition("/")[2])
    found: dict[str, list[BaseModel]] = {}
    for row in rows[:1000]:
        found.setdefault(row.name, []).append(row)
    return [BaseRepo(user, found[name]) for name in sorted(found)[:limit]]
