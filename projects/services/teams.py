"""Teams: created and described. Who belongs to one is a matter of `governance.services.roles`."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects.models import Team
from projects.models.teams import RESERVED_NAMES
from projects.services import fields
from projects.services.fields import Invalid

CHANGEABLE = ("name", "description")


@transaction.atomic
def create(*, actor: User, slug: str, name: str, description: str = "") -> Team:
    """Create a team and return it. Raises Denied, or Invalid for a slug that is reserved, taken or badly formed."""
    access.require(actor, Permission.TEAM_CREATE)
    values = fields.clean(Team, {"slug": slug, "name": name, "description": description})
    if values["slug"] in RESERVED_NAMES:
        raise Invalid(f"“{values['slug']}” is a word of the site's own addresses; choose another.", field="slug")
    try:
        with transaction.atomic():
            team = Team.objects.create(**values)
    except IntegrityError as error:
        raise Invalid(f"There is already a team called “{values['slug']}”.", field="slug") from error
    ledger.record(
        Action.TEAM_CREATED,
        actor=actor,
        subject=team,
        details={"slug": team.slug},
        texts={"name": team.name, "description": team.description},
    )
    return team


@transaction.atomic
def change(*, actor: User, team: Team, **values: Any) -> Team:
    """Change name or description; the slug is part of addresses and stays. Raises Denied or Invalid."""
    access.require(actor, Permission.TEAM_EDIT, team)
    fields.only(values, CHANGEABLE)
    team = Team.objects.select_for_update().get(pk=team.pk)
    before = {name: getattr(team, name) for name in values}
    after = fields.clean(Team, values)
    if before == after:
        return team
    for name, value in after.items():
        setattr(team, name, value)
    team.save(update_fields=list(after))
    details, texts = ledger.changes(before, after, free_text=set(CHANGEABLE))
    ledger.record(Action.TEAM_CHANGED, actor=actor, subject=team, details=details, texts=texts)
    return team
