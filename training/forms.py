"""What people fill in about base models, jobs and publications: shape and scope, nothing is saved.

The settings of a job are drawn from the recipe's own declaration, so that form, API and documents cannot differ.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.policy import Permission
from governance.services import access
from projects.forms import Form
from projects.models import DatasetVersion, UseCase
from training.engine import recipes
from training.engine.hyperparameters import Hyperparameter, Recipe, resolve
from training.models import BaseModel, Publication, TrainingJob
from training.services import base_models

SETTING = "setting_"


class JobFilter(forms.Form):
    """The filters of the list of jobs."""

    state = forms.ChoiceField(required=False, choices=[("", ""), *TrainingJob.State.choices])
    mine = forms.BooleanField(required=False)

    def narrow(self, rows, user):
        """Return the rows that the filters leave; an unknown value filters nothing."""
        self.is_valid()
        chosen = getattr(self, "cleaned_data", {})
        if chosen.get("state"):
            rows = rows.filter(state=chosen["state"])
        return rows.filter(submitted_by=user) if chosen.get("mine") else rows


class JobForm(Form):
    """Everything a job needs. Settings left empty take the preset's value."""

    fields_of = {"dataset_version": "dataset_version", "": "model_name"}

    use_case = forms.ModelChoiceField(
        UseCase.objects.none(),
        label=gettext_lazy("Use case"),
        empty_label=gettext_lazy("Choose a use case"),
        help_text=gettext_lazy("What the model is for. It has to be approved for development."),
    )
    dataset_version = forms.ModelChoiceField(
        DatasetVersion.objects.none(),
        label=gettext_lazy("Dataset version"),
        empty_label=gettext_lazy("Choose a dataset version"),
        help_text=gettext_lazy("What it learns from and is tested on. It has to be cleared for the use case."),
    )
    base_model = forms.ModelChoiceField(
        BaseModel.objects.none(),
        label=gettext_lazy("Base model"),
        empty_label=gettext_lazy("Choose a base model"),
        help_text=gettext_lazy("What is fine-tuned. A reviewer has to have allowed it."),
    )
    model_name = forms.CharField(
        max_length=64,
        label=gettext_lazy("Name of the model"),
        help_text=gettext_lazy("Lowercase letters, digits, dots and hyphens. The same name again makes a new version."),
    )
    recipe = forms.ChoiceField(label=gettext_lazy("Kind of training"))
    method = forms.ChoiceField(label=gettext_lazy("Method"), widget=forms.RadioSelect)
    preset = forms.ChoiceField(label=gettext_lazy("Preset"), widget=forms.RadioSelect)
    seed = forms.IntegerField(
        min_value=0,
        max_value=2**32 - 1,
        initial=42,
        label=gettext_lazy("Seed"),
        help_text=gettext_lazy("The same seed, data and settings give the same weights on the same CPU."),
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        teams = access.scope_ids(self.user, Permission.JOB_SUBMIT)
        self.fields["use_case"].queryset = (
            UseCase.objects.visible_to(self.user).filter(team__in=teams).select_related("team").order_by("title")
        )
        self.fields["use_case"].label_from_instance = lambda row: f"{row.title} ({row.get_stage_display().lower()})"
        self.fields["dataset_version"].queryset = (
            DatasetVersion.objects.visible_to(self.user)
            .ready()
            .select_related("dataset__team")
            .only("number", "dataset__name", "dataset__team__slug")
            .order_by("dataset__name", "-number")
        )
        self.fields["base_model"].queryset = BaseModel.objects.visible_to(self.user).exclude(
            state=BaseModel.State.DISALLOWED
        )
        self.fields["base_model"].label_from_instance = lambda row: f"{row.title} ({row.get_state_display().lower()})"
        self.fields["recipe"].choices = [(name, recipes.get(name).title) for name in recipes.names()]
        chosen = self.data.get("recipe") or self.initial.get("recipe")
        self.declared: Recipe = recipes.get(chosen if chosen in recipes.names() else recipes.names()[0])
        self.fields["recipe"].initial = self.declared.name
        titles = {"full": _("Full fine-tune: all weights change"), "lora": _("LoRA: a small adapter is trained")}
        self.fields["method"].choices = [(name, titles.get(name, name)) for name in self.declared.methods]
        self.fields["method"].initial = self.declared.methods[0]
        self.fields["preset"].choices = [
            (preset.name, f"{preset.title}: {preset.help}") for preset in self.declared.presets.values()
        ]
        self.fields["preset"].initial = self.declared.default_preset
        standard = resolve(self.declared, self._value("preset"), None, self._value("method"))
        for setting in self.declared.hyperparameters:
            self.fields[SETTING + setting.name] = _field(setting, standard.get(setting.name, setting.default))

    def _value(self, name: str) -> str:
        value = self.data.get(name) or self.initial.get(name) or self.fields[name].initial
        return value if value in dict(self.fields[name].choices) else self.fields[name].initial

    def settings(self, *, advanced: bool) -> list:
        """Return the bound fields of the settings that apply to the chosen method."""
        method = self._value("method")
        return [
            self[SETTING + setting.name]
            for setting in self.declared.hyperparameters
            if setting.advanced is advanced and method in setting.methods
        ]

    @property
    def basic_settings(self) -> list:
        """Return the settings that most people look at."""
        return self.settings(advanced=False)

    @property
    def advanced_settings(self) -> list:
        """Return the settings that are folded away."""
        return self.settings(advanced=True)

    def arguments(self) -> dict[str, Any]:
        """Return what `jobs.plan` and `jobs.submit` take."""
        held = self.cleaned_data
        applies = {s.name for s in self.declared.hyperparameters if held["method"] in s.methods}
        return {
            "use_case": held["use_case"],
            "dataset_version": held["dataset_version"],
            "base_model": held["base_model"],
            "model_name": held["model_name"],
            "recipe": held["recipe"],
            "method": held["method"],
            "preset": held["preset"],
            "seed": held["seed"],
            "overrides": {
                name.removeprefix(SETTING): value
                for name, value in held.items()
                if name.startswith(SETTING) and value not in (None, "") and name.removeprefix(SETTING) in applies
            },
        }

    def note(self, errors: dict[str, str]) -> None:
        """Put the sentences of a plan beside the fields they are about."""
        for name, sentence in errors.items():
            place = name if name in self.fields else SETTING + name
            self.add_error(place if place in self.fields else None, sentence)


def _field(setting: Hyperparameter, standard: Any) -> forms.Field:
    """Return the form's field for a declared setting; empty means the preset's value, which is shown in grey."""
    label = f"{setting.title} ({setting.unit})" if setting.unit else setting.title
    common = {"label": label, "help_text": f"{setting.help} {setting.when}".strip(), "required": False}
    if setting.type in {"choice", "bool"}:
        shown = {True: _("yes"), False: _("no")}.get(standard, standard) if setting.type == "bool" else standard
        choices = (
            [("true", _("yes")), ("false", _("no"))]
            if setting.type == "bool"
            else [(choice, choice) for choice in setting.choices]
        )
        return forms.ChoiceField(choices=[("", _("Preset: %s") % shown), *choices], **common)
    if setting.minimum is not None and setting.maximum is not None:
        bounds = _("From %(low)s to %(high)s.") % {"low": f"{setting.minimum:g}", "high": f"{setting.maximum:g}"}
        common["help_text"] = f"{common['help_text']} {bounds}"
    attributes = {"placeholder": str(standard), "inputmode": "decimal"}
    # Bounds are checked by the declaration itself, so that its sentence is the one that is shown.
    return forms.CharField(max_length=40, widget=forms.TextInput(attrs=attributes), **common)


class ImportForm(Form):
    """A base model that is on this server already, and what people should know about it."""

    source = forms.ChoiceField(
        label=gettext_lazy("Source"),
        help_text=gettext_lazy("Folders and packages with safetensors that an operator has put on this server."),
    )
    name = forms.CharField(
        max_length=64, label=gettext_lazy("Name"), help_text=gettext_lazy("Lowercase letters, digits, dots, hyphens.")
    )
    title = forms.CharField(max_length=160, label=gettext_lazy("Title"))
    licence = forms.CharField(
        max_length=80,
        label=gettext_lazy("Licence"),
        help_text=gettext_lazy("SPDX identifier of the weights, such as Apache-2.0."),
    )
    origin = forms.CharField(
        max_length=2000,
        label=gettext_lazy("Origin"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Who trained it, and where the files come from."),
    )
    task = forms.CharField(max_length=60, label=gettext_lazy("Made for"), initial="sentence similarity")
    languages = forms.CharField(max_length=200, label=gettext_lazy("Languages"), required=False)
    description = forms.CharField(
        max_length=4000, label=gettext_lazy("Description"), required=False, widget=forms.Textarea(attrs={"rows": 3})
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = [(source.key, source.title) for source in base_models.sources()]


class ReasonForm(Form):
    """Why something is done."""

    reason = forms.CharField(
        max_length=1000,
        label=gettext_lazy("Reason"),
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("The people affected and the auditor will read it."),
    )


class PublishForm(Form):
    """Under which name, to whom, and for what a version is to be offered."""

    alias = forms.CharField(
        max_length=40,
        initial="champion",
        label=gettext_lazy("Alias"),
        help_text=gettext_lazy("Callers use this name; the version behind it can change. “champion” is the usual one."),
    )
    audience = forms.ChoiceField(
        label=gettext_lazy("Audience"), choices=Publication.Audience.choices, widget=forms.RadioSelect
    )
    intended_use = forms.CharField(
        max_length=4000,
        label=gettext_lazy("Intended use"),
        widget=forms.Textarea(
            attrs={"rows": 4, "placeholder": gettext_lazy("Suggests the team for a request; a person can change it.")}
        ),
        help_text=gettext_lazy("What it may be used for, and what not. Users read it beside the model."),
    )
    note = forms.CharField(
        max_length=2000,
        label=gettext_lazy("Note to the reviewer"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
