"""Checkpoints of a run: one folder per fencing token and step, complete or absent, resumed from only when it verifies.

Layout, below the run folder: ``checkpoints/token-<token>/step-<step>/`` with ``manifest.json`` over all its files. A
worker that lost its lease writes under its old token and so never touches what the new owner writes; whoever starts
next takes the newest step that verifies, whichever token wrote it.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.engine.files import MANIFEST, folder_in_one_piece, manifest_holds, sha256_of

KEEP = 2
_TOKEN = re.compile(r"token-(\d+)")
_STEP = re.compile(r"step-(\d+)")


@dataclass(frozen=True, order=True)
class Checkpoint:
    """A folder that holds the state of a run after ``step`` optimiser steps, written under ``token``."""

    step: int
    token: int
    path: Path


def find(run: Path) -> list[Checkpoint]:
    """Return all checkpoints of a run, newest step first; they may be damaged."""
    found = []
    for owner in (run / "checkpoints").glob("token-*"):
        token = _TOKEN.fullmatch(owner.name)
        for folder in owner.glob("step-*"):
            step = _STEP.fullmatch(folder.name)
            if token and step:
                found.append(Checkpoint(int(step[1]), int(token[1]), folder))
    return sorted(found, reverse=True)


def newest_sound(run: Path, on_damaged: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Checkpoint | None:
    """Return the newest checkpoint whose manifest verifies, or None; damaged ones are reported and passed over."""
    for checkpoint in find(run):
        if manifest_holds(checkpoint.path):
            return checkpoint
        on_damaged(checkpoint)
    return None


def save(run: Path, token: int, step: int, write: Callable[[Path], None]) -> tuple[Checkpoint, str]:
    """Let ``write`` fill a folder, move it into place, and drop older ones of the same token.

    Returns the checkpoint and the sha256 of its manifest. Other tokens' folders are left alone while the run goes on.
    """
    target = run / "checkpoints" / f"token-{token}" / f"step-{step}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with folder_in_one_piece(target) as draft:
        write(draft)
    own = [checkpoint for checkpoint in find(run) if checkpoint.token == token]
    for old in own[KEEP:]:
        shutil.rmtree(old.path, ignore_errors=True)
    return Checkpoint(step, token, target), sha256_of(target / MANIFEST)


def drop_drafts(run: Path, token: int) -> None:
    """Remove half-written folders that earlier processes under the same token left behind."""
    for draft in (run / "checkpoints" / f"token-{token}").glob(".step-*.draft"):
        shutil.rmtree(draft, ignore_errors=True)
