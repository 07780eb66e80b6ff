"""How a list is drawn: its head with links that sort, its rows cell by cell, each by its column's kind.

Written in Python rather than as templates because a page has several hundred cells. Nothing here reads the database.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.template.context import Context
from django.utils.html import conditional_escape, format_html, format_html_join
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
def list_row(shown: Shown, row: Any) -> SafeString:
    """The cells of one row, the box that chooses it first where there is something to do to it."""
    first, *rest = shown.columns
    parts = [_title(first, row), *(_cell(column, row) for column in rest)]
    if shown.verbs:
        label = gettext("Choose %(row)s") % {"row": shown.listing.label(row)}
        parts.insert(
            0, format_html('<td><input type="checkbox" name="row" value="{}" aria-label="{}"></td>', row.pk, label)
        )
    return mark_safe("".join(parts))  # noqa: S308 - escaped parts


def _title(column: Column, row: Any) -> SafeString:
    note = column.note(row) if column.note is not None else ""
    return format_html(
        '<th scope="row"><a class="row-title" href="{}">{}</a>{}</th>',
        column.link(row) if column.link is not None else "#",
        column.value(row),
        format_html('<span class="row-note">{}</span>', note) if note else "",
    )


def _cell(column: Column, row: Any) -> SafeString:
    drawn = conditional_escape(_drawn(column, row))
    css = "num" if column.kind in NUMBERS else "wordy" if column.kind == "text" and len(drawn) > WORDY else ""
    opened = f'<td class="{css}">' if css else "<td>"
    return mark_safe(f"{opened}{drawn}</td>")  # noqa: S308 - escaped


def _drawn(column: Column, row: Any) -> SafeString | str:
    value = column.value(row)
    kind = column.kind
    if value is None or value == "":
        return NOTHING
    if kind == "status":
        return ui.status(column.mark(row) if column.mark is not None else value)
    if kind == "statuses":
        return format_html_join(" ", "{}", ((ui.status(state, label=label),) for state, label in value)) or NOTHING
    if kind == "person":
        return ui.person(value)
    if kind in {"when", "datetime", "date"}:
        return ui.when(value, style="relative" if kind == "when" else kind)
    if kind == "number":
        return ui.compact(value)
    if kind == "percent":
        return ui.percent(value)
    if kind == "digest":
        return ui.short_digest(value)
    if kind == "chips":
        chips = format_html_join(" ", '<span class="chip">{}</span>', ((one,) for one in value))
        return format_html('<span class="chips">{}</span>', chips) if chips else NOTHING
    text = str(value)
    text = conditional_escape(Truncator(text).chars(LONG) if len(text) > LONG else text)
    if kind == "mono":
        text = format_html('<span class="mono">{}</span>', text)
    if column.link is not None and (address := column.link(row)):
        text = format_html('<a class="link-target" href="{}">{}</a>', address, text)
    if column.mark is not None and (state := column.mark(row)):
        text = format_html("{} {}", text, ui.status(state))
    return text
