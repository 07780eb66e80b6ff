"""Keys and tokens of programs, which belong into no prompt and no answer."""

from __future__ import annotations

import re

from portal.gateway.guardrails import Finding

LABEL = "Keys and tokens"
NOTE = (
    "Private keys, and tokens whose makers gave them a shape that can be told. Passwords have none and are not found."
)
STAGES = ("input", "output")
ACTIONS = ("note", "mask", "refuse")
OPTIONS: dict = {}
_SHAPES = {
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]{0,8000}?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    "token of this portal": r"\bgh_[A-Za-z0-9_-]{40,60}",
    "cloud access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "API key": r"\bsk-[A-Za-z0-9_-]{20,200}",
    "repository token": r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,80}\b|\bgithub_pat_[A-Za-z0-9_]{30,120}\b"
    r"|\bglpat-[A-Za-z0-9_-]{20,60}|\bhf_[A-Za-z]{30,60}\b",
    "signed token": r"\beyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{10,2000}",
}
_ANY = re.compile("|".join(f"({shape})" for shape in _SHAPES.values()))


def find(text: str, options: dict, looker) -> list[Finding]:
    """Return every find."""
    kinds = list(_SHAPES)
    return [Finding(kinds[one.lastindex - 1], one.start(), one.end()) for one in _ANY.finditer(text)]
