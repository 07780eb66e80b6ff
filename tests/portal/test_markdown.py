"""Cards and datasheets as HTML: what people write is text, never code."""

import pytest

from portal.templatetags.markdown import markdown


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt&#58;alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "![a](javascript:alert(1))",
        '[a](/x "onmouseover=alert(1)")',
        "<svg/onload=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "<iframe src=//x></iframe>",
        "```\n<script>alert(1)</script>\n```",
        "| a |\n|---|\n| <b onclick=alert(1)>x</b> |",
    ],
)
def test_nothing_that_runs_survives(text):
    html = markdown(text).lower()
    for poison in ("<script", "<img src=x", "<svg", "<iframe", "<b onclick", 'href="javascript', 'href="data:'):
        assert poison not in html


def test_front_matter_is_cut_and_headings_move_down():
    assert markdown("---\nlicense: mit\n---\n# Title\n\ntext").strip() == "<h2>Title</h2>\n<p>text</p>"


def test_a_wide_table_scrolls_by_itself():
    html = markdown("| a |\n|---|\n| 1 |")
    assert html.startswith('<div class="table-wrap" tabindex="0"><table>')
    assert html.count("<div") == html.count("</div>") == 1


def test_empty_text_is_empty():
    assert markdown("") == markdown(None) == ""
