"""Calling a published model: the one way in, for the page and for the API.

The gate is asked at the time of the call, the texts go to the engine process and nowhere else, and the meter notes who
called which version with how much: a hash and counts, never the text.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.conf import settings

from governance.models import User
from governance.services import access
from portal.gateway import bodies, engines, guardrails, metering, versions
from training.models import ModelVersion, Publication, RegisteredModel
from training.services import registry


class Invalid(ValueError):
    """The input cannot be used; `field` names the part of the call that is at fault."""

    def __init__(self, message: str, field: str = "inputs"):
        super().__init__(message)
        self.field = field


class NotAnswering(RuntimeError):
    """A classifier that a guardrail needs cannot be asked now; the message says why."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one call."""

    publication: Publication
    results: list[list[dict]]
    tokens: int
    call: metering.Call
    verdict: guardrails.Verdict

    @property
    def latency_ms(self) -> int:
        """Return how long the call took, in milliseconds."""
        return self.call.usage.latency_ms

    @property
    def version(self) -> ModelVersion:
        """Return the version that answered."""
        return self.publication.version


def engine_state() -> str:
    """Return "ok", or a sentence that says what is wrong with the engine process."""
    return engines.get("embedded").state()


def predict(
    *, actor: User, model: RegisteredModel, texts: list[str], top_k: int = 3, alias: str = "champion", client: str = ""
) -> Prediction:
    """Run the version published under `alias` on `texts` and record the call.

    Raises registry's refusals (not published, not for this person), Invalid for the input, engines.Unavailable, and
    metering.Exceeded where a quota has no room for it.
    """
    publication = registry.servable(user=actor, model=model, alias=alias)
    _check(texts, top_k)
    version = publication.version
    try:
        with metering.call(
            actor=actor,
            kind=metering.Kind.PREDICT,
            model=model,
            version=version,
            alias=alias,
            client=client,
            digest=hashlib.sha256("\0".join(texts).encode()).hexdigest(),
            expected_tokens=_most_tokens(texts),
        ) as call:
            call.used(texts=len(texts), characters=sum(map(len, texts)))
            verdict = guardrails.check(stage="input", publication=publication, texts=texts, actor=actor)
            call.found(verdict.counted)
            if not verdict.allowed:
                raise guardrails.Blocked(verdict)
            answer = engines.get("embedded").predict(versions.loaded(version), verdict.texts, top_k)
            call.used(prompt_tokens=answer.tokens, seconds=answer.latency_ms / 1000)
    except engines.Refused as error:
        raise Invalid(str(error)) from error
    bodies.keep(call.usage, {"inputs": verdict.texts, "results": answer.results})
    return Prediction(publication, answer.results, answer.tokens, call, verdict)


def classify(*, actor: User, name: str, text: str) -> list[dict]:
    """Return the labels that the published classifier `team/name` gives a text, for a guardrail that looks by it.

    The call is metered like any other, in the name of whoever the guardrail looks for. Raises NotAnswering.
    """
    team, _slash, short = name.partition("/")
    model = RegisteredModel.objects.filter(team__slug=team, name=short).select_related("team", "use_case").first()
    try:
        if model is None:
            raise Invalid(f"There is no model “{name}”.", field="model")
        # What a classifier says is for the gateway's eyes; a guardrail of its own would look for ever.
        publication = registry.servable(user=actor, model=model)
        cut = text[: settings.PREDICT_MAX_CHARACTERS]
        with metering.call(
            actor=actor,
            kind=metering.Kind.PREDICT,
            model=model,
            version=publication.version,
            alias=publication.alias,
            client="guardrail",
            digest=hashlib.sha256(cut.encode()).hexdigest(),
            expected_tokens=_most_tokens([cut]),
        ) as call:
            answer = engines.get("embedded").predict(versions.loaded(publication.version), [cut], 100)
            call.used(texts=1, characters=len(cut), prompt_tokens=answer.tokens, seconds=answer.latency_ms / 1000)
    except (Invalid, access.Denied, engines.Refused, engines.Unavailable, metering.Exceeded) as error:
        raise NotAnswering(str(error)) from error
    return answer.results[0]


def _most_tokens(texts: list[str]) -> int:
    """Return how many tokens these texts can have at most: one for each byte, and what marks the ends of each."""
    return sum(len(text.encode()) + 2 for text in texts)


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
