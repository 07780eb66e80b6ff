"""A site that people use: the whole stack, started once for all tests, with the personas, a team and a tiny base model.

What it starts with was done through the services, in a process of its own; everything after that goes over HTTP, as a
browser or a program would do it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.rig import identity, live
from tests.rig.settle import BASE_MODEL, PASSWORD, REQUESTS

__all__ = ["BASE_MODEL", "PASSWORD", "QUICK", "Site"]

QUICK = {"epochs": 2, "batch_size": 16, "max_length": 32, "precision": "fp32"}
"""Settings with which the tiny base model is trained in a second."""


@dataclass(frozen=True)
class Site:
    """A running site, the tokens of its people, a small file to train on, and the provider for single sign-on."""

    live: live.Live
    tokens: dict[str, str]
    csv: Path
    provider: identity.OpenIdProvider
    clients: dict[str, httpx.Client] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.live.url

    @staticmethod
    def email(name: str) -> str:
        """The address with which a persona signs in."""
        return f"{name}@example.org"

    def api(self, name: str) -> httpx.Client:
        """A client of the REST API in the name of a persona; addresses are relative to /api/v1/."""
        if name not in self.clients:
            headers = {"Authorization": f"Bearer {self.tokens[name]}"}
            self.clients[name] = httpx.Client(base_url=f"{self.url}/api/v1/", headers=headers, timeout=60)
        return self.clients[name]


def write_requests(path: Path, *, each: int = 24, labels: int = 8) -> Path:
    """Write the first `each` of the worked example's requests for each of the first `labels` labels."""
    with REQUESTS.open(newline="", encoding="utf-8") as source:
        rows = list(csv.DictReader(source))
    chosen = sorted({row["label"] for row in rows})[:labels]
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, ["text", "label"])
        writer.writeheader()
        for label in chosen:
            writer.writerows([row for row in rows if row["label"] == label][:each])
    return path


def settle(site_live: live.Live) -> dict[str, str]:
    """Create the personas, their team and an allowed base model; return a token for each persona."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.settle"],
        env=dict(site_live.environment),
        cwd=live.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"The site could not be settled:\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """The site, shared by every test of this process that asks for it."""
    with tempfile.TemporaryDirectory(prefix="gh-site-") as folder, identity.open_id() as provider:
        extra = {"MODEL_ROOTS": f"{folder}/models", "API_RATE": "100000/min", "OMP_NUM_THREADS": "2"}
        extra |= {"STREAM_LOOK_SECONDS": "0.1"}
        extra |= {"PREDICT_RATE": "100000/min", "UPLOAD_RATE": "100000/min", **provider.environment}
        file = write_requests(Path(folder) / "requests.csv")
        with live.stack(extra=extra) as running:
            made = Site(running, settle(running), file, provider)
            try:
                yield made
            finally:
                for client in made.clients.values():
                    client.close()
