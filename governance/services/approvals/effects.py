"""What other packages do, in the same transaction, when a gate opens or closes; they say so when the site starts."""

from __future__ import annotations

from collections.abc import Callable

from governance.models import ApprovalRequest, User
from governance.policy import Gate

_openings: dict[Gate, list[Callable]] = {}
_closings: dict[Gate, list[Callable]] = {}


def on_approved(gate: Gate, effect: Callable) -> None:
    """Say what happens, in the same transaction, when the gate opens: `effect(actor=..., request=...)`."""
    _openings.setdefault(gate, []).append(effect)


def on_closed(gate: Gate, effect: Callable) -> None:
    """Say what happens, in the same transaction, when a request ends without opening the gate or its approval ends.

    `effect(actor=..., request=...)` sees the request in its final state: changes requested, rejected, withdrawn,
    lapsed or revoked.
    """
    _closings.setdefault(gate, []).append(effect)


def opened(actor: User, request: ApprovalRequest) -> None:
    """Let everything happen that follows from the gate being open."""
    for effect in _openings.get(Gate(request.gate), ()):
        effect(actor=actor, request=request)


def closed(actor: User, request: ApprovalRequest) -> None:
    """Let everything happen that follows from the gate being shut."""
    for effect in _closings.get(Gate(request.gate), ()):
        effect(actor=actor, request=request)
