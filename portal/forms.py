"""What people fill in about the site itself: views of lists that they keep, quotas, guardrails, codes of programs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from governance.policy import Permission, TokenScope
from governance.services import access
from portal.gateway import guardrails
from portal.models import Quota, SavedView, Unit, Window
from projects.forms import Form, PersonField
from projects.models import Team, UseCase
from training.models import RegisteredModel


class DeviceLoginForm(forms.Form):
    """The code that a program shows, what it may do, and whether it may."""

    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        help_text=_("Eight letters, as your terminal shows them."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "characters"}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=[
            (TokenScope.READ.value, _("See models and datasets, and fetch data and base models that you may fetch")),
            (TokenScope.PREDICT.value, _("Fetch and call published models")),
            (TokenScope.WRITE.value, _("Change and publish in your name")),
            (TokenScope.TRAIN.value, _("Submit and cancel training jobs")),
        ],
        initial=[TokenScope.READ.value, TokenScope.PREDICT.value],
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    answer = forms.ChoiceField(choices=[("allow", _("Allow")), ("refuse", _("Refuse"))], widget=forms.HiddenInput)


class SavedViewForm(Form):
    """A name for what a list shows, and who finds it."""

    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        help_text=_("What it shows, in a few words."),
        widget=forms.TextInput(attrs={"placeholder": _("Waiting for my team")}),
    )
    audience = forms.ChoiceField(
        label=_("Who finds it"),
        choices=[
            (SavedView.Audience.PRIVATE, _("Only me")),
            (SavedView.Audience.TEAM, _("The people of a team")),
            (SavedView.Audience.ORGANISATION, _("Everybody in the organisation")),
        ],
        initial=SavedView.Audience.PRIVATE,
        widget=forms.RadioSelect,
        help_text=_("A view shows nobody more than they may see: each sees their own rows in it."),
    )
    team = forms.ModelChoiceField(
        Team.objects.none(),
        label=_("Team"),
        required=False,
        empty_label=_("Choose a team"),
        to_field_name="slug",
        help_text=_("For a view that a team finds."),
    )
    usual = forms.BooleanField(
        label=_("Start with it"), required=False, help_text=_("When you open the list, this view is shown first.")
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Every team of somebody who reads all of them would be a drop-down of everything.
        mine = access.scope_ids(self.user, Permission.TEAM_VIEW)
        self.fields["team"].queryset = Team.objects.visible_to(self.user).filter(pk__in=mine)
        if not mine:
            del self.fields["team"]
            choices = self.fields["audience"].choices
            self.fields["audience"].choices = [one for one in choices if one[0] != SavedView.Audience.TEAM]


_AMOUNT = forms.DecimalField(
    label=_("How much"), min_value=0, max_digits=18, decimal_places=6, widget=forms.NumberInput(attrs={"step": "any"})
)
_REASON = forms.CharField(
    label=_("Why"),
    max_length=300,
    required=False,
    help_text=_("Those whom it binds read this."),
    widget=forms.TextInput(attrs={"placeholder": _("The pilot has this much of the department's budget.")}),
)


class QuotaForm(Form):
    """How much may be used, by whom and of what, in which time."""

    subject = forms.ChoiceField(label=_("Covers"), choices=Quota.Subject.choices, widget=forms.RadioSelect)
    team = forms.CharField(
        label=_("Team"), required=False, max_length=64, help_text=_("Its short name, for a quota of a team.")
    )
    model = forms.CharField(
        label=_("Model"),
        required=False,
        max_length=130,
        help_text=_("As team/name, for a quota of a model."),
        widget=forms.TextInput(attrs={"placeholder": "helpdesk/request-router"}),
    )
    use_case = forms.IntegerField(
        label=_("Use case"), required=False, min_value=1, help_text=_("Its number, for a quota of a use case.")
    )
    each_person = forms.BooleanField(
        label=_("For each person"),
        required=False,
        help_text=_("Everybody has this much for themselves; else all share it."),
    )
    amount = _AMOUNT
    unit = forms.ChoiceField(
        label=_("Of what"),
        choices=Unit.choices,
        help_text=_("Calls, tokens and money are those of models; bytes are those of downloads and uploads."),
    )
    window = forms.ChoiceField(label=_("In"), choices=Window.choices, help_text=_("By the clock and calendar in UTC."))
    reason = _REASON

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        fields = {"person": PersonField(user=self.user, required=False, help_text=_("For a quota of a person."))}
        if not access.organisation_allows(self.user, Permission.QUOTA_MANAGE):
            # Who looks after one team has no say over the organisation or over a person.
            choices = self.fields["subject"].choices
            mine = {Quota.Subject.TEAM, Quota.Subject.MODEL, Quota.Subject.USE_CASE}
            self.fields["subject"].choices = [one for one in choices if one[0] in mine]
            fields = {}
        self.fields = dict(list(self.fields.items())[:4]) | fields | dict(list(self.fields.items())[4:])

    def _one(self, name: str, rows, sentence: str):
        """Return the row that was named, or None where nothing was."""
        found = rows.first()
        if found is None:
            self.add_error(name, sentence)
        return found

    def clean(self) -> dict:
        """Find what the names stand for, among what the reader may see."""
        held = super().clean()
        if held.get("team"):
            rows = Team.objects.visible_to(self.user).filter(slug=held["team"])
            held["team"] = self._one("team", rows, str(_("There is no team with this short name.")))
        if held.get("model"):
            team, _slash, name = held["model"].partition("/")
            rows = RegisteredModel.objects.visible_to(self.user).filter(team__slug=team, name=name)
            held["model"] = self._one("model", rows.select_related("team"), str(_("There is no such model.")))
        if held.get("use_case"):
            rows = UseCase.objects.visible_to(self.user).filter(pk=held["use_case"]).select_related("team")
            held["use_case"] = self._one("use_case", rows, str(_("There is no use case with this number.")))
        return {name: None if name in _NAMES and not value else value for name, value in held.items()}


_NAMES = ("team", "model", "use_case", "person")


class QuotaChangeForm(Form):
    """How much, and why."""

    amount = _AMOUNT
    reason = _REASON


_WORDS = {"off": _("Off"), "note": _("Note it"), "mask": _("Mask it"), "refuse": _("Refuse")}
_STAGE_WORDS = {"input": _("In what is sent"), "output": _("In what is answered")}


class GuardrailsForm(Form):
    """What each guardrail does at each stage, and for how many days bodies are kept."""

    fields_of = {"rules": ""}

    keep_days = forms.IntegerField(
        label=_("Days for which what was said is kept"),
        min_value=0,
        max_value=365,
        help_text=_("Encrypted, for feedback; 0 keeps nothing."),
    )

    def __init__(self, *args: Any, rules: dict, keep_days: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        kept = self.fields.pop("keep_days")
        kept.initial = keep_days
        for name in guardrails.names():
            rail, rule = guardrails.get(name), rules.get(name, {})
            for stage in rail.STAGES:
                self.fields[f"{name}-{stage}"] = forms.ChoiceField(
                    label=_STAGE_WORDS[stage],
                    choices=[(one, _WORDS[one]) for one in ("off", *rail.ACTIONS)],
                    initial=rule.get(stage, "off"),
                )
            for option, about in rail.OPTIONS.items():
                self.fields[f"{name}-{option}"] = self._option(about, rule.get(option, about.default))
        self.fields["keep_days"] = kept

    @staticmethod
    def _option(about: guardrails.Option, value: Any) -> forms.Field:
        shared = {"label": about.label, "help_text": about.help, "required": False}
        if about.kind == "number":
            return forms.IntegerField(**shared, initial=value, min_value=1, max_value=1_000_000)
        if about.kind == "text":
            return forms.CharField(**shared, initial=value, max_length=200)
        return forms.CharField(**shared, initial="\n".join(value), widget=forms.Textarea(attrs={"rows": 3}))

    def groups(self) -> list[tuple[Any, list]]:
        """Return each guardrail with its fields, for a page."""
        return [
            (guardrails.get(name), [self[field] for field in self.fields if field.startswith(f"{name}-")])
            for name in guardrails.names()
        ]

    def chosen(self) -> dict:
        """Return the arguments of the service."""
        rules: dict[str, dict] = {}
        for field, value in self.cleaned_data.items():
            name, _dash, key = field.partition("-")
            if not key:
                continue
            about = guardrails.get(name).OPTIONS.get(key)
            if about is not None and about.kind == "lines":
                value = [line for line in value.splitlines() if line.strip()]
            elif about is not None and value is None:
                value = about.default
            rules.setdefault(name, {})[key] = value
        return {"rules": rules, "keep_days": self.cleaned_data["keep_days"]}
