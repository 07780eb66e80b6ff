"""One running site for all tests of this folder, and the clients as a person has them: an address, a token, a cache."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.contracts.hub import store
from tests.rig import live, processes


def pytest_collection_modifyitems(items):
    """Say of the tests of this folder that they need the database, which is set up for who says so alone."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.django_db)


@dataclass
class Hub:
    """The running site, what is in it, and the object store beside it."""

    url: str
    var: Path
    tokens: Mapping[str, str]
    commits: Mapping[str, str]
    publications: Mapping[str, int]
    people: Mapping[str, int]
    objects: store.ObjectStore
    process: subprocess.Popen[bytes]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def ask(self, person: str, method: str, path: str, **options) -> httpx.Response:
        """Send one request with a persona's token; none for the person ""."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}"} if person else {}
        headers |= options.pop("headers", {})
        return self.http.request(method, f"{self.url}{path}", headers=headers, **options)

    def log(self) -> str:
        """Return the end of what the site said, for the message of a failure."""
        return processes.tail(self.var / "log" / "web.log", 40)

    def entries(self, action: str, newest: int = 5) -> list[dict]:
        """Return the details of the newest ledger entries of an action, as the auditor reads them, and `who` did it."""
        answer = self.ask("dan", "GET", "/api/v1/ledger/", params={"action": action, "limit": newest})
        assert answer.status_code == 200, answer.text
        names = {number: name for name, number in self.people.items()}
        found = []
        for row in answer.json()["results"]:
            body = self.ask("dan", "GET", f"/api/v1/ledger/{row['id']}/").json()["body"]
            found.append(body["details"] | {"who": names.get(row["actor"], ""), "id": row["id"]})
        return found


@pytest.fixture(scope="session")
def hub(django_db_setup, migrated) -> Iterator[Hub]:
    """The site on uvicorn, as production runs it, filled by tests.contracts.hub.settle."""
    var = Path(tempfile.mkdtemp(prefix="gh-hub-"))
    for name in ("log", "run", "incoming", "static"):
        (var / name).mkdir()
    port = live.free_port()
    with store.serve() as objects:
        objects.root = var / "store"
        shell = live.environment(var, port, {"OBJECT_STORE": objects.url, "API_RATE": "100000/min"})
        shell |= {"DJANGO_SETTINGS_MODULE": "tests.contracts.hub.settings", "SECRET_KEY": secrets.token_hex(32)}
        # The empty database that all tests start from: migrating another one would take ten seconds.
        shutil.copyfile(migrated, var / "gatehouse.sqlite3")
        done = subprocess.run(
            [sys.executable, "-m", "tests.contracts.hub.settle"],
            env=shell, cwd=live.ROOT, capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"The site could not be filled:\n{done.stderr[-4000:]}"
        known = json.loads(done.stdout.splitlines()[-1])
        command = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(port)]
        command += ["--lifespan", "off", "--log-level", "warning", "--no-access-log"]
        process = processes.start(command, log=var / "log" / "web.log", cwd=live.ROOT, env=shell)
        made = Hub(f"http://127.0.0.1:{port}", var, objects=objects, process=process, **known)
        try:
            processes.wait_until(lambda: answers(made), seconds=60, what="the site answering")
            yield made
        finally:
            made.http.close()
            processes.stop(process)
            shutil.rmtree(var, ignore_errors=True)


def answers(site: Hub) -> bool:
    """Return whether the site answers yet."""
    try:
        return site.http.get(f"{site.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Person:
    """A person at their own machine: what they run finds the portal by two variables, and has a cache of its own."""

    hub: Hub
    home: Path
    name: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that a person sets, and none of the portal's."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        given = {"HF_ENDPOINT": self.hub.url, "HF_TOKEN": self.hub.tokens[self.name], "HF_HOME": str(self.home / "hf")}
        quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
        return {**kept, "HOME": str(self.home), **given, **quiet}

    def run(self, code: str, *, python: str | Path = sys.executable, environment: Mapping[str, str] | None = None):
        """Run Python code that ends by printing one JSON value, and return that value and what was said beside it."""
        done = subprocess.run(
            [str(python), "-c", code], env=self.environment | (environment or {}), cwd=self.home,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.fixture
def at_home(hub, tmp_path):
    """Return a function that gives a persona a machine with nothing in its cache."""

    def make(name: str) -> Person:
        home = tmp_path / name.replace(", ", "-").replace(" ", "-")
        home.mkdir(exist_ok=True)
        return Person(hub, home, name)

    return make
