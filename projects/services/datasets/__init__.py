"""Datasets: registered, uploaded, imported as immutable commits, cleared for a use case, withdrawn."""

from ..fields import Invalid
from .cards import card
from .catalogue import Withdrawn, change, download, example_rows, register, require_cleared, require_download, withdraw
from .clearances import NotCleared, clearance_standing, request_clearance
from .imports import requeue_lost, run_import
from .uploads import Closed, Guess, Looked, Options, map_columns, preview, receive

__all__ = [
    "Closed",
    "Guess",
    "Invalid",
    "Looked",
    "NotCleared",
    "Options",
    "Withdrawn",
    "card",
    "change",
    "clearance_standing",
    "download",
    "example_rows",
    "map_columns",
    "preview",
    "receive",
    "register",
    "request_clearance",
    "requeue_lost",
    "require_cleared",
    "require_download",
    "run_import",
    "withdraw",
]
