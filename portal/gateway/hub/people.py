"""Who is asking: the answer that `hf auth whoami` and a login show."""

from __future__ import annotations

from django.http import HttpResponse

from governance.policy import Permission, TokenScope
from governance.services import access
from portal.gateway.hub import documents, errors
from portal.gateway.hub.endpoints import Endpoint, json
from projects.models import Team


class WhoAmI(Endpoint):
    """The person, their teams, and what their token is for."""

    def get(self, request) -> HttpResponse:
        """Return them in the clients' form."""
        user, token = request.user, request.auth
        writable = access.scope_ids(user, Permission.DATASET_UPLOAD) | access.scope_ids(user, Permission.MODEL_REGISTER)
        teams = Team.objects.visible_to(user).order_by("slug")[:100]
        body = {
            "type": "user",
            "id": str(user.ledger_id),
            "name": user.email,
            "fullname": user.name or user.email,
            "email": user.email,
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "avatarUrl": "",
            "orgs": [
                {
                    "type": "org",
                    "id": str(team.pk),
                    "name": team.slug,
                    "fullname": team.name,
                    "roleInOrg": "write" if team.pk in writable else "read",
                }
                for team in teams
            ],
        }
        if token is not None:
            made = {
                "displayName": token.name,
                "role": "write" if TokenScope.WRITE in token.scopes else "read",
                "createdAt": documents.moment(token.created_at),
            }
            body["auth"] = {"type": "access_token", "accessToken": made}
        return json(body)

    def handle_exception(self, error: Exception) -> HttpResponse:
        """Say that nobody is signed in without the code of a repository that is not there."""
        response = super().handle_exception(error)
        if response.status_code == 401:
            del response["X-Error-Code"]
            response["X-Error-Message"] = errors.BAD_TOKEN
        return response
