"""Gives a fresh site its first people, a team and a tiny base model; run as a module in the site's environment.

Prints, as its last line, a JSON object with an API token for each persona. It must not import pytest: the settings
would take the process for a test and hash its passwords in a way that the site does not know.
"""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import django
from django.conf import settings

PASSWORD = "correct-horse-battery-9"
BASE_MODEL = "tiny-encoder"
REQUESTS = Path(__file__).resolve().parents[2] / "portal" / "demo" / "helpdesk" / "requests.csv"
SCOPES = {
    "alice": ["read", "write", "train", "predict", "admin"],
    "bob": ["read", "write", "train", "predict"],
    "carol": ["read", "review", "admin", "write"],
    "dan": ["read"],
    "eve": ["read", "write", "predict"],
    "frank": ["read", "write", "admin"],
}


def settle() -> dict[str, str]:
    """Create everything through the services and return the tokens by persona."""
    from governance.models import User
    from governance.policy import Role
    from governance.services import people, roles, tokens
    from projects.services import goals, teams
    from tests.training.factories import make_tiny_model
    from training.services import base_models

    system = User.objects.system()
    users = {
        name: people.create(actor=system, email=f"{name}@example.org", name=name.capitalize(), password=PASSWORD)
        for name in SCOPES
    }
    for name, role in (("carol", Role.REVIEWER), ("dan", Role.AUDITOR), ("frank", Role.ADMINISTRATOR)):
        roles.grant(actor=system, user=users[name], role=role)
    team = teams.create(actor=system, slug="helpdesk", name="Help desk", description="Answers employees.")
    for name, role in (
        ("alice", Role.TEAM_OWNER),
        ("bob", Role.ML_ENGINEER),
        ("bob", Role.DATA_STEWARD),
    ):
        roles.grant(actor=system, user=users[name], role=role, team=team)
    goals.create(actor=system, title="Employees get help within the hour", description="")
    with REQUESTS.open(newline="", encoding="utf-8") as file:
        words = sorted({word for row in csv.DictReader(file) for word in re.findall(r"\w+", row["text"])})
    make_tiny_model(settings.MODEL_ROOTS[0] / BASE_MODEL, words=words)
    model = base_models.import_source(
        actor=User.objects.get(pk=users["frank"].pk),
        source=f"folder:{BASE_MODEL}",
        name=BASE_MODEL,
        title="Tiny encoder",
        licence="Apache-2.0",
        origin="Random weights written for the tests.",
    )
    base_models.allow(
        actor=User.objects.get(pk=users["carol"].pk), base_model=model, reason="It is random and harmless."
    )
    return {
        name: tokens.create(actor=system, user=users[name], name="tests", scopes=scopes, days=1)[1]
        for name, scopes in SCOPES.items()
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    print(json.dumps(settle()))
