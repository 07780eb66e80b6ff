"""What every form here is made of: the reader's scope, the service's answer beside the field, people typed by name.

A form's `attempt` runs the service that decides; what the service finds wrong with a field stays beside that field.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.models import User

MAX_TEXT = 10_000


class Form(forms.Form):
    """A form of a page; `user` is the reader, who limits every choice to what they may see.

    `fields_of` maps a service's word for a field to the form's, where they differ.
    """

    fields_of: dict[str, str] = {}

    def __init__(self, *args: Any, user: User, **kwargs: Any):
        self.user = user
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.error_messages["required"] = _what_to_do(field)

    def attempt(self, act: Callable, **arguments: Any) -> Any:
        """Return what the service returns, or None after noting the field that it finds wrong."""
        try:
            return act(actor=self.user, **arguments)
        except ValueError as error:
            if not hasattr(error, "field"):
                raise
            name = self.fields_of.get(error.field, error.field)
            self.add_error(name if name in self.fields else None, str(error))
            return None


def _what_to_do(field: forms.Field) -> str:
    """Return what to say beside a field that was left empty."""
    if isinstance(field, forms.FileField):
        return _("Choose a file.")
    if isinstance(field, forms.DateField):
        return _("Choose a day.")
    if isinstance(field, forms.ChoiceField):
        return _("Choose one.")
    if isinstance(field, forms.IntegerField | forms.DecimalField):
        return _("Type a number.")
    return _("Write something here; it cannot stay empty.")


def text_area(
    label: Any, *, help_text: Any = "", required: bool = True, rows: int = 3, example: Any = ""
) -> forms.CharField:
    """Return a field of several lines, with an example shown while it is empty."""
    return forms.CharField(
        label=label,
        help_text=help_text,
        required=required,
        max_length=MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": rows, "placeholder": example}),
    )


class DateInput(forms.DateInput):
    """The browser's own date picker, which wants ISO dates whatever the language."""

    input_type = "date"

    def __init__(self, attrs: dict | None = None):
        super().__init__(attrs, format="%Y-%m-%d")


class PersonField(forms.CharField):
    """A person, typed by e-mail address or name; suggestions come as one types. Cleans to the User."""

    default_error_messages = {
        "required": gettext_lazy("Type an e-mail address, or part of a name."),
        "unknown": gettext_lazy("Nobody here is called “%(value)s”. Type an e-mail address, or part of a name."),
        "several": gettext_lazy("Several people match “%(value)s”: %(names)s. Type the e-mail address."),
    }

    def __init__(self, *, user: User, list_id: str = "people", suggestions_url: str = "", **kwargs: Any):
        self.user = user
        kwargs.setdefault("label", gettext_lazy("Person"))
        kwargs.setdefault("max_length", 254)
        super().__init__(**kwargs)
        self.widget.attrs |= {"autocomplete": "off", "list": list_id, "placeholder": "name@example.org"}
        if suggestions_url:
            self.widget.attrs |= {
                "hx-get": suggestions_url,
                "hx-trigger": "input changed delay:200ms",
                "hx-target": f"#{list_id}",
            }

    def clean(self, value: Any) -> User | None:
        """Return the one visible person meant; raises ValidationError for none or several."""
        value = super().clean(value)
        if not value:
            return None
        people = User.objects.visible_to(self.user).filter(is_active=True)
        found = people.filter(email__iexact=value).first()
        if found is not None:
            return found
        near = list(people.filter(Q(name__icontains=value) | Q(email__icontains=value)).order_by("name", "email")[:6])
        exact = [one for one in near if one.name.lower() == value.lower()]
        if len(exact) == 1 or len(near) == 1:
            return (exact or near)[0]
        if not near:
            raise ValidationError(self.error_messages["unknown"], code="unknown", params={"value": value})
        names = ", ".join(f"{one} ({one.email})" for one in near[:5])
        raise ValidationError(self.error_messages["several"], code="several", params={"value": value, "names": names})


def end_of(day: datetime.date | None) -> datetime.datetime | None:
    """Return the last second of a day in the reader's zone: "until 3 May" includes the 3rd."""
    if day is None:
        return None
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time(23, 59, 59)))
