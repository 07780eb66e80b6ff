"""The REST endpoints of the governance package: approvals, the ledger, people, roles, shares, tokens, and oneself."""

from rest_framework.routers import SimpleRouter

from governance.api.approvals import Approvals
from governance.api.ledger import Ledger
from governance.api.people import Me, People, Roles, Shares, Tokens

router = SimpleRouter()
router.register("approvals", Approvals, basename="approval")
router.register("ledger", Ledger, basename="ledger")
router.register("people", People, basename="person")
router.register("roles", Roles, basename="role")
router.register("shares", Shares, basename="share")
router.register("tokens", Tokens, basename="token")
router.register("me", Me, basename="me")
