"""The chart of days: one column for each, so that a reader sees when something was used and how much of it."""

from __future__ import annotations

import math
from typing import Any

from django import template
from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from portal.templatetags import drawing
from portal.templatetags.charts import WIDTH

register = template.Library()

HEIGHT = 220
LABELS = 7
"""Days that are named under the columns, at most; the table has all of them."""


@register.simple_tag
def column_chart(rows: Any, title: str = "", unit: str = "") -> SafeString:
    """Columns side by side. `rows` is [(date, value), ...], oldest first; a day without a value is drawn as nothing."""
    title = title or gettext("By day")
    days = [(day, max(0.0, drawing.finite(value) or 0.0)) for day, value in rows or []]
    if not any(value for _day, value in days):
        return drawing.nothing(title)
    scale = drawing.ticks(0, max(value for _day, value in days), 4)
    frame = drawing.Frame(56, 28, WIDTH - 70, HEIGHT - 64, (0, len(days)), (scale[0], scale[-1]))
    parts: list[Any] = drawing.grid(frame, [], scale, "", unit)
    each = frame.width / len(days)
    every = math.ceil(len(days) / LABELS)
    for number, (day, value) in enumerate(days):
        x, top = frame.across(number), frame.up(value)
        name = date_format(day, "j M")
        if value:
            bar = {
                "x": round(x + each * 0.12, 2),
                "y": top,
                "width": round(each * 0.76, 2),
                "height": round(max(1, frame.top + frame.height - top), 2),
                "class": "bar",
            }
            note = drawing.element("title", {}, f"{name}: {drawing.short(value)} {unit}".strip())
            parts.append(drawing.element("rect", bar, note))
        if number % every == 0:
            parts.append(drawing.text(x + each / 2, frame.top + frame.height + 17, name, "tick", "middle"))
    highest = max(days, key=lambda one: one[1])
    return drawing.figure(
        title,
        gettext("%(count)s days; the most on %(day)s with %(value)s.")
        % {"count": len(days), "day": date_format(highest[0], "j M"), "value": drawing.short(highest[1])},
        parts,
        (WIDTH, HEIGHT),
        [gettext("Day"), unit or gettext("Count")],
        [[date_format(day, "Y-m-d"), drawing.short(value)] for day, value in days],
        fit="fluid",
    )
