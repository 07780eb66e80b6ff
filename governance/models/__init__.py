"""What one row means on the ground floor: people, roles, tokens, approvals and the ledger."""

from governance.models.approvals import ApprovalComment, ApprovalRequest, Decision
from governance.models.ledger import Checkpoint, ErasableText, LedgerEntry, PendingEntry, SealedEntry
from governance.models.roles import RoleAssignment, Share
from governance.models.tokens import ApiToken, IdempotencyKey
from governance.models.users import User

__all__ = [
    "ApiToken",
    "ApprovalComment",
    "ApprovalRequest",
    "Checkpoint",
    "Decision",
    "ErasableText",
    "IdempotencyKey",
    "LedgerEntry",
    "PendingEntry",
    "RoleAssignment",
    "SealedEntry",
    "Share",
    "User",
]
