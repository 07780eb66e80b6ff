"""What people fill in about teams, their members and the organisation's goals."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.policy import ORGANISATION_ROLES, Role
from projects.forms.fields import DateInput, Form, PersonField, text_area


class TeamForm(Form):
    """A team's name and what it does; the short name only when it is new, since it is part of addresses."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=120,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Help desk")}),
    )
    slug = forms.CharField(
        label=gettext_lazy("Short name"),
        max_length=64,
        help_text=gettext_lazy("Part of addresses and model names, so it stays. Lowercase, no spaces."),
        widget=forms.TextInput(attrs={"placeholder": "helpdesk", "autocapitalize": "none", "spellcheck": "false"}),
    )
    description = text_area(
        gettext_lazy("What it does"),
        required=False,
        example=gettext_lazy("Answers what employees ask about their equipment, access and pay."),
    )

    def __init__(self, *args: Any, new: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not new:
            del self.fields["slug"]


TEAM_ROLES = [
    (Role.TEAM_OWNER, gettext_lazy("Team owner – members, budget, everything below")),
    (Role.PROJECT_MANAGER, gettext_lazy("Project manager – describes and moves use cases")),
    (Role.BUSINESS_ANALYST, gettext_lazy("Business analyst – describes use cases")),
    (Role.DOMAIN_EXPERT, gettext_lazy("Domain expert – reads, comments, uses models")),
    (Role.DATA_STEWARD, gettext_lazy("Data steward – registers, uploads, shares and withdraws data")),
    (Role.DATA_SCIENTIST, gettext_lazy("Data scientist – data, training, models")),
    (Role.ML_ENGINEER, gettext_lazy("ML engineer – data, training, publishing and retiring models")),
    (Role.GUEST, gettext_lazy("Guest – reads and uses models until a date")),
]
"""Every role held in a team, with what it may do in a few words."""

assert {role for role, _words in TEAM_ROLES} == set(Role) - ORGANISATION_ROLES


class MemberForm(Form):
    """A role for a person in a team, for good or until a date."""

    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=[(role.value, words) for role, words in TEAM_ROLES],
        initial=Role.DOMAIN_EXPERT,
    )
    until = forms.DateField(
        label=gettext_lazy("Until"),
        required=False,
        widget=DateInput,
    )
    field_order = ["person", "role", "until"]
    fields_of = {"user": "person", "expires_at": "until"}

    def __init__(self, *args: Any, suggestions_url: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["person"] = PersonField(user=self.user, suggestions_url=suggestions_url)
        self.order_fields(self.field_order)

    def clean(self) -> dict:
        """Say beside the date what a guest needs."""
        cleaned = super().clean()
        if cleaned.get("role") == Role.GUEST and not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", _("A guest needs an end date: choose the last day."))
        return cleaned


class GoalForm(Form):
    """A strategic goal of the organisation."""

    title = forms.CharField(
        label=gettext_lazy("Goal"),
        max_length=160,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Answer every employee within a working day")}),
    )
    description = text_area(
        gettext_lazy("What it means"),
        required=False,
        example=gettext_lazy("How it is measured, and who answers for it."),
    )
    is_current = forms.BooleanField(
        label=gettext_lazy("The organisation pursues it now"),
        required=False,
        initial=True,
        help_text=gettext_lazy("Use cases keep a goal that is no longer current, but new ones cannot choose it."),
    )

    def __init__(self, *args: Any, new: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if new:
            del self.fields["is_current"]
