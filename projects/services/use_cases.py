"""Use cases: proposed, described, put before the gate and moved along the table of transitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from django.db import models, transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import ApprovalRequest, User
from governance.policy import GATES, Gate, Permission
from governance.services import access, approvals, ledger
from projects.models import Objective, Stakeholder, StrategicGoal, Team, UseCase
from projects.models.use_cases import TRANSITIONS, Stage, Transition
from projects.services import fields
from projects.services.fields import Invalid

GATE = Gate.USE_CASE_DEVELOPMENT
CHANGEABLE = (*UseCase.MATERIAL, *UseCase.TIER, "owner")
PARTS = ("objectives", "stakeholders", "goals")
OBJECTIVE_FIELDS = ("kpi", "baseline", "target", "unit", "direction", "due_on")
STAKEHOLDER_FIELDS = ("name", "role", "interest")
MAX_PARTS = 50

FREE = frozenset({*UseCase.TIER, *(["goals"] if "Goals" in GATES[GATE].immaterial else [])})
"""What may change in any stage but the last: the tier, since harm is sometimes seen late (approvals lapse then), and
what the policy calls immaterial."""

IN_DEVELOPMENT = frozenset({Stage.APPROVED, Stage.PILOTING, Stage.LIVE})
"""The stages that rest on an approval."""

FIXED = {
    Stage.PILOTING: "People take part in its pilot as it was approved. End the pilot first, then change it.",
    Stage.LIVE: "People rely on it as it was approved. Take it out of use first, then change it.",
    Stage.RETIRED: "It is retired. Propose a new use case instead.",
}
"""The stages in which the statement stays as it is, and what to do instead."""

_followers: list[Callable[..., object]] = []


def on_tier_changed(effect: Callable[..., object]) -> None:
    """Say what happens, in the same transaction, when a risk tier changes: `effect(actor=..., use_case=...)`."""
    _followers.append(effect)


class Fixed(access.Denied):
    """The use case cannot be changed in the stage that it has reached."""


class NoSuchMove(access.Denied):
    """The table of transitions does not hold this move; `missing` lists the moves there are."""


@dataclass(frozen=True)
class Move:
    """A transition from the present stage, and why this person cannot make it where they cannot."""

    target: Stage
    label: str
    allowed: bool
    reason: str = ""
    gate: Gate | None = None


@dataclass(frozen=True)
class Pitfall:
    """A known way in which use cases fail, seen in this one: what it is, what to do, and the use case it points to."""

    code: str
    message: str
    advice: str
    other: UseCase | None = None


# Proposing and describing


@transaction.atomic
def propose(
    *, actor: User, team: Team, title: str, problem: str, people: str, benefit: str, data_needed: str = ""
) -> UseCase:
    """Propose a use case to any team and return the draft; raises Denied, or Invalid for an empty field."""
    access.require(actor, Permission.USE_CASE_PROPOSE, team)
    values = fields.clean(
        UseCase,
        {"title": title, "problem": problem, "people": people, "benefit": benefit, "data_needed": data_needed},
    )
    use_case = UseCase.objects.create(team=team, proposer=actor, owner=actor, **values)
    ledger.record(
        Action.USE_CASE_PROPOSED,
        actor=actor,
        subject=use_case,
        details={"team": team.slug, "version": use_case.version},
        texts=values,
    )
    return use_case


def may_edit(user: User, use_case: UseCase) -> bool:
    """Return whether the person may change the statement: who holds use_case.edit, or the proposer of a draft."""
    if access.allows(user, Permission.USE_CASE_EDIT, use_case):
        return True
    own_draft = use_case.proposer_id == user.pk and use_case.stage in {Stage.DRAFT, Stage.REJECTED}
    return own_draft and access.allows(user, Permission.USE_CASE_PROPOSE, use_case)


def _require_edit(actor: User, use_case: UseCase) -> None:
    if actor is None or not may_edit(actor, use_case):
        access.require(actor, Permission.USE_CASE_EDIT, use_case)


def _lock(use_case: UseCase) -> UseCase:
    return UseCase.objects.select_for_update(no_key=True).get(pk=use_case.pk)


@transaction.atomic
def change(*, actor: User, use_case: UseCase, **values: Any) -> UseCase:
    """Change the statement, its owner, or the parts `objectives`, `stakeholders` and `goals`; return it as it is now.

    A change of what reviewers bind to makes a new version and voids what was asked or approved: the use case is a
    draft again. A new risk tier needs a new reason and voids the approvals of its data and models too. Raises Denied,
    Fixed while it is piloting, live or retired (the tier can change until it is retired), Invalid for a field.
    """
    use_case = _lock(use_case)
    _require_edit(actor, use_case)
    fields.only(values, (*CHANGEABLE, *PARTS))
    parts = {name: values.pop(name) for name in PARTS if name in values}
    before: dict[str, Any] = {name: getattr(use_case, name) for name in values}
    after = fields.clean(UseCase, values)
    if "owner" in after:
        _check_owner(after["owner"], use_case)
        before["owner"], new_owner = str(use_case.owner.ledger_id), after.pop("owner")
        use_case.owner = new_owner
        changed_owner = {"owner": str(new_owner.ledger_id)}
    else:
        changed_owner = {}
    retiered = _check_tier(use_case, after)
    for name, value in after.items():
        setattr(use_case, name, value)
    before |= {name: _part_as_text(use_case, name) for name in parts}
    for name, value in parts.items():
        _SETTERS[name](actor, use_case, value)
    shown = after | {name: _part_as_text(use_case, name) for name in parts}
    after = shown | changed_owner
    if before == after:
        return use_case
    differing = {name for name, value in shown.items() if before[name] != value}
    if (differing - FREE or (differing and use_case.stage == Stage.RETIRED)) and use_case.stage in FIXED:
        raise Fixed(
            f"“{use_case.title}” is {use_case.get_stage_display().lower()}. {FIXED[Stage(use_case.stage)]}",
            code="fixed",
            subject=use_case,
        )
    if differing:
        use_case.version += 1
    if retiered:
        use_case.risk_tier_set_by, use_case.risk_tier_set_at = actor, timezone.now()
    use_case.changed_at = timezone.now()
    use_case.save()
    details, texts = ledger.changes(before, after, free_text={*UseCase.FREE_TEXT, *PARTS})
    ledger.record(
        Action.USE_CASE_CHANGED,
        actor=actor,
        subject=use_case,
        details=details | {"version": use_case.version},
        texts=texts,
    )
    approvals.lapse_changed(actor=actor, subject=use_case)
    if retiered or "title" in differing:
        # A clearance names the use case that it was given for, and binds to its tier.
        for clearance in use_case.clearances.select_related("version__dataset__team", "version__commit"):
            approvals.lapse_changed(actor=actor, subject=clearance)
    if retiered:
        for follow in _followers:
            follow(actor=actor, use_case=use_case)
    use_case.refresh_from_db()
    return use_case


def _check_tier(use_case: UseCase, after: dict[str, Any]) -> bool:
    """Return whether the tier or its reason changes; raises Invalid where the two do not belong together."""
    old = (use_case.risk_tier, use_case.risk_tier_reason)
    tier, reason = after.get("risk_tier", old[0]), after.get("risk_tier_reason", old[1])
    if (tier, reason) == old:
        return False
    if not tier:
        raise Invalid(
            "A tier that was chosen can be changed, not taken away." if old[0] else "Choose the tier that this is why.",
            field="risk_tier",
        )
    if not reason:
        raise Invalid("Say why it is this tier; reviewers read it.", field="risk_tier_reason")
    if old[0] and tier != old[0] and reason == old[1]:
        raise Invalid(
            "Say why the tier changes: what is written here was why it had the old one.", field="risk_tier_reason"
        )
    return True


def set_objectives(*, actor: User, use_case: UseCase, objectives: list[dict[str, Any]]) -> UseCase:
    """Replace the objectives by these: dicts with kpi, baseline, target, unit, direction, due_on, and id to keep a row.

    Raises what `change` raises.
    """
    return change(actor=actor, use_case=use_case, objectives=objectives)


def set_stakeholders(*, actor: User, use_case: UseCase, stakeholders: list[dict[str, Any]]) -> UseCase:
    """Replace the stakeholders by these: dicts with name, role, interest, and id to keep a row. Raises as `change`."""
    return change(actor=actor, use_case=use_case, stakeholders=stakeholders)


def set_goals(*, actor: User, use_case: UseCase, goals: Iterable[StrategicGoal]) -> UseCase:
    """Say which goals the use case serves. Raises what `change` raises."""
    return change(actor=actor, use_case=use_case, goals=goals)


def _check_owner(owner: User, use_case: UseCase) -> None:
    if owner.is_service or not owner.is_active or not access.allows(owner, Permission.USE_CASE_VIEW, use_case):
        raise Invalid(f"{owner} has no role in {use_case.team}, so they cannot own its use case.", field="owner")


def _part_as_text(use_case: UseCase, name: str) -> str:
    rows = getattr(use_case, name).all()
    if name == "objectives":
        return "\n".join(row.as_text() for row in rows)
    if name == "stakeholders":
        return "\n".join(f"{row.role}: {row.name} {row.interest}".rstrip() for row in rows)
    return "\n".join(sorted(row.title for row in rows))


def _set_goals(actor: User, use_case: UseCase, goals: Iterable[StrategicGoal]) -> None:
    chosen = list(goals)
    held = set(use_case.goals.values_list("pk", flat=True))
    for goal in chosen:
        if not goal.is_current and goal.pk not in held:
            raise Invalid(f"“{goal.title}” is no longer a goal of the organisation.", field="goals")
    use_case.goals.set(chosen)


def _set_objectives(actor: User, use_case: UseCase, objectives: list[dict[str, Any]]) -> None:
    _replace(use_case, use_case.objectives, Objective, objectives, OBJECTIVE_FIELDS, "objectives")


def _set_stakeholders(actor: User, use_case: UseCase, stakeholders: list[dict[str, Any]]) -> None:
    _replace(use_case, use_case.stakeholders, Stakeholder, stakeholders, STAKEHOLDER_FIELDS, "stakeholders")


def _replace(
    use_case: UseCase,
    rows: Any,
    model: type[models.Model],
    items: list[dict[str, Any]],
    names: tuple[str, ...],
    part: str,
) -> None:
    if len(items) > MAX_PARTS:
        raise Invalid(f"At most {MAX_PARTS} {part}.", field=part)
    held = {row.pk: row for row in rows.all()}
    kept = set()
    for number, item in enumerate(items, 1):
        pk = item.get("id")
        if pk is not None and pk not in held:
            raise Invalid(f"{part.capitalize()}, number {number}: it does not belong to this use case.", field=part)
        fields.only({name: None for name in item if name != "id"}, names)
        row = held.get(pk) or model(use_case=use_case)
        given = {name: item[name] for name in names if name in item}
        if row.pk is None:
            # A new row must be whole: what was not said takes the model's default, and a required field complains.
            given = {name: given[name] if name in given else getattr(row, name) for name in names}
        try:
            cleaned = fields.clean(model, given)
        except Invalid as error:
            raise Invalid(
                f"{part.capitalize()}, number {number}, {error.field}: {error.message}", field=part
            ) from error
        for name, value in cleaned.items():
            setattr(row, name, value)
        row.save()
        kept.add(row.pk)
    rows.exclude(pk__in=kept).delete()


_SETTERS: dict[str, Callable[[User, UseCase, Any], None]] = {
    "objectives": _set_objectives,
    "stakeholders": _set_stakeholders,
    "goals": _set_goals,
}


# Stages


def _to_stage(actor: User, use_case: UseCase, target: Stage, reason: str = "", **details: Any) -> None:
    source = use_case.stage
    use_case.stage = target
    use_case.changed_at = timezone.now()
    use_case.save(update_fields=["stage", "changed_at"])
    ledger.record(
        Action.USE_CASE_MOVED,
        actor=actor,
        subject=use_case,
        details={"from": source, "to": target.value, "version": use_case.version, **details},
        texts={"reason": reason},
    )


@transaction.atomic
def submit(*, actor: User, use_case: UseCase, note: str = "") -> UseCase:
    """Put a draft before the gate. Raises Denied, NoSuchMove from another stage, NotReady with what is missing."""
    use_case = _lock(use_case)
    if use_case.stage != Stage.DRAFT:
        raise _no_such_move(use_case, Stage.SUBMITTED)
    asked = approvals.request(actor=actor, gate=GATE, subject=use_case, note=note)
    use_case.stage = Stage.SUBMITTED
    use_case.changed_at = timezone.now()
    use_case.save(update_fields=["stage", "changed_at"])
    ledger.record(
        Action.USE_CASE_SUBMITTED,
        actor=actor,
        subject=use_case,
        digest=asked.digest,
        details={"request": asked.pk, "version": use_case.version},
        texts={"note": note},
    )
    return use_case


def approved(*, actor: User, request: ApprovalRequest) -> None:
    """Move the use case on when its gate opens; called by `approvals` inside the decision's transaction."""
    use_case = _lock(cast(UseCase, request.subject))
    if use_case.stage == Stage.SUBMITTED:
        _to_stage(actor, use_case, Stage.APPROVED, request=request.pk)


def closed(*, actor: User, request: ApprovalRequest) -> None:
    """Move the use case back when its request ends without opening the gate, or its approval lapses.

    Called by `approvals` inside the transaction that ends the request.
    """
    use_case = _lock(cast(UseCase, request.subject))
    if request.state == ApprovalRequest.State.REJECTED and use_case.stage == Stage.SUBMITTED:
        _to_stage(actor, use_case, Stage.REJECTED, request=request.pk)
    elif use_case.stage == Stage.SUBMITTED or (
        use_case.stage in IN_DEVELOPMENT
        and request.state in {ApprovalRequest.State.LAPSED, ApprovalRequest.State.REVOKED}
    ):
        _to_stage(actor, use_case, Stage.DRAFT, request.closed_because, request=request.pk)


def standing(*, use_case: UseCase) -> approvals.Standing:
    """Return whether the use case may be developed now: its stage rests on an approval, and that approval stands."""
    found = approvals.standing(GATE, use_case)
    if found.open and use_case.stage not in IN_DEVELOPMENT:
        return approvals.Standing(False, f"The use case is {use_case.get_stage_display().lower()}.", found.request)
    return found


def moves(*, actor: User, use_case: UseCase) -> list[Move]:
    """Return every transition from the present stage, each with the reason where this person cannot make it."""
    listed = []
    possible = _from(use_case)
    asks = any(one.target in IN_DEVELOPMENT and one.gate is None and _may(actor, use_case, one) for one in possible)
    found = approvals.standing(GATE, use_case) if asks else None
    for transition in possible:
        reason = _obstacle(actor, use_case, transition, found)
        listed.append(Move(transition.target, transition.label, not reason, reason, transition.gate))
    return listed


@transaction.atomic
def move(*, actor: User, use_case: UseCase, target: Stage | str, reason: str = "") -> UseCase:
    """Make a transition by hand. Raises Denied with the reason, NoSuchMove naming the moves there are.

    Taking work back (to draft, on hold, retired) voids the approval it rested on.
    """
    use_case = _lock(use_case)
    try:
        target = Stage(target)
    except ValueError as error:
        raise Invalid(f"“{target}” is not a stage; stages are {', '.join(Stage.values)}.", field="target") from error
    found = next((t for t in _from(use_case) if t.target == target), None)
    if found is None:
        raise _no_such_move(use_case, target)
    if target == Stage.SUBMITTED:
        return submit(actor=actor, use_case=use_case, note=reason)
    if found.permission is not None and not _may(actor, use_case, found):
        access.require(actor, found.permission, use_case)
    if obstacle := _obstacle(actor, use_case, found):
        raise access.Denied(obstacle, code="gate" if found.gate else "not_now", subject=use_case)
    if use_case.stage == Stage.SUBMITTED:
        asked = ApprovalRequest.objects.about(use_case).open().get(gate=GATE.value)
        approvals.withdraw(actor=actor, request=asked)
        use_case.refresh_from_db()
        return use_case
    _to_stage(actor, use_case, target, reason)
    if target not in IN_DEVELOPMENT:
        because = f"The use case was moved to “{target.label}”. {reason}".strip()
        approvals.end(actor=actor, gate=GATE, subject=use_case, because=because)
    return use_case


def _from(use_case: UseCase) -> list[Transition]:
    return [transition for transition in TRANSITIONS if transition.source == use_case.stage]


def _may(actor: User, use_case: UseCase, transition: Transition) -> bool:
    if transition.permission == Permission.USE_CASE_EDIT:
        return may_edit(actor, use_case)
    assert transition.permission is not None
    return access.allows(actor, transition.permission, use_case)


def _obstacle(actor: User, use_case: UseCase, transition: Transition, found: approvals.Standing | None = None) -> str:
    """Return why this person cannot make this transition now, or an empty string; `found`: how its approval stands."""
    if transition.gate is not None:
        return f"Only a review makes this move: {GATES[transition.gate].question}"
    if not _may(actor, use_case, transition):
        return f"You need the permission “{transition.permission}” in {use_case.team}."
    if transition.source == Stage.SUBMITTED:
        asked = ApprovalRequest.objects.about(use_case).open().filter(gate=GATE.value).first()
        if asked is not None and asked.requester_id != actor.pk:
            return f"{asked.requester} asked for the review, so only they can withdraw it; or change the use case."
    if transition.target in IN_DEVELOPMENT:
        found = found or approvals.standing(GATE, use_case)
        if not found.open:
            return f"Its approval does not stand. {found.reason}"
    return ""


def _no_such_move(use_case: UseCase, target: Stage) -> NoSuchMove:
    there = [f"{transition.target.label} ({transition.label.lower()})" for transition in _from(use_case)]
    listed = "; ".join(there) if there else "none: this is the end of its life"
    return NoSuchMove(
        f"A use case that is “{use_case.get_stage_display()}” cannot become “{target.label}”. "
        f"From here it can move to: {listed}.",
        code="no_such_move",
        missing=there,
        subject=use_case,
    )


# Pitfalls

NEWEST = 500
"""How many visible use cases, newest first, are looked through for near duplicates: a bound on the page's cost."""

SIMILAR = 0.5
"""From this share of words in common (Jaccard index) on, two use cases are shown as near duplicates."""

_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMON = frozenset(
    ("and", "are", "but", "for", "from", "has", "have", "not", "our", "per", "that", "the", "their", "them", "they")
) | {"this", "was", "were", "when", "which", "with", "you", "your"}


def pitfalls(*, actor: User, use_case: UseCase) -> list[Pitfall]:
    """Return the known pitfalls seen in the use case; near duplicates are sought among what `actor` may see."""
    found = []
    objectives = list(use_case.objectives.all()) if use_case.pk else []
    if not any(o.target is not None and o.due_on for o in objectives):
        found.append(
            Pitfall(
                "vague_objective",
                "No objective has both a number and a date.",
                "Name a KPI with baseline, target and date, so that everyone can see whether it worked.",
            )
        )
    if not re.search(r"\d", use_case.benefit):
        found.append(
            Pitfall(
                "vague_benefit",
                "The expected benefit holds no number.",
                "Say how much better: hours, money, errors or days, even as a rough guess.",
            )
        )
    if not use_case.data_needed.strip():
        found.append(
            Pitfall("no_data", "No data is named.", "Say which data you have or would need, and who keeps it.")
        )
    if use_case.pk and not use_case.goals.all():
        found.append(
            Pitfall(
                "no_goal",
                "It serves no strategic goal.",
                "Choose the goal that it serves, or ask whether it should be done.",
            )
        )
    for other in similar(actor=actor, title=use_case.title, problem=use_case.problem, besides=use_case.pk):
        found.append(
            Pitfall(
                "near_duplicate",
                f"“{other.title}” of {other.team} is about nearly the same.",
                "Look at it first, and join it if it is.",
                other,
            )
        )
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _COMMON


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0


def similar(*, actor: User, title: str, problem: str, besides: int | None = None, limit: int = 3) -> list[UseCase]:
    """Return visible use cases whose title, or title and problem, share at least half of their words with these.

    The measure is the Jaccard index of the sets of words; the closest come first.
    """
    titled, whole = _words(title), _words(f"{title} {problem}")
    rows = (
        UseCase.objects.visible_to(actor)
        .exclude(pk=besides)
        .exclude(stage__in=[Stage.REJECTED, Stage.RETIRED])
        .order_by("-changed_at", "-id")
        .values_list("pk", "title", "problem")[:NEWEST]
    )
    scored = []
    for pk, other_title, other_problem in rows:
        score = max(_overlap(titled, _words(other_title)), _overlap(whole, _words(f"{other_title} {other_problem}")))
        if score >= SIMILAR:
            scored.append((score, pk))
    closest = [pk for _score, pk in sorted(scored, reverse=True)[:limit]]
    found = UseCase.objects.select_related("team").in_bulk(closest)
    return [found[pk] for pk in closest]
