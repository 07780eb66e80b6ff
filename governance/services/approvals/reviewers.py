"""Who may decide a request: the one place that says so, with the reason, for the service, the pages and the API.

A person decides a step for themselves, by a role of the step, or on behalf of a reviewer who delegated to them. Never
their own request, never what they had a part in (where the policy says that it matters), never twice, and nobody's
duty is done twice, whoever does it. No permission, token, administrator's role or superuser's flag adds to that; the
database holds the same rules as constraints and triggers (migration 0004).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Exists, FilteredRelation, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Concat
from django.utils import timezone

from governance.models import (
    ApprovalInvolvement,
    ApprovalRequest,
    ApprovalStep,
    Decision,
    RoleAssignment,
    User,
)
from governance.policy import NEVER_DELEGATES, REVIEWER_ROLES, Permission, Role
from governance.services import access
from governance.services.approvals import materials
from governance.services.approvals.refusals import Closed, Invalid

State = ApprovalRequest.State
Verdict = Decision.Verdict


@dataclass(frozen=True)
class Handover:
    """A reviewer's duty in somebody else's hands until `ends_at`."""

    delegator_id: int
    delegate_id: int
    delegate: str
    ends_at: datetime


@dataclass
class Bench:
    """Everybody who reviews now: names and roles by person's id, and what they have delegated."""

    names: dict[int, str] = field(default_factory=dict)
    roles: dict[int, set[Role]] = field(default_factory=dict)
    handovers: list[Handover] = field(default_factory=list)


@dataclass(frozen=True)
class Duty:
    """What a person may decide: by their own roles, or by those of `principal_id`, for whom they stand in."""

    principal_id: int | None
    roles: frozenset[Role]


@dataclass(frozen=True)
class Candidate:
    """Somebody who could decide a step, and for whom they would."""

    user_id: int
    name: str
    note: str = ""


@dataclass(frozen=True)
class StepStanding:
    """One step of a request: whom it asks for, who has approved it, and who could."""

    key: str
    label: str
    roles: tuple[Role, ...]
    quorum: int
    approved: tuple[Decision, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def needed(self) -> int:
        """Return how many more people have to approve."""
        return max(0, self.quorum - len(self.approved))

    @property
    def people(self) -> set[int]:
        """Return the ids of everybody who could decide it."""
        return {candidate.user_id for candidate in self.candidates}

    @property
    def role_words(self) -> str:
        """Return the roles that may decide it, in words."""
        if set(self.roles) >= REVIEWER_ROLES:
            return "reviewer of any kind"
        return " or ".join(role_word(role) for role in self.roles)


@dataclass(frozen=True)
class Say:
    """Whether a person may decide a request, and why not; `options` are the steps they may, and for whom."""

    reason: str = ""
    code: str = ""
    options: tuple[tuple[StepStanding, int | None], ...] = ()

    @property
    def allowed(self) -> bool:
        """Return whether they may."""
        return bool(self.options)

    def refusal(self, request: ApprovalRequest) -> access.Denied:
        """Return the refusal to raise."""
        kind = Closed if self.code in {"closed", "already_decided"} else access.Denied
        return kind(self.reason, code=self.code, subject=request)

    def choose(self, step: str = "") -> tuple[StepStanding, int | None]:
        """Return the step of this key (by default the first) and for whom it is decided; raises Invalid."""
        for option in self.options:
            if step in {"", option[0].key}:
                return option
        raise Invalid(f"You may decide: {', '.join(found.key for found, _for in self.options)}.", field="step")


def role_word(role: Role) -> str:
    """Return a reviewer's role in words."""
    return "governance reviewer" if role is Role.REVIEWER else role.value.replace("_", " ")


def bench() -> Bench:
    """Read everybody who reviews now, and their delegations, in one query."""
    now = timezone.now()
    rows = (
        User.objects.people()
        .filter(
            Q(role_assignments__expires_at=None) | Q(role_assignments__expires_at__gt=now),
            is_active=True,
            role_assignments__scope_id=None,
            role_assignments__role__in=[role.value for role in REVIEWER_ROLES],
        )
        .annotate(
            handover=FilteredRelation(
                "delegations_given",
                condition=Q(delegations_given__starts_at__lte=now, delegations_given__ends_at__gt=now),
            )
        )
        .order_by("name", "pk")
        .values_list(
            "pk", "name", "email", "role_assignments__role",
            "handover__delegate_id", "handover__delegate__name", "handover__delegate__email", "handover__ends_at",
        )
    )  # fmt: skip
    found = Bench()
    known: set[tuple[int, int]] = set()
    for pk, name, email, role, delegate_id, delegate_name, delegate_email, ends_at in rows:
        found.names[pk] = name or email
        found.roles.setdefault(pk, set()).add(Role(role))
        if delegate_id is not None and (pk, delegate_id) not in known:
            known.add((pk, delegate_id))
            found.handovers.append(Handover(pk, delegate_id, delegate_name or delegate_email, ends_at))
    return found


def duties(user: User, found: Bench) -> list[Duty]:
    """Return what the person may decide: their own duty first, then those delegated to them."""
    own = frozenset(found.roles.get(user.pk, ()))
    held = [Duty(None, own)] if own else []
    if access.roles_of(user) & NEVER_DELEGATES:
        return held
    handed = {handover.delegator_id for handover in found.handovers if handover.delegate_id == user.pk}
    return held + [Duty(pk, frozenset(found.roles[pk])) for pk in sorted(handed)]


def involved(request: ApprovalRequest) -> dict[int, str]:
    """Return by person's id the part that excludes them from deciding, as it was when this was asked."""
    return {int(pk): sentence for pk, sentence in request.snapshot.get("involved", {}).items()}


def steps(request: ApprovalRequest, found: Bench | None = None) -> list[StepStanding]:
    """Return where each step of the request stands; with a bench also who could still decide it."""
    decisions = list(request.decisions.all())
    listed = []
    for row in request.snapshot.get("steps") or [_BEFORE_STEPS]:
        roles = tuple(Role(role) for role in row["roles"])
        approved = tuple(d for d in decisions if d.step == row["key"] and d.verdict == Verdict.APPROVE)
        step = StepStanding(row["key"], row["label"], roles, row["quorum"], approved)
        if found is not None and step.needed and request.state == State.OPEN:
            candidates = tuple(_candidates(request, step, decisions, found))
            step = StepStanding(step.key, step.label, roles, step.quorum, approved, candidates)
        listed.append(step)
    return listed


_BEFORE_STEPS = {"key": "review", "label": "A reviewer", "roles": sorted(REVIEWER_ROLES), "quorum": 1}
"""What a request asked for that was made before gates had steps."""


def _candidates(
    request: ApprovalRequest, step: StepStanding, decisions: Iterable[Decision], found: Bench
) -> Iterable[Candidate]:
    excluded = {request.requester_id, *involved(request)}
    hands = {d.approver_id for d in decisions}
    done = {d.on_behalf_of_id or d.approver_id for d in decisions}
    for pk, roles in found.roles.items():
        if pk in excluded or pk in done or not roles & set(step.roles):
            continue
        if pk not in hands:
            yield Candidate(pk, found.names[pk])
        for handover in found.handovers:
            if handover.delegator_id == pk and handover.delegate_id not in excluded | hands:
                yield Candidate(handover.delegate_id, handover.delegate, f"for {found.names[pk]}")


def say(user: User, request: ApprovalRequest, *, found: Bench | None = None) -> Say:
    """Return whether the person may decide the request now, with the reason where not. Nothing else decides that."""
    if user.is_service:
        return Say("Only a person can decide.", "not_a_person")
    try:
        access.require_token(user, Permission.REVIEW_DECIDE)
    except access.Denied as refused:
        return Say(refused.reason, refused.code)
    found = bench() if found is None else found
    held = duties(user, found)
    if request.state != State.OPEN:
        return Say(f"This request is closed: {request.get_state_display().lower()}.", "closed")
    if user.pk == request.requester_id:
        return Say("You asked for this approval, so someone else has to decide it.", "own_request")
    parts = involved(request)
    if user.pk in parts:
        return Say(f"You {parts[user.pk]}, so someone else has to decide it.", "involved")
    if not held:
        return Say(
            "Deciding needs the role of a reviewer, or a reviewer who has delegated to you. You can read everything "
            "that they see.",
            "missing_permission",
        )
    decisions = list(request.decisions.all())
    if any(decision.approver_id == user.pk for decision in decisions):
        return Say("You have decided this request; what is still needed is another person.", "already_decided")
    wanted = [step for step in steps(request) if step.needed]
    options, reasons = [], []
    for duty in held:
        principal = duty.principal_id
        obstacle = _obstacle(user, duty, request, parts, decisions, found)
        if obstacle:
            reasons.append(obstacle)
            continue
        options += [(step, principal) for step in wanted if duty.roles & set(step.roles)]
    if options:
        return Say(options=tuple(options))
    if reasons:
        return Say(reasons[0], "duty_done")
    missing = ", ".join(f"{step.label} ({step.role_words})" for step in wanted)
    return Say(f"Still needed: {missing}. That is not your part.", "other_step")


def _obstacle(
    user: User,
    duty: Duty,
    request: ApprovalRequest,
    parts: dict[int, str],
    decisions: list[Decision],
    found: Bench,
) -> str:
    """Return why this duty cannot be done for this request, or an empty string."""
    if duty.principal_id is None:
        other = next((d for d in decisions if d.on_behalf_of_id == user.pk), None)
        return f"{other.approver} has decided this on your behalf." if other else ""
    name = found.names[duty.principal_id]
    if duty.principal_id == request.requester_id:
        return f"You stand in for {name}, who asked for this approval, so someone else has to decide it."
    if duty.principal_id in parts:
        return f"You stand in for {name}, who {parts[duty.principal_id]}, so someone else has to decide it."
    if any(duty.principal_id in {d.approver_id, d.on_behalf_of_id} for d in decisions):
        return f"You stand in for {name}, whose part in this is done."
    return ""


def may_revoke(user: User, request: ApprovalRequest) -> str:
    """Return why the person may not revoke the approval, or an empty string where they may."""
    try:
        access.require_token(user, Permission.REVIEW_DECIDE)
    except access.Denied as refused:
        return refused.reason
    if request.state != State.APPROVED:
        return f"There is no approval to revoke: {request.get_state_display().lower()}."
    gave = any(d.approver_id == user.pk and d.verdict == Verdict.APPROVE for d in request.decisions.all())
    if user.is_service or not (gave or access.roles_of(user) & REVIEWER_ROLES):
        return "Only a reviewer, or whoever approved it, can revoke an approval."
    return ""


def may_meet(user: User, request: ApprovalRequest) -> str:
    """Return why the person may not mark a condition of this approval as met, or an empty string where they may."""
    try:
        access.require_token(user, Permission.REVIEW_DECIDE)
    except access.Denied as refused:
        return refused.reason
    if request.state != State.APPROVED:
        return "Its approval does not stand, so its conditions need not be met."
    if user.is_service or not access.roles_of(user) & REVIEWER_ROLES:
        return "A reviewer marks conditions as met."
    if user.pk == request.requester_id or user.pk in involved(request):
        return "You had a part in this, so another reviewer has to look whether the condition is met."
    return ""


def waiting_for(user: User) -> QuerySet[ApprovalRequest]:
    """Return the open requests that the person may decide now, as `say` says of each: one query, whatever they hold."""
    held = access.roles_of(user)
    asks = OuterRef("pk")
    own = Q()
    for role in held & REVIEWER_ROLES:
        own |= Q(roles__contains=f" {role.value} ")
    mine = Q(pk__in=[])
    if own:
        fits = ApprovalStep.objects.filter(own, request=asks, met_at=None)
        mine |= Q(Exists(fits)) & ~Q(Exists(Decision.objects.filter(request=asks, on_behalf_of=user)))
    if Role.REVIEW_DELEGATE in held and not held & NEVER_DELEGATES:
        mine |= Q(Exists(_handed_to(user)))
    return (
        ApprovalRequest.objects.open()
        .filter(mine)
        .exclude(requester=user)
        .exclude(Exists(Decision.objects.filter(request=asks, approver=user)))
        .exclude(Exists(ApprovalInvolvement.objects.filter(request=asks, user=user)))
    )


def _handed_to(user: User) -> QuerySet[RoleAssignment]:
    """Return the roles of reviewers for whom the person stands in that fit the request of the query around this."""
    now = timezone.now()
    request, principal = OuterRef(OuterRef("pk")), OuterRef("user")
    word = Concat(Value(" "), OuterRef("role"), Value(" "))
    done = Q(approver=principal) | Q(on_behalf_of=principal)
    return (
        RoleAssignment.objects.live()
        .filter(
            scope_id=None,
            role__in=[role.value for role in REVIEWER_ROLES],
            user__is_active=True,
            user__delegations_given__delegate=user,
            user__delegations_given__starts_at__lte=now,
            user__delegations_given__ends_at__gt=now,
        )
        .filter(Exists(ApprovalStep.objects.filter(request=request, met_at=None, roles__contains=word)))
        .exclude(user=OuterRef("requester"))
        .exclude(Exists(Decision.objects.filter(done, request=request)))
        .exclude(Exists(ApprovalInvolvement.objects.filter(request=request, user=principal)))
    )


def outstanding(request: ApprovalRequest, *, changed: bool | None = None) -> list[str]:
    """Return what is still missing before the gate opens, each a sentence.

    `changed` says whether the subject differs from what was asked, where the caller knows it already.
    """
    if request.state != State.OPEN:
        return []
    listed = steps(request)
    missing = []
    for step in listed:
        if step.needed:
            noun = "reviewer" if step.needed == 1 else "reviewers"
            where = f"{step.label}: " if len(listed) > 1 else ""
            missing.append(f"{where}{step.needed} more {noun} other than {request.requester} must approve.")
    if changed is None:
        subject = request.subject
        changed = subject is not None and materials.digest_for(request, subject) != request.digest
    if changed:
        missing.append("The subject changed after the request; it must be asked again.")
    return missing
