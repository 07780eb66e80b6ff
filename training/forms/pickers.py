"""A choice among rows that stays usable when there are thousands: a drop-down of few, a search field for many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy

OPTIONS = 200
"""A drop-down holds at most this many rows; beyond it one types and is offered what matches."""
OFFERED = 12
_NUMBER = re.compile(r"#(\d+)\s*$")


class Picker(forms.Field):
    """One row of a scoped queryset. Cleans to the row; accepts its id, or its label as the search field offers it."""

    default_error_messages = {
        "required": gettext_lazy("Choose one."),
        "unknown": gettext_lazy("Nothing that you may use is called “%(value)s”. Choose one of what is offered."),
        "several": gettext_lazy("Several match “%(value)s”: %(names)s. Choose one of them."),
    }

    def __init__(self, *, empty: Any, **kwargs: Any):
        self.empty = empty
        self.rows: QuerySet = None  # type: ignore[assignment]
        self.label_of: Callable[[Any], str] = str
        self.matching: Callable[[QuerySet, str], QuerySet] = lambda rows, words: rows
        self.searched = False
        super().__init__(widget=forms.Select, **kwargs)

    def offer(
        self,
        rows: QuerySet,
        *,
        label_of: Callable[[Any], str],
        matching: Callable[[QuerySet, str], QuerySet],
        groups: Callable[[list], Iterable[tuple[str, list]]] | None = None,
        light: Callable[[QuerySet], QuerySet] = lambda rows: rows,
        list_id: str = "",
        suggestions_url: str = "",
    ) -> None:
        """Fill the field with what its form's reader may choose.

        `light` leaves out the columns that a drop-down does not need; `groups` sorts the rows under headings.
        """
        self.rows, self.label_of, self.matching = rows, label_of, matching
        found = list(light(rows)[: OPTIONS + 1])
        self.searched = len(found) > OPTIONS
        if self.searched:
            attributes = {"autocomplete": "off", "list": list_id, "placeholder": str(self.empty)}
            if suggestions_url:
                attributes |= {
                    "hx-get": suggestions_url,
                    "hx-trigger": "input changed delay:200ms",
                    "hx-target": f"#{list_id}",
                    "hx-swap": "innerHTML",
                }
            self.widget = forms.TextInput(attrs=attributes)
            self.widget.is_required = self.required
            return
        shown: list[Any] = [("", self.empty)]
        for heading, members in groups(found) if groups else [("", found)]:
            options = [(str(row.pk), label_of(row)) for row in members]
            shown += [(heading, options)] if heading and options else options
        self.widget.choices = shown

    def prepare_value(self, value: Any) -> Any:
        """Return what the control shows for an id, a row, or what was typed."""
        if isinstance(value, Model):
            value = str(value.pk)
        if self.searched and str(value or "").isdigit():
            row = self.rows.filter(pk=int(str(value)[:18])).first()
            return self.named(row) if row is not None else value
        return value

    def named(self, row: Any) -> str:
        """Return the row's label with its number, which finds it again."""
        return f"{self.label_of(row)} #{row.pk}"

    def find(self, words: str) -> list:
        """Return the first rows that match what was typed."""
        return list(self.matching(self.rows, words)[:OFFERED])

    def clean(self, value: Any) -> Any:
        """Return the row meant; raises ValidationError for none or several."""
        value = str(value or "").strip()[:300]
        if not value:
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return None
        number = _NUMBER.search(value)
        if value.isdigit() or number:
            row = self.rows.filter(pk=int((number.group(1) if number else value)[:18])).first()
            if row is not None:
                return row
        elif self.searched:
            found = self.find(value)
            exact = [row for row in found if self.label_of(row).lower() == value.lower()]
            if len(exact) == 1 or len(found) == 1:
                return (exact or found)[0]
            if found:
                names = ", ".join(self.named(row) for row in found[:5])
                raise ValidationError(
                    self.error_messages["several"], code="several", params={"value": value, "names": names}
                )
        raise ValidationError(self.error_messages["unknown"], code="unknown", params={"value": value})
