"""Being asked to stop: SIGTERM ends the run at once, or, while training, after the step that is under way."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from training.engine.failures import Stopped


class StopSignal:
    """Remembers that SIGTERM (or Ctrl-C) came; raises ``Stopped`` where nothing needs to be saved first."""

    def __init__(self) -> None:
        self.requested = False
        self._deferred = False

    def install(self) -> None:
        """Start to listen; call from the main thread."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        self.requested = True
        if not self._deferred:
            raise Stopped

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Within this block a signal only sets ``requested``; on leaving it, ``Stopped`` is raised if one came."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            raise Stopped
