"""``python -m training.engine.serve``: published models behind a small HTTP interface, for the gateway alone.

It listens on a Unix socket or on loopback, never further, and every request but ``GET /health`` needs the bearer
token of ``--token-file``. Bodies and answers are JSON:

- ``GET /health`` answers ``{"status": "ok"}``.
- ``GET /v1/loaded`` answers ``{"models": [{key, kind, size, calls, ...}], "batches": n}``.
- ``POST /v1/load`` ``{key, folder, files, base_folder, base_files}`` answers ``{key, size, labels: [names]}``; a
  language model tells its ``max_length`` instead of labels.
  ``files`` and ``base_files`` map each path to its sha256 and are verified before anything is loaded; the base model
  is needed for adapters only (null otherwise).
- ``POST /v1/predict``: the same fields, ``texts`` (list) and ``top_k`` (default 5), answers ``{key, latency_ms,
  tokens, results: [{labels: [{label, probability}], tokens, cut}]}``, labels by falling probability. A model not in
  memory is loaded first.
- ``POST /v1/embed``: the same fields and ``inputs`` (texts, or lists of token ids) answers ``{key, latency_ms, tokens,
  width, vectors}``; ``vectors`` is base64 of little-endian float32, inputs x width.
- ``POST /v1/generate``: the same fields and those of ``generation.asks.Ask`` answers JSON lines, one event each, see
  ``LanguageModel.answer``; the last one is ``{"done": true}``, or an error where it failed after it had begun. Hanging
  up ends the work.
- ``POST /v1/unload`` ``{key}`` answers ``{unloaded: true or false}``.

An error answers ``{"error": {code, message, advice, field}}`` with status 401, 404, 405, 409, 413, 422, 500, 503
or 507.
"""

import argparse
import asyncio
import base64
import contextlib
import hmac
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

from training.engine import process

process.prepare_libraries()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

from training.engine import hardware  # noqa: E402
from training.engine.failures import EngineError, explain  # noqa: E402
from training.engine.generation import Ask  # noqa: E402
from training.engine.serving.encoders import EMBEDDING, HEADS  # noqa: E402
from training.engine.serving.models import ServedModels  # noqa: E402
from training.engine.serving.sources import Refused, Source  # noqa: E402

BODY_BYTES = 8 * 2**20
TEXTS = 256
TEXT_CHARACTERS = 50_000

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Application:
    """The ASGI application over ``ServedModels``."""

    def __init__(self, token: str, memory: int, device: str = "cpu"):
        self._token = token.encode()
        self._memory = memory
        self._device = device
        self._models: ServedModels | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            if (scope["path"], scope["method"]) == ("/v1/generate", "POST"):
                await self._generate(scope, receive, send)
                return
            await _send(send, *await _outcome(self._route(scope, receive)))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._models = ServedModels(self._memory, self._device)
        self._models.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._models.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _route(self, scope: Scope, receive: Receive) -> dict[str, Any]:
        path, method = scope["path"], scope["method"]
        if path == "/health":
            return {"status": "ok"}
        self._authorise(scope)
        wanted = METHODS.get(path)
        if wanted is None:
            raise Refused(404, "not_found", f"There is nothing at {path}.", "See the module's documentation.")
        if method != wanted:
            raise Refused(405, "wrong_method", f"{path} answers {wanted} only.", f"Use {wanted}.")
        assert self._models is not None
        if path == "/v1/loaded":
            return {"models": self._models.describe(), "batches": self._models.batches}
        body = await _read_json(receive)
        if path == "/v1/unload":
            return {"unloaded": await self._models.unload(str(body.get("key")))}
        source = Source.from_json(body)
        if path == "/v1/embed":
            return await self._embed(source, body)
        if path == "/v1/predict":
            return await self._predict(source, body)
        if source.files and source.settings()["task"] not in {*HEADS, EMBEDDING}:
            seat = await self._models.sit(source)
            return {"key": source.key, "size": seat.model.size, "max_length": seat.max_length}
        model = await self._models.get(source)
        return {"key": source.key, "size": model.size, "labels": model.labels}

    def _authorise(self, scope: Scope) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            raise Refused(401, "unauthorised", "The bearer token is missing or wrong.", "Send the engine's token.")

    async def _predict(self, source: Source, body: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        texts, top = _check_texts(body)
        assert self._models is not None
        model, probabilities, tokens = await self._models.predict(source, texts)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        whole = tokens.lengths
        return {
            "key": source.key,
            "latency_ms": round((time.perf_counter() - began) * 1000, 3),
            "tokens": int(whole.sum()),
            "results": [
                {
                    "labels": [{"label": model.labels[k], "probability": float(probabilities[i, k])} for k in order[i]],
                    "tokens": int(whole[i]),
                    "cut": bool(tokens.was_cut[i]),
                }
                for i in range(len(texts))
            ],
        }

    async def _embed(self, source: Source, body: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        assert self._models is not None
        vectors, tokens = await self._models.embed(source, _check_inputs(body))
        return {
            "key": source.key,
            "latency_ms": round((time.perf_counter() - began) * 1000, 3),
            "tokens": int(tokens.lengths.sum()),
            "width": vectors.shape[1],
            "vectors": base64.b64encode(np.ascontiguousarray(vectors, dtype="<f4").tobytes()).decode(),
        }

    async def _generate(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events as they come; a failure before the first of them is an ordinary error with its status."""

        status, found = await _outcome(self._read_generation(scope, receive))
        if status != 200:
            await _send(send, status, found)
            return
        source, ask = found
        writing = asyncio.create_task(self._write(source, ask, send))
        leaving = asyncio.create_task(_hung_up(receive))
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        for task in (writing, leaving):
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)
        if not writing.cancelled():
            writing.result()

    async def _read_generation(self, scope: Scope, receive: Receive) -> tuple[Source, Ask]:
        self._authorise(scope)
        body = await _read_json(receive)
        return Source.from_json(body), Ask.from_json(body)

    async def _write(self, source: Source, ask: Ask, send: Send) -> None:
        assert self._models is not None
        async with contextlib.aclosing(self._models.generate(source, ask)) as events:
            status, first = await _outcome(anext(events))
            if status != 200:
                await _send(send, status, first)
                return
            headers = [(b"content-type", b"application/x-ndjson")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _send_line(send, first)
            status, failure = await _outcome(_each(events, send))
            await _send_line(send, {"done": True} if status == 200 else failure)
            await send({"type": "http.response.body", "body": b""})


METHODS = {
    "/v1/loaded": "GET",
    **dict.fromkeys(("/v1/load", "/v1/predict", "/v1/embed", "/v1/generate", "/v1/unload"), "POST"),
}


async def _outcome(work: Awaitable[Any]) -> tuple[int, Any]:
    """Return 200 and what the work gives, or the status and body that say how it failed."""
    try:
        return 200, await work
    except Refused as refused:
        status, code, message, advice = refused.status, refused.code, refused.message, refused.advice
        return status, {"error": {"code": code, "message": message, "advice": advice, "field": refused.field}}
    except EngineError as error:
        status, known = 422, error
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        status, known = 500, explain(error)
    return status, {"error": {"code": known.code, "message": known.message, "advice": known.advice, "field": ""}}


async def _send(send: Send, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def _send_line(send: Send, event: dict[str, Any]) -> None:
    line = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    await send({"type": "http.response.body", "body": line, "more_body": True})


async def _each(events: AsyncIterator[dict[str, Any]], send: Send) -> None:
    async for event in events:
        await _send_line(send, event)


async def _hung_up(receive: Receive) -> None:
    """Return when the caller has left; the body has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_json(receive: Receive) -> dict[str, Any]:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(422, "disconnected", "The request ended early.", "Send it again.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_BYTES:
            raise Refused(
                413, "too_much", f"The request is larger than {BODY_BYTES // 2**20} MB.", "Send fewer texts at once."
            )
        more = message.get("more_body", False)
    try:
        value = json.loads(b"".join(parts))
    except ValueError as error:
        raise Refused(422, "not_json", f"The body is not JSON: {error}.", "Send a JSON object.") from None
    if not isinstance(value, dict):
        raise Refused(422, "not_json", "The body is not a JSON object.", "Send a JSON object.")
    return value


def _check_texts(body: dict[str, Any]) -> tuple[list[str], int]:
    texts, top = body.get("texts"), body.get("top_k", 5)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Refused(422, "bad_texts", "texts must be a list of texts that is not empty.", "Send at least one text.")
    if len(texts) > TEXTS:
        raise Refused(
            422, "too_many_texts", f"{len(texts)} texts were sent; {TEXTS} are allowed.", "Split the request."
        )
    for number, text in enumerate(texts):
        if not text.strip():
            raise Refused(422, "bad_texts", f"Text {number} is empty.", "Leave it out.")
        if len(text) > TEXT_CHARACTERS:
            raise Refused(
                422,
                "text_too_long",
                f"Text {number} has {len(text)} characters; {TEXT_CHARACTERS} are allowed.",
                "Shorten it.",
            )
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise Refused(422, "bad_top_k", f"top_k must be a whole number from 1, not {top!r}.", "Correct top_k.")
    return texts, top


def _check_inputs(body: dict[str, Any]) -> list[Any]:
    inputs = body.get("inputs")
    if not isinstance(inputs, list) or not 0 < len(inputs) <= TEXTS:
        raise Refused(422, "bad_texts", f"Give 1 to {TEXTS} inputs at once.", "Split the request.", "input")
    if all(isinstance(one, str) and one.strip() for one in inputs):
        if (longest := max(map(len, inputs))) > TEXT_CHARACTERS:
            message = f"A text has {longest} characters; {TEXT_CHARACTERS} are allowed."
            raise Refused(422, "text_too_long", message, "Shorten it.", "input")
        return inputs
    if all(isinstance(one, list) and one and all(type(token) is int for token in one) for one in inputs):
        return inputs
    raise Refused(
        422, "bad_texts", "Inputs are texts that are not empty, or lists of token ids.", "Correct them.", "input"
    )


def _listen(arguments: argparse.Namespace) -> socket.socket:
    if arguments.socket:
        path = Path(arguments.socket)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        # Nobody but this user may connect, from the first moment on.
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        return listener
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", arguments.port))
    return listener


def main(argv: list[str] | None = None) -> int:
    """Serve until asked to stop; returns the exit code."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m training.engine.serve", description="Serve models.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", help="path of the Unix socket to listen on")
    where.add_argument("--port", type=int, help="port on 127.0.0.1 to listen on")
    parser.add_argument("--token-file", required=True, help="file that holds the bearer token")
    parser.add_argument("--memory-mb", type=int, default=2048, help="memory for models, in megabytes")
    parser.add_argument("--threads", type=int, default=0, help="threads to compute with; 0 chooses")
    arguments = parser.parse_args(argv)
    try:
        token = Path(arguments.token_file).read_text(encoding="utf-8").strip()
        if len(token) < 16:
            raise SystemExit(f"The token in {arguments.token_file} is shorter than 16 characters; write a longer one.")
        listener = _listen(arguments)
    except OSError as error:
        raise SystemExit(f"The engine cannot start: {error.strerror}: {error.filename or 'address in use'}.") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(arguments.threads or hardware.usable_cores())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    application = Application(token, arguments.memory_mb * 2**20, device)
    settings = uvicorn.Config(application, log_level="warning", lifespan="on", timeout_graceful_shutdown=10)

    class Server(uvicorn.Server):
        """Ends quietly; uvicorn would raise the signal again once it has shut down."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.handle_exit, number, None)
            yield

    try:
        asyncio.run(Server(settings).serve(sockets=[listener]))
    finally:
        if arguments.socket:
            Path(arguments.socket).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
