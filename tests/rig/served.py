"""The live site with published models that no quick training makes: two that write text, one that embeds."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.rig import live
from tests.rig.site import Site


def settle(site_live: live.Live) -> dict[str, str]:
    """Publish the models on a settled site; return the tokens that `tests.rig.settle_models` makes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.settle_models"],
        env=dict(site_live.environment),
        cwd=live.ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"The models could not be published:\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def served(site: Site) -> Site:
    """Return the site with `helpdesk/assistant`, `helpdesk/vectors` and, for the team, `guarded` and `private`.

    Two tokens of eve's are among its tokens: "predict", which may only call models, and "read", which may not.
    """
    site.tokens.update(settle(site.live))
    return site
