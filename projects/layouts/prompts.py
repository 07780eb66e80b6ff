"""A prompt and the answer that is wanted for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from projects.layouts import Layout, Problem, Role, empty, filled

LAYOUT = Layout(
    name="prompts",
    title="Prompt and answer",
    help="Each row is what somebody asks and the answer that the model should learn to give.",
    roles=(
        Role(
            "prompt",
            "Prompt",
            "What is asked; the model reads it and is not trained to say it.",
            ("prompt", "instruction", "question", "input", "query", "request", "source"),
        ),
        Role(
            "completion",
            "Answer",
            "What the model should answer.",
            ("completion", "answer", "response", "output", "reply"),
        ),
        Role(
            "system",
            "Instruction for all",
            "What the model is told before the prompt, such as its part; may be empty.",
            ("system", "system_prompt"),
            required=False,
        ),
    ),
    text="prompt",
    category="text-generation",
)


def read(values: Mapping[str, str | None]) -> dict[str, str] | Problem:
    """Return prompt, answer and, where there is one, the instruction, as they were written."""
    if not filled(values, "prompt"):
        return empty("prompt", "The prompt")
    if not filled(values, "completion"):
        return empty("completion", "The answer")
    return {role: str(value) for role, value in values.items() if value is not None}


def labels(values: Mapping[str, str]) -> Sequence[str]:
    """Return nothing: answers are no classes."""
    return ()
