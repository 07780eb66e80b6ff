"""A server with the interface of OpenAI (vLLM, or a proprietary service) that an operator declared in the settings.

Its address, its key and the models it answers for come from the environment (`UPSTREAM_URL`, `UPSTREAM_KEY`,
`UPSTREAM_MODELS`), never from a user. Nothing of a caller's headers goes there, and no redirect is followed.
"""

from __future__ import annotations

import base64
import json
import logging
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
from django.conf import settings

from portal.gateway import engines
from portal.gateway.engines import Ask, Loaded, Piece, Refused, Unavailable, Vectors

logger = logging.getLogger(__name__)

NAME = "openai_compatible"
AWAY = "The model cannot answer right now. Try again in a minute; if that does not help, tell your administrator."
BROKEN = "The server behind this model broke off in the middle of its answer. Ask again."
SECONDS = 60.0
SILENCE_SECONDS = 150.0
_REFUSALS = {400, 413, 422}
# Until the server has said how many tokens there were: about so many bytes make one.
BYTES_PER_TOKEN = 4


class Engine:
    """Speaks to the declared server; what it keeps are connections, one set for each event loop."""

    NAME = NAME
    NEEDS_FILES = False

    def claims(self, model: str) -> bool:
        """Return whether the operator gave the model to that server."""
        return model in settings.UPSTREAM_MODELS

    def state(self) -> str:
        """Return "ok", or what is wrong."""
        try:
            with httpx.Client(headers=_headers(), timeout=5.0) as client:
                client.get(f"{settings.UPSTREAM_URL}/models").raise_for_status()
        except httpx.HTTPError as error:
            return f"the server of UPSTREAM_URL does not answer: {error}"
        return "ok"

    def chat(self, loaded: Loaded, messages: list[dict], ask: Ask) -> AsyncIterator[Piece]:
        """Yield an answer to a conversation; raises Unavailable, Refused."""
        told = {} if ask.logprobs is None else {"logprobs": True, "top_logprobs": ask.logprobs}
        said = sum(len(message["content"].encode()) for message in messages)
        return _stream("chat/completions", {**_wanted(loaded, ask), **told, "messages": messages}, said)

    def complete(self, loaded: Loaded, prompts: list, ask: Ask) -> AsyncIterator[Piece]:
        """Yield how texts go on; raises Unavailable, Refused."""
        told = {} if ask.logprobs is None else {"logprobs": ask.logprobs}
        said = sum(len(one.encode()) if isinstance(one, str) else len(one) * BYTES_PER_TOKEN for one in prompts)
        return _stream("completions", {**_wanted(loaded, ask), **told, "prompt": prompts}, said)

    async def embed(self, loaded: Loaded, inputs: list) -> Vectors:
        """Return one vector for each input; raises Unavailable, Refused."""
        body = {"model": settings.UPSTREAM_MODELS[loaded.model], "input": inputs, "encoding_format": "base64"}
        try:
            response = await _shared().post(f"{settings.UPSTREAM_URL}/embeddings", json=body, timeout=SECONDS)
        except httpx.HTTPError as error:
            raise _away(error) from error
        if response.status_code != 200:
            raise _problem(response.status_code, response.content)
        held = response.json()
        rows = [base64.b64decode(row["embedding"]) for row in sorted(held["data"], key=lambda row: row["index"])]
        return Vectors(b"".join(rows), len(rows[0]) // 4, held["usage"]["prompt_tokens"])


def _shared() -> httpx.AsyncClient:
    return engines.kept(NAME, lambda: httpx.AsyncClient(headers=_headers(), follow_redirects=False))


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.UPSTREAM_KEY}", "User-Agent": f"gatehouse/{settings.GATEHOUSE_VERSION}"}


def _wanted(loaded: Loaded, ask: Ask) -> dict[str, Any]:
    wanted = {
        "model": settings.UPSTREAM_MODELS[loaded.model],
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "top_p": ask.top_p,
        "n": ask.n,
        # Without this a server does not say how many tokens there were.
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return (
        wanted | ({"seed": ask.seed} if ask.seed is not None else {}) | ({"stop": list(ask.stop)} if ask.stop else {})
    )


async def _stream(path: str, body: dict[str, Any], said: int) -> AsyncIterator[Piece]:
    """Yield the events of a stream as pieces.

    Tokens are counted as they come, so that an answer that is broken off has a count; the server's own count, which
    comes last, puts it right.
    """
    guessed, written, begun = math.ceil(said / BYTES_PER_TOKEN), 0, False
    try:
        timeout = httpx.Timeout(SECONDS, read=SILENCE_SECONDS)
        async with _shared().stream("POST", f"{settings.UPSTREAM_URL}/{path}", json=body, timeout=timeout) as response:
            if response.status_code != 200:
                raise _problem(response.status_code, await response.aread())
            begun = True
            yield Piece(prompt_tokens=guessed)
            async for line in response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                data = line[5:].strip()
                if data == "[DONE]":
                    return
                event = json.loads(data)
                if "error" in event:
                    raise Unavailable(str(event["error"].get("message") or BROKEN))
                for choice in event.get("choices", []):
                    piece = _piece(choice)
                    written += piece.completion_tokens
                    yield piece
                if usage := event.get("usage"):
                    yield Piece(
                        prompt_tokens=usage["prompt_tokens"] - guessed,
                        completion_tokens=usage.get("completion_tokens", 0) - written,
                    )
                    guessed, written = usage["prompt_tokens"], usage.get("completion_tokens", 0)
    except httpx.HTTPError as error:
        raise _away(error, BROKEN if begun else AWAY) from error
    raise Unavailable(BROKEN)


def _piece(choice: dict[str, Any]) -> Piece:
    text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
    return Piece(
        choice=choice.get("index", 0),
        text=text,
        finish=choice.get("finish_reason") or "",
        completion_tokens=1 if text else 0,
        logprobs=_logprobs(choice.get("logprobs")),
    )


def _logprobs(held: dict[str, Any] | None) -> tuple[dict[str, Any], ...] | None:
    """Return log probabilities in the engines' shape, from those of either endpoint."""
    if not held:
        return None
    if held.get("content") is not None:
        keys = ("token", "bytes", "logprob")
        return tuple(
            {key: one.get(key) for key in keys}
            | {"top": [{key: top.get(key) for key in keys} for top in one.get("top_logprobs", [])]}
            for one in held["content"]
        )
    tokens, values = held.get("tokens") or [], held.get("token_logprobs") or []
    tops = held.get("top_logprobs") or [{}] * len(tokens)
    return tuple(
        {
            "token": token,
            "bytes": None,
            "logprob": value,
            "top": [{"token": name, "bytes": None, "logprob": number} for name, number in (top or {}).items()],
        }
        for token, value, top in zip(tokens, values, tops, strict=False)
    )


def _problem(status: int, content: bytes) -> Exception:
    error: dict[str, Any] = {}
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        held = json.loads(content)
        error = held["error"] if isinstance(held.get("error"), dict) else held
    message = str(error.get("message") or "").strip()
    if status in _REFUSALS:
        return Refused(message or "The server behind this model refused.", field=str(error.get("param") or ""))
    # What it says of its key, its models or its own limits is for the operator, not for the caller.
    logger.error("The server of UPSTREAM_URL answered %s: %s", status, message)
    return Unavailable(AWAY)


def _away(error: httpx.HTTPError, sentence: str = AWAY) -> Unavailable:
    if isinstance(error, httpx.TimeoutException):
        return Unavailable("The server behind this model did not answer in time. Try again.")
    logger.error("The server of UPSTREAM_URL does not answer: %r", error)
    return Unavailable(sentence)
