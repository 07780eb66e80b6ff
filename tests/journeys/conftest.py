"""People at pages and at the API, in this process: each has a signed-in client and a token."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from django.test import Client

from governance.models import User
from governance.policy import TokenScope
from governance.services import tokens


@dataclass(frozen=True)
class Visitor:
    """One persona: `page` is their browser's client, and the verbs call the REST API in their name."""

    user: User
    page: Client
    token: str

    def _call(self, method: str, path: str, body=None, **headers):
        return getattr(Client(), method)(
            f"/api/v1/{path}",
            data=None if body is None else json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}"} | headers,
        )

    def get(self, path: str, **headers):
        """GET an address below /api/v1/."""
        return Client().get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {self.token}"} | headers)

    def post(self, path: str, body=None, **headers):
        """POST JSON to an address below /api/v1/."""
        return self._call("post", path, body or {}, **headers)

    def patch(self, path: str, body, **headers):
        """PATCH JSON to an address below /api/v1/."""
        return self._call("patch", path, body, **headers)

    def upload(self, path: str, **fields):
        """POST a form with a file."""
        return Client().post(f"/api/v1/{path}", fields, headers={"Authorization": f"Bearer {self.token}"})

    def decide(self, request: int, verdict: str = "approve", *, etag: str = "", **body):
        """Read a request for approval and decide it; `etag` stands for having read something else."""
        seen = self.get(f"approvals/{request}/").headers["ETag"]
        return self.post(f"approvals/{request}/decide/", {"verdict": verdict, **body}, **{"If-Match": etag or seen})


@pytest.fixture
def visit(db):
    """Return a function that gives a persona's visitor."""

    def enter(user: User) -> Visitor:
        client = Client()
        client.force_login(user)
        _row, secret = tokens.create(
            actor=User.objects.system(), user=user, name="journey", scopes=list(TokenScope), days=1
        )
        return Visitor(user, client, secret)

    return enter
