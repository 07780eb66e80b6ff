"""Calling a published model: the one way in, for the page and for the API.

The gate is asked at the time of the call, the texts go to the engine process and nowhere else, and one ledger entry
says who called which version with how much; it holds a hash and counts, never the text.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction

from governance.actions import Action
from governance.models import User
from governance.services import ledger
from portal.gateway import engines
from projects.models import Commit
from projects.services import repositories
from training.models import ModelVersion, Publication, RegisteredModel
from training.services import registry


class Invalid(ValueError):
    """The input cannot be used; `field` names the part of the call that is at fault."""

    def __init__(self, message: str, field: str = "inputs"):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Prediction:
    """The answer to one call."""

    publication: Publication
    results: list[list[dict]]
    tokens: int
    latency_ms: int

    @property
    def version(self) -> ModelVersion:
        """Return the version that answered."""
        return self.publication.version


def engine_state() -> str:
    """Return "ok", or a sentence that says what is wrong with the engine process."""
    return engines.get("embedded").state()


def predict(
    *, actor: User, model: RegisteredModel, texts: list[str], top_k: int = 3, alias: str = "champion"
) -> Prediction:
    """Run the version published under `alias` on `texts` and record the call.

    Raises registry's refusals (not published, not for this person), Invalid for the input, engines.Unavailable.
    """
    publication = registry.servable(user=actor, model=model, alias=alias)
    _check(texts, top_k)
    version = publication.version
    started = time.monotonic()
    outcome = "failed"
    tokens = 0
    try:
        answer = engines.get("embedded").predict(_loaded(version), texts, top_k)
        outcome, tokens = "answered", answer.tokens
    except engines.Refused as error:
        outcome = "refused"
        raise Invalid(str(error)) from error
    except engines.Unavailable:
        outcome = "unavailable"
        raise
    finally:
        latency = int((time.monotonic() - started) * 1000)
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        with transaction.atomic():
            ledger.record(
                Action.MODEL_CALLED,
                actor=actor,
                subject=model,
                digest=digest,
                details={
                    "version": version.number,
                    "commit": version.commit.oid,
                    "alias": alias,
                    "texts": len(texts),
                    "characters": sum(map(len, texts)),
                    "tokens": tokens,
                    "latency_ms": latency,
                    "outcome": outcome,
                },
            )
    return Prediction(publication, answer.results, answer.tokens, latency)


def _check(texts: list[str], top_k: int) -> None:
    if not texts:
        raise Invalid("Give at least one text.")
    if len(texts) > settings.PREDICT_MAX_TEXTS:
        raise Invalid(f"{len(texts)} texts are more than the {settings.PREDICT_MAX_TEXTS} of one call; send several.")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise Invalid(f"Text {number} is empty.")
        if len(text) > settings.PREDICT_MAX_CHARACTERS:
            raise Invalid(
                f"Text {number} has {len(text)} characters; the limit is {settings.PREDICT_MAX_CHARACTERS}. Shorten it."
            )
    if not 1 <= top_k <= 100:
        raise Invalid("top_k must be from 1 to 100.", field="top_k")


def _loaded(version: ModelVersion) -> engines.Loaded:
    """Lay the version's files (and its base model's) out for the engine, each verified by sha256 on the way."""
    commit, base = version.commit, version.base_model.commit
    files = {file.path: file.sha256 for file in commit.files.all()}
    adapter = any(path.endswith("adapter_model.safetensors") for path in files)
    return engines.Loaded(
        key=commit.oid,
        folder=_laid_out(commit),
        base_folder=_laid_out(base) if adapter else None,
        files=files,
        base_files={file.path: file.sha256 for file in base.files.all()} if adapter else {},
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
