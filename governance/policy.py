"""The auditor's page: every permission, which role holds it, which gate needs whom, by when. Standard library only.

Read top to bottom it answers "who may do what here?". Nothing in the product grants a right that is not in
these tables, and a word that is not here raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """One thing a person may be allowed to do. A permission is held in one team, or in the whole organisation."""

    TEAM_VIEW = "team.view"
    TEAM_EDIT = "team.edit"
    TEAM_CREATE = "team.create"
    MEMBER_MANAGE = "member.manage"
    GOAL_MANAGE = "goal.manage"

    USE_CASE_VIEW = "use_case.view"
    USE_CASE_PROPOSE = "use_case.propose"
    USE_CASE_EDIT = "use_case.edit"
    USE_CASE_MOVE = "use_case.move"

    DATASET_VIEW = "dataset.view"
    DATASET_REGISTER = "dataset.register"
    DATASET_EDIT = "dataset.edit"
    DATASET_UPLOAD = "dataset.upload"
    DATASET_DOWNLOAD = "dataset.download"
    DATASET_WITHDRAW = "dataset.withdraw"
    DATASET_SHARE = "dataset.share"
    DATASET_CLEAR = "dataset.clear"

    BASE_MODEL_VIEW = "base_model.view"
    BASE_MODEL_IMPORT = "base_model.import"
    BASE_MODEL_ALLOW = "base_model.allow"

    JOB_VIEW = "job.view"
    JOB_SUBMIT = "job.submit"
    JOB_CONTROL = "job.control"

    MODEL_VIEW = "model.view"
    MODEL_REGISTER = "model.register"
    MODEL_PUBLISH = "model.publish"
    MODEL_RETIRE = "model.retire"
    MODEL_SHARE = "model.share"
    MODEL_USE = "model.use"

    USAGE_VIEW = "usage.view"
    QUOTA_MANAGE = "quota.manage"
    # Making a model stricter is its team's business; making it laxer is not.
    GUARDRAIL_TIGHTEN = "guardrail.tighten"
    GUARDRAIL_SET = "guardrail.set"

    REVIEW_VIEW = "review.view"
    REVIEW_REQUEST = "review.request"
    REVIEW_COMMENT = "review.comment"
    # The door to deciding. By itself it decides nothing: each step of a gate asks for a speciality.
    REVIEW_DECIDE = "review.decide"
    REVIEW_GOVERNANCE = "review.governance"
    REVIEW_LEGAL = "review.legal"
    REVIEW_PRIVACY = "review.privacy"
    REVIEW_SECURITY = "review.security"

    LEDGER_VIEW = "ledger.view"
    COMPLIANCE_VIEW = "compliance.view"
    LIST_SAVE = "list.save"
    PERSON_VIEW = "person.view"
    PERSON_MANAGE = "person.manage"
    TEXT_ERASE = "text.erase"
    SITE_ADMINISTER = "site.administer"

    BREAK_GLASS_OPEN = "break_glass.open"
    BREAK_GLASS_REVIEW = "break_glass.review"


class Role(StrEnum):
    """A named set of permissions that a person holds in the organisation or in one team."""

    EMPLOYEE = "employee"
    BUSINESS_ANALYST = "business_analyst"
    PROJECT_MANAGER = "project_manager"
    DOMAIN_EXPERT = "domain_expert"
    DATA_STEWARD = "data_steward"
    DATA_SCIENTIST = "data_scientist"
    ML_ENGINEER = "ml_engineer"
    TEAM_OWNER = "team_owner"
    GUEST = "guest"
    REVIEWER = "reviewer"
    LEGAL_REVIEWER = "legal_reviewer"
    PRIVACY_REVIEWER = "privacy_reviewer"
    SECURITY_REVIEWER = "security_reviewer"
    REVIEW_DELEGATE = "review_delegate"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


P = Permission

REVIEWER_ROLES = frozenset({Role.REVIEWER, Role.LEGAL_REVIEWER, Role.PRIVACY_REVIEWER, Role.SECURITY_REVIEWER})
"""Roles that decide at gates, each with a speciality. `reviewer` is the one of governance."""

ORGANISATION_ROLES = REVIEWER_ROLES | {Role.EMPLOYEE, Role.REVIEW_DELEGATE, Role.AUDITOR, Role.ADMINISTRATOR}
"""Roles held in the whole organisation. Every other role is held in one team."""

_TEAM_READ = frozenset({P.TEAM_VIEW, P.USE_CASE_VIEW, P.DATASET_VIEW, P.JOB_VIEW, P.MODEL_VIEW, P.REVIEW_VIEW})
_TALK = frozenset({P.REVIEW_COMMENT})
_DESCRIBE = frozenset({P.USE_CASE_PROPOSE, P.USE_CASE_EDIT, P.REVIEW_REQUEST}) | _TALK
_BUILD = (
    frozenset(
        {
            P.DATASET_REGISTER,
            P.DATASET_EDIT,
            P.DATASET_UPLOAD,
            P.DATASET_DOWNLOAD,
            P.DATASET_CLEAR,
            P.BASE_MODEL_IMPORT,
            P.JOB_SUBMIT,
            P.JOB_CONTROL,
            P.MODEL_REGISTER,
            P.MODEL_PUBLISH,
            P.MODEL_USE,
        }
    )
    | _DESCRIBE
)
_READ_ALL = _TEAM_READ | {P.BASE_MODEL_VIEW, P.COMPLIANCE_VIEW, P.PERSON_VIEW}
_REVIEW_ALL = _READ_ALL | {P.REVIEW_COMMENT, P.REVIEW_DECIDE}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.EMPLOYEE: frozenset({P.USE_CASE_PROPOSE, P.BASE_MODEL_VIEW, P.LIST_SAVE}),
    Role.BUSINESS_ANALYST: _TEAM_READ | _DESCRIBE | {P.MODEL_USE},
    Role.PROJECT_MANAGER: _TEAM_READ | _DESCRIBE | {P.USE_CASE_MOVE, P.MODEL_USE},
    Role.DOMAIN_EXPERT: _TEAM_READ | _TALK | {P.MODEL_USE},
    Role.DATA_STEWARD: _TEAM_READ
    | _TALK
    | {
        P.DATASET_REGISTER,
        P.DATASET_EDIT,
        P.DATASET_UPLOAD,
        P.DATASET_DOWNLOAD,
        P.DATASET_WITHDRAW,
        P.DATASET_SHARE,
        P.DATASET_CLEAR,
        P.REVIEW_REQUEST,
    },
    Role.DATA_SCIENTIST: _TEAM_READ | _BUILD,
    Role.ML_ENGINEER: _TEAM_READ | _BUILD | {P.MODEL_RETIRE},
    Role.TEAM_OWNER: _TEAM_READ
    | _BUILD
    | {
        P.TEAM_EDIT,
        P.MEMBER_MANAGE,
        P.USE_CASE_MOVE,
        P.DATASET_WITHDRAW,
        P.DATASET_SHARE,
        P.MODEL_RETIRE,
        P.MODEL_SHARE,
        P.USAGE_VIEW,
        P.QUOTA_MANAGE,
        P.GUARDRAIL_TIGHTEN,
    },
    Role.GUEST: frozenset({P.TEAM_VIEW, P.USE_CASE_VIEW, P.MODEL_VIEW, P.MODEL_USE}) | _TALK,
    # A reviewer reads everything that can be put before them and decides; they build nothing, so that no one
    # can be asked to approve their own work by holding two hats at once.
    Role.REVIEWER: _REVIEW_ALL
    | {P.REVIEW_GOVERNANCE, P.BASE_MODEL_ALLOW, P.MODEL_RETIRE, P.GUARDRAIL_SET, P.BREAK_GLASS_REVIEW},
    Role.LEGAL_REVIEWER: _REVIEW_ALL | {P.REVIEW_LEGAL},
    Role.PRIVACY_REVIEWER: _REVIEW_ALL | {P.REVIEW_PRIVACY, P.GUARDRAIL_SET},
    Role.SECURITY_REVIEWER: _REVIEW_ALL | {P.REVIEW_SECURITY, P.MODEL_RETIRE, P.GUARDRAIL_SET},
    # Held for the length of a delegation, by whoever stands in for a reviewer. It has no speciality: what its holder
    # may decide, they decide on behalf of the reviewer who delegated to them.
    Role.REVIEW_DELEGATE: _READ_ALL | {P.REVIEW_COMMENT, P.REVIEW_DECIDE},
    Role.AUDITOR: _READ_ALL | {P.LEDGER_VIEW, P.USAGE_VIEW, P.BREAK_GLASS_REVIEW},
    # An administrator looks after people, teams and machines and has no say over approvals.
    Role.ADMINISTRATOR: _READ_ALL
    | {
        P.TEAM_CREATE,
        P.TEAM_EDIT,
        P.MEMBER_MANAGE,
        P.GOAL_MANAGE,
        P.PERSON_MANAGE,
        P.TEXT_ERASE,
        P.BASE_MODEL_IMPORT,
        P.SITE_ADMINISTER,
        P.USAGE_VIEW,
        P.QUOTA_MANAGE,
        P.JOB_CONTROL,
        P.BREAK_GLASS_OPEN,
    },
}

SUPERUSER_PERMISSIONS = frozenset({P.BREAK_GLASS_OPEN})
"""All that a superuser may by being one: break the glass, which is alarmed, recorded, and reviewed by someone else."""


class GlassLevel(StrEnum):
    """How much an emergency access gives."""

    READ = "read"
    OPERATE = "operate"


_GLASS_READ = _READ_ALL | {P.DATASET_DOWNLOAD, P.LEDGER_VIEW}

BREAK_GLASS: dict[GlassLevel, frozenset[Permission]] = {
    GlassLevel.READ: _GLASS_READ,
    GlassLevel.OPERATE: _GLASS_READ | {P.JOB_CONTROL, P.DATASET_WITHDRAW, P.MODEL_RETIRE, P.MODEL_USE},
}
"""What emergency access gives: to look, and to stop what runs. Never to approve, give rights, or make anything new."""

APPROVING = frozenset(
    {
        P.REVIEW_DECIDE,
        P.REVIEW_GOVERNANCE,
        P.REVIEW_LEGAL,
        P.REVIEW_PRIVACY,
        P.REVIEW_SECURITY,
        P.BASE_MODEL_ALLOW,
        P.GUARDRAIL_SET,
    }
)
"""Permissions that let work pass. No emergency gives them, and nobody holds them together with the administration."""


@dataclass(frozen=True)
class Conflict:
    """Two sets of roles that one person should not hold at once, and whether that is refused or only warned of.

    A role in a team counts whichever team it is: roles that decide or audit are held in the whole organisation.
    """

    one: frozenset[Role]
    other: frozenset[Role]
    refused: bool
    reason: str


_DECIDING = frozenset(role for role, held in ROLE_PERMISSIONS.items() if held & APPROVING)
_BUILDING = frozenset(
    role
    for role, held in ROLE_PERMISSIONS.items()
    if role not in ORGANISATION_ROLES and held & {P.JOB_SUBMIT, P.DATASET_UPLOAD, P.MODEL_PUBLISH, P.USE_CASE_EDIT}
)

CONFLICTS: tuple[Conflict, ...] = (
    Conflict(
        frozenset({Role.ADMINISTRATOR}),
        _DECIDING,
        refused=True,
        reason="An administrator has no say over approvals: whoever gives the roles must not decide as well.",
    ),
    Conflict(
        frozenset({Role.AUDITOR}),
        frozenset({Role.ADMINISTRATOR}) | _DECIDING,
        refused=False,
        reason="An auditor looks at what administrators and reviewers did; with both they would audit themselves.",
    ),
    Conflict(
        _DECIDING,
        _BUILDING,
        refused=False,
        reason="A reviewer who also builds in a team cannot decide what they asked for, and others may doubt the rest.",
    ),
)
"""Pairs of roles that get in each other's way. What is not here may be held together."""

SHAREABLE: dict[str, frozenset[Permission]] = {
    "projects.dataset": frozenset({P.DATASET_VIEW, P.DATASET_DOWNLOAD}),
    "training.registeredmodel": frozenset({P.MODEL_VIEW, P.MODEL_USE}),
}
"""What may be granted on one single object, to one person, until a date. Keys are model labels."""


class Gate(StrEnum):
    """A point that work cannot pass until other people agreed to exactly what they were shown."""

    USE_CASE_DEVELOPMENT = "use_case_development"
    DATASET_USE = "dataset_use"
    MODEL_PUBLICATION = "model_publication"


class RiskTier(StrEnum):
    """How much harm a use case could do, as its owner says and its reviewers see: decides who has to agree, by when.

    What the law prohibits (Regulation (EU) 2024/1689, Article 5) is not a tier: no gate opens for it.
    """

    MINIMAL = "minimal"
    LIMITED = "limited"
    HIGH = "high"


@dataclass(frozen=True)
class TierRule:
    """What a tier asks for beside people: `due_days` to decide, then a reminder every `remind_days`, and how many days
    an approval lasts at most (None: until what was approved changes). `meaning` helps to choose it."""

    meaning: str
    due_days: int
    remind_days: int
    valid_days: int | None


TIERS: dict[RiskTier, TierRule] = {
    RiskTier.MINIMAL: TierRule("A wrong output costs somebody a moment, and a person puts it right.", 5, 3, None),
    RiskTier.LIMITED: TierRule("People deal with its outputs directly, or a wrong one costs time or money.", 7, 3, 730),
    RiskTier.HIGH: TierRule("It bears on work, health, credit, education, rights or safety of people.", 14, 3, 365),
}


class Involvement(StrEnum):
    """A part that somebody had in what is put before a gate."""

    PROPOSED = "proposed"
    DESCRIBED = "described"
    PREPARED_DATA = "prepared_data"
    TRAINED = "trained"


@dataclass(frozen=True)
class Step:
    """`quorum` different people, each with one of the permissions, have to approve. Steps stand beside each other."""

    key: str
    label: str
    approvers: tuple[Permission, ...]
    quorum: int = 1


_ANY_REVIEWER = (P.REVIEW_GOVERNANCE, P.REVIEW_LEGAL, P.REVIEW_PRIVACY, P.REVIEW_SECURITY)
_BY_TIER: dict[RiskTier, tuple[Step, ...]] = {
    RiskTier.MINIMAL: (Step("review", "A reviewer", _ANY_REVIEWER),),
    RiskTier.LIMITED: (Step("review", "Two reviewers", _ANY_REVIEWER, 2),),
    # Nobody stands for two of them: one decision for each person, whatever roles they hold.
    RiskTier.HIGH: (
        Step("governance", "Governance", (P.REVIEW_GOVERNANCE,)),
        Step("law", "Law or privacy", (P.REVIEW_LEGAL, P.REVIEW_PRIVACY)),
        Step("security", "Security", (P.REVIEW_SECURITY,)),
    ),
}


@dataclass(frozen=True)
class GateRule:
    """Who may open a gate: the steps for each tier, which part in the work excludes from deciding, and what is shown
    without being bound to: a change of an `immaterial` part is listed and voids nothing."""

    question: str
    steps: dict[RiskTier, tuple[Step, ...]]
    excluded: frozenset[Involvement]
    immaterial: frozenset[str] = frozenset()


_I = Involvement

GATES: dict[Gate, GateRule] = {
    Gate.USE_CASE_DEVELOPMENT: GateRule(
        "May this use case be developed?", _BY_TIER, frozenset({_I.PROPOSED, _I.DESCRIBED}), frozenset({"Goals"})
    ),
    Gate.DATASET_USE: GateRule(
        "May this dataset version be used for this use case?",
        _BY_TIER,
        frozenset({_I.PROPOSED, _I.PREPARED_DATA}),
        frozenset({"Dataset title", "Description"}),
    ),
    Gate.MODEL_PUBLICATION: GateRule(
        "May this model version be published to this audience?",
        _BY_TIER,
        frozenset({_I.PROPOSED, _I.PREPARED_DATA, _I.TRAINED}),
    ),
}

MAX_DELEGATION_DAYS = 90
"""For how long a reviewer may hand their duty to somebody else, at most."""

NEVER_DELEGATES = frozenset({Role.ADMINISTRATOR, Role.AUDITOR, Role.GUEST})
"""Who holds one of these has no say over approvals, so nobody can hand them theirs."""


class TokenScope(StrEnum):
    """What an API token may be used for; a token never exceeds the person it belongs to."""

    READ = "read"
    WRITE = "write"
    TRAIN = "train"
    REVIEW = "review"
    PREDICT = "predict"
    ADMIN = "admin"


_READ = frozenset(p for p in Permission if p.endswith(".view"))
_ADMIN = frozenset(
    {
        P.TEAM_CREATE,
        P.TEAM_EDIT,
        P.MEMBER_MANAGE,
        P.GOAL_MANAGE,
        P.PERSON_MANAGE,
        P.TEXT_ERASE,
        P.SITE_ADMINISTER,
        P.BASE_MODEL_IMPORT,
        P.BASE_MODEL_ALLOW,
        P.BREAK_GLASS_OPEN,
    }
)
_TRAIN = frozenset({P.JOB_SUBMIT, P.JOB_CONTROL})
_REVIEW = frozenset({P.REVIEW_DECIDE, P.REVIEW_COMMENT, P.BREAK_GLASS_REVIEW, *_ANY_REVIEWER})

SCOPE_PERMISSIONS: dict[TokenScope, frozenset[Permission]] = {
    TokenScope.READ: _READ | {P.DATASET_DOWNLOAD},
    TokenScope.WRITE: frozenset(Permission) - _READ - _ADMIN - _TRAIN - _REVIEW - {P.MODEL_USE, P.DATASET_DOWNLOAD},
    TokenScope.TRAIN: _TRAIN,
    TokenScope.REVIEW: _REVIEW,
    TokenScope.PREDICT: frozenset({P.MODEL_USE}),
    TokenScope.ADMIN: _ADMIN,
}


def reviewer_roles(permissions: tuple[Permission, ...]) -> list[Role]:
    """Return the roles whose holders may decide a step that asks for one of these permissions."""
    return [role for role in Role if role in REVIEWER_ROLES and ROLE_PERMISSIONS[role] & set(permissions)]


def team_permissions() -> list[tuple[str, str]]:
    """Return (codename, label) of every permission that a role can hold in one team, for the team model's Meta."""
    held = set().union(*(ROLE_PERMISSIONS[role] for role in Role if role not in ORGANISATION_ROLES))
    return [(p.value, f"Can {p.value.replace('.', ': ').replace('_', ' ')}") for p in Permission if p in held]


def shareable_permissions(label: str) -> list[tuple[str, str]]:
    """Return (codename, label) of what may be shared on one object of the model `label`, for its Meta."""
    return [(p.value, f"Can {p.value.replace('.', ': ')} (shared)") for p in Permission if p in SHAREABLE[label]]
