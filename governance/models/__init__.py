"""What one row means on the ground floor: people, their sessions, roles, tokens, approvals and the ledger."""

from governance.models.access_reviews import AccessReview, AccessReviewItem
from governance.models.approvals import (
    ApprovalComment,
    ApprovalCondition,
    ApprovalInvolvement,
    ApprovalRequest,
    ApprovalStep,
    Decision,
    ReviewDelegation,
)
from governance.models.break_glass import BreakGlass
from governance.models.erasures import Erasure
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
    "ApprovalCondition",
    "ApprovalInvolvement",
    "ApprovalRequest",
    "ApprovalStep",
    "BreakGlass",
    "BrowserSession",
    "Checkpoint",
    "Decision",
    "ErasableText",
    "Erasure",
    "IdempotencyKey",
    "LedgerEntry",
    "PendingEntry",
    "Receipt",
    "ReviewDelegation",
    "RoleAssignment",
    "SealedEntry",
    "Share",
    "SigningKey",
    "TreeTile",
    "User",
    "Verification",
]
