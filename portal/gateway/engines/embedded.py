"""The engine process on this machine, behind a Unix socket (`python -m training.engine.serve`)."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import httpx
from django.conf import settings

from portal.gateway import engines
from portal.gateway.engines import Answer, Ask, Loaded, Piece, Refused, Unavailable, Vectors

logger = logging.getLogger(__name__)

NAME = "embedded"
AWAY = "The model cannot answer right now. Try again in a minute; if that does not help, tell your administrator."
BROKEN = "The model stopped in the middle of its answer. Ask again."
# The first call of a version loads it, which reads and verifies its files.
SECONDS = 60.0
# The engine itself gives up on a model that is silent for two minutes.
SILENCE_SECONDS = 150.0
_REFUSALS = {413, 422}


class Engine:
    """Speaks to the engine process; what it keeps are connections, one set for each event loop."""

    NAME = NAME
    NEEDS_FILES = True

    def claims(self, model: str) -> bool:
        """It serves what no other engine does."""
        return False

    def state(self) -> str:
        """Return "ok", or what is wrong."""
        try:
            with self._client(timeout=2.0) as client:
                client.get("/health").raise_for_status()
        except (httpx.HTTPError, Unavailable) as error:
            return str(error) or "the engine does not answer"
        return "ok"

    def predict(self, loaded: Loaded, texts: list[str], top_k: int) -> Answer:
        """Return the labels of each text; raises Unavailable, Refused."""
        body = {**_named(loaded), "texts": texts, "top_k": top_k}
        try:
            with self._client(timeout=SECONDS) as client:
                response = client.post("/v1/predict", json=body)
        except httpx.HTTPError as error:
            raise _away(error) from error
        held = _checked(response.status_code, response.content)
        return Answer(
            results=[
                [{"label": row["label"], "score": row["probability"]} for row in one["labels"]]
                for one in held["results"]
            ],
            tokens=held["tokens"],
            latency_ms=round(held["latency_ms"]),
        )

    def chat(self, loaded: Loaded, messages: list[dict], ask: Ask) -> AsyncIterator[Piece]:
        """Yield an answer to a conversation; raises Unavailable, Refused."""
        return self._generate({**_named(loaded), **_wanted(ask), "messages": messages})

    def complete(self, loaded: Loaded, prompts: list, ask: Ask) -> AsyncIterator[Piece]:
        """Yield how texts go on; raises Unavailable, Refused."""
        return self._generate({**_named(loaded), **_wanted(ask), "prompts": prompts})

    async def embed(self, loaded: Loaded, inputs: list) -> Vectors:
        """Return one vector for each input; raises Unavailable, Refused."""
        try:
            response = await _shared().post("/v1/embed", json={**_named(loaded), "inputs": inputs}, timeout=SECONDS)
        except httpx.HTTPError as error:
            raise _away(error) from error
        held = _checked(response.status_code, response.content)
        return Vectors(base64.b64decode(held["vectors"]), held["width"], held["tokens"])

    async def _generate(self, body: dict[str, Any]) -> AsyncIterator[Piece]:
        begun = False
        try:
            timeout = httpx.Timeout(SECONDS, read=SILENCE_SECONDS)
            async with _shared().stream("POST", "/v1/generate", json=body, timeout=timeout) as response:
                if response.status_code != 200:
                    _checked(response.status_code, await response.aread())
                async for line in response.aiter_lines():
                    begun = True
                    event = json.loads(line)
                    if event.get("done"):
                        return
                    if "error" in event:
                        raise Unavailable(_sentence(event["error"]))
                    yield _piece(event)
        except httpx.HTTPError as error:
            raise _away(error, BROKEN if begun else AWAY) from error
        # The process ended between two lines: nothing was said about the end.
        raise Unavailable(BROKEN)

    @staticmethod
    def _client(*, timeout: float) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(settings.ENGINE_SOCKET), verify=False)
        return httpx.Client(transport=transport, base_url="http://engine", headers=_credentials(), timeout=timeout)


def _shared() -> httpx.AsyncClient:
    """Return this event loop's connections to the engine."""
    return engines.kept(NAME, _connect)


def _connect() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    transport = httpx.AsyncHTTPTransport(uds=str(settings.ENGINE_SOCKET), verify=False, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url="http://engine", headers=_credentials())


def _credentials() -> dict[str, str]:
    try:
        return {"Authorization": f"Bearer {settings.ENGINE_TOKEN_FILE.read_text().strip()}"}
    except OSError as error:
        logger.error("The engine's token cannot be read (%s): has the engine process been started?", error)
        raise Unavailable(AWAY) from error


def _named(loaded: Loaded) -> dict[str, Any]:
    return {
        "key": loaded.key,
        "folder": str(loaded.folder),
        "files": loaded.files,
        "base_folder": str(loaded.base_folder) if loaded.base_folder else None,
        "base_files": loaded.base_files or None,
    }


def _wanted(ask: Ask) -> dict[str, Any]:
    return {**asdict(ask), "stop": list(ask.stop)}


def _piece(event: dict[str, Any]) -> Piece:
    told = event.get("logprobs")
    return Piece(
        choice=event.get("choice", 0),
        text=event.get("text", ""),
        finish=event.get("finish", ""),
        prompt_tokens=event.get("prompt_tokens", 0),
        completion_tokens=event.get("tokens", 0),
        logprobs=None if told is None else tuple(told),
    )


def _checked(status: int, content: bytes) -> dict[str, Any]:
    held = json.loads(content)
    if status == 200:
        return held
    error = held["error"]
    if status in _REFUSALS:
        raise Refused(_sentence(error), field=error.get("field", ""), code=error.get("code", ""))
    raise Unavailable(_sentence(error))


def _sentence(error: dict[str, Any]) -> str:
    return f"{error['message']} {error.get('advice', '')}".strip()


def _away(error: httpx.HTTPError, sentence: str = AWAY) -> Unavailable:
    if isinstance(error, httpx.TimeoutException):
        return Unavailable("The engine did not answer in time. Try again.")
    logger.error("The engine process does not answer: %r", error)
    return Unavailable(sentence)
