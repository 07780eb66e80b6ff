"""The tree stays as it was drawn: its rooms, the size of a module, and what no file may hold."""

from __future__ import annotations

import ast
import re
from importlib import metadata

import pytest
from packaging.requirements import InvalidRequirement, Requirement

from tests.architecture import source

TOP = {
    ".ci", ".editorconfig", ".gitattributes", ".gitignore",
    "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "manage.py", "pyproject.toml", "requirements.txt",
    "benchmarks", "deploy", "docs", "governance", "portal", "projects", "templates", "tests", "training",
}  # fmt: skip
# Personal to one checkout, and ignored by git.
PERSONAL = {".env", ".idea", ".vscode", ".coverage"}
DRAWERS = {
    "utils",
    "util",
    "utilities",
    "helpers",
    "helper",
    "common",
    "misc",
    "core",
    "tools",
    "lib",
    "shared",
    "base",
}
VAGUE = re.compile(r"(Manager|Handler|Helper|Processor|Utils?)$")
# Names that a framework or the standard library gives.
GIVEN_BASES = re.compile(r"(Manager|Handler)(\.from_queryset\(\))?$")
LINES = 600
MACHINE = re.compile(
    r"(?<![\w}.])("
    + "|".join(["/" + "root/", "/" + "home/", "/" + "work/", "/" + "opt/", "/" + "Users/", "C:" + r"\\"])
    + ")|"
    + "|".join(
        ["pypi" + r"\.org", "python" + "hosted", "npm" + r"js\.", "download" + r"\.pytorch", "extra-" + "index-url="]
    )
)
TEXT = {
    ".py",
    ".md",
    ".html",
    ".css",
    ".js",
    ".yaml",
    ".yml",
    ".toml",
    ".txt",
    ".sh",
    ".json",
    ".service",
    ".target",
    "",
}

EVERY_MODULE = source.modules(*source.PACKAGES, "tests", "benchmarks", migrations=False)


def test_the_top_of_the_tree_is_as_drawn():
    found = {path.name for path in source.ROOT.iterdir()} - source.LEFTOVERS - PERSONAL
    found = {name for name in found if not name.startswith(".coverage.")}
    assert found == TOP, (
        f"Too much: {sorted(found - TOP)}; missing: {sorted(TOP - found)}. A new thing belongs in one of the rooms that exist: "
        "site in portal, what people plan and with which data in projects, models in training, rules in governance, pages for "
        "people in docs, machines in deploy."
    )


@pytest.mark.parametrize("path", EVERY_MODULE, ids=source.name)
def test_a_module_says_what_it_is(path):
    if path.read_text().strip():
        assert ast.get_docstring(source.tree(path)), (
            f"{source.name(path)} has no docstring: say in one sentence what it is and, where it helps, what it is not."
        )


@pytest.mark.parametrize("path", EVERY_MODULE, ids=source.name)
def test_a_module_is_short_enough_to_read(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LINES, (
        f"{source.name(path)} has {lines} lines. Make it a package of the same name, split by noun; its import path stays."
    )


def test_there_is_no_drawer():
    found = [
        source.name(path)
        for path in EVERY_MODULE
        for part in (*path.relative_to(source.ROOT).parts[:-1], path.stem)
        if part in DRAWERS and "templatetags" not in path.parts
    ]
    assert not found, (
        f"Name modules after what is in them, a noun of the field, instead of a drawer: {sorted(set(found))}"
    )


def test_classes_say_what_they_are():
    found = [
        f"{source.name(path)}:{node.lineno} {node.name}"
        for path in source.modules()
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.ClassDef) and VAGUE.search(node.name)
        if not any(GIVEN_BASES.search(source.dotted(base)) for base in node.bases)
    ]
    assert not found, f"Manager, Handler, Helper and Processor say nothing; name what the class is: {found}"


def test_no_file_names_a_machine_or_a_package_registry():
    found = []
    for path in source.files():
        if path.suffix not in TEXT or path.name in {"LICENSE"} or path.stat().st_size > 1_000_000:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE.search(line) and "vendor" not in path.parts:
                found.append(f"{source.name(path)}:{number} {MACHINE.search(line)[0]}")
    assert not found, f"A checkout works anywhere: name no path of one machine and no package registry: {found[:10]}"


def test_the_version_is_the_first_heading_of_the_changelog():
    heading = re.search(r"^## (.*)$", (source.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading, "CHANGELOG.md needs a heading such as: ## 0.1.0"
    assert re.fullmatch(r"\d+\.\d+\.\d+", heading[1].split()[0]), f"{heading[1]!r} does not begin with a version"


def test_make_help_tells_of_every_command():
    makefile = (source.ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    silent = [target for target in phony if not re.search(rf"^{target}:.* ## \S", makefile, re.MULTILINE)]
    assert not silent, f"Say in one line what these commands do (target: ## what it does): {silent}"


# ---- What is installed ----

FORBIDDEN_LICENCE = re.compile(
    r"AGPL|Affero|SSPL|Server Side Public|Business Source|Commons Clause|\bGPL|GNU General", re.IGNORECASE
)
# A package that offers a choice, and what we chose.
CHOSEN_LICENCE = {"text-unidecode": "offered under the Artistic License too, which is how it is used here"}


def pins(part: int) -> list[Requirement]:
    """The pins of requirements.txt: 0 the runtime, 1 development."""
    text = (source.ROOT / "requirements.txt").read_text().split("# == Development ==")[part]
    found = []
    for line in text.splitlines():
        stated = line.partition("#")[0].strip()
        if stated:
            try:
                found.append(Requirement(stated))
            except InvalidRequirement:
                pytest.fail(f"requirements.txt: {line!r} is not a requirement")
    return [pin for pin in found if pin.marker is None or pin.marker.evaluate()]


def test_every_package_is_pinned_exactly():
    loose = [str(pin) for pin in pins(0) + pins(1) if not re.fullmatch(r"==[^*,]+", str(pin.specifier))]
    assert not loose, f"Pin exactly, with ==: {loose}"


def test_what_is_installed_is_what_is_pinned():
    wanted = {re.sub(r"[-_.]+", "-", pin.name).lower(): pin for pin in pins(0) + pins(1)}
    wrong = [
        f"{name} {metadata.version(name)}"
        for name, pin in wanted.items()
        if not pin.specifier.contains(metadata.version(name), prereleases=True)
    ]
    assert not wrong, f"Run make install: {wrong}"


def test_nothing_at_runtime_is_under_a_licence_that_binds_its_users():
    found = []
    for pin in pins(0):
        described = metadata.metadata(pin.name)
        stated = [described.get("License-Expression") or "", (described.get("License") or "").partition("\n")[0]]
        stated += [one for one in described.get_all("Classifier") or [] if one.startswith("License")]
        licence = " ".join(stated)
        lesser = re.sub(r"LGPL\S*|GNU Lesser General Public License[^:]*", "", licence)
        if FORBIDDEN_LICENCE.search(lesser) and pin.name not in CHOSEN_LICENCE:
            found.append(f"{pin.name}: {licence.strip()}")
    assert not found, (
        f"An organisation that runs Gatehouse would be bound by these licences; choose other packages: {found}"
    )
