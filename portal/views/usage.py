"""Usage: what calls and downloads add up to for a person, a team, a model or the organisation, and each of them."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.http import Http404
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.utils.timezone import make_aware
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from governance.interfaces import listings
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from portal.gateway import metering
from portal.gateway.metering import reports
from portal.lists import USAGE
from portal.models import Kind, Outcome, Usage
from projects.models import Team

FIGURES = ("calls", "tokens", "cost", "bytes")
"""What the chart of days can show."""


@declares("signed_in")
@require_GET
def overview(request):
    """Show what usage adds up to: one's own, or that of a team, a model, a use case or the organisation."""
    of = request.GET.get("of", "mine")
    rows, subject = reports.scoped(request.user, of)
    if rows is None:
        raise Http404
    days = _days(request.GET.get("days", ""))
    figure = request.GET.get("show", "calls") if request.GET.get("show") in FIGURES else "calls"
    found = reports.report(rows, days=days)
    context = {
        "of": of,
        "subject": subject,
        "title": _title(of, subject),
        "days": days,
        "periods": reports.PERIODS,
        "figure": figure,
        "figures": [("calls", _("Calls")), ("tokens", _("Tokens")), ("cost", _("Cost")), ("bytes", _("Bytes"))],
        "unit": settings.CURRENCY if figure == "cost" else "",
        "report": found,
        "columns": found.by_day(figure),
        "currency": settings.CURRENCY,
        "scopes": _scopes(request.user),
        "standings": _standings(request.user, of, subject),
        "may_manage": access.organisation_allows(request.user, Permission.QUOTA_MANAGE)
        or bool(access.scope_ids(request.user, Permission.QUOTA_MANAGE)),
    }
    return render(request, "portal/usage.html", context)


def _days(given: str) -> int:
    return int(given) if given in {str(days) for days in reports.PERIODS} else 30


def _title(of: str, subject) -> str:
    if subject is not None:
        return _("Usage of %(what)s") % {"what": getattr(subject, "title", "") or subject}
    return _("Usage of the organisation") if of == "organisation" else _("My usage")


def _scopes(user) -> list[tuple[str, str]]:
    """Return (word, label) of what this reader may look at by one press: what else there is has links of its own."""
    found = [("mine", _("Mine"))]
    if access.organisation_allows(user, Permission.USAGE_VIEW):
        found.append(("organisation", _("The organisation")))
    teams = Team.objects.filter(pk__in=access.scope_ids(user, Permission.USAGE_VIEW)).order_by("name")[:8]
    return found + [(f"team:{team.slug}", team.name) for team in teams]


def _standings(user, of: str, subject) -> list[metering.Standing]:
    """Return how the quotas stand that this usage has to fit into, as far as the reader uses it themselves."""
    if subject is None:
        return metering.standings(person=user)
    kind = of.partition(":")[0].replace("-", "_")
    bound = {kind: subject, "team": subject if kind == "team" else subject.team}
    if kind == "model":
        bound["use_case"] = subject.use_case
    return metering.standings(person=user, **bound)


def _rows(request):
    """Return the usage that the filters leave, with what a row shows."""
    of = request.GET.get("of", "")
    rows = Usage.objects.visible_to(request.user)
    if of:
        rows, _subject = reports.scoped(request.user, of)
        if rows is None:
            return Usage.objects.none()
    for name, choices in (("kind", Kind.values), ("outcome", Outcome.values)):
        value = request.GET.get(name, "")
        if value in choices:
            rows = rows.filter(**{name: value})
    since, until = (_day(request.GET.get(name, "")) for name in ("since", "until"))
    rows = rows.between(since, until + datetime.timedelta(days=1) if until else None)
    return rows.select_related(
        "person", "token", "team", "use_case", "model__team", "version", "base_model", "dataset_version__dataset__team"
    ).defer("use_case__words", "dataset_version__profile", "dataset_version__errors", "dataset_version__changes")


def _day(given: str) -> datetime.datetime | None:
    """Return the beginning of a day in the reader's zone; nothing for what is no day."""
    try:
        day = parse_date(given)
    except ValueError:
        return None
    return make_aware(datetime.datetime.combine(day, datetime.time())) if day and 1900 < day.year < 3000 else None


@declares("signed_in")
@require_GET
@listings.page(USAGE)
def calls(request):
    """List calls and downloads one by one, newest first."""
    shown = listings.show(request, USAGE, _rows(request))
    context = {
        "shown": shown,
        "page": shown.page,
        "kinds": Kind.choices,
        "outcomes": Outcome.choices,
        "scopes": [("", _("Everything you may see")), *_scopes(request.user)],
    }
    return render(request, "portal/usage_calls.html", context)


export = listings.export_view(USAGE, _rows, policy="signed_in")
