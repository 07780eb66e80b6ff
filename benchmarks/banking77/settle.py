"""Gives a fresh site the people and the team of the benchmark; prints a token for each as a JSON object.

Everything after that goes over HTTP. To be run as a module in the site's environment.
"""

from __future__ import annotations

import json
import os
import secrets

import django

SCOPES = {
    "bob": ["read", "write", "train"],
    "carol": ["read", "review", "admin", "write"],
    "frank": ["read", "write", "admin"],
}


def settle() -> dict[str, str]:
    """Create people and team through the services; return the tokens by first name."""
    from governance.models import User
    from governance.policy import Role
    from governance.services import people, roles, tokens
    from projects.services import teams

    system = User.objects.system()
    users = {
        name: people.create(
            actor=system, email=f"{name}@example.org", name=name.capitalize(), password=secrets.token_urlsafe(16)
        )
        for name in SCOPES
    }
    roles.grant(actor=system, user=users["carol"], role=Role.REVIEWER)
    roles.grant(actor=system, user=users["frank"], role=Role.ADMINISTRATOR)
    team = teams.create(actor=system, slug="bank", name="Bank", description="Answers customers.")
    for role in (Role.ML_ENGINEER, Role.DATA_STEWARD):
        roles.grant(actor=system, user=users["bob"], role=role, team=team)
    return {
        name: tokens.create(actor=system, user=users[name], name="benchmark", scopes=scopes, days=1)[1]
        for name, scopes in SCOPES.items()
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    print(json.dumps(settle()))
