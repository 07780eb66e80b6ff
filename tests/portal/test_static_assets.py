"""What a browser is sent: its size, its origin, its colours, and that no template reaches outside."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import django_htmx
import pytest
from django.template.loader import get_template

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "portal" / "static"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
BUDGETS = json.loads((Path(__file__).parent / "asset_budgets.json").read_text())
TOKENS = (STATIC / "css" / "tokens.css").read_text()
THEMES = ("light", "dark", "contrast")
HEAT = 0.72  # the strongest shade in portal/templatetags/charts.py


def gzipped(*paths: Path) -> int:
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in paths)


def test_stylesheets_stay_within_their_budget():
    size = gzipped(*(STATIC / "css").glob("*.css"))
    assert 0 < size <= BUDGETS["css_gzip_bytes"], f"{size} bytes of CSS, gzipped"


def test_the_heaviest_page_stays_within_its_budget():
    own = [*(STATIC / "css").glob("*.css"), *(STATIC / "js").glob("*.js")]
    vendored = [path for path in (STATIC / "vendor").rglob("*") if path.suffix in {".js", ".css"}]
    htmx = Path(django_htmx.__file__).parents[1] / BUDGETS["htmx"]
    assert vendored
    size = gzipped(*own, *vendored, htmx)
    assert size <= BUDGETS["page_gzip_bytes"], f"{size} bytes of scripts and styles, gzipped"


@pytest.mark.parametrize("record", [STATIC / "vendor" / "VENDORED.json", ROOT / "tests/browser/vendor/VENDORED.json"])
def test_vendored_files_are_the_recorded_ones(record):
    listed = {record.name}
    for entry in json.loads(record.read_text()):
        assert all(entry[key] for key in ("name", "version", "licence", "source", "files"))
        assert any(name.startswith("LICENSE") for name in entry["files"])
        for name, digest in entry["files"].items():
            path = record.parent / entry.get("folder", "") / name
            listed.add(str(path.relative_to(record.parent)))
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, f"{path} is not the file that was recorded"
    found = {str(path.relative_to(record.parent)) for path in record.parent.rglob("*") if path.is_file()}
    assert found == listed


def test_templates_name_no_other_host():
    """A page must work without the internet: what it loads or posts to lies on this site."""
    loads = re.compile(
        r"""(?:src|href|action|formaction|srcset|poster|data|hx-[a-z]+)\s*=\s*["']?\s*(?:https?:)?//""", re.I
    )
    guilty = []
    for path in TEMPLATES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            plain = re.search(r"<a\s", line) is not None and "rel=" in line
            if (loads.search(line) and not plain) or re.search(r"@import|url\(\s*['\"]?(https?:)?//", line):
                guilty.append(f"{path.relative_to(ROOT)}:{number}")
    assert not guilty, f"these lines load from another host: {guilty}"


def test_styles_and_scripts_name_no_other_host():
    for path in [*(STATIC / "css").glob("*.css"), *(STATIC / "js").glob("*.js")]:
        assert not re.search(r"""["'(]\s*(https?:)?//[a-z]""", path.read_text()), f"{path.name} names another host"


def test_templates_hold_no_inline_script_or_style():
    """The content security policy refuses them, so a page that relied on one would fail in silence."""
    guilty = []
    for path in TEMPLATES:
        # A tag's own argument may be called style; only what reaches the browser counts.
        text = re.sub(r"\{[%{].*?[%}]\}", "", path.read_text())
        for match in re.finditer(
            r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")|\son[a-z]+\s*=|\sstyle\s*=\s*[\"']|<style|javascript:",
            text,
            re.I,
        ):
            guilty.append(f"{path.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}")
    assert not guilty, f"move these into portal/static: {guilty}"


def test_every_icon_that_is_named_is_drawn():
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "img" / "icons.svg").read_text()))
    from portal.templatetags.ui import STATUSES, TONE_ICONS

    named = {icon for icon, _, _ in STATUSES.values()} | set(TONE_ICONS.values())
    for path in TEMPLATES:
        named |= set(re.findall(r"""{%\s*icon ["']([^"']+)["']""", path.read_text()))
        named |= set(re.findall(r"""\bicon=["']([^"']+)["']""", path.read_text()))
    named |= set(re.findall(r'(?:done|current|todo|failed): "([^"]+)"', (STATIC / "js" / "live.js").read_text()))
    assert named <= drawn, f"no drawing for {sorted(named - drawn)}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT / "templates")))
def test_every_template_compiles(path):
    get_template(str(path.relative_to(ROOT / "templates")))


def test_every_component_documents_itself():
    for path in (ROOT / "templates" / "components").glob("*.html"):
        text = path.read_text()
        assert "{% comment %}" in text[:60], f"{path.name} does not begin with what it is and its parameters"


# ---- Colours -----------------------------------------------------------------------------------------------------


def colours(theme: str) -> dict[str, str]:
    """The colour tokens of one theme as hex."""
    found = {}
    for name, light, dark in re.findall(r"--([\w-]+):\s*light-dark\((#\w{6}),\s*(#\w{6})\)", TOKENS):
        found[name] = dark if theme == "dark" else light
    if theme == "contrast":
        block = TOKENS[TOKENS.index('[data-theme="contrast"]') :]
        found |= dict(re.findall(r"--([\w-]+):\s*(#\w{6})\b", block))
    return found


def channels(colour: str) -> list[float]:
    return [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]


def luminance(rgb: list[float]) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[float], other: list[float]) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


GROUNDS = ("bg", "surface", "sunken", "hover")
TEXT_PAIRS = [
    *((ink, ground) for ink in ("text", "muted", "accent") for ground in GROUNDS),
    *((tone, ground) for tone in ("info", "good", "warn", "bad") for ground in ("bg", "surface", "sunken", "hover")),
    *((tone, f"{tone}-soft") for tone in ("neutral", "info", "good", "warn", "bad", "accent")),
    *((ink, f"{tone}-soft") for ink in ("text", "muted") for tone in ("info", "good", "warn", "bad", "accent")),
    *(("text", f"{tone}-soft") for tone in ("neutral",)),
    ("on-accent", "accent-fill"),
    ("on-accent", "accent-fill-hover"),
    ("on-danger", "danger-fill"),
    ("muted", "neutral-soft"),
    ("accent", "surface"),
]
# Borders of controls, focus rings, curves and bars must be told apart from what they lie on (WCAG 1.4.11).
DRAWING_PAIRS = [
    *((line, ground) for line in ("line-control", "focus") for ground in ("bg", "surface")),
    *((f"series-{number}", "surface") for number in range(1, 6)),
    *((fill, ground) for fill in ("accent-fill", "danger-fill") for ground in ("bg", "surface")),
    ("accent-fill", "neutral-soft"),
]


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_colour_is_readable_on_every_ground(theme):
    found = colours(theme)
    poor = {}
    for ink, ground in TEXT_PAIRS:
        ratio = contrast(channels(found[ink]), channels(found[ground]))
        if ratio < 4.5:
            poor[f"{ink} on {ground}"] = round(ratio, 2)
    assert not poor, f"under 4.5 to 1 in {theme}: {poor}"


@pytest.mark.parametrize("theme", THEMES)
def test_every_drawn_line_stands_out_from_its_ground(theme):
    found = colours(theme)
    poor = {}
    for line, ground in DRAWING_PAIRS:
        ratio = contrast(channels(found[line]), channels(found[ground]))
        if ratio < 3:
            poor[f"{line} on {ground}"] = round(ratio, 2)
    assert not poor, f"under 3 to 1 in {theme}: {poor}"


@pytest.mark.parametrize("theme", THEMES)
def test_figures_on_the_strongest_shade_are_readable(theme):
    found = colours(theme)
    ground = [
        HEAT * heat + (1 - HEAT) * under
        for heat, under in zip(channels(found["heat"]), channels(found["sunken"]), strict=True)
    ]
    assert contrast(channels(found["text"]), ground) >= 4.5


def test_high_contrast_reaches_the_stricter_level():
    found = colours("contrast")
    for ink in ("text", "muted", "accent", "good", "warn", "bad"):
        assert contrast(channels(found[ink]), channels(found["surface"])) >= 7, ink


def test_components_use_no_colour_outside_of_the_tokens():
    for name in ("layout.css", "components.css", "charts.css"):
        text = re.sub(r"/\*.*?\*/", "", (STATIC / "css" / name).read_text(), flags=re.S)
        assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsl|\boklch", text), f"{name} names a colour itself"


def test_the_shade_of_charts_is_the_one_that_was_measured():
    from portal.templatetags import charts

    assert charts.HEAT == HEAT
