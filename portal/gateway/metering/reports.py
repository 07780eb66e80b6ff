"""What usage adds up to: by day, by model, by person, by outcome, over the rows that a reader may see."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from portal.gateway.metering.counts import TRANSFERS
from portal.models import Outcome, Usage
from projects.models import Team, UseCase
from training.models import RegisteredModel

PERIODS = (7, 30, 90)
"""Over how many days a report may run, today included."""
MOST = 20
"""Models and people that a report names; the list and its export have all of them."""

_SUMS = {
    "calls": Count("pk", filter=~Q(kind__in=TRANSFERS)),
    "transfers": Count("pk", filter=Q(kind__in=TRANSFERS)),
    "tokens": Sum(F("prompt_tokens") + F("completion_tokens"), default=0),
    "bytes": Sum("bytes", default=0),
    "cost": Sum("cost", default=Decimal(0)),
    "failed": Count("pk", filter=Q(outcome__in=[Outcome.FAILED, Outcome.UNAVAILABLE])),
}


@dataclass(frozen=True)
class Line:
    """What one model, person or outcome accounts for; `name` says which."""

    name: str
    calls: int
    transfers: int
    tokens: int
    bytes: int
    cost: Decimal
    failed: int
    key: str = ""


_NONE = Line("", 0, 0, 0, 0, Decimal(0), 0)


@dataclass(frozen=True)
class Report:
    """Usage of a period: everything together, and by day (oldest first, none left out), model, person and outcome."""

    since: datetime.date
    until: datetime.date
    total: Line
    days: list[tuple[datetime.date, Line]]
    models: list[Line]
    people: list[Line]
    outcomes: list[Line]

    def by_day(self, what: str) -> list[tuple[datetime.date, Decimal | int]]:
        """Return (day, figure) for a chart."""
        return [(day, getattr(line, what)) for day, line in self.days]


def report(rows, *, days: int = 30) -> Report:
    """Return what these rows add up to over the last `days` days in the reader's time zone, in three queries."""
    until = timezone.localdate()
    since = until - datetime.timedelta(days=days - 1)
    start = timezone.make_aware(datetime.datetime.combine(since, datetime.time()))
    rows = rows.between(start, None).order_by()
    by_day: dict[datetime.date, Line] = {}
    by_outcome: dict[str, Line] = {}
    for row in rows.values("outcome", day=TruncDate("at")).annotate(**_SUMS):
        day, outcome = row.pop("day"), row.pop("outcome")
        line = _line("", row)
        by_day[day] = _together([by_day.get(day, _NONE), line])
        by_outcome[outcome] = _together([by_outcome.get(outcome, _NONE), line])
    every = [since + datetime.timedelta(days=number) for number in range(days)]
    by_model = rows.values(
        model_name=F("model__name"), team_slug=F("model__team__slug"),
        base=F("base_model__name"), data_team=F("dataset_version__dataset__team__slug"),
        data=F("dataset_version__dataset__name"),
    ).annotate(**_SUMS).order_by("-cost", "-calls", "model_name", "base", "data")[:MOST]  # fmt: skip
    by_person = rows.values(who=F("person__name"), email=F("person__email")).annotate(**_SUMS)
    return Report(
        since=since,
        until=until,
        total=_together(list(by_outcome.values())),
        days=[(day, by_day.get(day, _NONE)) for day in every],
        models=[_line(_used(row), row) for row in by_model],
        people=[
            _line(row.pop("who") or row["email"], row, key=row.pop("email"))
            for row in by_person.order_by("-cost", "-calls", "email")[:MOST]
        ],
        outcomes=[
            dataclasses.replace(line, name=str(Outcome(outcome).label), key=outcome)
            for outcome, line in sorted(by_outcome.items())
        ],
    )


def scoped(user, of: str):
    """Return (rows, subject) of a report: "mine", "organisation", or "model:team/name", "team:slug", "use-case:id".

    `subject` is the object that is named, None for the first two; rows and subject are None where there is no such
    thing that the person may see.
    """
    rows = Usage.objects.visible_to(user)
    if "\0" in of:
        # No name has it, and PostgreSQL takes no text with it.
        return None, None
    kind, _, name = of.partition(":")
    if of == "mine":
        return rows.filter(person=user), None
    if of == "organisation":
        return rows, None
    if kind == "team":
        subject = Team.objects.visible_to(user).filter(slug=name).first()
        return (rows.filter(team=subject), subject) if subject else (None, None)
    if kind == "model":
        team, _, model = name.partition("/")
        found = RegisteredModel.objects.visible_to(user).filter(team__slug=team, name=model)
        subject = found.select_related("team", "use_case").first()
        return (rows.filter(model=subject), subject) if subject else (None, None)
    if kind == "use-case" and name.isdecimal() and len(name) < 18:
        subject = UseCase.objects.visible_to(user).filter(pk=int(name)).select_related("team").first()
        return (rows.filter(use_case=subject), subject) if subject else (None, None)
    return None, None


def _together(lines: list[Line]) -> Line:
    sums = {what: sum((getattr(line, what) for line in lines), getattr(_NONE, what)) for what in _SUMS}
    return dataclasses.replace(_NONE, **sums)


def _used(row: dict) -> str:
    """Take the names out of a row and return what was used, as its page calls it."""
    model, team = row.pop("model_name"), row.pop("team_slug")
    base, data_team, data = row.pop("base"), row.pop("data_team"), row.pop("data")
    return f"{team}/{model}" if model else base or f"{data_team}/{data}"


def _line(name: str, row: dict, key: str = "") -> Line:
    return Line(name=name, key=key, **{what: row[what] for what in _SUMS})
