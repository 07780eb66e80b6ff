"""What an operator is told before anybody else finds out: misconfigured anchors, and where mail goes."""

import json
import os
import subprocess
import sys

import pytest

from portal import checks
from tests.rig import live

SECRET = "whsec_" + "A" * 40


def found(settings, *anchors: str) -> list[tuple[str, str]]:
    """Return (id, message) of what the check says about these anchors."""
    settings.LEDGER_ANCHORS = list(anchors)
    said = checks.anchors_can_be_used(None)
    assert all(one.hint for one in said)
    return [(one.id, one.msg) for one in said]


@pytest.mark.parametrize(
    ("anchor", "number", "words"),
    [
        ("worm:/mnt/worm", "portal.E003", "is not kind:place"),
        ("file", "portal.E003", "is not kind:place"),
        ("file:notes.txt", "portal.W002", "is not absolute"),
        ("file:/nowhere/at/all/notes.txt", "portal.W002", "is not there"),
        ("mail:nobody", "portal.W002", "is not an e-mail address"),
        ("webhook:hooks.example.org", "portal.W002", "is not a web address"),
        ("webhook:https://hooks.example.org/x", "portal.W002", "LEDGER_WEBHOOK_SECRET"),
        ("rfc3161:ftp://tsa.example.org", "portal.W002", "is not a web address"),
        ("rfc3161:https://tsa.example.org", "portal.W002", "LEDGER_TSA_ROOTS"),
    ],
)
def test_an_anchor_that_cannot_be_used_is_named_with_what_to_do(settings, anchor, number, words):
    settings.LEDGER_WEBHOOK_SECRET = settings.LEDGER_TSA_ROOTS = ""
    ((seen, message),) = found(settings, anchor)
    assert (seen, words in message) == (number, True), message


def test_anchors_that_can_be_used_pass(settings, tmp_path):
    settings.LEDGER_WEBHOOK_SECRET = SECRET
    places = (f"file:{tmp_path}/notes.txt", "mail:auditor@example.org", "webhook:https://hooks.example.org/secret-path")
    assert found(settings, *places) == []
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    ((_number, message),) = found(settings, *places)
    assert "set EMAIL_HOST" in message
    settings.LEDGER_WEBHOOK_SECRET = "short"
    assert "secret-path" not in json.dumps(found(settings, *places)), "a path may hold a secret"


def test_a_pause_of_no_time_between_anchors_is_refused(settings):
    settings.LEDGER_ANCHOR_SECONDS = 0
    assert [number for number, _message in found(settings)] == ["portal.E004"]


def mail_settings(**environment: str) -> dict:
    """Return what the settings file makes of an environment, or the end of what it says where it refuses."""
    names = ["HOST", "PORT", "HOST_USER", "HOST_PASSWORD", "USE_TLS", "USE_SSL", "BACKEND", "TIMEOUT"]
    ask = (
        "import json, portal.settings as s; "
        f"print(json.dumps([getattr(s, 'EMAIL_' + n) for n in {names}] + [s.DEFAULT_FROM_EMAIL]))"
    )
    # Not inside pytest, where Django's own backend of tests stands in.
    plain = {"PATH": os.environ["PATH"], "DEBUG": "1", "BASE_URL": "https://gatehouse.example.org"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=plain | environment, cwd=live.ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1]}
    return dict(zip([*names, "FROM"], json.loads(done.stdout), strict=True))


def test_mail_goes_to_the_server_that_the_environment_names(tmp_path):
    (tmp_path / "password").write_text("correct horse\n")
    made = mail_settings(
        EMAIL_HOST="mail.example.org", EMAIL_HOST_USER="gatehouse", EMAIL_HOST_PASSWORD_FILE=str(tmp_path / "password")
    )
    assert made == {
        "HOST": "mail.example.org",
        "PORT": 587,
        "HOST_USER": "gatehouse",
        "HOST_PASSWORD": "correct horse",
        "USE_TLS": True,
        "USE_SSL": False,
        "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "TIMEOUT": 20,
        "FROM": "gatehouse@gatehouse.example.org",
    }
    other = mail_settings(
        EMAIL_HOST="relay", EMAIL_USE_TLS="false", EMAIL_PORT="2525", EMAIL_FROM="Portal <portal@example.org>"
    )
    assert (other["PORT"], other["USE_TLS"], other["FROM"]) == (2525, False, "Portal <portal@example.org>")
    assert mail_settings()["BACKEND"].endswith("console.EmailBackend")
    refused = mail_settings(EMAIL_HOST="relay", EMAIL_USE_SSL="true", EMAIL_USE_TLS="true")["refused"]
    assert "exclude each other" in refused
