"""What a request asks for, checked: what cannot be done is refused and named, never passed over in silence."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings

from portal.gateway.engines import Ask
from portal.gateway.openai.errors import Invalid

INPUTS = 256
# What these ask for cannot be done by the engines here; each is allowed to say what it would be without it.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "suffix": (None, ""),
    "echo": (None, False),
}
# So much of a template is added around each message, at most: its role and a few marks.
TEMPLATE_TOKENS = 16


@dataclass(frozen=True)
class Generation:
    """A request for text: `messages` or `prompts`, how to answer, and whether as it is written.

    `counted` says whether a stream ends with what was used; `budget` is the most tokens that it can take.
    """

    model: str
    ask: Ask
    stream: bool
    counted: bool
    budget: int
    messages: list[dict] = field(default_factory=list)
    prompts: list[Any] = field(default_factory=list)

    @property
    def said(self) -> list[Any]:
        """Return everything that is put before the model: texts, or lists of token ids."""
        return [one["content"] for one in self.messages] or self.prompts

    def saying(self, texts: list[str]) -> Generation:
        """Return the same request with other texts in place of `said`."""
        if not self.messages:
            return replace(self, prompts=texts)
        told = [one | {"content": text} for one, text in zip(self.messages, texts, strict=True)]
        return replace(self, messages=told)


@dataclass(frozen=True)
class Embedding:
    """A request for vectors of texts, or of lists of token ids; `base64` is how they are to be written."""

    model: str
    inputs: list[Any]
    base64: bool
    budget: int

    @property
    def said(self) -> list[Any]:
        """Return everything that is put before the model: texts, or lists of token ids."""
        return self.inputs

    def saying(self, texts: list[str]) -> Embedding:
        """Return the same request with other texts in place of `said`."""
        return replace(self, inputs=texts)


def read(request) -> dict[str, Any]:
    """Return the body as an object; raises Invalid."""
    try:
        value = json.loads(request.body)
    except ValueError as error:
        raise Invalid(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Invalid("The body is not a JSON object.")
    if not isinstance(value.get("model"), str) or not value["model"]:
        raise Invalid("Name the model, as “team/name”.", param="model")
    return value


def chat(body: dict[str, Any]) -> Generation:
    """Return a request for the next message of a conversation; raises Invalid."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid("messages must be a list that is not empty.", param="messages")
    clean = [_message(number, one) for number, one in enumerate(messages)]
    told = body.get("logprobs")
    if told not in (None, True, False):
        raise Invalid("logprobs must be true or false.", param="logprobs")
    top = _whole(body, "top_logprobs", 0, 20)
    if top is not None and not told:
        raise Invalid("top_logprobs needs logprobs to be true.", param="top_logprobs")
    most = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return _generation(body, most, logprobs=(top or 0) if told else None, messages=clean)


def completion(body: dict[str, Any]) -> Generation:
    """Return a request for how texts go on; raises Invalid."""
    prompt = body.get("prompt")
    prompts = _listed(prompt, "prompt")
    best = _whole(body, "best_of", 1, 16)
    if best is not None and best > (body.get("n") or 1):
        raise Invalid("best_of is not supported; ask for n choices and choose.", param="best_of")
    # This older endpoint ends after 16 tokens unless told otherwise.
    body = {**body, "max_tokens": 16 if body.get("max_tokens") is None else body["max_tokens"]}
    return _generation(body, "max_tokens", logprobs=_whole(body, "logprobs", 0, 5), prompts=prompts)


def embedding(body: dict[str, Any]) -> Embedding:
    """Return a request for vectors; raises Invalid."""
    inputs = _listed(body.get("input"), "input")
    written = body.get("encoding_format") or "float"
    if written not in ("float", "base64"):
        raise Invalid("encoding_format must be “float” or “base64”.", param="encoding_format")
    if body.get("dimensions") is not None:
        raise Invalid(
            "dimensions is not supported: the vectors are as wide as the model makes them.", param="dimensions"
        )
    return Embedding(body["model"], inputs, written == "base64", sum(map(_most_tokens, inputs)))


def _generation(body: dict[str, Any], most: str, *, logprobs: int | None, **said: Any) -> Generation:
    _refuse_unsupported(body)
    stop = body.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(one, str) and one for one in stop) or len(stop) > 4:
        raise Invalid("stop must be a text, or up to four of them.", param="stop")
    limit = settings.GENERATION_MAX_TOKENS
    wanted = _whole(body, most, 1, limit) or limit
    ask = Ask(
        max_tokens=wanted,
        temperature=_number(body, "temperature", 1.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 1.0),
        seed=_whole(body, "seed", -(2**63), 2**63 - 1),
        n=_whole(body, "n", 1, 16) or 1,
        stop=tuple(stop),
        logprobs=logprobs,
    )
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise Invalid("stream_options must be an object.", param="stream_options")
    prompts = said.get("prompts") or [None]
    budget = sum(_most_tokens(one["content"]) + TEMPLATE_TOKENS for one in said.get("messages", []))
    budget += sum(map(_most_tokens, said.get("prompts", []))) + len(prompts) * ask.n * wanted
    return Generation(
        model=body["model"],
        ask=ask,
        stream=bool(body.get("stream")),
        counted=bool(options.get("include_usage")),
        budget=budget,
        **said,
    )


def _refuse_unsupported(body: dict[str, Any]) -> None:
    for name, neutral in UNSUPPORTED.items():
        if body.get(name) not in neutral:
            raise Invalid(
                f"{name} is not supported by this server; leave it out.", param=name, code="unsupported_parameter"
            )
    shape = body.get("response_format")
    if shape is not None and shape != {"type": "text"}:
        raise Invalid(
            "response_format is not supported by this server: it gives text alone. Ask for JSON in the prompt, and "
            "check what comes.",
            param="response_format",
            code="unsupported_parameter",
        )


def _message(number: int, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Invalid(f"Message {number} is not an object.", param=f"messages[{number}]")
    role, content = value.get("role"), value.get("content")
    if role not in ("system", "developer", "user", "assistant"):
        raise Invalid(
            f"Message {number} has the role {str(role)[:40]!r}; known are system, developer, user and assistant.",
            param=f"messages[{number}].role",
        )
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            raise Invalid(
                f"Message {number} holds more than text; these models read text alone.",
                param=f"messages[{number}].content",
            )
        content = "\n".join(parts)
    if not isinstance(content, str):
        raise Invalid(f"Message {number} has no text as its content.", param=f"messages[{number}].content")
    return {"role": role, "content": content}


def _listed(value: Any, name: str) -> list[Any]:
    """Return a text, texts, token ids or lists of them as a list of texts or of lists of ids."""
    if isinstance(value, str) or (isinstance(value, list) and value and all(type(one) is int for one in value)):
        value = [value]
    texts = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    ids = isinstance(value, list) and all(
        isinstance(one, list) and one and all(type(token) is int for token in one) for one in value
    )
    if not value or not (texts or ids):
        raise Invalid(f"{name} must be a text that is not empty, a list of texts, or lists of token ids.", param=name)
    if len(value) > INPUTS:
        raise Invalid(f"{len(value)} are more than the {INPUTS} of one call; send several.", param=name)
    return value


def _most_tokens(value: str | list[int]) -> int:
    # A token stands for at least one byte.
    return len(value.encode()) if isinstance(value, str) else len(value)


def _whole(body: dict[str, Any], name: str, least: int, most: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise Invalid(f"{name} must be a whole number from {least} to {most}, not {value!r}.", param=name)
    return value


def _number(body: dict[str, Any], name: str, default: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Invalid(f"{name} must be a number from 0 to {most:g}, not {value!r}.", param=name)
    return float(value)
