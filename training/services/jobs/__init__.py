"""Training jobs from the dry run to the registered result; every rule about a run is here.

People plan, submit, retry and cancel; workers claim, keep, report, finish, fail and give back; the scheduler sweeps.
"""

from training.services.jobs.estimates import Range, Truncation
from training.services.jobs.gates import NotAllowed, NotApproved, NotCleared, Refused, checks
from training.services.jobs.ownership import (
    ENGINE_DIED,
    WORKER_LOST,
    Claim,
    LostOwnership,
    Pulse,
    claim,
    confirm_cancelled,
    fail,
    heartbeat,
    look,
    record_events,
    release,
    sweep,
)
from training.services.jobs.plans import Plan, plan
from training.services.jobs.results import BadResult, finish
from training.services.jobs.samples import Shown
from training.services.jobs.submission import (
    Invalid,
    NotPossible,
    Position,
    cancel,
    queue_position,
    retry,
    stop_resting_on,
    submit,
)

__all__ = [
    "ENGINE_DIED",
    "WORKER_LOST",
    "BadResult",
    "Claim",
    "Invalid",
    "LostOwnership",
    "NotAllowed",
    "NotApproved",
    "NotCleared",
    "NotPossible",
    "Plan",
    "Position",
    "Pulse",
    "Range",
    "Refused",
    "Shown",
    "Truncation",
    "cancel",
    "checks",
    "claim",
    "confirm_cancelled",
    "fail",
    "finish",
    "heartbeat",
    "look",
    "plan",
    "queue_position",
    "record_events",
    "release",
    "retry",
    "stop_resting_on",
    "submit",
    "sweep",
]
