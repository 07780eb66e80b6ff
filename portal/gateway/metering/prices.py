"""What use costs: the prices that the operator declared for a model, for an engine, or for everything else.

`PRICES` maps the name of a model (`team/name`) or an engine, or `default`, to prices: `tokens` for a thousand
tokens of any kind, `prompt_tokens` and `completion_tokens` for a thousand of those, `seconds` for a second of the
device. The first of model, engine and default that is there counts alone. What has no price is free.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from django.conf import settings

MICRO = Decimal("0.000001")
"""Costs are kept to a millionth of the currency, so that a single token of a cheap model is not nothing."""


def of(model_name: str, engine: str) -> dict[str, Decimal]:
    """Return the prices that apply to a model on an engine; none where it is free."""
    for name in (model_name, engine, "default"):
        if name in settings.PRICES:
            return settings.PRICES[name]
    return {}


def cost(prices: dict[str, Decimal], *, prompt_tokens: int, completion_tokens: int, seconds: float) -> Decimal:
    """Return what this much use costs, rounded to a millionth of the currency, half of one upwards."""
    both = prices.get("tokens", Decimal(0))
    total = prices.get("prompt_tokens", both) * prompt_tokens / 1000
    total += prices.get("completion_tokens", both) * completion_tokens / 1000
    total += prices.get("seconds", Decimal(0)) * Decimal(str(seconds))
    return total.quantize(MICRO, ROUND_HALF_UP)
