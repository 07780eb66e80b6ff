"""What people fill in about teams, goals, use cases and datasets: shape and scope; nothing is saved here.

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
from governance.policy import ORGANISATION_ROLES, Role
from governance.services import access
from projects.models import Objective, Stakeholder, StrategicGoal, Team, UseCase
from projects.models.use_cases import Stage

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


# Teams and goals


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
        help_text=gettext_lazy("The last day. Guests need one; leave it empty otherwise."),
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


# Use cases

STATEMENT_EXAMPLES = {
    "title": gettext_lazy("Sort help-desk requests by topic"),
    "problem": gettext_lazy(
        "About 400 requests a week wait four hours in the wrong queue before somebody forwards them by hand."
    ),
    "people": gettext_lazy("900 employees who ask, and the 12 people who answer. A wrong queue means a longer wait."),
    "benefit": gettext_lazy("Nine of ten requests reach the right queue within a minute; 30 hours a week are saved."),
    "data_needed": gettext_lazy("Two years of answered requests with the queue that answered them, about 40,000 rows."),
}


class StatementForm(Form):
    """The five sentences that say what is wrong, for whom, and what would be better."""

    title = forms.CharField(
        label=gettext_lazy("Title"),
        max_length=160,
        widget=forms.TextInput(attrs={"placeholder": STATEMENT_EXAMPLES["title"]}),
        help_text=gettext_lazy("What would be done, in a few words."),
    )
    problem = text_area(
        gettext_lazy("Problem"),
        help_text=gettext_lazy("What goes wrong today, how often, and what it costs."),
        example=STATEMENT_EXAMPLES["problem"],
    )
    people = text_area(
        gettext_lazy("People affected"),
        help_text=gettext_lazy("Whom it touches, and what a wrong answer would mean for them."),
        example=STATEMENT_EXAMPLES["people"],
        rows=2,
    )
    benefit = text_area(
        gettext_lazy("Expected benefit"),
        help_text=gettext_lazy("What would be better, in a sentence with a number."),
        example=STATEMENT_EXAMPLES["benefit"],
        rows=2,
    )
    data_needed = text_area(
        gettext_lazy("Data needed"),
        required=False,
        help_text=gettext_lazy("Which data you have or would need. A guess is fine."),
        example=STATEMENT_EXAMPLES["data_needed"],
        rows=2,
    )


class ProposalForm(StatementForm):
    """A new use case: the five sentences, and the team that would work on it."""

    team = forms.ModelChoiceField(
        Team.objects.none(),
        label=gettext_lazy("Team"),
        help_text=gettext_lazy("Who would work on it. You can propose to any team; you need not be in it."),
        empty_label=gettext_lazy("Choose a team"),
    )
    field_order = ["team", "title", "problem", "people", "benefit", "data_needed"]

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = Team.objects.open_to_proposals(self.user)

    @staticmethod
    def first_team(user: User) -> int | None:
        """Return the person's own team where they have exactly one, to choose it for them."""
        mine = access.scope_ids(user, "team.view")
        return next(iter(mine)) if len(mine) == 1 else None


class UseCaseForm(StatementForm):
    """Everything that is written about a use case in sentences, and who owns it."""

    human_oversight = text_area(
        gettext_lazy("Human oversight"),
        required=False,
        help_text=gettext_lazy("Who checks the outputs, and what a person can do about a wrong one."),
        example=gettext_lazy("The agent sees the suggested queue and can choose another; 50 a week are checked."),
    )

    def __init__(self, *args: Any, suggestions_url: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["owner"] = PersonField(
            user=self.user,
            label=_("Owner"),
            help_text=_("Who answers for it: somebody with a role in the team."),
            suggestions_url=suggestions_url,
        )


class ObjectiveForm(Form):
    """One measurable aim: this KPI, from here to there, by then."""

    kpi = forms.CharField(
        label=gettext_lazy("What is measured (KPI)"),
        max_length=160,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Requests that reach the right queue at once")}),
    )
    baseline = forms.DecimalField(
        label=gettext_lazy("Today"),
        max_digits=14,
        decimal_places=4,
        required=False,
        widget=forms.NumberInput(attrs={"placeholder": "62", "step": "any"}),
    )
    target = forms.DecimalField(
        label=gettext_lazy("Target"),
        max_digits=14,
        decimal_places=4,
        required=False,
        widget=forms.NumberInput(attrs={"placeholder": "90", "step": "any"}),
    )
    unit = forms.CharField(
        label=gettext_lazy("Unit"), max_length=40, required=False, widget=forms.TextInput(attrs={"placeholder": "%"})
    )
    direction = forms.ChoiceField(
        label=gettext_lazy("Better is"), choices=Objective.Direction.choices, initial=Objective.Direction.UP
    )
    due_on = forms.DateField(label=gettext_lazy("By"), required=False, widget=DateInput)

    def clean(self) -> dict:
        """Say where the direction and the two numbers contradict each other."""
        cleaned = super().clean()
        baseline, target = cleaned.get("baseline"), cleaned.get("target")
        if baseline is not None and target is not None and cleaned.get("direction"):
            if cleaned["direction"] == Objective.Direction.UP and target <= baseline:
                self.add_error("target", _("Higher is better, but the target is not above today's value."))
            elif cleaned["direction"] == Objective.Direction.DOWN and target >= baseline:
                self.add_error("target", _("Lower is better, but the target is not below today's value."))
        return cleaned

    @staticmethod
    def values_of(objective: Objective) -> dict:
        """Return what the form shows of an objective, numbers without trailing zeros."""

        def number(value):
            return None if value is None else f"{value.normalize():f}"

        return {
            "kpi": objective.kpi,
            "baseline": number(objective.baseline),
            "target": number(objective.target),
            "unit": objective.unit,
            "direction": objective.direction,
            "due_on": objective.due_on,
        }


class StakeholderForm(Form):
    """A group or function with a part in the use case."""

    name = forms.CharField(
        label=gettext_lazy("Group or function"),
        max_length=160,
        help_text=gettext_lazy("Not a private person's name."),
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Works council")}),
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Part"),
        choices=[
            (Stakeholder.Role.RESPONSIBLE, gettext_lazy("Responsible – does the work")),
            (Stakeholder.Role.ACCOUNTABLE, gettext_lazy("Accountable – answers for it")),
            (Stakeholder.Role.CONSULTED, gettext_lazy("Consulted – is asked before")),
            (Stakeholder.Role.INFORMED, gettext_lazy("Informed – is told after")),
        ],
        initial=Stakeholder.Role.CONSULTED,
    )
    interest = forms.CharField(
        label=gettext_lazy("What matters to them"),
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("No monitoring of individual employees")}),
    )

    @staticmethod
    def values_of(stakeholder: Stakeholder) -> dict:
        """Return what the form shows of a stakeholder."""
        return {"name": stakeholder.name, "role": stakeholder.role, "interest": stakeholder.interest}


class GoalsForm(Form):
    """Which goals of the organisation a use case serves."""

    goals = forms.ModelMultipleChoiceField(
        StrategicGoal.objects.none(),
        label=gettext_lazy("Goals"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, use_case: UseCase, **kwargs: Any):
        super().__init__(*args, **kwargs)
        held = [goal.pk for goal in use_case.goals.all()]
        self.fields["goals"].queryset = StrategicGoal.objects.visible_to(self.user).filter(
            Q(is_current=True) | Q(pk__in=held)
        )
        self.initial.setdefault("goals", held)


class MoveForm(Form):
    """Why a use case moves to another stage."""

    reason = forms.CharField(required=False, max_length=2000)


class UseCaseFilter(Form):
    """What a list of use cases is narrowed to. An unknown value narrows nothing, so an old link still opens."""

    q = forms.CharField(required=False, max_length=100)
    stage = forms.ChoiceField(required=False, choices=Stage.choices)
    team = forms.ModelChoiceField(Team.objects.none(), required=False, to_field_name="slug")
    goal = forms.ModelChoiceField(StrategicGoal.objects.none(), required=False)
    owner = forms.ChoiceField(required=False, choices=[("mine", "mine")])

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = Team.objects.visible_to(self.user)
        self.fields["goal"].queryset = StrategicGoal.objects.visible_to(self.user)

    def narrow(self, rows):
        """Return the rows that match everything that was chosen."""
        self.is_valid()
        chosen = self.cleaned_data
        if words := chosen.get("q"):
            rows = rows.filter(Q(title__icontains=words) | Q(problem__icontains=words))
        if chosen.get("stage"):
            rows = rows.filter(stage=chosen["stage"])
        if chosen.get("team"):
            rows = rows.filter(team=chosen["team"])
        if chosen.get("goal"):
            rows = rows.filter(goals=chosen["goal"])
        if chosen.get("owner") == "mine":
            rows = rows.filter(owner=self.user)
        return rows
