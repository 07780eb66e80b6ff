"""One call being metered: what it used so far, and the row and the entry that it ends in."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.services import access, ledger
from portal.gateway import engines
from portal.gateway.metering import counts, prices, quotas
from portal.models import Kind, Outcome, Usage
from projects.models import DatasetVersion
from training.models import BaseModel, ModelVersion, RegisteredModel

_VANISHED = (GeneratorExit, asyncio.CancelledError, ConnectionError)
"""What a body is left by when the client went away."""


class Call:
    """What one call has used so far. It is begun by `begin` and ends once, however often it is finished."""

    def __init__(self, *, usage: Usage, subject, digest: str, details: dict):
        self.usage = usage
        self._subject, self._digest, self._details = subject, digest, details
        name = str(usage.model or usage.base_model or "")
        # Handing out bytes keeps no device busy.
        self.prices = prices.of(name, usage.engine) if usage.kind not in counts.TRANSFERS else {}
        self._request = ledger.request_id.get()
        self._started = time.monotonic()
        self._seconds = 0.0
        self._characters = 0
        self._holds: list[counts.Hold] = []
        self._once = threading.Lock()

    def take(self, *, tokens: int, bytes: int) -> None:
        """Take the most that the call can use of the quotas that bind it; raises Exceeded, or Uncounted."""
        self._holds = quotas.take(self.usage, tokens=tokens, bytes=bytes, priced=self.prices)

    def used(
        self,
        *,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        texts: int = 0,
        bytes: int = 0,
        characters: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Add to what the call used; `seconds` are those of the device, else the whole latency counts as such."""
        usage = self.usage
        usage.prompt_tokens += prompt_tokens
        usage.completion_tokens += completion_tokens
        usage.texts += texts
        usage.bytes += bytes
        self._characters += characters
        self._seconds += seconds

    def found(self, findings: dict[str, int]) -> None:
        """Add how often guardrails found something, by their names."""
        held = self.usage.findings
        self.usage.findings = held | {name: held.get(name, 0) + count for name, count in findings.items()}

    @property
    def standings(self) -> list[quotas.Standing]:
        """Return how the quotas stand that this call was counted in, as far as it has been."""
        return [quotas.Standing(hold.quota, hold.used, hold.ends_at) for hold in self._holds]

    def headers(self) -> dict[str, str]:
        """Return what the answer's headers say about quotas, as far as the call has been counted."""
        return quotas.headers(self._holds)

    def finish(self, outcome: Outcome | str) -> Usage:
        """Record the row and the entry, in one transaction; what comes after the first time changes nothing."""
        usage = self.usage
        if not self._once.acquire(blocking=False):
            return usage
        elapsed = time.monotonic() - self._started
        usage.outcome = Outcome(outcome)
        usage.latency_ms = int(elapsed * 1000)
        # An engine that did not answer used no device that anybody pays for, unless it said so.
        ran = usage.outcome in (Outcome.ANSWERED, Outcome.CANCELLED)
        usage.cost = prices.cost(
            self.prices,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            seconds=self._seconds or (elapsed if ran else 0),
        )
        # A stream ends outside of the request that began it, and its entry belongs to that request all the same.
        token = ledger.request_id.set(self._request)
        try:
            with transaction.atomic():
                usage.save(force_insert=True)
                self._record()
                quotas.settle(usage, self._holds)
        finally:
            ledger.request_id.reset(token)
        return usage

    def _record(self) -> None:
        usage = self.usage
        counted = {
            "texts": usage.texts,
            "characters": self._characters,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "tokens": usage.tokens,
            "bytes": usage.bytes,
        }
        ledger.record(
            _action(usage),
            actor=usage.person,
            subject=self._subject,
            digest=self._digest,
            details={
                **self._details,
                "usage": usage.pk,
                "kind": usage.kind,
                **({"version": usage.version.number} if usage.version else {}),
                **({"commit": usage.commit} if usage.commit else {}),
                **({"alias": usage.alias} if usage.alias else {}),
                **{name: value for name, value in counted.items() if value},
                **({"guardrails": usage.findings} if usage.findings else {}),
                "latency_ms": usage.latency_ms,
                "cost": f"{usage.cost} {usage.currency}",
                "outcome": usage.outcome.value,
            },
        )


def begin(
    *,
    actor: User,
    kind: Kind | str,
    model: RegisteredModel | None = None,
    version: ModelVersion | None = None,
    dataset_version: DatasetVersion | None = None,
    base_model: BaseModel | None = None,
    client: str = "",
    alias: str = "",
    engine: str = "embedded",
    expected_tokens: int = 0,
    expected_bytes: int = 0,
    digest: str = "",
    details: dict | None = None,
) -> Call:
    """Begin to meter a call of a model, or a download or upload of a model, of data or of a base model.

    `client` is what called, in its own words; `digest` (of the input, or of the file) and `details` (canonical, no free
    text) go into the ledger entry as they are. `expected_tokens` and `expected_bytes` are the most that the call can
    use. Raises Exceeded where a quota has no room for it, counts.Uncounted where that cannot be told, and TypeError
    where nothing is named that is used.
    """
    owner = model or (dataset_version.dataset if dataset_version is not None else None)
    subject = _subject(Kind(kind), model, version, dataset_version, base_model)
    if subject is None:
        raise TypeError("name what is used: a model, a dataset version or a base model")
    held = version or dataset_version or base_model
    usage = Usage(
        at=timezone.now(),
        person=actor,
        token=getattr(actor, "token", None),
        team=owner.team if owner is not None else None,
        use_case=model.use_case if model is not None else None,
        model=model,
        version=version,
        dataset_version=dataset_version,
        base_model=base_model,
        commit=held.commit.oid if held is not None and held.commit is not None else "",
        kind=Kind(kind),
        alias=alias,
        currency=settings.CURRENCY,
        engine=engine if kind not in counts.TRANSFERS else "",
        client=client_of(client),
        request_id=ledger.request_id.get()[:64],
        cost=Decimal(0),
    )
    begun = Call(usage=usage, subject=subject, digest=digest, details=details or {})
    begun.take(tokens=expected_tokens, bytes=expected_bytes)
    return begun


@contextmanager
def call(**described) -> Iterator[Call]:
    """Meter what happens within the block, described as for `begin`; the way it is left decides the outcome."""
    begun = begin(**described)
    try:
        yield begun
    except BaseException as error:
        begun.finish(outcome_of(error))
        raise
    begun.finish(Outcome.ANSWERED)


def outcome_of(error: BaseException) -> Outcome:
    """Return how a call ended that this was raised in."""
    if isinstance(error, _VANISHED):
        return Outcome.CANCELLED
    if isinstance(error, engines.Refused | access.Denied):
        return Outcome.REFUSED
    if isinstance(error, engines.Unavailable):
        return Outcome.UNAVAILABLE
    return Outcome.FAILED


def client_of(agent: str) -> str:
    """Return the name by which a client introduced itself, short and printable; a browser is only a browser."""
    words = " ".join("".join(c if c.isprintable() else " " for c in agent).split())
    return "browser" if words.startswith("Mozilla/") else words[:120]


def _subject(kind, model, version, dataset_version, base_model):
    """Return what the entry is about: the model that was called, or exactly what was handed out or taken in."""
    if kind in counts.TRANSFERS:
        return version or model or dataset_version or base_model
    return model or base_model


def _action(usage: Usage) -> Action:
    if usage.kind == Kind.UPLOAD:
        return Action.CONTENT_UPLOADED
    if usage.kind != Kind.DOWNLOAD:
        return Action.MODEL_CALLED
    if usage.dataset_version is not None:
        return Action.DATASET_DOWNLOADED
    return Action.BASE_MODEL_DOWNLOADED if usage.model is None else Action.MODEL_DOWNLOADED
