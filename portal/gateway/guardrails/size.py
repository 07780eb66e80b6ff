"""How long a text may be for this model: shorter than the site's own limit, never longer."""

from __future__ import annotations

from portal.gateway.guardrails import Finding, Option

LABEL = "Size"
NOTE = "Texts that are longer than the model is meant for. It counts characters, not tokens."
STAGES = ("input", "output")
ACTIONS = ("note", "refuse")
OPTIONS = {
    "characters": Option("Characters", "number", 4000, "The longest text that may pass.", stricter="less"),
}


def find(text: str, options: dict, looker) -> list[Finding]:
    """Return what is beyond the limit, as one find."""
    limit = int(options.get("characters", OPTIONS["characters"].default))
    return [Finding(f"more than {limit:,} characters", limit, len(text))] if len(text) > limit else []
