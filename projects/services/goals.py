"""Strategic goals: what the organisation as a whole wants, named so that use cases can say which one they serve."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects.models import StrategicGoal
from projects.models.use_cases import Stage
from projects.services import fields
from projects.services.fields import Invalid

CHANGEABLE = ("title", "description", "is_current")
FREE_TEXT = {"title", "description"}


@transaction.atomic
def create(*, actor: User, title: str, description: str = "") -> StrategicGoal:
    """Name a goal and return it. Raises Denied, or Invalid where the title is empty or taken."""
    access.require(actor, Permission.GOAL_MANAGE)
    values = fields.clean(StrategicGoal, {"title": title, "description": description})
    try:
        with transaction.atomic():
            goal = StrategicGoal.objects.create(**values)
    except IntegrityError as error:
        raise Invalid(f"There is already a goal called “{values['title']}”.", field="title") from error
    ledger.record(Action.GOAL_CREATED, actor=actor, subject=goal, texts=dict(values))
    return goal


@transaction.atomic
def change(*, actor: User, goal: StrategicGoal, **values: Any) -> StrategicGoal:
    """Change a goal's title, description or whether it is current. Raises Denied or Invalid.

    The title stays once a use case before a gate or beyond it serves the goal: what was approved must keep its meaning.
    """
    access.require(actor, Permission.GOAL_MANAGE)
    fields.only(values, CHANGEABLE)
    goal = StrategicGoal.objects.select_for_update().get(pk=goal.pk)
    before = {name: getattr(goal, name) for name in values}
    after = fields.clean(StrategicGoal, values)
    if before == after:
        return goal
    if after.get("title", goal.title) != goal.title:
        relying = [Stage.SUBMITTED, Stage.APPROVED, Stage.PILOTING, Stage.LIVE]
        if goal.use_cases.filter(stage__in=relying).exists():
            raise Invalid(
                "Use cases that are under review or approved serve this goal, so its title stays. "
                "Create a new goal and mark this one as no longer current.",
                field="title",
            )
    for name, value in after.items():
        setattr(goal, name, value)
    try:
        with transaction.atomic():
            goal.save(update_fields=list(after))
    except IntegrityError as error:
        raise Invalid(f"There is already a goal called “{after['title']}”.", field="title") from error
    details, texts = ledger.changes(before, after, free_text=FREE_TEXT)
    ledger.record(Action.GOAL_CHANGED, actor=actor, subject=goal, details=details, texts=texts)
    return goal
