"""What a list page is made of: columns that are chosen and sorted by, filters, verbs for several rows, an export.

A package declares a Listing once, in its `lists` module, and gives it the rows that the reader may see, already
narrowed; the page, the export and the bulk action all follow from that. Saved views belong to the site above, which
offers them through `offer_views`. Nothing here decides who may see or do something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, wraps
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import get_script_prefix, reverse
from django.views.decorators.http import require_GET

from governance.interfaces import paging, spreadsheets
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access, exports

EXPORT_STEP = 1000
"""Rows that an export reads at a time."""

OWN = ("sort", "columns")
"""Query parameters that every list understands beside its own filters."""


@dataclass(frozen=True)
class Column:
    """One fact about a row: how it is called, where it comes from, and how it is drawn.

    `value` returns the plain fact, which the export writes too. `kind` says how a page draws it: text, title, status,
    statuses, person, when, date, number, percent, digest, mono or chips. `note` is a second line under it, `link` the
    address that it leads to, `mark` a state beside it. `sort` names the model's own, never empty field by which the
    list can be sorted.
    """

    key: str
    label: Any
    value: Callable[[Any], Any]
    kind: str = "text"
    note: Callable[[Any], Any] | None = None
    link: Callable[[Any], str] | None = None
    mark: Callable[[Any], Any] | None = None
    sort: str = ""
    usual: bool = True


def by_id(route: str) -> Callable[[Any], str]:
    """Return the `link` that leads to each row's page by its id. The route is looked up once and not for each row."""

    def link(row) -> str:
        before, after = _around_id(route, get_script_prefix())
        return f"{before}{row.pk}{after}"

    return link


@cache
def _around_id(route: str, prefix: str) -> tuple[str, str]:
    mark = "7" * 18
    before, _mark, after = reverse(route, args=[mark]).partition(mark)
    return before, after


@dataclass(frozen=True)
class Verb:
    """Something that can be done to each of several rows: `act(actor, row, reason)` calls the service that does it.

    `permission` says whom the button is shown to; the service decides. `effect` says what will happen. A verb with
    `leads` changes nothing: it returns the address of a page about the chosen rows.
    """

    key: str
    label: Any
    permission: Permission
    effect: Any = ""
    act: Callable[[Any, Any, str], Any] | None = None
    leads: Callable[[list], str] | None = None
    reason: str = ""
    icon: str = ""
    danger: bool = False

    def offered_to(self, user) -> bool:
        """Return whether the person holds the permission anywhere."""
        return access.organisation_allows(user, self.permission) or bool(access.scope_ids(user, self.permission))


@dataclass(frozen=True)
class Listing:
    """A list: its columns (the first is always shown), its order, what narrows it, and its verbs.

    `url` names the page's route; `<url>_export` and `<url>_bulk` name the two beside it. `columns` and `verbs` come
    in the order in which they are drawn. `looks` are query parameters that change how it is drawn and narrow nothing.
    """

    key: str
    title: Any
    url: str
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    filters: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    verbs: tuple[Verb, ...] = ()
    size: int = 50
    label: Callable[[Any], str] = str

    def sorts(self) -> dict[str, tuple[str, ...]]:
        """Return the keyset order of each word that `sort` may be."""
        found = {}
        for column in self.columns:
            if column.sort:
                found[column.key] = (column.sort, "id")
                found[f"-{column.key}"] = (f"-{column.sort}", "-id")
        return found

    def sorted_by(self) -> str:
        """Return the word for the usual order, or nothing where no column stands for it."""
        return next((word for word, order in self.sorts().items() if order == self.order), "")

    def kept(self, query: QueryDict) -> str:
        """Return of a query what says what is seen: filters, order and columns, each as it was given."""
        kept = QueryDict(mutable=True)
        for name in (*self.filters, *self.looks, *OWN):
            values = [value for value in query.getlist(name) if value]
            if name == "columns" and values:
                values = [",".join(_columns(values))]
            if values:
                kept.setlist(name, values)
        return kept.urlencode(safe=",")


_known: dict[str, Listing] = {}


def register(listing: Listing) -> Listing:
    """Make a list known to the site by its key, and return it."""
    _known[listing.key] = listing
    return listing


def get(key: str) -> Listing | None:
    """Return the list of this key, or None."""
    return _known.get(key)


def names() -> list[str]:
    """Return the key of every list there is."""
    return sorted(_known)


# Saved views, which the site above offers


@dataclass(frozen=True)
class View:
    """A saved view as a list page offers it; `update` leads to keeping what is seen now in its place."""

    pk: int
    name: str
    note: str
    address: str
    current: bool
    usual: bool
    update: str = ""


@dataclass(frozen=True)
class Views:
    """The saved views of a list that the reader may open, and where to keep what is seen now."""

    views: list[View] = field(default_factory=list)
    save: str = ""
    manage: str = ""

    @property
    def current(self) -> View | None:
        """Return the view that is open."""
        return next((view for view in self.views if view.current), None)

    @property
    def usual(self) -> View | None:
        """Return the view that the reader starts with."""
        return next((view for view in self.views if view.usual), None)


_offer: list[Callable[[Any, Listing], Views]] = []


def offer_views(offer: Callable[[Any, Listing], Views]) -> None:
    """Let `offer(request, listing)` say which saved views a list page shows."""
    _offer[:] = [offer]


def _views(request, listing: Listing) -> Views:
    held = getattr(request, "_gatehouse_views", None)
    if held is None:
        held = request._gatehouse_views = _offer[0](request, listing) if _offer else Views()
    return held


def page(listing: Listing):
    """Return a decorator for a list's view: who opens the bare address starts with the view that is theirs."""

    def decorate(view):
        @wraps(view)
        def opened(request, *args, **kwargs):
            usual = None if request.GET or request.method != "GET" else _views(request, listing).usual
            return redirect(usual.address) if usual else view(request, *args, **kwargs)

        return opened

    return decorate


# What is shown


def _columns(values: list[str]) -> list[str]:
    return [key for value in values for key in value.split(",") if key]


def chosen_columns(request, listing: Listing) -> tuple[Column, ...]:
    """Return the columns to show: those of the address, else those chosen last time, else the usual ones.

    What is chosen by hand is remembered for the session; what a saved view brings is not.
    """
    remembered = request.session.get("columns", {}) if hasattr(request, "session") else {}
    given = _columns(request.GET.getlist("columns"))
    if given and "saved" not in request.GET and remembered.get(listing.key) != given:
        usual = given == ["usual"]
        remembered = {**remembered, listing.key: [] if usual else given}
        request.session["columns"] = remembered
    wanted = given or remembered.get(listing.key) or []
    known = {column.key for column in listing.columns}
    if not known & set(wanted):
        return tuple(column for column in listing.columns if column.usual or column is listing.columns[0])
    return tuple(column for column in listing.columns if column.key in wanted or column is listing.columns[0])


def order_of(request, listing: Listing) -> tuple[str, tuple[str, ...]]:
    """Return the word and the keyset order that the address asks for; an unknown word is the usual order."""
    word = request.GET.get("sort", "")
    order = listing.sorts().get(word)
    return (word, order) if order else (listing.sorted_by(), listing.order)


@dataclass(frozen=True)
class Shown:
    """One page of a list as it is drawn."""

    listing: Listing
    page: paging.Page
    columns: tuple[Column, ...]
    sort: str
    views: Views
    verbs: tuple[Verb, ...]
    filtered: bool
    count: int | None
    export: str
    bulk: str
    address: str
    kept: list[tuple[str, str]]
    saved: str

    @property
    def rows(self) -> list:
        """Return the rows of the page."""
        return self.page.items

    @property
    def choices(self) -> list[tuple[Column, bool]]:
        """Return every column that can be left out, and whether it is shown."""
        return [(column, column in self.columns) for column in self.listing.columns[1:]]

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """Return what the form that chooses columns carries on."""
        return [(name, value) for name, value in self.kept if name != "columns"] + self._opened

    @property
    def look(self) -> list[tuple[str, str]]:
        """Return what the form of the filters carries on: the order and the columns."""
        return [(name, value) for name, value in self.kept if name in OWN] + self._opened

    @property
    def _opened(self) -> list[tuple[str, str]]:
        return [("saved", self.saved)] if self.saved else []

    @property
    def clear(self) -> str:
        """Return the address without filters; it says so where the reader starts with a view of their own."""
        return f"{self.address}?saved=none" if self.views.usual else self.address


def show(request, listing: Listing, rows: QuerySet, *, counted: bool = False, prepare=None) -> Shown:
    """Return the page of `rows` that the address asks for; raises BadRequest for a bad cursor.

    `counted` also counts, up to a cap. `prepare(request, rows)` hangs on the page's rows what one query more tells
    of all of them.
    """
    word, order = order_of(request, listing)
    filtered = any(request.GET.get(name) for name in listing.filters)
    found = paging.keyset(rows, request, order=order, size=listing.size)
    if prepare is not None:
        prepare(request, found.items)
    same = listing.kept(request.GET)
    verbs = tuple(verb for verb in listing.verbs if verb.offered_to(request.user))
    return Shown(
        listing=listing,
        page=found,
        columns=chosen_columns(request, listing),
        sort=word,
        views=_views(request, listing),
        verbs=verbs,
        filtered=filtered,
        count=paging.count(rows, found if filtered else None) if counted else None,
        export=reverse(f"{listing.url}_export") + (f"?{same}" if same else ""),
        bulk=reverse(f"{listing.url}_bulk") if verbs else "",
        address=reverse(listing.url),
        kept=[(name, value) for name, values in QueryDict(same).lists() for value in values],
        saved=request.GET.get("saved", "") if request.GET.get("saved", "").isdecimal() else "",
    )


# Export


def plain(column: Column, row) -> Any:
    """Return a cell as a spreadsheet gets it: a person's address, a moment as ISO text, a list joined."""
    value = column.value(row)
    if column.kind == "person":
        return getattr(value, "email", value) or ""
    if column.kind == "statuses":
        return "; ".join(str(label) for _state, label in value)
    if column.kind == "chips":
        return "; ".join(str(one) for one in value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return getattr(value, "value", value)


def _read_through(request, rows: QuerySet, order: tuple[str, ...], prepare) -> Iterator:
    """Yield every row in order, a keyset page at a time: no cursor of the database stays open for a slow reader."""
    cursor = None
    while True:
        step = paging.slice_at(rows, cursor, order, EXPORT_STEP)
        if prepare is not None:
            prepare(request, step.items)
        yield from step.items
        if step.next is None:
            return
        cursor = step.next


def export(request, listing: Listing, rows: QuerySet, *, prepare=None) -> HttpResponse:
    """Return what the list's filters leave as CSV, in its order: the id, then the columns that are shown, or all.

    The export is an entry in the ledger before its first row leaves.
    """
    _word, order = order_of(request, listing)
    chosen = bool(_columns(request.GET.getlist("columns")))
    columns = chosen_columns(request, listing) if chosen else listing.columns
    count = paging.count(rows)
    exports.record(
        actor=request.user,
        listing=listing.key,
        columns=[column.key for column in columns],
        order=" ".join(order),
        query=listing.kept(request.GET),
        rows=count,
        capped=count >= paging.CAP,
    )
    header = ["id", *(column.key.replace("_", " ") for column in columns)]
    found = _read_through(request, rows, order, prepare)
    lines = ([row.pk, *(plain(column, row) for column in columns)] for row in found)
    return spreadsheets.stream(request, f"{listing.key}.csv", header, lines)


def export_view(listing: Listing, rows: Callable[[Any], QuerySet], *, policy: str, prepare=None):
    """Return the view that exports the list; `rows(request)` are those the page shows, narrowed alike."""

    @declares(policy)
    @require_GET
    def exported(request):
        return export(request, listing, rows(request), prepare=prepare)

    exported.__doc__ = f"Export exactly what the filters of the list “{listing.key}” leave, as CSV."
    return exported
