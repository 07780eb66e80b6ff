"""What one row means on the ground floor: people, their sessions, roles, tokens, approvals and the ledger."""

from governance.models.access_reviews import AccessReview, AccessReviewItem
from governance.models.approvals import ApprovalComment, ApprovalRequest, Decision
from governance.models.break_glass import BreakGlass
from governance.models.ledger import (
    Anchor,
    Checkpoint,
    ErasableText,
    LedgerEntry,
    PendingEntry,
    Receipt,
    SealedEntry,
    SigningKey,
    TreeTile,
    Verification,
)
from governance.models.roles import RoleAssignment, Share
from governance.models.sessions import BrowserSession
from governance.models.tokens import ApiToken, IdempotencyKey
from governance.models.users import User

__all__ = [
    "AccessReview",
    "AccessReviewItem",
    "Anchor",
    "ApiToken",
    "ApprovalComment",
    "ApprovalRequest",
    "BreakGlass",
    "BrowserSession",
    "Checkpoint",
    "Decision",
    "ErasableText",
    "IdempotencyKey",
    "LedgerEntry",
    "PendingEntry",
    "Receipt",
    "RoleAssignment",
    "SealedEntry",
    "Share",
    "SigningKey",
    "TreeTile",
    "User",
    "Verification",
]
