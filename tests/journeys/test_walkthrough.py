"""The walk-through of docs/ does what it says, on a running site with real workers and the real engine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.rig import live
from tests.rig.site import BASE_MODEL, QUICK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
SCRIPT = live.ROOT / "docs" / "walkthrough.py"


def walk(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_script_goes_from_a_csv_to_a_called_model(site):
    settings = [f"--set={name}={value}" for name, value in QUICK.items()]
    done = walk(
        f"--csv={site.csv}", "--model=walked", f"--base-model={BASE_MODEL}", *settings,
        GATEHOUSE_URL=site.url, BUILDER_TOKEN=site.tokens["bob"], REVIEWER_TOKEN=site.tokens["carol"],
        EMPLOYEE_TOKEN=site.tokens["eve"],
    )  # fmt: skip

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{site.live.log('training')}"
    assert done.stdout.count("Refused:") == 4
    for sentence in (
        "The use case is approved for development",
        "The dataset version is cleared for it",
        "Bob tried to approve his own request. Refused:",
        "decided: approved",
        "It made version 1",
        "/models/helpdesk/walked/",
    ):
        assert sentence in done.stdout, done.stdout
    shown = site.api("dan").get("models/helpdesk/walked/").json()
    assert [(one["state"], one["audience"]) for one in shown["publications"]] == [("published", "organisation")]


def test_the_script_says_which_variables_are_missing(tmp_path):
    done = walk(f"--csv={tmp_path / 'nothing.csv'}", GATEHOUSE_URL="http://127.0.0.1:9")

    assert done.returncode == 2
    assert "BUILDER_TOKEN, REVIEWER_TOKEN, EMPLOYEE_TOKEN" in done.stderr


def test_the_script_says_that_nobody_answers(tmp_path):
    done = walk(
        f"--csv={tmp_path / 'nothing.csv'}",
        GATEHOUSE_URL="http://127.0.0.1:9", BUILDER_TOKEN="x", REVIEWER_TOKEN="x", EMPLOYEE_TOKEN="x",
    )  # fmt: skip

    assert done.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in done.stderr
