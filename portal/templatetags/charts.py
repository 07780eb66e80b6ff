"""Charts drawn on the server as SVG, so that they print, need no script, and carry their data as a table.

Every tag is a pure function of its arguments. Text is escaped, colours come from the design tokens through classes,
and figures that are missing or not finite are left out of the drawing and shown as a dash in the table.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django import template
from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from portal.templatetags.ui import percent

register = template.Library()

SERIES = 5  # colours in tokens.css; further series repeat them with another dash
HEAT = 0.72  # strongest shade of a cell, at which the text on it still has AA contrast in every theme
WIDTH = 640
BARS = 520


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


def _element(name: str, attributes: dict[str, Any], *children: Any) -> SafeString:
    pairs = format_html_join("", ' {}="{}"', ((key.rstrip("_").replace("_", "-"), v) for key, v in attributes.items() if v is not None))
    inner = mark_safe("".join(conditional_escape(child) for child in children))  # noqa: S308  every part is escaped here
    return format_html("<{}{}>{}</{}>", name, pairs, inner, name)


def _text(x: float, y: float, words: Any, css: str = "", anchor: str | None = None, **more: Any) -> SafeString:
    return _element("text", {"x": round(x, 2), "y": round(y, 2), "class": css or None, "text_anchor": anchor, **more}, words)


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> SafeString:
    return _element("line", {"x1": round(x1, 2), "y1": round(y1, 2), "x2": round(x2, 2), "y2": round(y2, 2), "class": css})


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _short(value: float | None) -> str:
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


def _cut(words: Any, length: int) -> str:
    text = str(words)
    return text if len(text) <= length else text[: max(1, length - 1)].rstrip() + "…"


def _part(row: Any, name: str, index: int, default: Any = None) -> Any:
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


def _figure(
    title: str,
    description: str,
    drawing: Iterable[Any],
    size: tuple[float, float],
    head: Sequence[Any],
    rows: Sequence[Sequence[Any]],
    *,
    role: str = "img",
    legend: Any = "",
    fit: str = "shrink",
) -> SafeString:
    """The drawing with its name, and its data as a table behind a disclosure."""
    body = mark_safe("".join(conditional_escape(part) for part in drawing))  # noqa: S308  every part is escaped here
    mark = hashlib.sha256(f"{title}{description}{body}".encode()).hexdigest()[:10]
    width, height = round(size[0]), round(size[1])
    svg = _element(
        "svg",
        {
            "class": f"plot plot-{fit}",
            "role": role,
            "viewBox": f"0 0 {width} {height}",
            "width": width,
            "height": height,
            "aria_labelledby": f"t{mark}",
            "aria_describedby": f"d{mark}",
        },
        _element("title", {"id": f"t{mark}"}, title),
        _element("desc", {"id": f"d{mark}"}, description),
        body,
    )
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption>{}<div class="chart-scroll" tabindex="0" role="group" aria-label="{}">{}</div>{}</figure>',
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
        '<details class="chart-data"><summary>{}</summary><div class="table-wrap" tabindex="0" role="region" aria-label="{}">'
        '<table class="table table-compact"><caption class="visually-hidden">{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div></details>",
        gettext("Data as a table"),
        gettext("Data of %(title)s") % {"title": title},
        title,
        header,
        body,
    )


def _nothing(title: str) -> SafeString:
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption><p class="muted">{}</p></figure>', title, gettext("Nothing to draw yet.")
    )


def _grid(frame: Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str) -> list[SafeString]:
    parts = []
    for value in y_ticks:
        y = frame.up(value)
        parts.append(_line(frame.left, y, frame.left + frame.width, y, "gridline"))
        parts.append(_text(frame.left - 8, y + 4, _short(value), "tick", "end"))
    for value in x_ticks:
        x = frame.across(value)
        if frame.left - 1 <= x <= frame.left + frame.width + 1:
            parts.append(_text(x, frame.top + frame.height + 17, _short(value), "tick", "middle"))
    if x_label:
        parts.append(_text(frame.left + frame.width / 2, frame.top + frame.height + 36, x_label, "axis", "middle"))
    if y_label:
        parts.append(_text(frame.left - 8, frame.top - 10, y_label, "axis", "start"))
    return parts


@register.simple_tag
def line_chart(series: Any, title: str = "", x_label: str = "", y_label: str = "", height: int = 260) -> SafeString:
    """Curves over a common axis. `series` is [{"name", "points": [(x, y), ...]}, ...]; a missing y breaks the line."""
    title = title or gettext("Curves")
    curves = []
    for number, entry in enumerate(series or []):
        points = [(_number(_part(p, "x", 0)), _number(_part(p, "y", 1))) for p in _part(entry, "points", 1) or []]
        curves.append((str(_part(entry, "name", 0) or number + 1), [p for p in points if p[0] is not None]))
    known = [(x, y) for _, points in curves for x, y in points if y is not None]
    if not known:
        return _nothing(title)
    x_ticks = ticks(min(x for x, _ in known), max(x for x, _ in known), 6)
    y_ticks = ticks(min(y for _, y in known), max(y for _, y in known), 4)
    span = (min(x for x, _ in known), max(x for x, _ in known))
    frame = Frame(52, 26, WIDTH - 70, height - 74, span, (y_ticks[0], y_ticks[-1]))
    parts: list[Any] = _grid(frame, x_ticks if span[0] != span[1] else [span[0]], y_ticks, x_label, y_label)
    for number, (name, points) in enumerate(curves):
        css = f"curve series-{number % SERIES + 1}" + (" dashed" if number >= SERIES else "")
        run: list[str] = []
        for x, y in [*points, (0.0, None)]:
            if y is not None and x is not None:
                run.append(f"{frame.across(x)},{frame.up(y)}")
                continue
            if len(run) == 1:
                cx, cy = run[0].split(",")
                parts.append(_element("circle", {"cx": cx, "cy": cy, "r": 3, "class": f"point series-{number % SERIES + 1}"}, _element("title", {}, name)))
            elif run:
                parts.append(_element("polyline", {"points": " ".join(run), "class": css}, _element("title", {}, name)))
            run = []
    places = sorted({x for _, points in curves for x, _ in points if x is not None})
    lookup = [dict(points) for _, points in curves]
    rows = [[_short(x), *(_short(values.get(x)) for values in lookup)] for x in _thin(places, 200)]
    last = ", ".join(f"{name}: {_short(next((y for _, y in reversed(points) if y is not None), None))}" for name, points in curves)
    return _figure(
        title,
        gettext("%(count)s curves. Last values: %(last)s.") % {"count": len(curves), "last": last},
        parts,
        (WIDTH, height),
        [x_label or "x", *(name for name, _ in curves)],
        rows,
        legend=_legend([name for name, _ in curves]),
        fit="fluid",
    )


def _thin(values: list[float], most: int) -> list[float]:
    """At most `most` of the values, evenly, with the first and the last: a table of 50,000 steps helps nobody."""
    if len(values) <= most:
        return values
    return [values[round(index * (len(values) - 1) / (most - 1))] for index in range(most)]


def _legend(names: Sequence[str]) -> SafeString:
    if len(names) < 2:
        return mark_safe("")
    items = format_html_join("", '<li><span class="swatch series-{}"></span>{}</li>', ((index % SERIES + 1, name) for index, name in enumerate(names)))
    return format_html('<ul class="legend">{}</ul>', items)


@register.simple_tag
def confusion_matrix(matrix: Any, labels: Any, title: str = "") -> SafeString:
    """Counts of true class (rows) against predicted class (columns), shaded by the share of the row.

    `matrix[i][j]` is how many examples of class `labels[i]` were given `labels[j]`.
    """
    title = title or gettext("Confusion matrix")
    names = [str(label) for label in labels or []]
    counts = [[_number(cell) or 0 for cell in row] for row in matrix or []]
    size = len(names)
    if not size or len(counts) != size or any(len(row) != size for row in counts):
        return _nothing(title)
    cell = max(18, min(52, 560 // size))
    longest = max(len(name) for name in names)
    label_width = min(180, 12 + 6.6 * min(longest, 24))
    top, left = min(150, 34 + 4.8 * min(longest, 24)), label_width + 22
    parts: list[Any] = [
        _text(left + cell * size / 2, 14, gettext("Predicted"), "axis", "middle"),
        _text(12, top + cell * size / 2, gettext("True"), "axis", "middle", transform=f"rotate(-90 12 {top + cell * size / 2:g})"),
    ]
    for i, name in enumerate(names):
        y, x = top + i * cell, left + i * cell + cell / 2
        full = _element("title", {}, name)
        parts.append(_text(left - 8, y + cell / 2 + 4, mark_safe(conditional_escape(_cut(name, 24)) + full), "tick", "end"))  # noqa: S308  escaped
        parts.append(_text(x, top - 8, mark_safe(conditional_escape(_cut(name, 24)) + full), "tick", "start", transform=f"rotate(-42 {x:g} {top - 8:g})"))  # noqa: S308  escaped
        total = sum(counts[i]) or 1
        for j, count in enumerate(counts[i]):
            share = count / total
            cx = left + j * cell
            note = gettext("True %(true)s, predicted %(predicted)s: %(count)s (%(share)s)") % {
                "true": name, "predicted": names[j], "count": _short(count), "share": percent(share),
            }  # fmt: skip
            parts.append(_element("rect", {"x": cx + 1, "y": y + 1, "width": cell - 2, "height": cell - 2, "rx": 3, "class": "cell"}))
            if count:
                heat = {"x": cx + 1, "y": y + 1, "width": cell - 2, "height": cell - 2, "rx": 3, "class": "heat", "fill_opacity": round(max(0.06, share * HEAT), 3)}
                parts.append(_element("rect", heat, _element("title", {}, note)))
            if cell >= 24 and count:
                parts.append(_text(cx + cell / 2, y + cell / 2 + 4, _short(count), "value" if i != j else "value diagonal", "middle", pointer_events="none"))
    right = sum(counts[i][i] for i in range(size))
    total = sum(map(sum, counts))
    return _figure(
        title,
        gettext("%(right)s of %(total)s examples on the diagonal, %(classes)s classes.")
        % {"right": _short(right), "total": _short(total), "classes": size},
        parts,
        (left + cell * size + 0.68 * 6.6 * min(longest, 24) + 10, top + cell * size + 8),
        [gettext("True, then predicted"), *names],
        [[name, *(_short(count) for count in row)] for name, row in zip(names, counts, strict=True)],
        fit="natural",
    )


@register.simple_tag
def reliability_diagram(bins: Any, title: str = "", ece: Any = None) -> SafeString:
    """How often predictions of a given confidence were right. `bins` is [{"confidence", "accuracy", "count"}, ...], shares.

    `ece` is the expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks"), when known.
    """
    title = title or gettext("Calibration")
    rows = []
    for entry in bins or []:
        confidence, accuracy = _number(_part(entry, "confidence", 0)), _number(_part(entry, "accuracy", 1))
        count = _number(_part(entry, "count", 2)) or 0
        if confidence is not None and accuracy is not None and count > 0:
            rows.append((confidence, accuracy, count))
    if not rows:
        return _nothing(title)
    frame = Frame(52, 26, 330, 270, (0, 1), (0, 1))
    steps = [0, 0.2, 0.4, 0.6, 0.8, 1]
    parts: list[Any] = _grid(frame, steps, steps, gettext("Confidence"), gettext("Share that is right"))
    parts.append(_line(frame.across(0), frame.up(0), frame.across(1), frame.up(1), "diagonal-line"))
    largest = max(count for _, _, count in rows)
    for confidence, accuracy, count in rows:
        x = frame.across(confidence)
        parts.append(_line(x, frame.up(confidence), x, frame.up(accuracy), "gap"))
        note = gettext("Confidence %(confidence)s: %(accuracy)s right, %(count)s examples") % {
            "confidence": percent(confidence), "accuracy": percent(accuracy), "count": _short(count),
        }  # fmt: skip
        radius = round(3 + 6 * math.sqrt(count / largest), 1)
        parts.append(_element("circle", {"cx": x, "cy": frame.up(accuracy), "r": radius, "class": "point series-1"}, _element("title", {}, note)))
    error = _number(ece)
    note = gettext("On the diagonal, confidence says how often the model is right; below it the model is too sure.")
    if error is not None:
        note += " " + gettext("Expected calibration error: %(ece)s.") % {"ece": _short(error)}
    return _figure(
        title,
        note,
        parts,
        (400, 346),
        [gettext("Confidence"), gettext("Share that is right"), gettext("Examples")],
        [[percent(c), percent(a), _short(n)] for c, a, n in rows],
        fit="natural",
        legend=format_html('<p class="chart-note">{}</p>', note),
    )


@register.simple_tag
def interval_chart(rows: Any, title: str = "", x_label: str = "", reference: Any = None) -> SafeString:
    """One dot with its confidence interval per candidate, to compare them at a glance.

    `rows` is [{"label", "value", "low", "high", "note", "highlight"}, ...]; `reference` draws a vertical line, such as a goal.
    """
    title = title or gettext("Comparison")
    entries = []
    for row in rows or []:
        value = _number(_part(row, "value", 1))
        low, high = _number(_part(row, "low", 2)), _number(_part(row, "high", 3))
        entries.append((str(_part(row, "label", 0, "")), value, low if low is not None else value, high if high is not None else value,
                        _part(row, "note", 4) or "", bool(_part(row, "highlight", 5)), low is not None and high is not None))  # fmt: skip
    figures = [number for entry in entries for number in entry[1:4] if number is not None]
    goal = _number(reference)
    if not figures:
        return _nothing(title)
    scale = ticks(min([*figures, *([goal] if goal is not None else [])]), max([*figures, *([goal] if goal is not None else [])]), 5)
    label_width = min(210, 16 + 6.8 * max(len(entry[0]) for entry in entries))
    line = 34
    height = line * len(entries)
    frame = Frame(label_width, 12, WIDTH - label_width - 130, height, (scale[0], scale[-1]), (0, 1))
    parts: list[Any] = []
    for value in scale:
        x = frame.across(value)
        parts.append(_line(x, frame.top, x, frame.top + height, "gridline"))
        parts.append(_text(x, frame.top + height + 17, _short(value), "tick", "middle"))
    if goal is not None:
        x = frame.across(goal)
        parts.append(_line(x, frame.top - 6, x, frame.top + height, "reference"))
    for index, (label, value, low, high, note, highlight, bounded) in enumerate(entries):
        y = frame.top + line * index + line / 2
        css = "series-1" if highlight else "series-5"
        name = mark_safe(conditional_escape(_cut(label, 28)) + _element("title", {}, label))  # noqa: S308  escaped
        parts.append(_text(label_width - 14, y + 4, name, "name strong" if highlight else "name", "end"))
        if value is None or low is None or high is None:
            parts.append(_text(WIDTH - 116, y + 4, "–", "value"))
            continue
        if bounded:
            parts.append(_line(frame.across(low), y, frame.across(high), y, f"whisker {css}"))
            parts += [_line(frame.across(end), y - 5, frame.across(end), y + 5, f"whisker {css}") for end in (low, high)]
        parts.append(_element("circle", {"cx": frame.across(value), "cy": y, "r": 5, "class": f"point {css}"}, _element("title", {}, f"{label}: {_short(value)} {note}")))
        parts.append(_text(WIDTH - 116, y + 4, _short(value), "value strong" if highlight else "value"))
        if note:
            parts.append(_text(WIDTH - 70, y + 4, _cut(note, 12), "tick"))
    if x_label:
        parts.append(_text(frame.left + frame.width / 2, frame.top + height + 35, x_label, "axis", "middle"))
    best = max((entry for entry in entries if entry[1] is not None), key=lambda entry: entry[1] or 0)
    return _figure(
        title,
        gettext("%(count)s candidates; the highest is %(label)s with %(value)s.")
        % {"count": len(entries), "label": best[0], "value": _short(best[1])},
        parts,
        (WIDTH, frame.top + height + (44 if x_label else 26)),
        [gettext("Candidate"), gettext("Value"), gettext("Low"), gettext("High"), gettext("Note")],
        [[e[0], _short(e[1]), _short(e[2]) if e[6] else "–", _short(e[3]) if e[6] else "–", e[4] or "–"] for e in entries],
    )


@register.simple_tag
def bar_chart(rows: Any, title: str = "", unit: str = "", total: bool = True) -> SafeString:
    """Horizontal bars, such as the balance of classes. `rows` is [(label, value), ...] or [{"label", "value"}, ...].

    With `total` each bar is followed by its share of the sum.
    """
    title = title or gettext("Distribution")
    entries = [(str(_part(row, "label", 0, "")), max(0.0, _number(_part(row, "value", 1)) or 0)) for row in rows or []]
    if not entries:
        return _nothing(title)
    largest, everything = max(value for _, value in entries) or 1, sum(value for _, value in entries)
    label_width = min(200, 16 + 6.6 * max(len(label) for label, _ in entries))
    space, line = BARS - label_width - 110, 26
    parts: list[Any] = []
    table = []
    for index, (label, value) in enumerate(entries):
        y = 4 + line * index
        share = percent(value / everything) if total and everything else ""
        parts.append(_text(label_width - 10, y + 15, mark_safe(conditional_escape(_cut(label, 27)) + _element("title", {}, label)), "name", "end"))  # noqa: S308  escaped
        parts.append(_element("rect", {"x": label_width, "y": y + 3, "width": round(max(1 if value else 0, space * value / largest), 2), "height": line - 9, "rx": 3, "class": "bar"},
                              _element("title", {}, f"{label}: {_short(value)} {unit} {share}".strip())))  # fmt: skip
        parts.append(_text(label_width + space * value / largest + 8, y + 15, _short(value), "value"))
        if share:
            parts.append(_text(BARS - 4, y + 15, share, "tick", "end"))
        table.append([label, _short(value), *([share or "–"] if total else [])])
    top = max(entries, key=lambda entry: entry[1])
    return _figure(
        title,
        gettext("%(count)s bars; the longest is %(label)s with %(value)s.") % {"count": len(entries), "label": top[0], "value": _short(top[1])},
        parts,
        (BARS, 8 + line * len(entries)),
        [gettext("Label"), unit or gettext("Count"), *([gettext("Share")] if total else [])],
        table,
    )


@register.simple_tag
def lineage(nodes: Any, edges: Any, title: str = "") -> SafeString:
    """Boxes and arrows from what something was made of to what was made of it.

    `nodes` is [{"id", "label", "kind", "note", "url", "current"}, ...]; `edges` is [(from id, to id), ...]. Edges that
    name an unknown node are left out, and a circle is drawn without its closing arrow.
    """
    title = title or gettext("Lineage")
    boxes = {str(_part(node, "id", 0)): node for node in nodes or []}
    if not boxes:
        return _nothing(title)
    arrows = [(str(_part(e, "source", 0)), str(_part(e, "target", 1))) for e in edges or []]
    arrows = [(a, b) for a, b in dict.fromkeys(arrows) if a in boxes and b in boxes and a != b]
    depth = _depths(list(boxes), arrows)
    columns: dict[int, list[str]] = {}
    for name in boxes:
        columns.setdefault(depth[name], []).append(name)
    width, height, gap_x, gap_y = 170, 62, 56, 18
    tallest = max(len(column) for column in columns.values())
    full = tallest * (height + gap_y) - gap_y
    place = {}
    for column, names in columns.items():
        start = (full - (len(names) * (height + gap_y) - gap_y)) / 2
        for index, name in enumerate(names):
            place[name] = (2 + column * (width + gap_x), 2 + start + index * (height + gap_y))
    parts: list[Any] = []
    for a, b in arrows:
        if depth[b] <= depth[a]:
            continue
        x1, y1 = place[a][0] + width, place[a][1] + height / 2
        x2, y2 = place[b][0], place[b][1] + height / 2
        bend = (x2 - x1) / 2
        parts.append(_element("path", {"class": "arrow", "d": f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend - 4:g} {y2:g} {x2 - 4:g} {y2:g}"}))
        parts.append(_element("path", {"class": "arrow-head", "d": f"M{x2:g} {y2:g}l-8 -4.5v9z"}))
    linked = False
    for name, node in boxes.items():
        x, y = place[name]
        label, kind, note, url = (_part(node, key, at) for at, key in enumerate(("label", "kind", "note", "url"), 1))
        content: list[Any] = [
            _element("title", {}, f"{kind or ''} {label} {note or ''}".strip()),
            _element("rect", {"x": x, "y": y, "width": width, "height": height, "rx": 8, "class": "box current" if _part(node, "current", 5) else "box"}),
            _text(x + 12, y + 19, _cut(kind or "", 24), "tick"),
            _text(x + 12, y + 36, _cut(label, 21), "name strong"),
            _text(x + 12, y + 52, _cut(note or "", 25), "tick"),
        ]
        linked = linked or bool(url)
        parts.append(_element("a", {"href": url}, *content) if url else _element("g", {}, *content))
    incoming = {name: [str(_part(boxes[a], "label", 1)) for a, b in arrows if b == name] for name in boxes}
    rows = []
    for name, node in boxes.items():
        label, url = _part(node, "label", 1), _part(node, "url", 4)
        rows.append([format_html('<a href="{}">{}</a>', url, label) if url else label, _part(node, "kind", 2) or "–", _part(node, "note", 3) or "–", ", ".join(incoming[name]) or "–"])
    return _figure(
        title,
        gettext("%(nodes)s things and %(edges)s steps between them, from left to right.") % {"nodes": len(boxes), "edges": len(arrows)},
        parts,
        (4 + (max(columns) + 1) * (width + gap_x) - gap_x, full + 4),
        [gettext("Name"), gettext("Kind"), gettext("Note"), gettext("Made of")],
        rows,
        role="group" if linked else "img",
        fit="natural",
    )


def _depths(names: Sequence[str], arrows: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Longest distance of each node from a source; rounds are bounded by the number of nodes, so a circle ends too."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        changed = False
        for a, b in arrows:
            if depth[b] < depth[a] + 1 < len(names):
                depth[b] = depth[a] + 1
                changed = True
        if not changed:
            break
    used = {value: index for index, value in enumerate(sorted(set(depth.values())))}
    return {name: used[value] for name, value in depth.items()}


@register.simple_tag
def sparkline(values: Any, label: str = "", width: int = 96, height: int = 24) -> SafeString:
    """A curve the size of a word. Its name tells first, last, lowest and highest, so it needs no table."""
    numbers = [number for number in (_number(value) for value in values or []) if number is not None]
    if not numbers:
        return format_html('<span class="muted">{}</span>', "–")
    words = gettext("%(label)s from %(first)s to %(last)s, lowest %(low)s, highest %(high)s") % {
        "label": label or gettext("Values"), "first": _short(numbers[0]), "last": _short(numbers[-1]),
        "low": _short(min(numbers)), "high": _short(max(numbers)),
    }  # fmt: skip
    frame = Frame(3, 3, width - 6, height - 6, (0, max(1, len(numbers) - 1)), (min(numbers), max(numbers)))
    points = [f"{frame.across(index)},{frame.up(value)}" for index, value in enumerate(numbers)]
    cx, cy = points[-1].split(",")
    return _element(
        "svg",
        {"class": "sparkline", "role": "img", "aria_label": words, "viewBox": f"0 0 {width} {height}", "width": width, "height": height},
        _element("polyline", {"points": " ".join(points), "class": "curve series-1"}) if len(points) > 1 else "",
        _element("circle", {"cx": cx, "cy": cy, "r": 2.5, "class": "point series-1"}),
    )
