"""What a caller asks a language model for, checked; and the parts of an answer that hold the text back for a moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.engine.serving.sources import Refused

CHOICES = 16
PROMPTS = 32
STOPS = 8
STOP_CHARACTERS = 200
TOP_LOGPROBS = 20
CHARACTERS = 400_000
ROLES = ("system", "developer", "user", "assistant")


@dataclass(frozen=True)
class Ask:
    """``messages``, or ``prompts`` (texts, or ids of the model's own tokens), and how to answer.

    An answer ends after ``max_tokens``, or where the model holds no more.
    ``logprobs`` is None, or how many alternatives to tell beside each token. A ``seed`` makes the draws repeatable;
    as elsewhere the answer may still differ where other requests in the same step change the last digits.
    """

    messages: tuple[Mapping[str, str], ...] = ()
    prompts: tuple[str | tuple[int, ...], ...] = ()
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    logprobs: int | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Ask":
        """Validate a request; raises ``Refused`` naming the field."""
        stop = value.get("stop") or []
        stop = [stop] if isinstance(stop, str) else stop
        if not isinstance(stop, list) or len(stop) > STOPS or not all(_is_stop(one) for one in stop):
            raise _bad("stop", f"stop must be up to {STOPS} texts of at most {STOP_CHARACTERS} characters.")
        return cls(
            messages=_messages(value.get("messages")),
            prompts=_prompts(value.get("prompts")) if not value.get("messages") else (),
            max_tokens=_whole(value, "max_tokens", 1, 10**6),
            temperature=_number(value, "temperature", 1.0, 0.0, 2.0),
            top_p=_number(value, "top_p", 1.0, 0.0, 1.0),
            seed=_whole(value, "seed", -(2**63), 2**63 - 1),
            n=_whole(value, "n", 1, CHOICES) or 1,
            stop=tuple(stop),
            logprobs=_whole(value, "logprobs", 0, TOP_LOGPROBS),
        )


def _bad(field: str, message: str) -> Refused:
    return Refused(422, "bad_request", message, f"Correct {field}.", field)


def _is_stop(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= STOP_CHARACTERS


def _messages(value: Any) -> tuple[Mapping[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        raise _bad("messages", "messages must be a list that is not empty.")
    total = 0
    for number, one in enumerate(value):
        if not isinstance(one, dict) or one.get("role") not in ROLES or not isinstance(one.get("content"), str):
            raise _bad(
                "messages", f"Message {number} needs a role ({', '.join(ROLES)}) and a content that is plain text."
            )
        total += len(one["content"])
    if total > CHARACTERS:
        raise _bad("messages", f"The messages have {total} characters; {CHARACTERS} are allowed.")
    # "developer" is what newer clients call the system's part; templates know only the older word.
    return tuple(
        {"role": "system" if one["role"] == "developer" else one["role"], "content": one["content"]} for one in value
    )


def _prompts(value: Any) -> tuple[str | tuple[int, ...], ...]:
    if not isinstance(value, list) or not 0 < len(value) <= PROMPTS:
        raise _bad("prompt", f"prompt must be a text, or a list of at most {PROMPTS}.")
    found: list[str | tuple[int, ...]] = []
    for one in value:
        if isinstance(one, str) and one and len(one) <= CHARACTERS:
            found.append(one)
        elif isinstance(one, list) and one and all(type(token) is int and token >= 0 for token in one):
            found.append(tuple(one))
        else:
            raise _bad("prompt", f"A prompt must be a text of 1 to {CHARACTERS} characters, or a list of token ids.")
    return tuple(found)


def _whole(value: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    given = value.get(name)
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise _bad(name, f"{name} must be a whole number from {least} to {most}, not {given!r}.")
    return given


def _number(value: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    given = value.get(name)
    if given is None:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise _bad(name, f"{name} must be a number from {least:g} to {most:g}, not {given!r}.")
    return float(given)


class StopScanner:
    """Lets text through up to the first of its stop strings, holding back what may be the beginning of one."""

    def __init__(self, stops: tuple[str, ...]):
        self._stops = stops
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Return the text that may go out, and whether a stop string was met; it is not part of the text."""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            out, self._held = self._held[: min(places)], ""
            return out, True
        keep = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out, False

    def rest(self) -> str:
        """Return what was held back, now that nothing follows."""
        out, self._held = self._held, ""
        return out

    def _overlap(self, stop: str) -> int:
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0
