"""Charts drawn on the server as SVG, so that they print, need no script, and carry their data as a table.

Every tag is a pure function of its arguments. Text is escaped, colours come from the design tokens through classes,
and figures that are missing or not finite are left out of the drawing and shown as a dash in the table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from portal.templatetags import drawing
from portal.templatetags.drawing import SERIES
from portal.templatetags.ui import percent

register = template.Library()

HEAT = 0.72  # strongest shade of a cell, at which the text on it still has AA contrast in every theme
WIDTH = 640
BARS = 470


@register.simple_tag
def line_chart(series: Any, title: str = "", x_label: str = "", y_label: str = "", height: int = 260) -> SafeString:
    """Curves over a common axis. `series` is [{"name", "points": [(x, y), ...]}, ...]; a missing y breaks the line."""
    title = title or gettext("Curves")
    curves = []
    for number, entry in enumerate(series or []):
        points = [
            (drawing.finite(drawing.part(p, "x", 0)), drawing.finite(drawing.part(p, "y", 1)))
            for p in drawing.part(entry, "points", 1) or []
        ]
        curves.append((str(drawing.part(entry, "name", 0) or number + 1), [p for p in points if p[0] is not None]))
    known = [(x, y) for _, points in curves for x, y in points if y is not None]
    if not known:
        return drawing.nothing(title)
    x_ticks = drawing.ticks(min(x for x, _ in known), max(x for x, _ in known), 6)
    y_ticks = drawing.ticks(min(y for _, y in known), max(y for _, y in known), 4)
    span = (min(x for x, _ in known), max(x for x, _ in known))
    frame = drawing.Frame(52, 26, WIDTH - 70, height - 74, span, (y_ticks[0], y_ticks[-1]))
    parts: list[Any] = drawing.grid(frame, x_ticks if span[0] != span[1] else [span[0]], y_ticks, x_label, y_label)
    for number, (name, points) in enumerate(curves):
        css = f"curve series-{number % SERIES + 1}" + (" dashed" if number >= SERIES else "")
        run: list[str] = []
        for x, y in [*points, (0.0, None)]:
            if y is not None and x is not None:
                run.append(f"{frame.across(x)},{frame.up(y)}")
                continue
            if len(run) == 1:
                cx, cy = run[0].split(",")
                parts.append(
                    drawing.element(
                        "circle",
                        {"cx": cx, "cy": cy, "r": 3, "class": f"point series-{number % SERIES + 1}"},
                        drawing.element("title", {}, name),
                    )
                )
            elif run:
                parts.append(
                    drawing.element(
                        "polyline", {"points": " ".join(run), "class": css}, drawing.element("title", {}, name)
                    )
                )
            run = []
    places = sorted({x for _, points in curves for x, _ in points if x is not None})
    lookup = [dict(points) for _, points in curves]
    rows = [[drawing.short(x), *(drawing.short(values.get(x)) for values in lookup)] for x in drawing.thin(places, 200)]
    last = ", ".join(
        f"{name}: {drawing.short(next((y for _, y in reversed(points) if y is not None), None))}"
        for name, points in curves
    )
    return drawing.figure(
        title,
        gettext("%(count)s curves. Last values: %(last)s.") % {"count": len(curves), "last": last},
        parts,
        (WIDTH, height),
        [x_label or "x", *(name for name, _ in curves)],
        rows,
        legend=drawing.legend([name for name, _ in curves]),
        fit="fluid",
    )


@register.simple_tag
def confusion_matrix(matrix: Any, labels: Any, title: str = "") -> SafeString:
    """Counts of true class (rows) against predicted class (columns), shaded by the share of the row.

    `matrix[i][j]` is how many examples of class `labels[i]` were given `labels[j]`.
    """
    title = title or gettext("Confusion matrix")
    names = [str(label) for label in labels or []]
    counts = [[drawing.finite(cell) or 0 for cell in row] for row in matrix or []]
    size = len(names)
    if not size or len(counts) != size or any(len(row) != size for row in counts):
        return drawing.nothing(title)
    cell = max(18, min(52, 560 // size))
    longest = max(len(name) for name in names)
    label_width = min(180, 12 + 6.6 * min(longest, 24))
    top, left = min(140, 30 + 4.2 * min(longest, 24)), label_width + 22
    parts: list[Any] = [
        drawing.text(left + cell * size / 2, 14, gettext("Predicted"), "axis", "middle"),
        drawing.text(
            12,
            top + cell * size / 2,
            gettext("True"),
            "axis",
            "middle",
            transform=f"rotate(-90 12 {top + cell * size / 2:g})",
        ),
    ]
    for i, name in enumerate(names):
        y, x = top + i * cell, left + i * cell + cell / 2
        parts.append(drawing.text(left - 8, y + cell / 2 + 4, name, "tick", "end", 24))
        turn = f"rotate(-42 {x:g} {top - 8:g})"
        parts.append(drawing.text(x, top - 8, name, "tick", "start", 24, transform=turn))
        total = sum(counts[i]) or 1
        for j, count in enumerate(counts[i]):
            share = count / total
            cx = left + j * cell
            note = gettext("True %(true)s, predicted %(predicted)s: %(count)s (%(share)s)") % {
                "true": name, "predicted": names[j], "count": drawing.short(count), "share": percent(share),
            }  # fmt: skip
            parts.append(
                drawing.element(
                    "rect", {"x": cx + 1, "y": y + 1, "width": cell - 2, "height": cell - 2, "rx": 3, "class": "cell"}
                )
            )
            if count:
                heat = {
                    "x": cx + 1,
                    "y": y + 1,
                    "width": cell - 2,
                    "height": cell - 2,
                    "rx": 3,
                    "class": "heat",
                    "fill_opacity": round(max(0.06, share * HEAT), 3),
                }
                parts.append(drawing.element("rect", heat, drawing.element("title", {}, note)))
            if cell >= 24 and count:
                parts.append(
                    drawing.text(
                        cx + cell / 2,
                        y + cell / 2 + 4,
                        drawing.short(count),
                        "value" if i != j else "value diagonal",
                        "middle",
                        pointer_events="none",
                    )
                )
    right = sum(counts[i][i] for i in range(size))
    total = sum(map(sum, counts))
    return drawing.figure(
        title,
        gettext("%(right)s of %(total)s examples on the diagonal, %(classes)s classes.")
        % {"right": drawing.short(right), "total": drawing.short(total), "classes": size},
        parts,
        (left + cell * size + 0.68 * 6.6 * min(longest, 24) + 10, top + cell * size + 8),
        [gettext("True, then predicted"), *names],
        [[name, *(drawing.short(count) for count in row)] for name, row in zip(names, counts, strict=True)],
        fit="natural",
    )


@register.simple_tag
def reliability_diagram(bins: Any, title: str = "", ece: Any = None) -> SafeString:
    """How often predictions of a given confidence were right.

    `bins` is [{"confidence", "accuracy", "count"}, ...], the first two as shares of one.
    `ece` is the expected calibration error (Guo et al. 2017, "On Calibration of Modern Neural Networks"), when known.
    """
    title = title or gettext("Calibration")
    rows = []
    for entry in bins or []:
        confidence = drawing.finite(drawing.part(entry, "confidence", 0))
        accuracy = drawing.finite(drawing.part(entry, "accuracy", 1))
        count = drawing.finite(drawing.part(entry, "count", 2)) or 0
        if confidence is not None and accuracy is not None and count > 0:
            rows.append((confidence, accuracy, count))
    if not rows:
        return drawing.nothing(title)
    frame = drawing.Frame(52, 26, 330, 270, (0, 1), (0, 1))
    steps = [0, 0.2, 0.4, 0.6, 0.8, 1]
    parts: list[Any] = drawing.grid(frame, steps, steps, gettext("Confidence"), gettext("Share that is right"))
    parts.append(drawing.line(frame.across(0), frame.up(0), frame.across(1), frame.up(1), "diagonal-line"))
    largest = max(count for _, _, count in rows)
    for confidence, accuracy, count in rows:
        x = frame.across(confidence)
        parts.append(drawing.line(x, frame.up(confidence), x, frame.up(accuracy), "gap"))
        note = gettext("Confidence %(confidence)s: %(accuracy)s right, %(count)s examples") % {
            "confidence": percent(confidence), "accuracy": percent(accuracy), "count": drawing.short(count),
        }  # fmt: skip
        radius = round(3 + 6 * math.sqrt(count / largest), 1)
        parts.append(
            drawing.element(
                "circle",
                {"cx": x, "cy": frame.up(accuracy), "r": radius, "class": "point series-1"},
                drawing.element("title", {}, note),
            )
        )
    error = drawing.finite(ece)
    note = gettext("On the diagonal, confidence says how often the model is right; below it the model is too sure.")
    if error is not None:
        note += " " + gettext("Expected calibration error: %(ece)s.") % {"ece": drawing.short(error)}
    return drawing.figure(
        title,
        note,
        parts,
        (400, 346),
        [gettext("Confidence"), gettext("Share that is right"), gettext("Examples")],
        [[percent(c), percent(a), drawing.short(n)] for c, a, n in rows],
        fit="natural",
        legend=format_html('<p class="chart-note">{}</p>', note),
    )


@register.simple_tag
def interval_chart(rows: Any, title: str = "", x_label: str = "", reference: Any = None) -> SafeString:
    """One dot with its confidence interval per candidate, to compare them at a glance.

    `rows` is [{"label", "value", "low", "high", "note", "highlight"}, ...]; `reference` draws a vertical line, such
    as a goal.
    """
    title = title or gettext("Comparison")
    entries = []
    for row in rows or []:
        value = drawing.finite(drawing.part(row, "value", 1))
        low, high = drawing.finite(drawing.part(row, "low", 2)), drawing.finite(drawing.part(row, "high", 3))
        entries.append(
            (
                str(drawing.part(row, "label", 0, "")),
                value,
                value if low is None else low,
                value if high is None else high,
                drawing.part(row, "note", 4) or "",
                bool(drawing.part(row, "highlight", 5)),
                low is not None and high is not None,
            )
        )
    figures = [number for entry in entries for number in entry[1:4] if number is not None]
    goal = drawing.finite(reference)
    if not figures:
        return drawing.nothing(title)
    scale = drawing.ticks(
        min([*figures, *([goal] if goal is not None else [])]),
        max([*figures, *([goal] if goal is not None else [])]),
        5,
    )
    label_width = min(210, 16 + 6.8 * max(len(entry[0]) for entry in entries))
    line = 34
    height = line * len(entries)
    frame = drawing.Frame(label_width, 12, WIDTH - label_width - 130, height, (scale[0], scale[-1]), (0, 1))
    parts: list[Any] = []
    for value in scale:
        x = frame.across(value)
        parts.append(drawing.line(x, frame.top, x, frame.top + height, "gridline"))
        parts.append(drawing.text(x, frame.top + height + 17, drawing.short(value), "tick", "middle"))
    if goal is not None:
        x = frame.across(goal)
        parts.append(drawing.line(x, frame.top - 6, x, frame.top + height, "reference"))
    for index, (label, value, low, high, note, highlight, bounded) in enumerate(entries):
        y = frame.top + line * index + line / 2
        css = "series-1" if highlight else "series-5"
        parts.append(drawing.text(label_width - 14, y + 4, label, "name strong" if highlight else "name", "end", 28))
        if value is None or low is None or high is None:
            parts.append(drawing.text(WIDTH - 116, y + 4, "–", "value"))
            continue
        if bounded:
            parts.append(drawing.line(frame.across(low), y, frame.across(high), y, f"whisker {css}"))
            parts += [
                drawing.line(frame.across(end), y - 5, frame.across(end), y + 5, f"whisker {css}")
                for end in (low, high)
            ]
        parts.append(
            drawing.element(
                "circle",
                {"cx": frame.across(value), "cy": y, "r": 5, "class": f"point {css}"},
                drawing.element("title", {}, f"{label}: {drawing.short(value)} {note}"),
            )
        )
        parts.append(drawing.text(WIDTH - 116, y + 4, drawing.short(value), "value strong" if highlight else "value"))
        if note:
            parts.append(drawing.text(WIDTH - 70, y + 4, note, "tick", None, 12))
    if x_label:
        parts.append(drawing.text(frame.left + frame.width / 2, frame.top + height + 35, x_label, "axis", "middle"))
    best = max((entry for entry in entries if entry[1] is not None), key=lambda entry: entry[1] or 0)
    return drawing.figure(
        title,
        gettext("%(count)s candidates; the highest is %(label)s with %(value)s.")
        % {"count": len(entries), "label": best[0], "value": drawing.short(best[1])},
        parts,
        (WIDTH, frame.top + height + (44 if x_label else 26)),
        [gettext("Candidate"), gettext("Value"), gettext("Low"), gettext("High"), gettext("Note")],
        [
            [label, drawing.short(value), *(drawing.short(end) if bounded else "–" for end in (low, high)), note or "–"]
            for label, value, low, high, note, _, bounded in entries
        ],
    )


@register.simple_tag
def bar_chart(rows: Any, title: str = "", unit: str = "", total: bool = True) -> SafeString:
    """Horizontal bars, such as the balance of classes. `rows` is [(label, value), ...] or [{"label", "value"}, ...].

    With `total` each bar is followed by its share of the sum.
    """
    title = title or gettext("Distribution")
    entries = [
        (str(drawing.part(row, "label", 0, "")), max(0.0, drawing.finite(drawing.part(row, "value", 1)) or 0))
        for row in rows or []
    ]
    if not entries:
        return drawing.nothing(title)
    largest, everything = max(value for _, value in entries) or 1, sum(value for _, value in entries)
    label_width = min(200, 16 + 6.6 * max(len(label) for label, _ in entries))
    space, line = BARS - label_width - 104, 26
    parts: list[Any] = []
    table = []
    for index, (label, value) in enumerate(entries):
        y = 4 + line * index
        share = percent(value / everything) if total and everything else ""
        parts.append(drawing.text(label_width - 10, y + 15, label, "name", "end", 27))
        width = round(max(1 if value else 0, space * value / largest), 2)
        bar = {"x": label_width, "y": y + 3, "width": width, "height": line - 9, "rx": 3, "class": "bar"}
        note = f"{label}: {drawing.short(value)} {unit} {share}".strip()
        parts.append(drawing.element("rect", bar, drawing.element("title", {}, note)))
        parts.append(drawing.text(label_width + space * value / largest + 8, y + 15, drawing.short(value), "value"))
        if share:
            parts.append(drawing.text(BARS - 4, y + 15, share, "tick", "end"))
        table.append([label, drawing.short(value), *([share or "–"] if total else [])])
    top = max(entries, key=lambda entry: entry[1])
    return drawing.figure(
        title,
        gettext("%(count)s bars; the longest is %(label)s with %(value)s.")
        % {"count": len(entries), "label": top[0], "value": drawing.short(top[1])},
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
    boxes = {str(drawing.part(node, "id", 0)): node for node in nodes or []}
    if not boxes:
        return drawing.nothing(title)
    arrows = [(str(drawing.part(e, "source", 0)), str(drawing.part(e, "target", 1))) for e in edges or []]
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
        parts.append(
            drawing.element(
                "path",
                {
                    "class": "arrow",
                    "d": f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend - 4:g} {y2:g} {x2 - 4:g} {y2:g}",
                },
            )
        )
        parts.append(drawing.element("path", {"class": "arrow-head", "d": f"M{x2:g} {y2:g}l-8 -4.5v9z"}))
    linked = False
    for name, node in boxes.items():
        x, y = place[name]
        label, kind, note, url = (
            drawing.part(node, key, at) for at, key in enumerate(("label", "kind", "note", "url"), 1)
        )
        content: list[Any] = [
            drawing.element("title", {}, f"{kind or ''} {label} {note or ''}".strip()),
            drawing.element(
                "rect",
                {
                    "x": x,
                    "y": y,
                    "width": width,
                    "height": height,
                    "rx": 8,
                    "class": "box current" if drawing.part(node, "current", 5) else "box",
                },
            ),
            drawing.text(x + 12, y + 19, drawing.cut(kind or "", 24), "tick"),
            drawing.text(x + 12, y + 36, drawing.cut(label, 21), "name strong"),
            drawing.text(x + 12, y + 52, drawing.cut(note or "", 25), "tick"),
        ]
        linked = linked or bool(url)
        parts.append(drawing.element("a", {"href": url}, *content) if url else drawing.element("g", {}, *content))
    incoming = {name: [str(drawing.part(boxes[a], "label", 1)) for a, b in arrows if b == name] for name in boxes}
    rows = []
    for name, node in boxes.items():
        label, url = drawing.part(node, "label", 1), drawing.part(node, "url", 4)
        rows.append(
            [
                format_html('<a href="{}">{}</a>', url, label) if url else label,
                drawing.part(node, "kind", 2) or "–",
                drawing.part(node, "note", 3) or "–",
                ", ".join(incoming[name]) or "–",
            ]
        )
    return drawing.figure(
        title,
        gettext("%(nodes)s things and %(edges)s steps between them, from left to right.")
        % {"nodes": len(boxes), "edges": len(arrows)},
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
    numbers = [number for number in (drawing.finite(value) for value in values or []) if number is not None]
    if not numbers:
        return format_html('<span class="muted">{}</span>', "–")
    words = gettext("%(label)s from %(first)s to %(last)s, lowest %(low)s, highest %(high)s") % {
        "label": label or gettext("Values"), "first": drawing.short(numbers[0]), "last": drawing.short(numbers[-1]),
        "low": drawing.short(min(numbers)), "high": drawing.short(max(numbers)),
    }  # fmt: skip
    frame = drawing.Frame(3, 3, width - 6, height - 6, (0, max(1, len(numbers) - 1)), (min(numbers), max(numbers)))
    points = [f"{frame.across(index)},{frame.up(value)}" for index, value in enumerate(numbers)]
    cx, cy = points[-1].split(",")
    return drawing.element(
        "svg",
        {
            "class": "sparkline",
            "role": "img",
            "aria_label": words,
            "viewBox": f"0 0 {width} {height}",
            "width": width,
            "height": height,
        },
        drawing.element("polyline", {"points": " ".join(points), "class": "curve series-1"}) if len(points) > 1 else "",
        drawing.element("circle", {"cx": cx, "cy": cy, "r": 2.5, "class": "point series-1"}),
    )
