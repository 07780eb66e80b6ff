"""Identity providers as processes of their own: one speaks OpenID Connect (another library's), one SAML (ours)."""

from __future__ import annotations

import re
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx

from tests.rig import live, processes


@dataclass(frozen=True)
class OpenIdProvider:
    """A provider at `url` that lets anybody be whom they say they are."""

    url: str

    def knows(self, sub: str, **claims) -> None:
        """Let the provider assert these claims about the person with the subject identifier `sub`."""
        httpx.put(f"{self.url}/users/{sub}", json=claims).raise_for_status()

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which a site uses it."""
        return {
            "OIDC_ISSUER": self.url,
            "OIDC_CLIENT_ID": "gatehouse",
            "OIDC_CLIENT_SECRET": "not-checked",
            "OIDC_NAME": "Example Ltd",
        }


@dataclass(frozen=True)
class SamlProvider:
    """A provider at `url` that signs what its form is given."""

    url: str
    certificate: str

    def answer(self, address: str, **said: str) -> tuple[str, dict[str, str]]:
        """Fill in the form at the address the site sent us to; return where the browser posts what to."""
        form = httpx.get(address).text
        sent = dict(re.findall(r'name="(SAMLRequest|RelayState)" value="([^"]*)"', form))
        page = httpx.post(urljoin(address, "/sso"), data=sent | said).text
        return re.search(r'action="([^"]+)"', page)[1], dict(
            re.findall(r'name="(SAMLResponse|RelayState)" value="([^"]*)"', page)
        )


@contextmanager
def open_id() -> Iterator[OpenIdProvider]:
    """Run a provider for OpenID Connect and stop it."""
    port = live.free_port()
    with _running([sys.executable, "-m", "oidc_provider_mock", "--port", str(port)], port) as url:
        yield OpenIdProvider(url)


@contextmanager
def saml() -> Iterator[SamlProvider]:
    """Run a provider for SAML and stop it."""
    port = live.free_port()
    command = [sys.executable, "-m", "tests.rig.saml", str(port)]
    with tempfile.TemporaryDirectory(prefix="gh-saml-") as folder, _running([*command, folder], port) as url:
        yield SamlProvider(url, (Path(folder) / "certificate.pem").read_text())


@contextmanager
def _running(command: list[str], port: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="gh-idp-") as folder:
        log = Path(folder) / "log"
        process = processes.start(command, log=log, cwd=live.ROOT)
        url = f"http://localhost:{port}"
        try:
            processes.wait_until(lambda: _answers(url, process, log), seconds=20, what=f"an answer of {command[2]}")
            yield url
        finally:
            processes.stop(process)


def _answers(url: str, process, log: Path) -> bool:
    assert process.poll() is None, processes.tail(log)
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
