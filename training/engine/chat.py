"""From messages to the exact text that a language model reads, and which of its characters it learns to say.

The same code prepares a run and draws the preview of its dry run, so that what is shown is what is trained. Without
torch and transformers: a template is rendered with Jinja, as transformers does, in a sandbox that cannot reach Python.
Nothing else is executed, and a template over ``MAX_TEMPLATE`` characters is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Message = Mapping[str, str]

TEXT = "text"
"""The role of the one message of a plain text, all of which is learned."""
MAX_TEMPLATE = 100_000
JOINT = "\n"
"""What stands between a prompt and its answer where no chat template says it."""


class TemplateError(ValueError):
    """A chat template is unusable or refuses the messages; the text says why."""


@dataclass(frozen=True)
class Rendered:
    """The text of one example; ``spans`` are the ranges of characters that are learned, in order.

    ``special`` says whether the tokenizer adds its own beginning, which a chat template writes itself; ``close`` says
    whether the end-of-text token follows.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    special: bool
    close: bool


class Template:
    """A chat template of a tokenizer, as transformers' ``apply_chat_template`` would render it."""

    def __init__(self, source: str, tokens: Mapping[str, str]):
        from jinja2 import TemplateSyntaxError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if len(source) > MAX_TEMPLATE:
            raise TemplateError(f"The chat template has {len(source):,} characters; {MAX_TEMPLATE:,} are allowed.")

        def fail(message: object) -> None:
            raise TemplateError(str(message))

        def as_json(value: Any, indent: int | None = None, **_ignored: Any) -> str:
            return json.dumps(value, ensure_ascii=False, indent=indent)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = as_json
        environment.globals["raise_exception"] = fail
        # A date would make the same specification train on other texts tomorrow.
        environment.globals["strftime_now"] = lambda pattern: "1970-01-01"
        self._tokens = dict(tokens)
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateError(f"The chat template cannot be read: {error}.") from error

    @classmethod
    def of(cls, folder: Path) -> "Template | None":
        """Return the template that lies with a tokenizer, None where there is none; raises ``TemplateError``."""
        files = {
            name: (folder / name).read_text(encoding="utf-8") if (folder / name).exists() else ""
            for name in ("chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json")
        }
        return cls.read(*files.values())

    @classmethod
    def read(cls, jinja: str, tokenizer_config: str, special_tokens: str = "") -> "Template | None":
        """Return the template that stands in the contents of a tokenizer's files, None where none does."""
        try:
            config = json.loads(tokenizer_config or "{}")
            named = json.loads(special_tokens or "{}") | config
        except ValueError as error:
            raise TemplateError(f"The tokenizer's configuration is not readable: {error}.") from error
        source = jinja or config.get("chat_template") or ""
        if isinstance(source, list):
            # Several by name: the one without a purpose of its own.
            source = {one.get("name"): one.get("template") for one in source}.get("default") or ""
        if not source:
            return None
        return cls(source, {name: _content(named.get(name)) for name in ("bos_token", "eos_token", "unk_token")})

    def render(self, messages: Sequence[Message], *, ask: bool = False) -> str:
        """Return the text of the messages, with ``ask`` up to where the assistant's answer begins."""
        from jinja2 import TemplateError as JinjaError

        try:
            return self._template.render(messages=list(messages), add_generation_prompt=ask, **self._tokens)
        except JinjaError as error:
            raise TemplateError(f"The chat template fails: {error}.") from error


def end_token(tokenizer_config: str, special_tokens: str = "") -> str:
    """Return the end-of-text token that stands in the contents of a tokenizer's files, empty where none does."""
    named = json.loads(special_tokens or "{}") | json.loads(tokenizer_config or "{}")
    return _content(named.get("eos_token"))


def _content(token: object) -> str:
    found = token.get("content", "") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def messages_of(layout: str, cells: Mapping[str, Any]) -> list[Message]:
    """Return a row of the layouts texts, prompts or conversations as messages; raises ValueError."""
    if layout == "texts":
        return [{"role": TEXT, "content": str(cells["text"])}]
    if layout == "prompts":
        system = str(cells.get("system") or "")
        return [
            *([{"role": "system", "content": system}] if system.strip() else []),
            {"role": "user", "content": str(cells["prompt"])},
            {"role": "assistant", "content": str(cells["completion"])},
        ]
    found = json.loads(cells["messages"])
    if not isinstance(found, list) or not found or found[-1].get("role") != "assistant":
        raise ValueError("the conversation does not end with the assistant")
    return found


def asks(messages: Sequence[Message]) -> bool:
    """Tell whether the messages end with an answer to something, and are no plain text."""
    return messages[-1]["role"] != TEXT


def render(messages: Sequence[Message], template: Template | None) -> Rendered:
    """Return the text to learn from; the assistant's turns are learned, and all of a plain text.

    A turn is what the template adds after asking for it: the answer and what closes it. Raises ``TemplateError`` where
    a template writes earlier turns differently once others follow, so that no such range exists.
    """
    if not asks(messages):
        text = messages[0]["content"]
        return Rendered(text, ((0, len(text)),), special=True, close=True)
    if template is None:
        before = _plain(messages[:-1]) + JOINT
        text = before + messages[-1]["content"]
        return Rendered(text, ((len(before), len(text)),), special=True, close=True)
    text, spans = template.render(messages), []
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before, after = template.render(messages[:place], ask=True), template.render(messages[: place + 1])
        if text.startswith(before) and text.startswith(after):
            spans.append((len(before), len(after)))
        elif place == len(messages) - 1:
            raise TemplateError(
                "The chat template writes an answer differently from how it asks for it, so what is learned cannot be "
                "told apart."
            )
    return Rendered(text, tuple(spans), special=False, close=False)


def question(messages: Sequence[Message], template: Template | None) -> Rendered:
    """Return the text that asks for the last answer; nothing of it is learned."""
    if template is None:
        return Rendered(_plain(messages[:-1]) + JOINT, (), special=True, close=False)
    return Rendered(template.render(messages[:-1], ask=True), (), special=False, close=False)


def _plain(messages: Sequence[Message]) -> str:
    return "\n\n".join(message["content"] for message in messages)


@dataclass(frozen=True)
class Encoded:
    """Token ids, which of them are learned, and whether some were cut off at the end."""

    ids: list[int]
    learned: list[bool]
    was_cut: bool


def encode(tokenizer: Any, rendered: Rendered, end: int | None, longest: int) -> Encoded:
    """Return the tokens of a text; ``tokenizer`` is one of the library of that name, ``end`` its end-of-text token."""
    found = tokenizer.encode(rendered.text, add_special_tokens=rendered.special)
    ids: list[int] = list(found.ids)
    learned = [False] * len(ids)
    spans, place = list(rendered.spans), 0
    for index, (start, stop) in enumerate(found.offsets):
        if start == stop:
            continue
        while place < len(spans) and start >= spans[place][1]:
            place += 1
        learned[index] = place < len(spans) and start >= spans[place][0]
    if rendered.close and end is not None:
        while ids and ids[-1] == end:
            ids.pop()
            learned.pop()
        ids.append(end)
        learned.append(True)
    return Encoded(ids[:longest], learned[:longest], len(ids) > longest)
