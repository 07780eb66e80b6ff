"""Registered models: asking that a version is published, publishing it once approved, and whether it may be used now.

`servable` is the one question asked at the moment of use. It reads the approvals as they stand, so that a lapsed or
withdrawn approval ends the service without anybody having to remember to end it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import Gate, Permission
from governance.services import access, approvals, ledger
from projects.models import DatasetClearance, Ref, UseCase
from projects.services import fields, repositories
from training.models import ModelVersion, Publication, RegisteredModel

State = Publication.State
DEFAULT_ALIAS = "champion"
RESERVED_ALIASES = frozenset({"main", "head"})


class Invalid(fields.Invalid):
    """A publication cannot be asked for as described."""


class NotPublished(access.Denied):
    """The model may not be used: nothing is published under this alias to this person, or no longer."""


class NotPossible(access.Denied):
    """The publication or version is in a state in which this cannot be done."""


@dataclass(frozen=True)
class Standing:
    """Whether a publication may be served now, and why not."""

    open: bool
    reason: str
    code: str = ""


@dataclass(frozen=True)
class Node:
    """One thing in the history of a version: `kind` decides its drawing, `detail` is its digest or commit."""

    key: str
    kind: str
    title: str
    detail: str = ""
    url: str = ""


@dataclass(frozen=True)
class Graph:
    """What a version came from and what became of it; `edges` are (from key, to key, label)."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[str, str, str]] = field(default_factory=list)


# Publishing


@transaction.atomic
def request_publication(
    *,
    actor: User,
    version: ModelVersion,
    alias: str = DEFAULT_ALIAS,
    audience: str = Publication.Audience.ORGANISATION,
    intended_use: str,
    note: str = "",
) -> ApprovalRequest:
    """Ask that the version is offered under the alias to the audience; return the request put before reviewers.

    A proposal for the same alias that still waits is withdrawn in its favour. Raises Denied, Invalid,
    approvals.NotReady with what is missing, approvals.Closed where exactly this waits already.
    """
    access.require(actor, Permission.MODEL_PUBLISH, version)
    if audience not in Publication.Audience.values:
        raise Invalid(f"Choose one of: {', '.join(Publication.Audience.values)}.", field="audience")
    if alias in RESERVED_ALIASES:
        raise Invalid(f"“{alias}” names the newest version; choose another alias.", field="alias")
    values = fields.clean(Publication, {"alias": alias, "intended_use": intended_use})
    model = RegisteredModel.objects.select_for_update(no_key=True).get(pk=version.model_id)
    # Read again under the lock: the version may have been retired since the caller loaded it.
    version = ModelVersion.objects.get(pk=version.pk)
    for waiting in model.publications.filter(state=State.PROPOSED, alias=values["alias"]):
        asked = ApprovalRequest.objects.about(waiting).open().first()
        same = (waiting.version_id, waiting.audience, waiting.intended_use) == (
            version.pk,
            audience,
            values["intended_use"],
        )
        if asked is not None and same:
            raise approvals.Closed("This is already waiting for review.", code="already_requested", subject=waiting)
        if asked is not None:
            if asked.requester_id != actor.pk:
                raise approvals.Closed(
                    f"{asked.requester} has asked to publish {waiting.version} under this alias; it has to be decided "
                    "or withdrawn first.",
                    code="other_request",
                    subject=waiting,
                )
            approvals.withdraw(actor=actor, request=asked)
        _end(waiting, State.DECLINED, "Replaced by a newer proposal.")
    publication = Publication.objects.create(
        model=model, version=version, audience=audience, requested_by=actor, **values
    )
    request = approvals.request(actor=actor, gate=Gate.MODEL_PUBLICATION, subject=publication, note=note)
    ledger.record(
        Action.PUBLICATION_REQUESTED,
        actor=actor,
        subject=publication,
        digest=version.evaluation_digest,
        details={
            "model": str(model),
            "version": version.number,
            "commit": version.commit.oid,
            "alias": publication.alias,
            "audience": publication.audience,
            "request": request.pk,
        },
        texts={"intended_use": publication.intended_use, "note": note},
    )
    return request


@transaction.atomic
def approved(*, actor: User, request: ApprovalRequest) -> Publication:
    """Publish what was approved: the version takes the alias, and the one that held it is superseded.

    Called by `approvals.decide` in its own transaction; the approver's right was asked there.
    """
    subject = request.subject
    assert isinstance(subject, Publication)
    model = RegisteredModel.objects.select_for_update(no_key=True).get(pk=subject.model_id)
    publication = Publication.objects.select_for_update(no_key=True).get(pk=subject.pk)
    if publication.state != State.PROPOSED:
        raise NotPossible(
            f"This publication is no longer proposed: {publication.get_state_display().lower()}.",
            code="not_proposed",
            subject=publication,
        )
    now = timezone.now()
    for older in model.publications.filter(state=State.PUBLISHED, alias=publication.alias):
        _end(older, State.SUPERSEDED, f"Superseded by version {publication.version.number}.")
        ledger.record(
            Action.PUBLICATION_SUPERSEDED,
            actor=actor,
            subject=older,
            details={"model": str(model), "version": older.version.number, "by": publication.version.number},
        )
    publication.state, publication.published_at = State.PUBLISHED, now
    publication.save(update_fields=["state", "published_at"])
    Ref.objects.update_or_create(
        repository_id=model.repository_id,
        name=publication.alias,
        defaults={"commit_id": publication.version.commit_id},
    )
    model.changed_at = now
    model.save(update_fields=["changed_at"])
    ledger.record(
        Action.PUBLICATION_PUBLISHED,
        actor=actor,
        subject=publication,
        digest=request.digest,
        details={
            "model": str(model),
            "version": publication.version.number,
            "commit": publication.version.commit.oid,
            "alias": publication.alias,
            "audience": publication.audience,
            "request": request.pk,
        },
    )
    return publication


@transaction.atomic
def closed(*, actor: User, request: ApprovalRequest) -> Publication:
    """Note that a request ended without agreement, or that its approval lapsed: what is served stops at once.

    Called by `approvals` in its own transaction, as a consequence of an act that was allowed there.
    """
    subject = request.subject
    assert isinstance(subject, Publication)
    publication = Publication.objects.select_for_update(no_key=True).get(pk=subject.pk)
    because = request.closed_because or f"{request.get_state_display()}."
    if publication.state == State.PROPOSED:
        _end(publication, State.DECLINED, because)
    elif publication.state == State.PUBLISHED:
        _suspend(actor, publication, request, because)
    return publication


def _suspend(actor: User, publication: Publication, request: ApprovalRequest, because: str) -> None:
    _end(publication, State.SUSPENDED, because)
    ledger.record(
        Action.PUBLICATION_SUSPENDED,
        actor=actor,
        subject=publication,
        digest=request.digest,
        details={
            "model": str(publication.model),
            "version": publication.version.number,
            "alias": publication.alias,
            "request": request.pk,
        },
        texts={"reason": because},
    )


@transaction.atomic
def suspend_resting_on(*, actor: User, request: ApprovalRequest) -> int:
    """Stop serving every model whose use case lost its approval, or whose data lost its clearance; return how many.

    Called by `approvals` in the transaction in which they are revoked, or in which the sweep finds that the time of a
    use case's approval is over. A clearance that ran out ends the use of the data, not of what was made of it before;
    and after other ends each publication stands on an approval of its own, given to exactly what is served.
    """
    subject = request.subject
    how = approvals.stops(request)
    if not how or (how == "ran out" and isinstance(subject, DatasetClearance)):
        return 0
    served = Publication.objects.select_for_update(no_key=True).filter(state=State.PUBLISHED)
    if isinstance(subject, DatasetClearance):
        served = served.filter(version__dataset_version=subject.version_id, version__use_case=subject.use_case_id)
    else:
        served = served.filter(version__use_case=subject)
    stopped = list(served.order_by("pk"))
    for publication in stopped:
        _suspend(actor, publication, request, f"{request}: {request.closed_because}")
    return len(stopped)


def reconsider(*, actor: User, use_case: UseCase) -> None:
    """Void the approvals of the use case's publications whose material is no longer what was shown.

    Called by `use_cases.change` in its own transaction, when the risk tier has changed.
    """
    held = Publication.objects.filter(version__use_case=use_case, state__in=[State.PROPOSED, State.PUBLISHED])
    for publication in held.order_by("pk"):
        approvals.lapse_changed(actor=actor, subject=publication)


def _end(publication: Publication, state: Publication.State, because: str) -> None:
    publication.state, publication.ended_at, publication.ended_because = state, timezone.now(), because[:300]
    publication.save(update_fields=["state", "ended_at", "ended_because"])
    # A superseded publication's alias moves on with its successor; every other end leaves the alias naming nothing.
    if state in {State.SUSPENDED, State.RETIRED}:
        Ref.objects.filter(
            repository_id=publication.model.repository_id,
            name=publication.alias,
            commit_id=publication.version.commit_id,
        ).delete()


@transaction.atomic
def suspend(*, actor: User, publication: Publication, reason: str) -> Publication:
    """Stop serving at once, because something is wrong. Raises Denied, Invalid, or NotPossible where it is not live."""
    return _stop(actor, publication, reason, State.SUSPENDED, Action.PUBLICATION_SUSPENDED)


@transaction.atomic
def retire(*, actor: User, publication: Publication, reason: str) -> Publication:
    """End a publication for good. Raises Denied, Invalid, or NotPossible where it has ended."""
    return _stop(actor, publication, reason, State.RETIRED, Action.PUBLICATION_RETIRED)


def _stop(actor: User, publication: Publication, reason: str, state: Publication.State, action: Action) -> Publication:
    access.require(actor, Permission.MODEL_RETIRE, publication)
    if not reason.strip():
        raise Invalid("Say why, in a sentence: users and the auditor will read it.", field="reason")
    publication = Publication.objects.select_for_update(no_key=True).get(pk=publication.pk)
    possible = {State.PUBLISHED} if state == State.SUSPENDED else {State.PUBLISHED, State.SUSPENDED}
    if publication.state not in possible:
        raise NotPossible(
            f"This publication is not in use: {publication.get_state_display().lower()}.",
            code="not_published",
            subject=publication,
        )
    _end(publication, state, reason.strip())
    RegisteredModel.objects.filter(pk=publication.model_id).update(changed_at=timezone.now())
    ledger.record(
        action,
        actor=actor,
        subject=publication,
        details={
            "model": str(publication.model),
            "version": publication.version.number,
            "alias": publication.alias,
        },
        texts={"reason": reason.strip()},
    )
    return publication


@transaction.atomic
def retire_version(*, actor: User, version: ModelVersion, reason: str) -> ModelVersion:
    """Retire a version for good; its publications end with it. Raises Denied, Invalid, NotPossible."""
    access.require(actor, Permission.MODEL_RETIRE, version)
    if not reason.strip():
        raise Invalid("Say why, in a sentence: users and the auditor will read it.", field="reason")
    version = ModelVersion.objects.select_for_update(no_key=True).get(pk=version.pk)
    if version.state == ModelVersion.State.RETIRED:
        raise NotPossible("This version is retired already.", code="retired", subject=version)
    version.state = ModelVersion.State.RETIRED
    version.save(update_fields=["state"])
    for publication in version.publications.filter(state__in=[State.PUBLISHED, State.SUSPENDED]):
        _stop(actor, publication, reason, State.RETIRED, Action.PUBLICATION_RETIRED)
    for publication in version.publications.filter(state=State.PROPOSED):
        # What waits for review is no longer there to be published; `closed` ends the proposal with the request.
        approvals.end(actor=actor, gate=Gate.MODEL_PUBLICATION, subject=publication, because="The version was retired.")
    ledger.record(
        Action.MODEL_VERSION_RETIRED,
        actor=actor,
        subject=version,
        digest=version.evaluation_digest,
        details={"model": str(version.model), "version": version.number},
        texts={"reason": reason.strip()},
    )
    return version


# Use


def standing(publication: Publication) -> Standing:
    """Return whether the publication may be served now: published, still approved as it is, version not retired."""
    if publication.state != State.PUBLISHED:
        because = f" {publication.ended_because}" if publication.ended_because else ""
        return Standing(False, f"{publication.get_state_display()}.{because}", publication.state)
    if publication.version.state == ModelVersion.State.RETIRED:
        return Standing(False, "The version is retired.", "retired")
    found = approvals.standing(Gate.MODEL_PUBLICATION, publication)
    if not found.open:
        return Standing(False, f"Its approval does not stand any more: {found.reason}", "approval_void")
    return Standing(True, "Published and approved.")


def is_for(user: User, publication: Publication) -> bool:
    """Return whether the person belongs to the publication's audience; a token must carry the scope to use models."""
    if access.allows(user, Permission.MODEL_USE, publication.model):
        return True
    # What is published to everyone needs no role.
    return (
        publication.audience == Publication.Audience.ORGANISATION
        and user.is_active
        and not user.is_service
        and access.token_permits(user, Permission.MODEL_USE)
    )


def servable(*, user: User, model: RegisteredModel, alias: str = DEFAULT_ALIAS) -> Publication:
    """Return the publication that answers for this alias now; raises NotPublished with the reason.

    Asked at the time of each use. A person outside the audience is told no more than that there is nothing for them.
    """
    held = (
        Publication.objects.filter(model=model, alias=alias)
        .exclude(state__in=[State.PROPOSED, State.DECLINED])
        .select_related("model__team", "model__repository", "version__commit", "version__base_model__commit")
        .order_by("-published_at", "-pk")
        .first()
    )
    if held is None or not is_for(user, held):
        raise NotPublished(f"Nothing is published to you as “{alias}” of {model}.", code="not_published", subject=model)
    found = standing(held)
    if not found.open:
        raise NotPublished(f"{model} as “{alias}” may not be used: {found.reason}", code=found.code, subject=held)
    return held


# Reading


def card(version: ModelVersion) -> str:
    """Return the version's model card as Markdown."""
    return repositories.read_blob(repositories.file_of(version.commit, "README.md").blob).decode()


def lineage(version: ModelVersion) -> Graph:
    """Return where the version came from and where it is used, for the lineage drawing."""
    job, data, base = version.job, version.dataset_version, version.base_model
    graph = Graph()

    def add(key: str, kind: str, title: str, detail: str = "", url: str = "") -> None:
        graph.nodes.append(Node(key, kind, title, detail, url))

    add("use_case", "use_case", version.use_case.title, "", version.use_case.get_absolute_url())
    add("dataset", "dataset", str(data), data.commit.oid if data.commit else "", data.get_absolute_url())
    add("base_model", "base_model", base.title, base.revision, base.get_absolute_url())
    add("job", "job", f"Job {job.pk}: {job.recipe}, {job.method}", version.spec_digest, job.get_absolute_url())
    add("version", "model_version", str(version), version.commit.oid, version.get_absolute_url())
    graph.edges.extend(
        [
            ("use_case", "job", "for"),
            ("dataset", "job", "trained and tested on"),
            ("base_model", "job", "started from"),
            ("job", "version", "made"),
        ]
    )
    for publication in version.publications.exclude(state=State.DECLINED).select_related("model__team").order_by("pk"):
        key = f"publication-{publication.pk}"
        add(
            key,
            "publication",
            f"“{publication.alias}” for {publication.get_audience_display().lower()}",
            publication.get_state_display(),
            publication.get_absolute_url(),
        )
        graph.edges.append(("version", key, "offered as"))
    return graph


def facts(version: ModelVersion) -> dict[str, Any]:
    """Return the digests that identify a version, for an API answer or a page."""
    return {
        "commit": version.commit.oid,
        "spec_digest": version.spec_digest,
        "evaluation_digest": version.evaluation_digest,
        "dataset_commit": version.dataset_version.commit.oid if version.dataset_version.commit else "",
        "base_revision": version.base_model.revision,
    }
