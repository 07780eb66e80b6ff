"""Every event that the ledger may hold. An action that is not listed here cannot be recorded."""

from enum import StrEnum


class Action(StrEnum):
    """One kind of ledger entry: what was done, in the past tense of the field's own words."""

    # People and doors
    SIGNED_IN = "session.signed_in"
    SIGN_IN_FAILED = "session.sign_in_failed"
    SIGNED_OUT = "session.signed_out"
    SIGN_IN_REFUSED = "session.sign_in_refused"
    SIGN_IN_LOCKED = "session.sign_in_locked"
    SIGN_IN_UNLOCKED = "session.sign_in_unlocked"
    SESSION_CONFIRMED = "session.confirmed"
    SESSION_ENDED = "session.ended"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - the name of an event, not a secret
    PASSWORD_ISSUED = "password.issued"  # noqa: S105
    PASSWORD_RESET_ASKED = "password.reset_asked"  # noqa: S105
    FACTOR_ADDED = "factor.added"
    FACTOR_CHANGED = "factor.changed"
    FACTOR_FAILED = "factor.failed"
    FACTOR_REMOVED = "factor.removed"
    IDENTITY_LINKED = "identity.linked"
    PERSON_CREATED = "person.created"
    PERSON_CHANGED = "person.changed"
    PERSON_DEACTIVATED = "person.deactivated"
    ROLE_GRANTED = "role.granted"
    ROLE_REVOKED = "role.revoked"
    ROLE_EXPIRED = "role.expired"
    TOKEN_CREATED = "token.created"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105
    OBJECT_SHARED = "object.shared"
    OBJECT_UNSHARED = "object.unshared"
    REFUSED = "request.refused"

    # Lists
    LIST_EXPORTED = "list.exported"
    VIEW_SAVED = "view.saved"
    VIEW_CHANGED = "view.changed"
    VIEW_DELETED = "view.deleted"
    VIEW_MADE_USUAL = "view.made_usual"

    # Emergency access, and looking again at who holds what
    BREAK_GLASS_OPENED = "break_glass.opened"
    BREAK_GLASS_USED = "break_glass.used"
    BREAK_GLASS_ENDED = "break_glass.ended"
    BREAK_GLASS_REVIEWED = "break_glass.reviewed"
    ACCESS_REVIEW_OPENED = "access_review.opened"
    ACCESS_REVIEW_DECIDED = "access_review.decided"
    ACCESS_REVIEW_CLOSED = "access_review.closed"

    # Projects
    TEAM_CREATED = "team.created"
    TEAM_CHANGED = "team.changed"
    GOAL_CREATED = "goal.created"
    GOAL_CHANGED = "goal.changed"
    USE_CASE_PROPOSED = "use_case.proposed"
    USE_CASE_CHANGED = "use_case.changed"
    USE_CASE_SUBMITTED = "use_case.submitted"
    USE_CASE_MOVED = "use_case.moved"
    DATASET_REGISTERED = "dataset.registered"
    DATASET_CHANGED = "dataset.changed"
    DATASET_UPLOADED = "dataset.uploaded"
    DATASET_MAPPED = "dataset.mapped"
    DATASET_IMPORTED = "dataset.imported"
    DATASET_IMPORT_REFUSED = "dataset.import_refused"
    DATASET_WITHDRAWN = "dataset.withdrawn"
    DATASET_DOWNLOADED = "dataset.downloaded"
    CLEARANCE_REQUESTED = "clearance.requested"

    # Training
    BASE_MODEL_IMPORTED = "base_model.imported"
    BASE_MODEL_ALLOWED = "base_model.allowed"
    BASE_MODEL_DISALLOWED = "base_model.disallowed"
    JOB_SUBMITTED = "job.submitted"
    JOB_STARTED = "job.started"
    JOB_CANCELLED = "job.cancelled"
    JOB_CANCEL_REQUESTED = "job.cancel_requested"
    JOB_REQUEUED = "job.requeued"
    JOB_RETRIED = "job.retried"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    MODEL_REGISTERED = "model.registered"
    MODEL_VERSION_REGISTERED = "model_version.registered"
    MODEL_VERSION_RETIRED = "model_version.retired"
    PUBLICATION_REQUESTED = "publication.requested"
    PUBLICATION_PUBLISHED = "publication.published"
    PUBLICATION_SUPERSEDED = "publication.superseded"
    PUBLICATION_SUSPENDED = "publication.suspended"
    PUBLICATION_RETIRED = "publication.retired"
    MODEL_CALLED = "model.called"
    MODEL_DOWNLOADED = "model.downloaded"
    BASE_MODEL_DOWNLOADED = "base_model.downloaded"
    CONTENT_UPLOADED = "content.uploaded"

    # What use may cost, what is looked for in it, and what people say of it
    QUOTA_SET = "quota.set"
    QUOTA_CHANGED = "quota.changed"
    QUOTA_ENDED = "quota.ended"
    QUOTA_NEARED = "quota.neared"
    QUOTA_EXCEEDED = "quota.exceeded"
    GUARDRAILS_SET = "guardrails.set"
    FEEDBACK_GIVEN = "feedback.given"
    FEEDBACK_TAKEN = "feedback.taken"
    BODIES_PURGED = "bodies.purged"

    # Approvals
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_APPROVED = "approval.approved"
    APPROVAL_CHANGES_REQUESTED = "approval.changes_requested"
    APPROVAL_REJECTED = "approval.rejected"
    APPROVAL_WITHDRAWN = "approval.withdrawn"
    APPROVAL_LAPSED = "approval.lapsed"
    APPROVAL_COMMENTED = "approval.commented"
    APPROVAL_REVOKED = "approval.revoked"
    APPROVAL_ESCALATED = "approval.escalated"
    CONDITION_MET = "approval.condition_met"
    REVIEW_DELEGATED = "review.delegated"
    REVIEW_DELEGATION_BEGAN = "review.delegation_began"
    REVIEW_DELEGATION_ENDED = "review.delegation_ended"

    # The ledger itself
    LEDGER_VERIFIED = "ledger.verified"
    LEDGER_EXPORTED = "ledger.exported"
    LEDGER_ANCHORED = "ledger.anchored"
    LEDGER_ANCHOR_FAILED = "ledger.anchor_failed"
    LEDGER_KEY_ROTATED = "ledger.key_rotated"
    RECEIPT_SENT = "receipt.sent"
    ERASURE_ASKED = "erasure.asked"
    ERASURE_DECLINED = "erasure.declined"
    TEXT_ERASED = "text.erased"
    PERSON_ANONYMISED = "person.anonymised"
