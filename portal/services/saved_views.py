"""Saved views of lists: kept, changed, shared, deleted, and chosen to start with."""

from __future__ import annotations

from django.db import transaction
from django.http import QueryDict
from django.utils import timezone

from governance.actions import Action
from governance.interfaces import listings
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from portal.models import SavedView, UsualView
from projects.models import Team
from projects.services.fields import Invalid

AT_MOST = 200
"""Views that one person keeps."""

CHANGEABLE = frozenset({"name", "query", "audience", "team"})


@transaction.atomic
def save(
    *, actor: User, listing: str, name: str, query: str = "", audience: str = "private", team: Team | None = None
) -> SavedView:
    """Keep a view of a list under a name of one's own; raises Denied, or Invalid for a field.

    Of the query only what the list knows is kept: its filters, its order and its columns.
    """
    access.require(actor, Permission.LIST_SAVE)
    if SavedView.objects.filter(owner=actor).count() >= AT_MOST:
        raise Invalid(f"You keep {AT_MOST} views already; delete some that you no longer use.", field="name")
    view = SavedView(owner=actor, listing=listing)
    _set(actor, view, {"name": name, "query": query, "audience": audience, "team": team})
    view.save()
    ledger.record(
        Action.VIEW_SAVED,
        actor=actor,
        subject=view,
        details={"list": view.listing, "audience": view.audience},
        texts={"name": view.name} | ({"narrowed_to": view.query} if view.query else {}),
    )
    return view


@transaction.atomic
def change(*, actor: User, view: SavedView, **values) -> SavedView:
    """Rename one's own view, change what it shows or who finds it; raises Denied for another's, or Invalid."""
    view = _own(actor, view)
    unknown = set(values) - CHANGEABLE
    if unknown:
        raise Invalid(f"“{min(unknown)}” cannot be changed; these can: {', '.join(sorted(CHANGEABLE))}.")
    before = {name: str(getattr(view, name) or "") for name in sorted(CHANGEABLE)}
    _set(actor, view, values)
    after = {name: str(getattr(view, name) or "") for name in sorted(CHANGEABLE)}
    if before == after:
        return view
    view.changed_at = timezone.now()
    view.save()
    if view.audience != before["audience"] or str(view.team or "") != before["team"]:
        # Whoever can no longer find it does not start with it either.
        _forget_strangers(view)
    details, texts = ledger.changes(before, after, free_text={"name", "query"})
    ledger.record(Action.VIEW_CHANGED, actor=actor, subject=view, details=details, texts=texts)
    return view


@transaction.atomic
def delete(*, actor: User, view: SavedView) -> None:
    """Delete one's own view; those who started with it see the whole list again. Raises Denied for another's."""
    view = _own(actor, view)
    ledger.record(
        Action.VIEW_DELETED,
        actor=actor,
        subject=view,
        details={"list": view.listing, "audience": view.audience},
        texts={"name": view.name},
    )
    view.delete()


@transaction.atomic
def make_usual(*, actor: User, listing: str, view: SavedView | None) -> None:
    """Start with this view when opening the list, or with none; raises Denied for a view that is not there."""
    access.require(actor, Permission.LIST_SAVE)
    _known(listing)
    if view is not None and not SavedView.objects.visible_to(actor).filter(pk=view.pk, listing=listing).exists():
        raise access.Denied("There is no such view of this list that you may open.", code="not_found")
    UsualView.objects.filter(user=actor, listing=listing).delete()
    if view is not None:
        UsualView.objects.create(user=actor, listing=listing, view=view)
    ledger.record(Action.VIEW_MADE_USUAL, actor=actor, subject=view, details={"list": listing})


def _own(actor: User, view: SavedView) -> SavedView:
    access.require(actor, Permission.LIST_SAVE)
    view = SavedView.objects.select_for_update(of=("self",)).select_related("team").get(pk=view.pk)
    if view.owner_id != actor.pk:
        raise access.Denied(
            f"This view belongs to {view.owner}. Save one of your own from what it shows.",
            code="not_yours",
            subject=view,
        )
    return view


def _known(listing: str) -> listings.Listing:
    found = listings.get(listing)
    if found is None:
        raise Invalid(f"There is no list “{listing}”; lists are {', '.join(listings.names())}.", field="listing")
    return found


def _set(actor: User, view: SavedView, values: dict) -> None:
    listing = _known(view.listing)
    if "name" in values:
        view.name = " ".join(str(values["name"]).split())
        if not view.name or len(view.name) > 80:
            raise Invalid("Give the view a name of at most 80 characters.", field="name")
        namesakes = SavedView.objects.filter(owner=view.owner, listing=view.listing, name=view.name)
        if namesakes.exclude(pk=view.pk).exists():
            raise Invalid(f"You have a view of this list called “{view.name}” already.", field="name")
    if "query" in values:
        view.query = listing.kept(QueryDict(str(values["query"]).removeprefix("?")))
        if len(view.query) > 2000:
            raise Invalid("This is narrowed to more than a view can keep.", field="query")
    if "audience" in values or "team" in values:
        audience, team = values.get("audience", view.audience), values.get("team", view.team)
        if audience not in SavedView.Audience.values:
            raise Invalid(f"Choose one of: {', '.join(SavedView.Audience.values)}.", field="audience")
        if audience == SavedView.Audience.TEAM:
            if team is None:
                raise Invalid("Say which team.", field="team")
            access.require(actor, Permission.TEAM_VIEW, team)
        view.audience, view.team = audience, team if audience == SavedView.Audience.TEAM else None


def _forget_strangers(view: SavedView) -> None:
    for usual in UsualView.objects.filter(view=view).exclude(user=view.owner).select_related("user"):
        if not SavedView.objects.visible_to(usual.user).filter(pk=view.pk).exists():
            usual.delete()
