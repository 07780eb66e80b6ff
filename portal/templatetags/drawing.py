"""What every chart is drawn with: escaped elements, scales, axes, and the figure with its data as a table."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

SERIES = 5  # colours in tokens.css; further series repeat them with another dash


class Frame(NamedTuple):
    """The plotting area in user units, and the data ranges that it shows."""

    left: float
    top: float
    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        """Horizontal position of a data value."""
        return round(self.left + self.width * _share(value, self.x), 2)

    def up(self, value: float) -> float:
        """Vertical position of a data value; larger values lie higher."""
        return round(self.top + self.height * (1 - _share(value, self.y)), 2)


def _share(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return 0.5 if high == low else (value - low) / (high - low)


def element(name: str, attributes: dict[str, Any], *children: Any) -> SafeString:
    """An SVG element with escaped attributes (underscores become hyphens, None is left out) and children."""
    pairs = format_html_join(
        "", ' {}="{}"', ((key.rstrip("_").replace("_", "-"), v) for key, v in attributes.items() if v is not None)
    )
    inner = mark_safe("".join(conditional_escape(child) for child in children))  # noqa: S308  every part is escaped here
    return format_html("<{}{}>{}</{}>", name, pairs, inner, name)


def text(
    x: float, y: float, words: Any, css: str = "", anchor: str | None = None, length: int | None = None, **more: Any
) -> SafeString:
    """Words at a point; cut to `length` characters when given, with the whole of them on hover."""
    attributes = {"x": round(x, 2), "y": round(y, 2), "class": css or None, "text_anchor": anchor, **more}
    if length is None:
        return element("text", attributes, words)
    return element("text", attributes, cut(words, length), element("title", {}, words))


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> SafeString:
    """A straight line; the class gives its colour."""
    return element(
        "line", {"x1": round(x1, 2), "y1": round(y1, 2), "x2": round(x2, 2), "y2": round(y2, 2), "class": css}
    )


def finite(value: Any) -> float | None:
    """The value as a number, or None when it is missing, a truth value, no number or not finite."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def short(value: float | None) -> str:
    """A figure in as few characters as tell it apart: 0.934, 1,234, 22.7M, 2e-05."""
    if value is None:
        return "–"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if value == int(value):
        return f"{int(value):,}"
    if size < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.4g}" if size < 1e4 else f"{value:,.0f}"


def cut(words: Any, length: int) -> str:
    """The words, shortened to `length` characters with an ellipsis."""
    text = str(words)
    return text if len(text) <= length else text[: max(1, length - 1)].rstrip() + "…"


def part(row: Any, name: str, index: int, default: Any = None) -> Any:
    """One field of a row that may be a dict, a sequence or an object."""
    if isinstance(row, dict):
        return row.get(name, default)
    if isinstance(row, Sequence) and not isinstance(row, str):
        return row[index] if index < len(row) else default
    return getattr(row, name, default)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values from at or below `low` to at or above `high`, in steps of 1, 2 or 5 times a power of ten."""
    if high == low:
        high, low = (high + 1, low) if low == 0 else (high + abs(high) / 2, low - abs(low) / 2)
    rough = (high - low) / max(1, wanted)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def figure(
    title: str,
    description: str,
    marks: Iterable[Any],
    size: tuple[float, float],
    head: Sequence[Any],
    rows: Sequence[Sequence[Any]],
    *,
    role: str = "img",
    legend: Any = "",
    fit: str = "shrink",
) -> SafeString:
    """The drawing with its name, and its data as a table behind a disclosure."""
    body = mark_safe("".join(conditional_escape(mark) for mark in marks))  # noqa: S308  every part is escaped here
    key = hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:10]
    width, height = round(size[0]), round(size[1])
    svg = element(
        "svg",
        {
            "class": f"plot plot-{fit}",
            "role": role,
            "viewBox": f"0 0 {width} {height}",
            "width": width,
            "height": height,
            "aria_labelledby": f"t{key}",
            "aria_describedby": f"d{key}",
        },
        element("title", {"id": f"t{key}"}, title),
        element("desc", {"id": f"d{key}"}, description),
        body,
    )
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption>{}'
        '<div class="chart-scroll" tabindex="0" role="group" aria-label="{}">{}</div>{}</figure>',
        title,
        legend,
        title,
        svg,
        _table(title, head, rows),
    )


def _table(title: str, head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> SafeString:
    header = format_html_join("", '<th scope="col">{}</th>', ((cell,) for cell in head))
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th>{}</tr>',
        ((row[0], format_html_join("", '<td class="num">{}</td>', ((cell,) for cell in row[1:]))) for row in rows),
    )
    return format_html(
        '<details class="chart-data"><summary>{}</summary>'
        '<div class="table-wrap" tabindex="0" role="region" aria-label="{}">'
        '<table class="table table-compact"><caption class="visually-hidden">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>",
        gettext("Data as a table"),
        gettext("Data of %(title)s") % {"title": title},
        title,
        header,
        body,
    )


def nothing(title: str) -> SafeString:
    """What stands in the place of a chart without data."""
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption><p class="muted">{}</p></figure>',
        title,
        gettext("Nothing to draw yet."),
    )


def grid(
    frame: Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str
) -> list[SafeString]:
    """Horizontal lines, figures on both axes, and the names of the axes."""
    parts = []
    for value in y_ticks:
        y = frame.up(value)
        parts.append(line(frame.left, y, frame.left + frame.width, y, "gridline"))
        parts.append(text(frame.left - 8, y + 4, short(value), "tick", "end"))
    for value in x_ticks:
        x = frame.across(value)
        if frame.left - 1 <= x <= frame.left + frame.width + 1:
            parts.append(text(x, frame.top + frame.height + 17, short(value), "tick", "middle"))
    if x_label:
        parts.append(text(frame.left + frame.width / 2, frame.top + frame.height + 36, x_label, "axis", "middle"))
    if y_label:
        parts.append(text(frame.left - 8, frame.top - 10, y_label, "axis", "start"))
    return parts


def thin(values: list[float], most: int) -> list[float]:
    """At most `most` of the values, evenly, with the first and the last: a table of 50,000 steps helps nobody."""
    if len(values) <= most:
        return values
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def legend(names: Sequence[str]) -> SafeString:
    """Which colour is which series; nothing for a single one."""
    if len(names) < 2:
        return SafeString("")
    items = format_html_join(
        "",
        '<li><span class="swatch series-{}"></span>{}</li>',
        ((index % SERIES + 1, name) for index, name in enumerate(names)),
    )
    return format_html('<ul class="legend">{}</ul>', items)
