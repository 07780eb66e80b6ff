"""Two teams with one of everything each: what is "own" and what is "foreign" to a person of the first team."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from django.test import override_settings
from django.utils import timezone

from governance.models import (
    AccessReview,
    ApprovalRequest,
    BreakGlass,
    BrowserSession,
    Erasure,
    LedgerEntry,
    RoleAssignment,
    Share,
    User,
)
from governance.policy import ORGANISATION_ROLES, ROLE_PERMISSIONS, Permission, Role
from governance.services import (
    access,
    access_reviews,
    approvals,
    break_glass,
    erasures,
    people,
    roles,
    sessions,
    tokens,
)
from portal.gateway import metering
from portal.models import Feedback, Quota, SavedView, Usage
from portal.services import feedback, quotas, saved_views
from projects.models import Repository, StrategicGoal, Team
from projects.services import goals, repositories, teams, use_cases
from tests import factories
from tests.personas import PASSWORD
from tests.training.factories import make_base_model
from training.models import Evaluation, JobEvent, ModelVersion, Publication, RegisteredModel, TrainingJob
from training.services import jobs

SHA = "ab" * 32
REPORT = {
    "version": 1,
    "rows": 6,
    "classes": ["access", "hardware", "payroll"],
    "seed": 1,
    "confidence": 0.95,
    "resamples": 2000,
    "candidates": [
        {
            "name": name,
            "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9},
            "macro_f1": {"value": 0.8, "low": 0.7, "high": 0.9},
            "per_class": [
                {"label": label, "precision": 0.8, "recall": 0.8, "f1": 0.8, "support": 2}
                for label in ("access", "hardware", "payroll")
            ],
            "confusion": [[2, 0, 0], [0, 2, 0], [0, 1, 1]],
            "calibration": {
                "ece": 0.1,
                "brier": 0.2,
                "log_loss": 0.4,
                "bins": [{"low": 0.0, "high": 1.0, "count": 6, "confidence": 0.9, "accuracy": 0.8}],
            },
            "latency_ms": {"p50": 1.0, "p95": 2.0, "examples": 6},
            "throughput": 100.0,
            "size": 1000,
            "details": {},
        }
        for name in ("tuned", "majority")
    ],
    "comparisons": [
        {
            "baseline": "majority",
            "accuracy": {
                "difference": 0.1, "low": 0.0, "high": 0.2, "only_tuned_right": 2, "only_baseline_right": 0,
                "p_exact": 0.5, "p_mid": 0.25,
            },
            "macro_f1": {"difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.3},
            "better": False,
        }
    ],
    "disagreements": {"total": 0, "shown": []},
}  # fmt: skip


@dataclass
class Side:
    """One team and one of everything that belongs to it."""

    team: Team
    owner: User
    member: User
    assignment: RoleAssignment
    use_case: object
    draft: object
    dataset: object
    version: object
    share: Share
    job: TrainingJob
    model: RegisteredModel
    model_version: ModelVersion
    publication: Publication
    approval: ApprovalRequest
    token: object
    view: SavedView
    glass: BreakGlass
    access_review: AccessReview
    session: BrowserSession
    usage: Usage
    quota: Quota
    feedback: Feedback


def make_side(slug: str, *, administrator: User, reviewer: User, base_model) -> Side:
    """Return a team with an owner, a guest, work at every stage, and a request that waits for review."""
    system = User.objects.system()
    team = teams.create(actor=administrator, slug=slug, name=slug.capitalize(), description="")
    owner = people.create(actor=system, email=f"owner@{slug}.example.org", name=f"Owner {slug}", password=PASSWORD)
    roles.grant(actor=system, user=owner, role=Role.TEAM_OWNER, team=team)
    roles.grant(actor=system, user=owner, role=Role.DATA_STEWARD, team=team)
    access.forget(owner)
    member = people.create(actor=system, email=f"guest@{slug}.example.org", name=f"Guest {slug}", password=PASSWORD)
    assignment = roles.grant(
        actor=system,
        user=member,
        role=Role.GUEST,
        team=team,
        expires_at=timezone.now() + datetime.timedelta(days=30),
    )
    use_case = factories.make_approved_use_case(actor=owner, reviewer=reviewer, team=team, title=f"Sort {slug} mail")
    waiting = factories.make_ready_use_case(actor=owner, team=team, title=f"Answer {slug} questions")
    waiting = use_cases.submit(actor=owner, use_case=waiting)
    dataset = factories.make_dataset(actor=owner, team=team, name=f"{slug}-requests")
    version = factories.make_cleared_version(actor=owner, reviewer=reviewer, dataset=dataset, use_case=use_case)
    outsider = people.create(actor=system, email=f"other@{slug}.example.org", name=f"Other {slug}", password=PASSWORD)
    share = roles.share(
        actor=owner,
        user=outsider,
        permission=Permission.DATASET_VIEW,
        subject=dataset,
        purpose="A second look",
        expires_at=timezone.now() + datetime.timedelta(days=10),
    )
    job = jobs.submit(
        actor=owner,
        use_case=use_case,
        dataset_version=version,
        base_model=base_model,
        model_name=f"{slug}-router",
        method="lora",
        preset="quick",
        seed=1,
        baselines=["majority"],
    )
    # As a worker leaves it; training itself has its own tests.
    TrainingJob.objects.filter(pk=job.pk).update(state=TrainingJob.State.SUCCEEDED, finished_at=timezone.now())
    job.refresh_from_db()
    JobEvent.objects.create(job=job, token=1, type="log", at=timezone.now(), data={"message": "Started."})
    Evaluation.objects.create(job=job, digest=SHA, report=REPORT, score=0.8, accuracy=0.8, macro_f1=0.8, test_rows=6)
    repository = repositories.create(actor=owner, kind=Repository.Kind.MODEL, team=team, name=f"{slug}-router")
    commit = repositories.commit(
        actor=owner,
        repository=repository,
        files={"README.md": repositories.store_blob(f"# Card of {slug}".encode())},
        message="Version 1",
    )
    model = RegisteredModel.objects.create(
        team=team, name=f"{slug}-router", title=f"Router of {slug}", use_case=use_case, task="text-classification",
        repository=repository, created_by=owner,
    )  # fmt: skip
    model_version = ModelVersion.objects.create(
        model=model, number=1, commit=commit, job=job, use_case=use_case, dataset_version=version,
        base_model=base_model, spec_digest=SHA, evaluation_digest=SHA, labels=REPORT["classes"], size=1000,
    )  # fmt: skip
    publication = Publication.objects.create(
        model=model,
        version=model_version,
        audience=Publication.Audience.TEAM,
        intended_use="Suggest a queue.",
        requested_by=owner,
        state=Publication.State.PUBLISHED,
        published_at=timezone.now(),
    )
    token, _secret = tokens.create(actor=owner, user=owner, name="laptop", scopes=["read"], days=5)
    session = sessions.begin(actor=owner, key=f"session-of-{slug}", method="password", address=None, device="")
    approval = ApprovalRequest.objects.about(waiting).open().get()
    view = saved_views.save(actor=owner, listing="use-cases", name=f"Ours in {slug}", audience="team", team=team)
    glass = break_glass.open(
        actor=administrator, level="operate", team=team, hours=1, reason="The queue stands still and nobody answers."
    )
    review = access_reviews.open(
        actor=owner, subject=dataset, owner=owner, due_on=timezone.localdate() + datetime.timedelta(days=14)
    )
    quota = quotas.create(actor=owner, subject="team", team=team, unit="calls", window="day", amount=1000)
    usage = metering.begin(actor=owner, model=model, version=model_version, kind="predict").finish("answered")
    said = feedback.give(actor=owner, usage=usage, thumb="up", comment=f"It helped {slug}.")
    return Side(
        team, owner, member, assignment, use_case, waiting, dataset, version, share, job, model, model_version,
        publication, approval, token, view, glass, review, session, usage, quota, said,
    )  # fmt: skip


@dataclass
class World:
    """Own team, foreign team, and what belongs to the organisation."""

    own: Side
    foreign: Side
    base_model: object
    goal: StrategicGoal
    person: User
    delegation: object
    erasure: Erasure


def make_world(folder: Path) -> World:
    """Return both teams with everything in them."""
    system = User.objects.system()
    administrator = people.create(actor=system, email="root@example.org", name="Root", password=PASSWORD)
    roles.grant(actor=system, user=administrator, role=Role.ADMINISTRATOR)
    reviewer = people.create(actor=system, email="judge@example.org", name="Judge", password=PASSWORD)
    roles.grant(actor=system, user=reviewer, role=Role.REVIEWER)
    for user in (administrator, reviewer):
        access.forget(user)
    base_model = make_base_model(actor=administrator, reviewer=reviewer, folder=folder)
    goal = goals.create(actor=administrator, title="Answer sooner", description="")
    own, foreign = (
        make_side(slug, administrator=administrator, reviewer=reviewer, base_model=base_model)
        for slug in ("helpdesk", "finance")
    )
    person = people.create(actor=system, email="somebody@example.org", name="Somebody", password=PASSWORD)
    ends = timezone.now() + datetime.timedelta(days=9)
    delegation = approvals.delegate(actor=reviewer, delegate=person, ends_at=ends)
    created = LedgerEntry.objects.about(person).earliest("pk")
    with override_settings(ERASURE_BY_TWO=True):
        erasure = erasures.ask(actor=administrator, entry=created, reason="Asked for by the person.")
    return World(own, foreign, base_model, goal, person, delegation, erasure)


def make_caller(role: Role | None, team: Team) -> User:
    """Return a new employee who holds `role`, in `team` where it is a role of a team."""
    system = User.objects.system()
    name = role.value if role else "nobody"
    user = people.create(actor=system, email=f"{name}@caller.example.org", name=name, password=PASSWORD)
    if role and role is not Role.EMPLOYEE:
        place = {} if role in ORGANISATION_ROLES else {"team": team}
        ends = {"expires_at": timezone.now() + datetime.timedelta(days=9)} if role is Role.GUEST else {}
        roles.grant(actor=system, user=user, role=role, **place, **ends)
    access.forget(user)
    return user


def holds(role: Role | None, permission: str, *, own: bool) -> bool:
    """Return what the policy's tables say: whether the role gives the permission here. The tests' own reading of it."""
    wanted = Permission(permission)
    organisation = set(ROLE_PERMISSIONS[Role.EMPLOYEE])
    if role in ORGANISATION_ROLES:
        organisation |= ROLE_PERMISSIONS[role]
    if wanted in organisation:
        return True
    return bool(own and role and role not in ORGANISATION_ROLES and wanted in ROLE_PERMISSIONS[role])
