"""A conversation: messages in turn, the last of which the model should learn to give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

ROLES = ("system", "user", "assistant")
MAX_MESSAGES = 1_000
_EXAMPLE = 'Write [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}].'

LAYOUT = Layout(
    name="conversations",
    title="Conversation",
    help="Each row is a conversation: a JSON list of messages, each with role and content. "
    "The model learns what the assistant says.",
    roles=(
        Role(
            "messages",
            "Messages",
            "A JSON list of messages with role (system, user or assistant) and content.",
            ("messages", "conversation", "conversations", "chat", "dialogue", "dialog", "turns"),
        ),
    ),
    text="messages",
    category="text-generation",
    nested=True,
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return the messages as compact JSON, each with role and content alone.

    System comes first or not at all, then user and assistant take turns; the last word is the assistant's.
    """
    if not filled(values, "messages"):
        return empty("messages", "The conversation")
    try:
        found = json.loads(str(values["messages"]))
    except (ValueError, RecursionError):
        return _wrong("not_a_list", "The messages are not JSON.", _EXAMPLE)
    if not isinstance(found, list) or not found:
        return _wrong("not_a_list", "The messages are not a JSON list of messages.", _EXAMPLE)
    if len(found) > MAX_MESSAGES:
        return _wrong(
            "too_many_messages",
            f"The conversation has {len(found):,} messages; at most {MAX_MESSAGES:,} are read.",
            "Split it over several rows.",
        )
    kept = []
    for number, message in enumerate(found, start=1):
        problem = _message(number, message)
        if problem is not None:
            return problem
        kept.append({"role": message["role"], "content": message["content"]})
    problem = _order([message["role"] for message in kept])
    return problem or {"messages": json.dumps(kept, ensure_ascii=False, separators=(",", ":"))}


def _wrong(code: str, message: str, advice: str) -> Problem:
    return Problem("messages", code, message, advice)


def _message(number: int, message: object) -> Problem | None:
    if not isinstance(message, dict) or not {"role", "content"} <= set(message):
        return _wrong("not_a_message", f"Message {number} is not an object with role and content.", _EXAMPLE)
    if message["role"] not in ROLES:
        return _wrong(
            "unknown_role",
            f"Message {number} has the role “{str(message['role'])[:40]}”.",
            f"Use one of: {', '.join(ROLES)}.",
        )
    if not isinstance(message["content"], str) or not message["content"].strip():
        return _wrong(
            "empty_message",
            f"Message {number} has no text as its content.",
            "Give each message a text; images and tool calls are not read.",
        )
    return None


def _order(roles: list[str]) -> Problem | None:
    turns = roles[1:] if roles[0] == "system" else roles
    for place, role in enumerate(turns):
        wanted = "user" if place % 2 == 0 else "assistant"
        if role != wanted:
            number = place + 1 + len(roles) - len(turns)
            return _wrong(
                "out_of_turn",
                f"Message {number} is the {role}'s, where the {wanted}'s is expected.",
                "Let user and assistant take turns, the user first; an instruction for all comes before them.",
            )
    if len(turns) < 2 or len(turns) % 2:
        return _wrong(
            "no_answer",
            "The conversation does not end with an answer of the assistant.",
            "Add the answer that the model should learn, or remove the {unit}.",
        )
    return None


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return nothing: answers are no classes."""
    return ()
