"""The engine's voice: events as JSON lines on a descriptor that no library can write to by accident."""

import os
from typing import Any

from training.engine.spec import Event


class EventStream:
    """Writes ``spec.Event`` lines to a file descriptor, each with a single write."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def emit(self, kind: str, **data: Any) -> None:
        """Write one event; raises ``BrokenPipeError`` when nobody listens any more."""
        line = Event(kind, data).to_line().encode()
        while line:
            line = line[os.write(self._descriptor, line) :]

    def log(self, message: str, level: str = "info") -> None:
        """Write one ``log`` event."""
        self.emit("log", level=level, message=message)


def take_over_stdout() -> EventStream:
    """Reserve standard output for events and send everything else that is printed to standard error.

    Also what C libraries write to descriptor 1 goes to standard error from now on.
    """
    private = os.dup(1)
    os.set_inheritable(private, False)
    os.dup2(2, 1)
    return EventStream(private)
