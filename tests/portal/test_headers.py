"""What every answer tells the browser, and that nothing is left to say by Django's own check of a deployment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.rig import live

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/account/login/", "/healthz", "/nowhere/", "/static/css/tokens.css", "/api/v1/me/"])
def test_every_answer_closes_what_no_page_needs(client, path):
    answer = client.get(path)
    if answer.streaming:
        assert b"".join(answer)
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]
    assert "publickey-credentials-get=(self)" in answer["Permissions-Policy"]
    if not path.startswith("/static/"):
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]


def test_the_check_of_a_deployment_has_nothing_to_say(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "GATEHOUSE_VAR": str(tmp_path),
        "SECRET_KEY": "k9" * 40 + "abcdefghijkl",
        "HOST": "0.0.0.0",
        "HTTPS": "true",
        "BEHIND_PROXY": "true",
        "BASE_URL": "https://gatehouse.example.org",
        "ALLOWED_HOSTS": "gatehouse.example.org",
        "DATABASE_URL": "sqlite://:memory:",
        "OIDC_ISSUER": "https://login.example.org",
        "OIDC_CLIENT_ID": "gatehouse",
        "OIDC_CLIENT_SECRET": "secret",
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        env=environment,
        cwd=live.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues (1 silenced)" in done.stdout


def test_strict_transport_and_secure_cookies_come_with_https(tmp_path):
    ask = (
        "import django; django.setup(); from django.conf import settings as s; "
        "print(s.SECURE_HSTS_SECONDS, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, sorted(s.MFA_REQUIRED_ROLES))"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "GATEHOUSE_VAR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    environment |= {"SECRET_KEY": "x" * 60, "HTTPS": "true", "BASE_URL": "https://gatehouse.example.org"}
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment, cwd=live.ROOT, capture_output=True, text=True, check=True
    )
    deciding = ["legal_reviewer", "privacy_reviewer", "review_delegate", "reviewer", "security_reviewer"]
    assert done.stdout.strip() == f"31536000 True True {['administrator', 'auditor', *deciding]}"
