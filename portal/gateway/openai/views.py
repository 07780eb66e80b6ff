"""The endpoints of /v1. Each authorises in the request's own thread, gives its database connection back, then waits.

A call is metered however it ends: answered, refused by the engine, broken off by either side. What was written until a
client left is counted, and the engine stops writing.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import JsonResponse, StreamingHttpResponse

from governance.models import User
from portal.gateway import bodies, engines, guardrails, metering, versions
from portal.gateway.openai import answers, callers, catalogue, errors, questions
from portal.gateway.openai.endpoints import endpoint
from training.models import Publication
from training.services import registry

STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class _Begun:
    """A call that was let in: who asks for what, what answers, and the meter that runs.

    `findings` is what guardrails found in the question; `guarded` says that they look at the answer too, which then
    is held back until it is whole.
    """

    user: User
    publication: Publication
    asked: Any
    engine: Any
    loaded: engines.Loaded
    call: metering.Call
    findings: dict[str, str]
    guarded: bool

    @property
    def headers(self) -> dict[str, str]:
        """Return what is told beside the answer: how quotas stand, and what guardrails found."""
        return {**self.call.headers(), **self.findings}


def _release() -> None:
    """Give the connection of this request's thread back; inside a transaction (a test's) it stays."""
    if not connection.in_atomic_block:
        connection.close()


@endpoint("GET", "HEAD")
def models(request):
    """List the models that the caller may use here."""
    rows = catalogue.offered(callers.admit(request))
    return JsonResponse({"object": "list", "data": [catalogue.describe(row) for row in rows]})


@endpoint("GET", "HEAD")
def model(request, model_id):
    """Show one model."""
    publication = catalogue.find(callers.admit(request), model_id)
    if publication.model.task not in catalogue.TASKS:
        catalogue.require_task(publication, catalogue.GENERATION)
    return JsonResponse(catalogue.describe(publication))


@endpoint("POST")
async def chat(request):
    """Write the next message of a conversation, at once or as it comes."""
    begun = await sync_to_async(_begin)(request, metering.Kind.CHAT, questions.chat, catalogue.GENERATION)
    pieces = begun.engine.chat(begun.loaded, begun.asked.messages, begun.asked.ask)
    return await _write(begun, pieces, chat=True, choices=begun.asked.ask.n)


@endpoint("POST")
async def completions(request):
    """Write how texts go on, at once or as it comes."""
    begun = await sync_to_async(_begin)(request, metering.Kind.COMPLETION, questions.completion, catalogue.GENERATION)
    pieces = begun.engine.complete(begun.loaded, begun.asked.prompts, begun.asked.ask)
    return await _write(begun, pieces, chat=False, choices=begun.asked.ask.n * len(begun.asked.prompts))


@endpoint("POST")
async def embeddings(request):
    """Return one vector for each text."""
    begun = await sync_to_async(_begin)(request, metering.Kind.EMBEDDING, questions.embedding, catalogue.EMBEDDING)
    outcome = metering.Outcome.FAILED
    try:
        held = await begun.engine.embed(begun.loaded, begun.asked.inputs)
        begun.call.used(prompt_tokens=held.tokens, texts=len(begun.asked.inputs))
        outcome = metering.Outcome.ANSWERED
    except BaseException as error:
        outcome = metering.outcome_of(error)
        raise
    finally:
        await asyncio.shield(sync_to_async(_finish)(begun, outcome))
    body = answers.vectors(begun.asked.model, held, packed=begun.asked.base64)
    return JsonResponse(body, headers=begun.headers)


@endpoint("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", policy="public")
def unknown(request, rest=""):
    """Say that there is no such endpoint."""
    return errors.response(404, f"There is no {request.method} {request.path} here.", code="unknown_url")


def _begin(request, kind: metering.Kind, read: Callable, task: str) -> _Begun:
    """Let a call in, or raise why not; afterwards nothing of it needs the database until it ends."""
    user = callers.admit(request)
    asked = read(questions.read(request))
    publication = catalogue.find(user, asked.model)
    catalogue.require_task(publication, task)
    engine = engines.of(str(publication.model))
    if not hasattr(engine, kind_method(kind)):
        raise errors.Invalid(f"The engine that serves {publication.model} cannot do this.", param="model")
    loaded = versions.loaded(publication.version, files=engine.NEEDS_FILES)
    rules = guardrails.rules_of(publication.model_id)
    if rules and any(not isinstance(one, str) for one in asked.said):
        raise errors.Invalid("This model's guardrails read texts: send texts, not token ids.", param="input")
    call = metering.begin(
        actor=user,
        kind=kind,
        model=publication.model,
        version=publication.version,
        alias=publication.alias,
        client=request.headers.get("User-Agent", ""),
        engine=engine.NAME,
        expected_tokens=asked.budget,
        digest=hashlib.sha256("\0".join(map(str, asked.said)).encode()).hexdigest(),
    )
    verdict = _look(call, publication, user, "input", asked.said) if rules else None
    _release()
    return _Begun(
        user=user,
        publication=publication,
        asked=asked.saying(verdict.texts) if verdict is not None else asked,
        engine=engine,
        loaded=loaded,
        call=call,
        findings=verdict.headers() if verdict is not None else {},
        guarded=any(rule.get("output", "off") != "off" for rule in rules.values()),
    )


def _look(call: metering.Call, publication: Publication, user: User, stage: str, texts: list[str]):
    """Return what the model's guardrails say of these texts; raises Blocked, having ended the call."""
    try:
        verdict = guardrails.check(stage=stage, publication=publication, texts=texts, actor=user)
        call.found(verdict.counted)
        if not verdict.allowed:
            raise guardrails.Blocked(verdict)
    except BaseException as error:
        call.finish(metering.outcome_of(error))
        raise
    return verdict


def kind_method(kind: metering.Kind) -> str:
    """Return the name of the engine's method that does this kind of call."""
    return {metering.Kind.CHAT: "chat", metering.Kind.COMPLETION: "complete"}.get(kind, "embed")


async def _write(begun: _Begun, pieces: AsyncIterator[engines.Piece], *, chat: bool, choices: int):
    answer = answers.Answer(
        chat=chat, model=begun.asked.model, commit=begun.publication.version.commit.oid, choices=choices
    )
    written = _metered(begun, pieces, answer)
    # What the engine refuses is known with the first piece: it is an answer of its own then, not the end of a stream.
    first = await anext(written)
    if begun.asked.stream and not begun.guarded:
        return _Stream(begun, _events(begun, first, written, answer))
    async with aclosing(written):
        async for _ in written:
            pass
    if begun.asked.stream:
        return _Stream(begun, _events(begun, engines.Piece(), _again(answer), answer))
    return JsonResponse(answer.whole(logprobs=begun.asked.ask.logprobs is not None), headers=begun.headers)


async def _again(answer: answers.Answer) -> AsyncIterator[engines.Piece]:
    for piece in answer.pieces():
        yield piece


class _Stream(StreamingHttpResponse):
    """A stream of events; one whose reader left before the first of them is metered as well."""

    def __init__(self, begun: _Begun, events: AsyncIterator[bytes]):
        headers = {**STREAM_HEADERS, **begun.headers}
        super().__init__(events, content_type="text/event-stream; charset=utf-8", headers=headers)
        self._resource_closers.append(lambda: begun.call.finish(metering.Outcome.CANCELLED))


async def _metered(begun: _Begun, pieces: AsyncIterator[engines.Piece], answer: answers.Answer):
    """Yield the engine's pieces, each counted; end the call with the outcome that it had."""
    outcome, look_at = metering.Outcome.FAILED, time.monotonic() + settings.STREAM_LOOK_SECONDS
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                answer.take(piece)
                begun.call.used(prompt_tokens=piece.prompt_tokens, completion_tokens=piece.completion_tokens)
                yield piece
                if time.monotonic() > look_at:
                    await sync_to_async(_still_served)(begun)
                    look_at = time.monotonic() + settings.STREAM_LOOK_SECONDS
        if begun.guarded:
            answer.say(await sync_to_async(_look_at_answer)(begun, answer.texts))
        outcome = metering.Outcome.ANSWERED
    except BaseException as error:
        outcome = metering.outcome_of(error)
        raise
    finally:
        # Cancelling must not cut off the note of what was used.
        await asyncio.shield(sync_to_async(_finish)(begun, outcome, answer.texts))


def _look_at_answer(begun: _Begun, texts: list[str]) -> list[str]:
    try:
        verdict = _look(begun.call, begun.publication, begun.user, "output", texts)
        begun.findings.update(verdict.headers())
        return verdict.texts
    finally:
        _release()


def _still_served(begun: _Begun) -> None:
    """Raise registry.NotPublished where the publication ended, or another took its place, since the call began."""
    try:
        publication = begun.publication
        now = registry.servable(
            user=User.objects.get(pk=begun.user.pk), model=publication.model, alias=publication.alias
        )
        if now.version_id != publication.version_id:
            raise registry.NotPublished(
                "Another version took this one's place.", code="superseded", subject=publication
            )
    finally:
        _release()


def _finish(begun: _Begun, outcome: metering.Outcome, texts: list[str] | None = None) -> None:
    try:
        begun.call.finish(outcome)
        if texts is not None and outcome == metering.Outcome.ANSWERED:
            bodies.keep(begun.call.usage, {"inputs": begun.asked.said, "results": texts})
    finally:
        _release()


async def _events(begun: _Begun, first: engines.Piece, written, answer: answers.Answer) -> AsyncIterator[bytes]:
    # What the middleware asked after the view has opened this thread's connection again.
    await sync_to_async(_release)()
    try:
        async with aclosing(written):
            for opening in answer.opening():
                yield opening
            if (chunk := answer.chunk(first)) is not None:
                yield chunk
            async for piece in written:
                if (chunk := answer.chunk(piece)) is not None:
                    yield chunk
        if begun.asked.counted:
            yield answer.closing(begun.call.usage.pk)
        yield answers.DONE
    except (GeneratorExit, asyncio.CancelledError):
        raise
    except Exception as error:
        # The status was sent long ago: all that is left is to say it in the stream.
        yield answers.event(errors.told(error))
