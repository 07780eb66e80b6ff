"""A published version's files on this machine, laid out for an engine process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from django.conf import settings

from portal.gateway.engines import Loaded
from projects.models import Commit
from projects.services import repositories
from training.models import ModelVersion


def loaded(version: ModelVersion, *, files: bool = True) -> Loaded:
    """Lay the version's files (and its base model's) out, each verified by sha256 on the way.

    An engine that holds the weights itself needs none of them: `files=False` names the version alone.
    """
    commit, base = version.commit, version.base_model.commit
    if not files:
        return Loaded(commit.oid, Path(), None, {}, {}, model=str(version.model))
    listed = {file.path: file.sha256 for file in commit.files.all()}
    adapter = any(path.endswith("adapter_model.safetensors") for path in listed)
    return Loaded(
        key=commit.oid,
        folder=_laid_out(commit),
        base_folder=_laid_out(base) if adapter else None,
        files=listed,
        base_files={file.path: file.sha256 for file in base.files.all()} if adapter else {},
        model=str(version.model),
    )


def _laid_out(commit: Commit) -> Path:
    """Return the folder that holds the commit's files on this machine, laid out once and renamed into place whole."""
    folder = Path(settings.ENGINE_CACHE) / commit.oid
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two calls may come first at the same time: each lays out its own copy and the first rename wins.
    fresh = Path(tempfile.mkdtemp(prefix=f"{commit.oid}.", dir=folder.parent))
    try:
        repositories.materialise(commit, fresh)
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        if fresh.exists():
            shutil.rmtree(fresh, ignore_errors=True)
    return folder
