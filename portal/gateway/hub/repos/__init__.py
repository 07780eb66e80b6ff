"""What a client's repository and revision stand for here.

A repository is a registered model (`team/name`), a base model of the catalogue (`base/name`, or `name` alone, as some
adapters call it) or a dataset (`team/name` of the type dataset). One module for each kind offers `find` and `listed`;
each `find` returns a `Repo`.

`main` is what the organisation agreed to: the champion of a model, the newest cleared version of a dataset, the newest
allowed revision of a base model. Where there is none, or none any more, `main` still has a commit id, which stands for
that and has no files to give: a client with an older copy in its cache then asks again, and is told why.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from governance.services import access
from portal.gateway.hub import errors
from projects.models import Commit

MODELS, DATASETS = "models", "datasets"
MAIN = "main"
OID = re.compile(r"[0-9a-f]{40}")
TAG = re.compile(r"v([1-9]\d{0,8})")


@dataclass(frozen=True)
class Ref:
    """A name of a commit."""

    name: str
    oid: str


@dataclass(frozen=True)
class Refs:
    """The names that a repository's commits have for this person: branches move, tags stay."""

    branches: list[Ref] = field(default_factory=list)
    tags: list[Ref] = field(default_factory=list)


class Revision(Protocol):
    """One commit of a repository as this person may have it; `refusal` is why they may not have its files."""

    oid: str
    commit: Commit
    refusal: access.Denied | None

    def require(self) -> None:
        """Raise access.Denied unless the files may be handed out to this person now."""

    def metered(self) -> dict[str, Any]:
        """Return what the meter asks of a download, once `require` has passed."""

    def notices(self) -> list[str]:
        """Return sentences that everyone who fetches this should read: terms, audience, what is newer."""


class Repo(Protocol):
    """A repository as this person may see it."""

    kind: str
    id: str
    page: str
    """The address of the page on which one sees it, and asks for it."""
    created_at: datetime

    @property
    def subject(self) -> Any:
        """Return the object that it stands for."""

    def revision(self, name: str) -> Revision:
        """Return what a branch, tag or commit id names; raises errors.RevisionNotFound."""

    def refs(self) -> Refs:
        """Return the names that lead somewhere."""

    def history(self, commit: Commit) -> list[Commit]:
        """Return the commits from this one back, newest first, as far as the person sees them."""

    def facts(self, commit: Commit | None = None) -> dict[str, Any]:
        """Return what clients show of it, or of one commit: tags, pipeline_tag, library_name, cardData."""


def stands_for_nothing(repo: Repo, ref: str) -> str:
    """Return the commit id of a name that leads nowhere at the moment; it never has files, so none are ever cached."""
    return hashlib.sha256(f"{repo.kind}/{repo.id}@{ref}: nothing".encode()).hexdigest()[:40]


def unknown(name: str) -> errors.RevisionNotFound:
    """Return the error for a revision that is not there."""
    return errors.RevisionNotFound(
        f"There is no revision {name[:100]!r}. Use main, an alias, a tag such as v1, or a commit."
    )


def no_repo(repo_id: str) -> errors.RepoNotFound:
    """Return the error for a repository that is not there, or not for this person."""
    return errors.RepoNotFound(f"There is no repository {repo_id!r} that you may see. Check its name and your team.")


def tags_of(*pairs: tuple[str, str], words: Iterable[str] = ()) -> list[str]:
    """Return tags in the clients' form, leaving out what is empty."""
    return [*(word for word in words if word), *(f"{name}:{value}" for name, value in pairs if value)]
