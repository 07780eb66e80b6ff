"""Approvals: asked for, decided by other people, bound to the digest of what was shown, void when it changes.

A subject (a use case, a clearance, a publication) offers, for each gate it stands before:

- `approval_title(gate) -> str`, `scope_id`, `get_absolute_url()`;
- `approval_material(gate) -> dict`: everything a reviewer is shown, in canonical values; all but the parts that the
  policy calls immaterial is what an approval binds to;
- `approval_checklist(gate) -> list[Check]`: what must be true before it may be asked;
- `approval_predecessor(gate)`: the subject whose last approval this one is compared with (often itself), or None;
- `approval_tier(gate) -> RiskTier`: which steps, which time to decide and which length of an approval apply;
- `approval_involved(gate) -> list[Involved]`: who had which part in it.

`standing` is the one function that says whether a gate is open, and why not; whoever acts asks it when acting.
`say` is the one function that says whether a person may decide a request, and why not.
"""

from governance.services.approvals.deadlines import sweep
from governance.services.approvals.decisions import decide, meet, revoke
from governance.services.approvals.delegations import delegate
from governance.services.approvals.delegations import end as end_delegation
from governance.services.approvals.effects import on_approved, on_closed
from governance.services.approvals.materials import (
    Check,
    Difference,
    Involved,
    compare,
    differences,
    digest_of,
    drift,
    flatten,
    parts,
    previous,
)
from governance.services.approvals.refusals import Closed, Invalid, NotReady, Stale
from governance.services.approvals.requests import comment, end, lapse_changed, request, withdraw
from governance.services.approvals.reviewers import (
    Bench,
    Candidate,
    Say,
    StepStanding,
    bench,
    may_meet,
    may_revoke,
    outstanding,
    role_word,
    say,
    steps,
    waiting_for,
)
from governance.services.approvals.standings import Standing, standing, stops

__all__ = [
    "Bench",
    "Candidate",
    "Check",
    "Closed",
    "Difference",
    "Invalid",
    "Involved",
    "NotReady",
    "Say",
    "Stale",
    "Standing",
    "StepStanding",
    "bench",
    "comment",
    "compare",
    "decide",
    "delegate",
    "differences",
    "digest_of",
    "drift",
    "end",
    "end_delegation",
    "flatten",
    "lapse_changed",
    "may_meet",
    "may_revoke",
    "meet",
    "on_approved",
    "on_closed",
    "outstanding",
    "parts",
    "previous",
    "request",
    "revoke",
    "role_word",
    "say",
    "standing",
    "steps",
    "stops",
    "sweep",
    "waiting_for",
    "withdraw",
]
