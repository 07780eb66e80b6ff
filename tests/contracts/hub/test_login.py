"""`hf auth login` against the portal: the client waits with a code, its person confirms it in a browser."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import httpx
import pytest

LOGIN = """
import json
from huggingface_hub import HfApi
from huggingface_hub.utils._oauth_device import poll_device_token, request_device_code
info = request_device_code()
print(json.dumps(info), flush=True)
input()
try:
    got = poll_device_token({**info, "interval": 0.2})
    print(json.dumps([got, HfApi(token=got["access_token"]).whoami()]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@pytest.fixture
def browser(hub):
    """Return a browser in which eve is signed in."""
    with httpx.Client(base_url=hub.url, follow_redirects=True, timeout=30) as client:
        page = client.get("/account/login/")
        given = {"csrfmiddlewaretoken": FORM_TOKEN.search(page.text)[1], "login": "eve@example.org"}
        signed_in = client.post("/account/login/", data=given | {"password": "correct-horse-9"})
        assert signed_in.url.path == "/", signed_in.text[:2000]
        yield client


@pytest.fixture
def waiting(hub, at_home):
    """Return a client that has asked for a code and goes on when it is told to, and what it was given."""
    person = at_home("eve")
    environment = {name: value for name, value in person.environment.items() if name != "HF_TOKEN"}
    with subprocess.Popen(
        [sys.executable, "-c", LOGIN], env=environment, cwd=person.home, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield process, json.loads(process.stdout.readline())


def answer(browser: httpx.Client, code: str, **given) -> httpx.Response:
    """Answer for a code on the page."""
    page = browser.get("/account/device/", params={"code": code})
    assert code in page.text
    data = {"csrfmiddlewaretoken": FORM_TOKEN.search(page.text)[1], "code": code, "scopes": ["read", "predict"]}
    return browser.post("/account/device/", data=data | {"answer": "allow"} | given)


def test_a_confirmed_code_gives_a_short_lived_token_with_the_chosen_scopes(hub, browser, waiting):
    process, info = waiting
    assert info["verification_uri_complete"] == f"{hub.url}/account/device/?code={info['user_code']}"
    assert answer(browser, info["user_code"]).status_code == 200
    given, me = json.loads(process.communicate("\n")[0].splitlines()[-1])
    assert me["name"] == "eve@example.org"
    assert me["auth"]["accessToken"]["role"] == "read"
    assert 0 < given["expires_in"] <= 24 * 3600
    headers = {"Authorization": f"Bearer {given['access_token']}"}
    assert hub.http.get(f"{hub.url}/helpdesk/sorter/resolve/main/config.json", headers=headers).status_code == 200
    assert hub.http.get(f"{hub.url}/helpdesk/ours/resolve/main/config.json", headers=headers).status_code == 404
    # The code is good once, for the program as for the person.
    grant = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": info["device_code"]}
    again = hub.http.post(f"{hub.url}/oauth/token", data=grant)
    assert (again.status_code, again.json()["error"]) == (400, "expired_token")
    assert answer(browser, info["user_code"]).status_code == 422
    for action in ("device.allowed", "token.created"):
        newest = hub.entries(action)[0]
        assert (newest["who"], newest["scopes"]) == ("eve", ["predict", "read"])


def test_a_refused_code_gives_nothing(hub, browser, waiting):
    process, info = waiting
    before = hub.entries("token.created", 1)
    answer(browser, info["user_code"], answer="refuse")
    name, said = json.loads(process.communicate("\n")[0].splitlines()[-1])
    assert (name, said) == ("DeviceCodeError", "Authorization was denied. Please try again.")
    assert hub.entries("token.created", 1) == before


def test_what_was_not_issued_or_not_confirmed_gives_nothing(hub, browser):
    grant = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
    issued = hub.http.post(f"{hub.url}/oauth/device", data={"client_id": "x"}).json()
    for code, error in ((issued["device_code"], "authorization_pending"), ("forged:1:x", "expired_token")):
        told = hub.http.post(f"{hub.url}/oauth/token", data=grant | {"device_code": code})
        assert (told.status_code, told.json()["error"]) == (400, error)
    refreshed = hub.http.post(f"{hub.url}/oauth/token", data={"grant_type": "refresh_token"})
    assert refreshed.json()["error"] == "unsupported_grant_type"
    assert answer(browser, "BCDF-GHJK").status_code == 422
    assert answer(browser, issued["user_code"], scopes=[]).status_code == 422
    # A token is not a person in front of a browser.
    assert hub.ask("eve", "GET", "/account/device/").status_code == 302
