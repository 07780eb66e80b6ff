"""The meter: every call, download and upload becomes one row of usage and one ledger entry, however it ends.

    with metering.call(actor=user, model=model, version=version, kind=metering.Kind.CHAT, client=agent) as call:
        call.used(prompt_tokens=12)
        call.used(completion_tokens=40)
    return Response(body, headers=call.headers())

A stream cannot hold a block open across its pieces: it says `call = metering.begin(...)`, `call.used(...)` and, in its
`finally`, `call.finish(outcome)`. All of it is synchronous; an async view calls it through `sync_to_async`. The meter
counts and records; whether somebody may use the model at all is asked of the registry before.
"""

from portal.gateway.metering.calls import Call, begin, call, outcome_of
from portal.gateway.metering.counts import Uncounted
from portal.gateway.metering.quotas import Exceeded, Standing, standing_of, standings, tell_refusals
from portal.models import Kind, Outcome

__all__ = [
    "Call",
    "Exceeded",
    "Kind",
    "Outcome",
    "Standing",
    "Uncounted",
    "begin",
    "call",
    "outcome_of",
    "standing_of",
    "standings",
    "tell_refusals",
]
