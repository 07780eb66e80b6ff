"""What is wrong with a field that a person filled in, by the model's own rules; not about who may fill it in."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


class Invalid(ValueError):
    """A value that a person gave does not fit; the message says what would. `field` names it, or is empty."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field


def clean(model: type[models.Model], values: dict[str, Any]) -> dict[str, Any]:
    """Return the values as the model's fields keep them, texts without outer blanks. Raises Invalid at a misfit."""
    cleaned = {}
    for name, value in values.items():
        field = model._meta.get_field(name)
        assert isinstance(field, models.Field)
        if isinstance(value, str):
            value = value.strip()
        if field.is_relation:
            if value is None and not field.null:
                raise Invalid(f"Choose a {field.verbose_name}.", field=name)
            cleaned[name] = value
            continue
        try:
            cleaned[name] = field.clean(value, None)
        except ValidationError as error:
            raise Invalid(" ".join(error.messages), field=name) from error
    return cleaned


def only(values: dict[str, Any], allowed: tuple[str, ...] | frozenset[str]) -> None:
    """Raise Invalid where a name is not among those that may be changed."""
    for name in values:
        if name not in allowed:
            raise Invalid(f"“{name}” cannot be changed; these can: {', '.join(sorted(allowed))}.", field=name)
