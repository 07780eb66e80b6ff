"""The drawings: well-formed, escaped, named, with their data beside them, for none, one, many and odd figures."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from portal.templatetags import charts, drawing

LONG = 'A category whose name goes on & on <beyond> any "reasonable" label, or so it seems' * 3

MANY = {
    "line_chart": ([{"name": LONG, "points": [(x, math.sin(x)) for x in range(3000)]}, ("b", [(1, 2)])],),
    "confusion_matrix": ([[(i * j) % 7 for j in range(30)] for i in range(30)], [f"{LONG} {i}" for i in range(30)]),
    "reliability_diagram": ([{"confidence": i / 15, "accuracy": i / 20, "count": i} for i in range(16)],),
    "interval_chart": ([(f"{LONG}{i}", i / 9, i / 10, i / 8, "p < 0.05") for i in range(20)],),
    "bar_chart": ([(f"{LONG}{i}", i * 1000) for i in range(40)],),
    "lineage": (
        [{"id": i, "label": LONG, "kind": "Dataset", "url": "/datasets/1/"} for i in range(12)],
        [(i, i + 1) for i in range(11)] + [(11, 0), (3, 3), (1, "nowhere")],
    ),
    "sparkline": ([math.sin(x) for x in range(500)], LONG),
}  # fmt: skip
ONE = {
    "line_chart": ([{"name": "loss", "points": [(1, 0.5)]}],),
    "confusion_matrix": ([[4]], ["only"]),
    "reliability_diagram": ([(0.9, 0.8, 10)],),
    "interval_chart": ([{"label": "majority", "value": 0.5}],),
    "bar_chart": ([("only", 3)],),
    "lineage": ([{"id": "a", "label": "a"}], []),
    "sparkline": ([1],),
}
NONE = {
    "line_chart": ([],),
    "confusion_matrix": ([], []),
    "reliability_diagram": (None,),
    "interval_chart": ([],),
    "bar_chart": (None,),
    "lineage": ([], []),
    "sparkline": ([],),
}
ODD = {
    "line_chart": ([("loss", [(1, float("nan")), (2, None), (3, 1.0), (4, float("inf")), (5, 2.0), (6, 3.0)])],),
    "confusion_matrix": ([[0, 0], [0, 0]], ["a", "b"]),
    "reliability_diagram": ([(None, 0.5, 3), (0.5, float("nan"), 3), (0.5, 0.5, 0), (0.7, 0.6, 2)],),
    "interval_chart": ([{"label": "a", "value": None}, {"label": "b", "value": 0.0, "low": 0.0, "high": 0.0}],),
    "bar_chart": ([("a", 0), ("b", None), ("c", -3)],),
    "lineage": ([{"id": 1, "label": "a"}, {"id": 2, "label": "b"}], [(1, 2), (2, 1)]),
    "sparkline": ([2.0, 2.0, None, 2.0],),
}  # fmt: skip
CASES = [
    pytest.param(name, arguments, id=f"{case}-{name}")
    for case, table in {"many": MANY, "one": ONE, "none": NONE, "odd": ODD}.items()
    for name, arguments in table.items()
]


def parse(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{markup}</div>")  # noqa: S314  our own output


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_every_chart_is_well_formed_and_draws_only_finite_figures(name, arguments):
    tree = parse(getattr(charts, name)(*arguments))
    for element in tree.iter():
        for value in element.attrib.values():
            assert "nan" not in value.lower().split(), value
            assert "inf" not in value.lower().split(), value
        for key in ("x", "y", "width", "height", "cx", "cy", "r", "x1", "x2", "y1", "y2"):
            if key in element.attrib:
                assert math.isfinite(float(element.attrib[key]))
        for key in ("width", "height", "r"):
            assert float(element.attrib.get(key, 0)) >= 0
        assert "style" not in element.attrib


@pytest.mark.parametrize("name", [name for name in MANY if name != "sparkline"])
def test_a_chart_is_named_and_carries_its_data_as_a_table(name):
    tree = parse(getattr(charts, name)(*MANY[name], title="Figures <of> today"))
    svg = tree.find(".//svg")
    assert svg.attrib["role"] == ("group" if name == "lineage" else "img")
    ids = {element.attrib["id"]: element for element in svg.iter() if "id" in element.attrib}
    assert ids[svg.attrib["aria-labelledby"]].text == "Figures <of> today"
    assert ids[svg.attrib["aria-describedby"]].text
    rows = tree.findall(".//table/tbody/tr")
    assert rows
    width = len(tree.findall(".//table/thead/tr/th"))
    assert all(len(list(row)) == width for row in rows)


def test_labels_are_escaped_wherever_they_appear():
    attack = "<script>alert(1)</script>\"'&"
    for markup in (
        charts.line_chart([{"name": attack, "points": [(1, 2), (2, 3)]}], title=attack, x_label=attack, y_label=attack),
        charts.confusion_matrix([[1]], [attack], title=attack),
        charts.interval_chart([{"label": attack, "value": 1, "note": attack}], title=attack, x_label=attack),
        charts.bar_chart([(attack, 1)], title=attack, unit=attack),
        charts.lineage([{"id": attack, "label": attack, "kind": attack, "note": attack, "url": attack}], []),
        charts.sparkline([1, 2], label=attack),
    ):
        assert "<script" not in markup
        parse(markup)


def test_a_missing_figure_breaks_the_curve():
    tree = parse(charts.line_chart([{"name": "loss", "points": [(1, 1), (2, 2), (3, None), (4, 3), (5, 4)]}]))
    assert len(tree.findall(".//polyline")) == 2


def test_a_long_curve_has_a_short_table_with_both_ends():
    tree = parse(charts.line_chart([{"name": "loss", "points": [(x, 1 / (x + 1)) for x in range(50_000)]}]))
    first_cells = [row.find("th").text for row in tree.findall(".//tbody/tr")]
    assert len(first_cells) <= 200
    assert (first_cells[0], first_cells[-1]) == ("0", "49,999")


def test_confusion_shades_by_share_of_the_true_class():
    tree = parse(charts.confusion_matrix([[90, 10], [0, 5]], ["a", "b"]))
    shades = [float(e.attrib["fill-opacity"]) for e in tree.iter("rect") if e.attrib["class"] == "heat"]
    assert shades == [pytest.approx(0.9 * charts.HEAT), pytest.approx(0.1 * charts.HEAT, abs=0.001), charts.HEAT]


def test_confusion_with_a_ragged_matrix_says_that_there_is_nothing_to_draw():
    assert "<svg" not in charts.confusion_matrix([[1, 2], [3]], ["a", "b"])


def test_intervals_lie_where_their_figures_are():
    tree = parse(charts.interval_chart([{"label": "a", "value": 0.5, "low": 0, "high": 1}], title="t"))
    whisker = next(e for e in tree.iter("line") if "whisker" in e.attrib["class"])
    dot = tree.find(".//circle")
    middle = (float(whisker.attrib["x1"]) + float(whisker.attrib["x2"])) / 2
    assert float(dot.attrib["cx"]) == pytest.approx(middle, abs=0.02)


def test_bars_are_as_long_as_their_share_of_the_longest():
    tree = parse(charts.bar_chart([("a", 100), ("b", 50)]))
    widths = [float(e.attrib["width"]) for e in tree.iter("rect")]
    assert widths[1] == pytest.approx(widths[0] / 2)


def test_lineage_runs_from_left_to_right():
    nodes = [{"id": name, "label": name} for name in ("version", "job", "data", "base")]
    tree = parse(charts.lineage(nodes, [("data", "job"), ("base", "job"), ("job", "version")]))
    x = {group.find("title").text: float(group.find("rect").attrib["x"]) for group in tree.iter("g")}
    assert x["data"] == x["base"] < x["job"] < x["version"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.93, 0.931), (-5, 12000), (3, 3), (0, 0), (1e-7, 3e-7)])
def test_ticks_are_few_and_cover_the_range(low, high):
    found = drawing.ticks(low, high)
    assert 2 <= len(found) <= 9
    assert found[0] <= low
    assert found[-1] >= high
    assert found == sorted(set(found))
