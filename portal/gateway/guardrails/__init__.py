"""Guardrails: what is looked for in texts on their way to a model and back; one file each, found by scanning.

A file offers:

- `LABEL`, what a person calls it, and `NOTE`, one sentence of what it finds and what it cannot;
- `STAGES`, of "input" and "output" those at which it can look;
- `ACTIONS`, of "note", "mask" and "refuse" those that make sense for what it finds;
- `OPTIONS`, a name and an `Option` for everything that its rule has to say besides;
- `find(text, options, looker) -> list[Finding]`: what is in one text, in order and without overlaps. `looker` is who
  makes the call. It raises `engines.Unavailable` where it cannot look: then the call is not made.

A rule is `{"input": action, "output": action, **options}`, with "off" or nothing for a stage at which it does not look.
The guardrails never import each other. They take what they find as it is: nothing here decides who may use a model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from governance.models import User
from portal.gateway import engines
from portal.models import GuardrailPolicy

STRICTNESS = ("off", "note", "mask", "refuse")
"""What may be done about a find, the laxest first: nothing, tell, replace it, or not go on."""


@dataclass(frozen=True)
class Option:
    """One more thing that a rule says. `kind` is number, text, lines or labels; `stricter` which way is stricter:
    "less" or "more" for numbers, "more" for lists; where nothing is said, any change is as if it were laxer."""

    label: str
    kind: str
    default: Any
    help: str = ""
    stricter: str = ""


@dataclass(frozen=True)
class Finding:
    """Something in one text: `what` it is in words, and where, so that it can be masked."""

    what: str
    start: int
    end: int


@dataclass(frozen=True)
class Found:
    """That a guardrail found so many of something, and what was done about it."""

    guardrail: str
    what: str
    count: int
    action: str


@dataclass(frozen=True)
class Verdict:
    """Whether the texts may go on, the texts as they may (masked where the policy says so), and what was found."""

    allowed: bool
    texts: list[str]
    findings: list[Found] = field(default_factory=list)
    reason: str = ""

    @property
    def counted(self) -> dict[str, int]:
        """Return how much each guardrail found."""
        counts: Counter[str] = Counter()
        for one in self.findings:
            counts[one.guardrail] += one.count
        return dict(sorted(counts.items()))

    def headers(self) -> dict[str, str]:
        """Return the header that tells the caller: a structured list, such as `personal_data;action=mask;count=2`."""
        if not self.findings:
            return {}
        told = [f"{one.guardrail};action={one.action};count={one.count}" for one in self.findings]
        return {"Gatehouse-Guardrails": ", ".join(told)}


class Blocked(engines.Refused):
    """A guardrail keeps the call from going on; the message says which, and what it found."""

    def __init__(self, verdict: Verdict):
        super().__init__(verdict.reason)
        self.verdict = verdict


@cache
def names() -> tuple[str, ...]:
    """Return the names of the guardrails there are."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str):
    """Return the guardrail of this name; raises KeyError for an unknown one."""
    if name not in names():
        raise KeyError(f"There is no guardrail “{name}”; there are {', '.join(names())}.")
    return importlib.import_module(f"{__name__}.{name}")


def rules_of(model) -> dict[str, dict]:
    """Return the rules of a model's policy; none where nobody has set any."""
    policy = GuardrailPolicy.objects.filter(model=model).only("rules").first()
    return policy.rules if policy is not None else {}


def check(*, stage: str, publication, texts: Sequence[str], actor: User | None = None) -> Verdict:
    """Look at texts on their way to the model ("input") or back ("output"), by the policy of the published model.

    The guardrails look one after the other, each at what the one before left. `actor` is who makes the call. Raises
    engines.Unavailable where one cannot look.
    """
    return look(rules_of(publication.model_id), stage=stage, texts=texts, actor=actor or User.objects.system())


def look(rules: dict[str, dict], *, stage: str, texts: Sequence[str], actor: User) -> Verdict:
    """Look at texts by these rules."""
    held = list(texts)
    findings: list[Found] = []
    for name in names():
        rule = rules.get(name, {})
        action = rule.get(stage, "off")
        if action == "off":
            continue
        guardrail = get(name)
        counts: Counter[str] = Counter()
        for number, text in enumerate(held):
            found = guardrail.find(text, rule, actor)
            counts.update(one.what for one in found)
            if action == "mask":
                held[number] = _masked(text, found)
        findings += [Found(name, what, count, action) for what, count in sorted(counts.items())]
        if counts and action == "refuse":
            return Verdict(False, held, findings, _sentence(guardrail, stage, counts))
    return Verdict(True, held, findings)


def _masked(text: str, found: list[Finding]) -> str:
    for one in reversed(found):
        text = f"{text[: one.start]}[{one.what}]{text[one.end :]}"
    return text


def _sentence(guardrail, stage: str, counts: Counter) -> str:
    what = ", ".join(f"{what} ({count})" if count > 1 else what for what, count in sorted(counts.items()))
    if stage == "output":
        return f"The answer is held back by the guardrail “{guardrail.LABEL}”: {what}. Ask in another way."
    return f"The guardrail “{guardrail.LABEL}” of this model refuses: {what}. Take it out and try again."
