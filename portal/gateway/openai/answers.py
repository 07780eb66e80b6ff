"""What was written, in the shapes of the two endpoints: whole, or as events of a stream (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from portal.gateway.engines import Piece, Vectors


def event(value: dict[str, Any]) -> bytes:
    """Return one event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass
class _Choice:
    """What is known of one choice so far."""

    text: list[str] = field(default_factory=list)
    finish: str | None = None
    told: list[dict[str, Any]] = field(default_factory=list)


class Answer:
    """One answer that is being put together. `chat` decides the shape, `choices` how many there are."""

    def __init__(self, *, chat: bool, model: str, commit: str, choices: int):
        self._chat = chat
        prefix, kind = ("chatcmpl", "chat.completion") if chat else ("cmpl", "text_completion")
        self._frame = {
            "id": f"{prefix}-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
            # Which version wrote it, for whoever has to say so later.
            "system_fingerprint": f"gh_{commit[:12]}",
        }
        self._choices = [_Choice() for _ in range(choices)]
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def take(self, piece: Piece) -> None:
        """Note what became known next."""
        self.prompt_tokens += piece.prompt_tokens
        self.completion_tokens += piece.completion_tokens
        choice = self._choices[piece.choice]
        choice.text.append(piece.text)
        choice.finish = piece.finish or choice.finish
        if piece.logprobs is not None:
            choice.told.extend(piece.logprobs)

    @property
    def texts(self) -> list[str]:
        """Return what was written so far, choice by choice."""
        return ["".join(one.text) for one in self._choices]

    def say(self, texts: list[str]) -> None:
        """Put other texts in the place of what was written; where one differs, what was told of its tokens goes."""
        for one, text in zip(self._choices, texts, strict=True):
            if "".join(one.text) != text:
                one.text, one.told = [text], []

    def pieces(self) -> list[Piece]:
        """Return what was written as if it came now, one text and one end for each choice."""
        found = []
        for index, one in enumerate(self._choices):
            found.append(Piece(choice=index, text="".join(one.text), logprobs=tuple(one.told) or None))
            found.append(Piece(choice=index, finish=one.finish or "stop"))
        return found

    @property
    def usage(self) -> dict[str, int]:
        """Return how many tokens were read and written so far."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }

    def whole(self, *, logprobs: bool) -> dict[str, Any]:
        """Return the answer at once."""
        choices = []
        for index, one in enumerate(self._choices):
            text = "".join(one.text)
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text, "refusal": None}}
            choices.append(
                {
                    "index": index,
                    **(said if self._chat else {"text": text}),
                    "logprobs": self._logprobs(one.told) if logprobs else None,
                    "finish_reason": one.finish or "stop",
                }
            )
        return {**self._frame, "choices": choices, "usage": self.usage}

    def opening(self) -> list[bytes]:
        """Return the events with which a stream begins."""
        if not self._chat:
            return []
        first = {
            "delta": {"role": "assistant", "content": "", "refusal": None},
            "finish_reason": None,
            "logprobs": None,
        }
        return [self._chunk([{"index": index, **first}]) for index in range(len(self._choices))]

    def chunk(self, piece: Piece) -> bytes | None:
        """Return the event that tells of a piece, or None where a reader would learn nothing from it."""
        if not (piece.text or piece.finish or piece.logprobs):
            return None
        told = self._logprobs(list(piece.logprobs)) if piece.logprobs else None
        if self._chat:
            said: dict[str, Any] = {"delta": {"content": piece.text} if piece.text or not piece.finish else {}}
        else:
            said = {"text": piece.text}
        return self._chunk([{"index": piece.choice, **said, "logprobs": told, "finish_reason": piece.finish or None}])

    def closing(self, call: int | None) -> bytes:
        """Return the event that tells what was used; `call` is its number in the usage, to say how the answer was."""
        return self._chunk([], usage=self.usage, governance={"call": call})

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        frame = {**self._frame, "object": "chat.completion.chunk"} if self._chat else self._frame
        return event({**frame, "choices": choices, **more})

    def _logprobs(self, told: list[dict[str, Any]]) -> dict[str, Any]:
        if self._chat:
            content = [
                {"token": one["token"], "logprob": one["logprob"], "bytes": one["bytes"], "top_logprobs": one["top"]}
                for one in told
            ]
            return {"content": content, "refusal": None}
        offsets, at = [], 0
        for one in told:
            offsets.append(at)
            at += len(one["token"])
        return {
            "tokens": [one["token"] for one in told],
            "token_logprobs": [one["logprob"] for one in told],
            "top_logprobs": [{top["token"]: top["logprob"] for top in one["top"]} for one in told],
            "text_offset": offsets,
        }


def vectors(model: str, held: Vectors, *, packed: bool) -> dict[str, Any]:
    """Return vectors in the shape of /v1/embeddings; `packed` writes each as base64 of little-endian float32."""
    wide = held.width * 4
    rows = [held.data[at : at + wide] for at in range(0, len(held.data), wide)]
    return {
        "object": "list",
        "model": model,
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row).decode() if packed else memoryview(row).cast("f").tolist(),
            }
            for index, row in enumerate(rows)
        ],
        "usage": {"prompt_tokens": held.tokens, "total_tokens": held.tokens},
    }
