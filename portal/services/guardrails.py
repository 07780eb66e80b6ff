"""The guardrails of a model are set here. Its team may make it stricter; making it laxer is for those who review."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from portal.gateway import guardrails
from portal.models import GuardrailPolicy
from projects.services.fields import Invalid
from training.models import RegisteredModel

LONGEST_KEPT = 365
"""Days for which bodies may be kept, at most."""
MOST_LINES = 500
LONGEST = 200


@transaction.atomic
def set_policy(*, actor: User, model: RegisteredModel, rules: dict, keep_days: int = 0) -> GuardrailPolicy:
    """Let these be the guardrails of the model; they hold from the next call on. Raises Denied, or Invalid for a field.

    Keeping bodies longer counts as laxer: what is kept can be read.
    """
    # One policy at a time for a model: the second of two who change it at once sees what the first one did.
    model = RegisteredModel.objects.select_for_update(no_key=True, of=("self",)).select_related("team").get(pk=model.pk)
    policy = GuardrailPolicy.objects.filter(model=model).first() or GuardrailPolicy(model=model)
    rules = checked(rules)
    if not isinstance(keep_days, int) or not 0 <= keep_days <= LONGEST_KEPT:
        raise Invalid(f"Bodies are kept for 0 to {LONGEST_KEPT} days.", field="keep_days")
    laxer = loosened(policy.rules, rules) + (["bodies kept longer"] if keep_days > policy.keep_days else [])
    if laxer and not access.allows(actor, Permission.GUARDRAIL_SET, model):
        if access.allows(actor, Permission.GUARDRAIL_TIGHTEN, model):
            raise access.Denied(
                f"This makes the model laxer ({', '.join(laxer)}), which its own team does not decide. Ask a reviewer.",
                code="laxer",
                subject=model,
            )
        access.require(actor, Permission.GUARDRAIL_SET, model)
    if not laxer and not GuardrailPolicy.may_tighten(actor, model):
        access.require(actor, Permission.GUARDRAIL_TIGHTEN, model)
    before = _told(policy.rules, policy.keep_days)
    after = _told(rules, keep_days)
    if before == after and policy.pk:
        return policy
    policy.rules, policy.keep_days = rules, keep_days
    policy.set_by, policy.set_at = actor, timezone.now()
    policy.save()
    details, texts = ledger.changes(before, after)
    ledger.record(Action.GUARDRAILS_SET, actor=actor, subject=model, details=details | {"laxer": laxer}, texts=texts)
    return policy


def checked(rules: Any) -> dict[str, dict]:
    """Return the rules in their one form, without those that look nowhere; raises Invalid for what cannot be."""
    if not isinstance(rules, dict):
        raise Invalid("Give the rules as an object from a guardrail's name to its rule.", field="rules")
    kept = {}
    for name in sorted(rules):
        if name not in guardrails.names():
            raise Invalid(f"There is no guardrail “{name}”; there are {', '.join(guardrails.names())}.", field="rules")
        rule = _rule(name, rules[name])
        if any(rule.get(stage, "off") != "off" for stage in ("input", "output")):
            kept[name] = rule
    return kept


def _rule(name: str, given: Any) -> dict:
    guardrail = guardrails.get(name)
    if not isinstance(given, dict):
        raise Invalid(f"{name}: a rule is an object such as {{“input”: “refuse”}}.", field="rules")
    unknown = set(given) - {"input", "output"} - set(guardrail.OPTIONS)
    if unknown:
        raise Invalid(f"{name}: it knows no “{min(map(str, unknown))}”.", field="rules")
    rule: dict[str, Any] = {}
    for stage in guardrail.STAGES:
        action = given.get(stage, "off")
        if action not in ("off", *guardrail.ACTIONS):
            raise Invalid(f"{name}: at {stage} it can {', '.join(guardrail.ACTIONS)}, or be off.", field="rules")
        rule[stage] = action
    for option, about in guardrail.OPTIONS.items():
        rule[option] = _option(name, option, about, given.get(option, about.default))
    return rule


def _option(name: str, option: str, about: guardrails.Option, value: Any) -> Any:
    if about.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise Invalid(f"{name}: give “{about.label}” as a whole number from 1.", field="rules")
        return value
    if about.kind == "text":
        if not isinstance(value, str) or len(value) > LONGEST or "\0" in value:
            raise Invalid(f"{name}: give “{about.label}” as a text of at most {LONGEST} characters.", field="rules")
        return value.strip()
    if (
        not isinstance(value, list)
        or len(value) > MOST_LINES
        or not all(isinstance(one, str) and "\0" not in one for one in value)
    ):
        raise Invalid(f"{name}: give “{about.label}” as a list of at most {MOST_LINES} texts.", field="rules")
    lines = list(dict.fromkeys(" ".join(one.split()) for one in value))
    if any(len(one) > LONGEST for one in lines):
        raise Invalid(f"{name}: each of “{about.label}” has at most {LONGEST} characters.", field="rules")
    return [one for one in lines if one]


def loosened(before: dict, after: dict) -> list[str]:
    """Return in words what lets through more than before."""
    found = []
    for name, old in sorted(before.items()):
        new = after.get(name, {})
        guardrail = guardrails.get(name)
        for stage in guardrail.STAGES:
            was, becomes = old.get(stage, "off"), new.get(stage, "off")
            if guardrails.STRICTNESS.index(becomes) < guardrails.STRICTNESS.index(was):
                found.append(f"{guardrail.LABEL} at {stage}: {was} to {becomes}")
        if not new:
            continue
        found += [
            f"{guardrail.LABEL}: {about.label}"
            for option, about in guardrail.OPTIONS.items()
            if _laxer(about, old.get(option, about.default), new[option])
        ]
    return found


def _laxer(about: guardrails.Option, old: Any, new: Any) -> bool:
    if about.stricter == "less":
        return new > old
    if about.stricter == "more":
        return bool(set(old) - set(new))
    return old != new


def _told(rules: dict, keep_days: int) -> dict:
    """Return what an entry says: words of a list by their number alone, since they may be about people."""
    told: dict[str, Any] = {"keep_days": keep_days}
    for name, rule in rules.items():
        told[name] = {key: f"{len(value)} of them, sha256 {_digest(value)}" if isinstance(value, list) else value
                      for key, value in rule.items()}  # fmt: skip
    return told


def _digest(lines: list[str]) -> str:
    return ledger.text_digest("\n".join(sorted(lines)))[:16]
