"""The REST endpoints of the governance package: approvals, the ledger, people, roles, shares, tokens, and oneself."""

from rest_framework.routers import SimpleRouter

from governance.api.access_reviews import Access, AccessReviews
from governance.api.approvals import Approvals, Delegations
from governance.api.break_glass import BreakGlasses
from governance.api.doors import Locks, Sessions
from governance.api.erasures import Erasures
from governance.api.ledger import Ledger
from governance.api.people import Me, People, Roles, Shares, Tokens

router = SimpleRouter()
router.register("access", Access, basename="access")
router.register("access-reviews", AccessReviews, basename="access-review")
router.register("approvals", Approvals, basename="approval")
router.register("break-glass", BreakGlasses, basename="break-glass")
router.register("delegations", Delegations, basename="delegation")
router.register("erasures", Erasures, basename="erasure")
router.register("ledger", Ledger, basename="ledger")
router.register("people", People, basename="person")
router.register("roles", Roles, basename="role")
router.register("shares", Shares, basename="share")
router.register("tokens", Tokens, basename="token")
router.register("sessions", Sessions, basename="session")
router.register("locks", Locks, basename="lock")
router.register("me", Me, basename="me")
