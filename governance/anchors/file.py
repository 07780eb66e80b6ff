"""An append-only file, best on a volume that this machine can only add to: signed notes, one after the other."""

from __future__ import annotations

import os
from pathlib import Path

from governance.anchors import Failed, Statement


def label(place: str) -> str:
    """Return the path."""
    return place


def wrong(place: str) -> str:
    """Say where the path is not absolute, or its folder is not there."""
    if not Path(place).is_absolute():
        return f"The path {place} is not absolute: it would depend on where a process was started."
    return "" if Path(place).parent.is_dir() else f"The folder {Path(place).parent} is not there."


def publish(place: str, statement: Statement) -> bytes:
    """Append the note and wait until it is on the disk; raises Failed."""
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        with os.fdopen(handle, "ab") as file:
            file.write(statement.note.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Failed(f"The file could not be written: {error.strerror}.") from error
    return b""


def kept(place: str) -> str:
    """Return what the file holds; nothing where there is none yet."""
    try:
        return Path(place).read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise Failed(f"The file {place} could not be read: {error}.") from error
