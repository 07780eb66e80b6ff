"""The refusals of the approval services, and what does not fit."""

from __future__ import annotations

from governance.services import access


class Invalid(ValueError):
    """What was typed does not fit; `field` names where."""

    def __init__(self, message: str, *, field: str = ""):
        super().__init__(message)
        self.field = field


class NotReady(access.Denied):
    """The subject cannot be put before the gate yet; `missing` lists what to do."""


class Stale(access.Denied):
    """What the reviewer looked at is no longer what is there."""


class Closed(access.Denied):
    """The request was already decided, withdrawn or has lapsed, or this approval has ended."""
