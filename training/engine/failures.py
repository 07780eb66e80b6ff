"""What can go wrong in a run, said so that a person can act on it, and recognised in what libraries raise."""

import errno
from dataclasses import dataclass

from training.engine.spec import ERROR_CODES


@dataclass
class EngineError(Exception):
    """A run cannot go on. ``retryable`` means that the same specification may succeed another time or elsewhere."""

    code: str
    message: str
    advice: str
    retryable: bool = False

    def __post_init__(self) -> None:
        assert self.code in ERROR_CODES, self.code
        super().__init__(self.message)


class Stopped(BaseException):
    """The run was asked to stop and has saved what it needs to continue; not an error, hence no ``Exception``."""


def explain(error: BaseException) -> EngineError:
    """Return the ``EngineError`` that says what ``error`` means; unknown ones become ``internal``."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    for link in chain:
        if isinstance(link, EngineError):
            return link
    for link in chain:
        text = f"{type(link).__name__}: {link}"
        if _is_disk_full(link, text):
            return EngineError(
                "disk_full",
                "The disk that holds the run folder is full.",
                "Free some space on the worker's disk, then retry; the run continues from its last checkpoint.",
                retryable=True,
            )
        if _is_out_of_memory(link, text):
            return EngineError(
                "out_of_memory",
                "The run needed more memory than this machine has free.",
                "Halve the batch size and double gradient accumulation, shorten the longest text, or choose LoRA.",
            )
    first = " ".join(str(error).split())[:500]
    return EngineError(
        "internal",
        f"The engine met an error that it does not know: {type(error).__name__}: {first}",
        "Retry once; if it happens again, give the log of this run to your administrator.",
        retryable=True,
    )


def _is_disk_full(error: BaseException, text: str) -> bool:
    # safetensors and torch's zip writer report the operating system's message as text, without an errno.
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in text or "os error 28" in text or "Disk quota exceeded" in text


def _is_out_of_memory(error: BaseException, text: str) -> bool:
    signs = ("OutOfMemoryError", "out of memory", "can't allocate memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)
