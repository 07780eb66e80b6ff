"""What people fill in about use cases, and what their list is narrowed to."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Q
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.models import User
from governance.policy import TIERS
from governance.services import access
from projects.forms.fields import DateInput, Form, PersonField, text_area
from projects.models import Objective, Stakeholder, StrategicGoal, Team, UseCase
from projects.models.use_cases import Stage

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
    """Everything that is written about a use case in sentences, its risk tier, and who owns it."""

    human_oversight = text_area(
        gettext_lazy("Human oversight"),
        required=False,
        help_text=gettext_lazy("Who checks the outputs, and what a person can do about a wrong one."),
        example=gettext_lazy("The agent sees the suggested queue and can choose another; 50 a week are checked."),
    )

    risk_tier = forms.ChoiceField(
        label=gettext_lazy("Risk tier"),
        required=False,
        choices=[
            (tier.value, format_lazy("{}: {}", tier.value.capitalize(), rule.meaning)) for tier, rule in TIERS.items()
        ],
        widget=forms.RadioSelect,
        help_text=gettext_lazy(
            "How much harm a wrong output could do. It decides who has to agree, and by when; reviewers may ask for "
            "another."
        ),
    )
    risk_tier_reason = text_area(
        gettext_lazy("Why this tier"),
        required=False,
        help_text=gettext_lazy("A sentence that a reviewer can check. A new tier needs a new reason."),
        example=gettext_lazy("A wrong suggestion costs an agent one click; nobody outside the team sees it."),
        rows=2,
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
            rows = rows.filter(words__begun=words)
        if chosen.get("stage"):
            rows = rows.filter(stage=chosen["stage"])
        if chosen.get("team"):
            rows = rows.filter(team=chosen["team"])
        if chosen.get("goal"):
            rows = rows.filter(goals=chosen["goal"])
        if chosen.get("owner") == "mine":
            rows = rows.filter(owner=self.user)
        return rows
