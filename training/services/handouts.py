"""Handing out files of model versions and base models: whether they may leave now, and the entry that says they did.

Asked at the time of each read, like `registry.servable` for a call: what was published a moment ago can be fetched, and
what was revoked a moment ago cannot. What a client has fetched before stays with it; the entries say who has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Max, Min

from governance.actions import Action
from governance.models import ApprovalRequest, LedgerEntry, User
from governance.policy import Gate, Permission
from governance.services import access, approvals, ledger
from projects.models import CommitFile
from projects.services import repositories
from training.models import BaseModel, ModelVersion, Publication
from training.services import registry
from training.services.registry import NotPublished

State = Publication.State


def require(*, actor: User, version: ModelVersion) -> Publication | None:
    """Return the publication by which the version reaches this person, or None where it is their own team's work.

    What is published may be fetched by its audience. A team's members also get versions that are not, while the use
    case may be developed and nobody revoked or suspended the version; those who read everything get it in any case, as
    evidence. Raises Denied, NotPublished.
    """
    offered = [row for row in _offers(version) if registry.is_for(actor, row)]
    for publication in offered:
        if publication.state == State.PUBLISHED and registry.standing(publication).open:
            return publication
    if access.organisation_allows(actor, Permission.MODEL_VIEW):
        return None
    if access.allows(actor, Permission.MODEL_VIEW, version.model):
        _require_held(version)
        return None
    if offered:
        ended = registry.standing(offered[0])
        raise NotPublished(f"{version} is no longer handed out: {ended.reason}", code=ended.code, subject=version)
    access.require_token(actor, Permission.MODEL_USE, version.model)
    raise NotPublished(f"{version} is not published to you.", code="not_published", subject=version)


def _offers(version: ModelVersion) -> list[Publication]:
    """Return the publications that reviewers agreed to, those in force first, then the newest."""
    rows = version.publications.exclude(state__in=[State.PROPOSED, State.DECLINED])
    found = rows.select_related("model__team", "version__commit").order_by("-published_at", "-pk")
    return sorted(found, key=lambda row: row.state != State.PUBLISHED)


def _require_held(version: ModelVersion) -> None:
    """Raise NotPublished where the version must not be handed out: its use case or its publication lost approval."""
    found = approvals.standing(Gate.USE_CASE_DEVELOPMENT, version.use_case)
    if not found.open:
        raise NotPublished(
            f"{version} is not handed out: the approval of its use case does not stand. {found.reason}",
            code="approval_void",
            subject=version,
        )
    publications = list(version.publications.order_by("-pk"))
    for publication in publications:
        asked = approvals.standing(Gate.MODEL_PUBLICATION, publication)
        if asked.open and publication.state != State.SUSPENDED:
            return
        if asked.request is not None and asked.request.state == ApprovalRequest.State.REVOKED:
            raise NotPublished(f"{version} is not handed out. {asked.reason}", code="approval_void", subject=version)
    for publication in publications:
        if publication.state == State.SUSPENDED:
            raise NotPublished(
                f"{version} is not handed out: it is suspended. {publication.ended_because}",
                code=State.SUSPENDED,
                subject=version,
            )


@transaction.atomic
def download(*, actor: User, version: ModelVersion, path: str) -> CommitFile:
    """Return one file of a version for its bytes to be sent; the read is recorded.

    For pages and the REST API; what clients of the Hub fetch is recorded by the gateway's meter. Raises what `require`
    raises, or repositories.Missing.
    """
    require(actor=actor, version=version)
    file = repositories.file_of(version.commit, path)
    ledger.record(
        Action.MODEL_DOWNLOADED,
        actor=actor,
        subject=version,
        digest=file.sha256,
        details={
            "model": str(version.model),
            "version": version.number,
            "commit": version.commit.oid,
            "path": path,
            "bytes": file.size,
        },
    )
    return file


def require_base(*, actor: User, base_model: BaseModel) -> None:
    """Raise unless this revision of a base model may be fetched: by everyone who sees the catalogue, while allowed."""
    access.require(actor, Permission.BASE_MODEL_VIEW)
    if base_model.state == BaseModel.State.ALLOWED:
        return
    if base_model.state == BaseModel.State.DISALLOWED:
        raise NotPublished(
            f"{base_model.title} may no longer be used: {base_model.decision_reason}",
            code="disallowed",
            subject=base_model,
        )
    raise NotPublished(
        f"{base_model.title} waits for a reviewer to allow it.", code="not_published", subject=base_model
    )


@dataclass(frozen=True)
class Holder:
    """Somebody who fetched files of a version: how many different ones, how often, since when, and last when."""

    person: User
    files: int
    reads: int
    first_at: datetime
    last_at: datetime


LISTED = 200
"""How many holders a list names at most, those who came last first."""


def holders(version: ModelVersion) -> list[Holder]:
    """Return who fetched files of this version, from the ledger's entries.

    What they fetched is on their disks and maybe on others': nothing here can take it back, so that they have to be
    told. Whoever shows this asks whether the reader may see it.
    """
    entries = LedgerEntry.objects.about(version).filter(action=Action.MODEL_DOWNLOADED.value).order_by()
    found = list(
        entries.values("actor")
        .annotate(files=Count("subject_digest", distinct=True), reads=Count("pk"), first=Min("at"), last=Max("at"))
        .order_by("-last")[:LISTED]
    )
    people = User.objects.in_bulk([row["actor"] for row in found])
    return [Holder(people[row["actor"]], row["files"], row["reads"], row["first"], row["last"]) for row in found]


def notices(version: ModelVersion, publication: Publication | None) -> list[str]:
    """Return what everyone who fetches the version should read: for whom it is approved, until when, its licence."""
    if publication is None:
        said = [f"{version} is not published: it is for the work of its team and of who reviews it."]
    else:
        audience = publication.get_audience_display().lower()
        said = [f"{version} is approved for internal use only, by {audience}."]
        asked = ApprovalRequest.objects.about(publication).filter(state=ApprovalRequest.State.APPROVED)
        until = asked.order_by("-requested_at", "-pk").values_list("expires_at", flat=True).first()
        if until is not None:
            said.append(f"Its approval ends on {until:%Y-%m-%d}.")
    said.append(f"Licence of its base model: {version.base_model.licence}.")
    if version.state == ModelVersion.State.RETIRED:
        said.append("It is retired: change to a version that is published.")
    return said
