"""The chart of days: every day has its place, its figures are in the table, and nothing to draw is said."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

from portal.templatetags.columns import column_chart

FIRST = datetime.date(2026, 2, 27)


def days(*values):
    return [(FIRST + datetime.timedelta(days=number), value) for number, value in enumerate(values)]


def test_a_column_stands_for_each_day_that_has_something():
    drawn = column_chart(days(3, 0, Decimal("1.5"), None), title="Calls by day", unit="calls")
    assert drawn.count('class="bar"') == 2
    assert "27 Feb: 3 calls" in drawn
    assert "1 Mar: 1.5 calls" in drawn
    assert "4 days; the most on 27 Feb with 3." in drawn
    assert re.findall(r'<th scope="row">([^<]+)</th><td class="num">([^<]+)</td>', drawn) == [
        ("2026-02-27", "3"), ("2026-02-28", "0"), ("2026-03-01", "1.5"), ("2026-03-02", "0"),
    ]  # fmt: skip


def test_many_days_name_only_some_of_them():
    drawn = column_chart(days(*range(90)))
    assert drawn.count('text-anchor="middle"') <= 8
    assert drawn.count('class="bar"') == 89
    # Ninety columns stay inside of the drawing.
    assert max(float(x) for x in re.findall(r'<rect x="([\d.]+)"', drawn)) < 640


def test_nothing_to_draw_is_said():
    assert "Nothing to draw yet" in column_chart(days(0, 0))
    assert "Nothing to draw yet" in column_chart([])
