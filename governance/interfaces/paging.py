"""Keyset paging: any page of a list costs the same, and rows added meanwhile never shift what is on it.

Counts stop at CAP: whoever reads "more than 10,000" needs no more, and counting all rows takes as long as reading them.

A cursor is the ordering values of the row at the page's edge. The comparison is written as a row value,
`(changed_at, id) < (x, y)`, which an index answers directly; spelled out with OR it is no faster than OFFSET.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import BadRequest
from django.db.models import BooleanField, DateField, DateTimeField, F, Func, IntegerField, QuerySet, Subquery, Value

CAP = 10_001
"""Where counting stops; a count that says so many means "more than 10,000"."""


class RowValue(Func):
    """`(a, b) < (x, y)` as one boolean expression; `operator` is < or >."""

    template = "(%(expressions)s)"
    output_field = BooleanField()

    def __init__(self, left: list, right: list, operator: str):
        super().__init__(*left, *right)
        self.width = len(left)
        self.operator = operator

    def as_sql(self, compiler, connection, **_):
        """Return the SQL of the comparison and its parameters."""
        sql, params = [], []
        for expression in self.get_source_expressions():
            part, part_params = compiler.compile(expression)
            sql.append(part)
            params.extend(part_params)
        left, right = ", ".join(sql[: self.width]), ", ".join(sql[self.width :])
        return f"(({left}) {self.operator} ({right}))", params


class CappedCount(Subquery):
    """How many rows a queryset has, at most CAP; several of them are answered by one query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) capped)"
    output_field = IntegerField()
    # Who is in no team selects nothing, which is known without asking the database.
    empty_result_set_value = 0

    def __init__(self, queryset: QuerySet, cap: int = CAP):
        super().__init__(queryset.order_by().values("pk")[:cap])


@dataclass(frozen=True)
class Page:
    """One page of a list: its rows, the cursors of its neighbours (None at an end), and the rest of the query."""

    items: list
    next: str | None
    previous: str | None
    query: str = ""


def encode(values: list, direction: str) -> str:
    """Return the opaque cursor for a row's ordering values and the direction to read from it."""
    plain = [value.isoformat() if hasattr(value, "isoformat") else value for value in values]
    data = json.dumps([direction, *plain], separators=(",", ":"), default=str).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decode(cursor: str, fields: list) -> tuple[str, list]:
    """Return (direction, values); raises BadRequest with a sentence for a cursor that is not ours."""
    try:
        direction, *values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if direction not in {"n", "p"} or len(values) != len(fields):
            raise ValueError("shape")
        for index, field in enumerate(fields):
            if isinstance(field, DateTimeField):
                values[index] = datetime.fromisoformat(values[index])
            elif isinstance(field, DateField):
                values[index] = datetime.fromisoformat(values[index]).date()
            else:
                values[index] = field.to_python(values[index])
        return direction, values
    except (ValueError, TypeError, binascii.Error, UnicodeDecodeError, AttributeError, KeyError) as error:
        raise BadRequest("The cursor in the address is not valid; start again from the first page.") from error
    except Exception as error:
        if error.__class__.__name__ == "ValidationError":
            raise BadRequest("The cursor in the address is not valid; start again from the first page.") from error
        raise


def slice_at(queryset: QuerySet, cursor: str | None, order: tuple[str, ...], size: int) -> Page:
    """Return the page that `cursor` points to. All of `order` must run one way and end in a unique column."""
    names = [name.lstrip("-") for name in order]
    descending = order[0].startswith("-")
    fields = [queryset.model._meta.get_field(name) for name in names]
    direction, values = decode(cursor, fields) if cursor else ("n", None)
    backwards = direction == "p"
    rows = queryset.order_by(*(_flip(name) for name in order)) if backwards else queryset.order_by(*order)
    if values is not None:
        operator = "<" if descending != backwards else ">"
        right = [Value(value, output_field=field) for value, field in zip(values, fields, strict=True)]
        rows = rows.filter(RowValue([F(name) for name in names], right, operator))
    items = list(rows[: size + 1])
    more = len(items) > size
    items = items[:size]
    if backwards:
        items.reverse()

    def edge(row, way):
        return encode([getattr(row, name) for name in names], way)

    has_next = bool(items) and (backwards or more)
    has_previous = bool(items) and (more if backwards else values is not None)
    return Page(
        items=items,
        next=edge(items[-1], "n") if has_next else None,
        previous=edge(items[0], "p") if has_previous else None,
    )


def _flip(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def keyset(queryset: QuerySet, request, *, order: tuple[str, ...], size: int = 50) -> Page:
    """Return the page of `queryset` that the request's `cursor` asks for; raises BadRequest for a bad cursor."""
    query = request.GET.copy()
    cursor = query.pop("cursor", [None])[-1]
    page = slice_at(queryset, cursor, order, size)
    return Page(page.items, page.next, page.previous, query.urlencode())


def count(queryset: QuerySet, page: Page | None = None) -> int:
    """Return how many rows a list has, at most CAP.

    A search gives its `page` too: where that shows all there is, the table is not read through a second time.
    """
    if page is not None and page.next is None and page.previous is None:
        return len(page.items)
    return queryset.order_by().values("pk")[:CAP].count()
