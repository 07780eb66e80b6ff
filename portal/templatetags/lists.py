"""How a list is drawn: its head with links that sort, its rows cell by cell, each by its column's kind.

Written in Python rather than as templates because a page has several hundred cells. Nothing here reads the database.
"""

from __future__ import annotations

from html import escape
from typing import Any

from django import template
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext

from governance.interfaces.listings import Column, Shown
from portal.templatetags import ui

register = template.Library()

LONG = 140
"""Characters of a text that a cell shows."""

WORDY = 60
"""Characters from which on a text gets a wider column."""

NUMBERS = frozenset({"number", "percent"})
NOTHING = mark_safe('<span class="muted">–</span>')


@register.simple_tag(takes_context=True)
def list_head(context: Context, shown: Shown) -> SafeString:
    """The cells of the header row; a column that sorts is a link."""
    return mark_safe("".join(_head(context, shown, column) for column in shown.columns))  # noqa: S308 - escaped parts


def _head(context: Context, shown: Shown, column: Column) -> SafeString:
    css = "num" if column.kind in NUMBERS else ""
    if not column.sort:
        return format_html('<th scope="col" class="{}">{}</th>', css, column.label)
    direction = {column.key: "ascending", f"-{column.key}": "descending"}.get(shown.sort, "none")
    turned = f"-{column.key}" if direction == "ascending" else column.key
    if direction == "none" and column.kind in {"when", "datetime", "date", "number"}:
        turned = f"-{column.key}"
    mark = {"ascending": "chevron-up", "descending": "chevron-down", "none": "sort"}[direction]
    return format_html(
        '<th scope="col" class="{}" aria-sort="{}"><a class="sort" href="{}">{}{}</a></th>',
        css,
        direction,
        ui.query(context, sort=turned, cursor=None),
        column.label,
        ui.icon(mark),
    )


@register.simple_tag
def list_rows(shown: Shown) -> SafeString:
    """The rows, the box that chooses each of them first where there is something to do to it."""
    choose = escape(gettext("Choose %(row)s")) if shown.verbs else ""
    return mark_safe("".join(_row(shown, row, choose) for row in shown.rows))  # noqa: S308 - escaped parts


def _row(shown: Shown, row: Any, choose: str) -> str:
    first, *rest = shown.columns
    box = ""
    if choose:
        label = choose % {"row": _text(shown.listing.label(row))}
        box = f'<td><input type="checkbox" name="row" value="{row.pk}" aria-label="{label}"></td>'
    return f"<tr>{box}{_title(first, row)}{''.join([_cell(column, row) for column in rest])}</tr>\n"


def _text(value: Any) -> str:
    """Return a value as HTML. Django's own function asks each time whether it was given a lazy text."""
    return value if isinstance(value, SafeString) else escape(str(value))


def _title(column: Column, row: Any) -> str:
    note = column.note(row) if column.note is not None else ""
    below = f'<span class="row-note">{_text(note)}</span>' if note else ""
    address = _text(column.link(row)) if column.link is not None else "#"
    return f'<th scope="row"><a class="row-title" href="{address}">{_text(column.value(row))}</a>{below}</th>'


def _cell(column: Column, row: Any) -> str:
    drawn = _drawn(column, row)
    css = "num" if column.kind in NUMBERS else "wordy" if column.kind == "text" and len(drawn) > WORDY else ""
    return f'<td class="{css}">{drawn}</td>' if css else f"<td>{drawn}</td>"


def _drawn(column: Column, row: Any) -> str:
    """Return a cell's content as HTML."""
    value = column.value(row)
    kind = column.kind
    if value is None or value == "":
        return NOTHING
    if kind == "status":
        return ui.status(column.mark(row) if column.mark is not None else value)
    if kind == "statuses":
        return " ".join(ui.status(state, label=label) for state, label in value) or NOTHING
    if kind == "person":
        return ui.person(value)
    if kind in {"when", "datetime", "date"}:
        return ui.when(value, style="relative" if kind == "when" else kind)
    if kind == "number":
        return _text(ui.compact(value))
    if kind == "percent":
        return _text(ui.percent(value))
    if kind == "digest":
        return ui.short_digest(value)
    if kind == "chips":
        chips = " ".join(f'<span class="chip">{_text(one)}</span>' for one in value)
        return f'<span class="chips">{chips}</span>' if chips else NOTHING
    text = str(value)
    text = _text(Truncator(text).chars(LONG) if len(text) > LONG else value)
    if kind == "mono":
        text = f'<span class="mono">{text}</span>'
    if column.link is not None and (address := column.link(row)):
        text = f'<a class="link-target" href="{_text(address)}">{text}</a>'
    if column.mark is not None and (state := column.mark(row)):
        text = f"{text} {ui.status(state)}"
    return text
