"""The registry: versions put before the publication gate, published under an alias, superseded, suspended, retired.

`servable` is the one question that is asked whenever a published model is to be used; it answers with the publication
or with the reason why not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import Gate, Permission
from governance.services import access, approvals, ledger
from projects.models import Ref
from training.models import ModelVersion, Publication, RegisteredModel

State = Publication.State


class NotPublished(access.Denied):
    """The model cannot be used: nothing is published under this alias for this person, or no longer."""


@transaction.atomic
def request_publication(
    *, actor: User, version: ModelVersion, alias: str, audience: str, intended_use: str, note: str = ""
) -> ApprovalRequest:
    """Ask that a version be offered under an alias to an audience. Raises Denied, NotReady with what is missing."""
    access.require(actor, Permission.MODEL_PUBLISH, version)
    waiting = Publication.objects.filter(model=version.model, alias=alias, state=State.PROPOSED).first()
    if waiting is not None and ApprovalRequest.objects.about(waiting).open().exists():
        raise approvals.Closed(
            f"{waiting.version} is already waiting for review under “{alias}”; withdraw that request first.",
            code="already_requested",
            subject=version,
        )
    publication = Publication(
        model=version.model,
        version=version,
        alias=alias,
        audience=Publication.Audience(audience),
        intended_use=intended_use,
        requested_by=actor,
    )
    publication.full_clean(exclude=["model", "version"])
    publication.save()
    ledger.record(
        Action.PUBLICATION_REQUESTED,
        actor=actor,
        subject=publication,
        digest=version.commit.oid,
        details={"version": version.number, "alias": alias, "audience": publication.audience},
        texts={"intended_use": intended_use},
    )
    return approvals.request(actor=actor, gate=Gate.MODEL_PUBLICATION, subject=publication, note=note)


@transaction.atomic
def approved(*, actor: User, request: ApprovalRequest) -> None:
    """Publish what was approved; the version that had the alias before is superseded. The gate's own effect."""
    publication = Publication.objects.select_for_update().get(pk=request.object_id)
    now = timezone.now()
    for older in Publication.objects.select_for_update().filter(
        model=publication.model, alias=publication.alias, state=State.PUBLISHED
    ):
        _end(actor, older, State.SUPERSEDED, f"Replaced by {publication.version}.", Action.PUBLICATION_SUPERSEDED)
    publication.state = State.PUBLISHED
    publication.published_at = now
    publication.save(update_fields=["state", "published_at"])
    Ref.objects.update_or_create(
        repository=publication.model.repository,
        name=publication.alias,
        defaults={"commit": publication.version.commit},
    )
    RegisteredModel.objects.filter(pk=publication.model_id).update(changed_at=now)
    ledger.record(
        Action.PUBLICATION_PUBLISHED,
        actor=actor,
        on_behalf_of=publication.requested_by,
        subject=publication,
        digest=publication.version.commit.oid,
        details={
            "version": publication.version.number,
            "alias": publication.alias,
            "audience": publication.audience,
            "approval": request.pk,
        },
    )


@transaction.atomic
def closed(*, actor: User, request: ApprovalRequest) -> None:
    """Mark a publication whose request ended without approval as declined. The gate's other effect."""
    publication = Publication.objects.select_for_update().get(pk=request.object_id)
    if publication.state == State.PROPOSED:
        _end(actor, publication, State.DECLINED, request.closed_because, Action.PUBLICATION_RETIRED)
    elif publication.state == State.PUBLISHED:
        _end(actor, publication, State.SUSPENDED, request.closed_because, Action.PUBLICATION_SUSPENDED)


def servable(*, actor: User, model: RegisteredModel, alias: str = "champion") -> Publication:
    """Return the publication that `actor` may use now, or raise NotPublished with the reason."""
    publication = (
        Publication.objects.filter(model=model, alias=alias)
        .select_related(
            "model__team",
            "version__commit",
            "version__base_model__commit",
            "version__job__evaluation",
            "version__use_case",
        )
        .order_by("-requested_at", "-pk")
        .filter(state__in=[State.PUBLISHED, State.SUSPENDED, State.RETIRED])
        .first()
    )
    if publication is None:
        raise NotPublished(
            f"No version of {model} is published as “{alias}”. Its team has to ask for publication and a reviewer has "
            "to approve it.",
            code="not_published",
            subject=model,
        )
    if publication.state != State.PUBLISHED:
        raise NotPublished(
            f"{publication.version} was {publication.get_state_display().lower()} as “{alias}”"
            + (f": {publication.ended_because}" if publication.ended_because else "."),
            code=publication.state,
            subject=model,
        )
    if publication.version.state == ModelVersion.State.RETIRED:
        raise NotPublished(f"{publication.version} is retired.", code="retired", subject=model)
    if publication.audience == Publication.Audience.TEAM:
        access.require(actor, Permission.MODEL_USE, model)
    else:
        # Everyone in the organisation is the audience; a token still has to be made for calling models.
        access.require_token(actor, Permission.MODEL_USE, model)
    standing = approvals.standing(Gate.MODEL_PUBLICATION, publication)
    if not standing.open:
        raise NotPublished(
            f"{publication.version} may not be used: {standing.reason}", code="approval_lapsed", subject=model
        )
    return publication


@transaction.atomic
def suspend(*, actor: User, publication: Publication, reason: str) -> Publication:
    """Stop serving a publication at once. Raises Denied."""
    return _stop(actor, publication, State.SUSPENDED, reason, Action.PUBLICATION_SUSPENDED)


@transaction.atomic
def retire(*, actor: User, publication: Publication, reason: str) -> Publication:
    """End a publication for good. Raises Denied."""
    return _stop(actor, publication, State.RETIRED, reason, Action.PUBLICATION_RETIRED)


def _stop(actor: User, publication: Publication, state: str, reason: str, action: Action) -> Publication:
    publication = Publication.objects.select_for_update().get(pk=publication.pk)
    access.require(actor, Permission.MODEL_RETIRE, publication)
    if publication.state not in {State.PUBLISHED, State.SUSPENDED}:
        raise access.Denied(
            f"This publication is {publication.get_state_display().lower()}; only a published one can be stopped.",
            code="not_published",
            subject=publication,
        )
    if not reason.strip():
        raise access.Denied(
            "Say why; its users and the auditor will read it.", code="reason_needed", subject=publication
        )
    _end(actor, publication, state, reason.strip(), action)
    return publication


def _end(actor: User, publication: Publication, state: str, reason: str, action: Action) -> None:
    publication.state = state
    publication.ended_at = timezone.now()
    publication.ended_because = reason[:300]
    publication.save(update_fields=["state", "ended_at", "ended_because"])
    ledger.record(
        action,
        actor=actor,
        subject=publication,
        digest=publication.version.commit.oid,
        details={"version": publication.version.number, "alias": publication.alias},
        texts={"reason": reason},
    )


@dataclass(frozen=True)
class Node:
    """One thing in a version's line of descent."""

    key: str
    kind: str
    label: str
    note: str = ""
    url: str = ""


@dataclass(frozen=True)
class Lineage:
    """A version's line of descent: nodes, and edges as (from key, to key)."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)


def lineage(version: ModelVersion) -> Lineage:
    """Return what a version was made from and where it is offered."""
    data, base, job = version.dataset_version, version.base_model, version.job
    nodes = [
        Node("use_case", "Use case", version.use_case.title, "", version.use_case.get_absolute_url()),
        Node("dataset", "Dataset version", str(data), data.commit.oid[:10], data.get_absolute_url()),
        Node("base", "Base model", base.title, base.revision[:10], base.get_absolute_url()),
        Node("job", "Training job", f"Job {job.pk}", job.spec_digest[:10], job.get_absolute_url()),
        Node("version", "Model version", str(version), version.commit.oid[:10], version.get_absolute_url()),
    ]
    edges = [("use_case", "job"), ("dataset", "job"), ("base", "job"), ("job", "version")]
    for publication in version.publications.all():
        key = f"publication{publication.pk}"
        nodes.append(
            Node(
                key, "Publication", publication.alias, publication.get_state_display(), version.model.get_absolute_url()
            )
        )
        edges.append(("version", key))
    return Lineage(nodes, edges)
