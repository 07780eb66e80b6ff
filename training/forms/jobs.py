"""The form of a training job, and the filters of the list of jobs.

Presets, methods and settings are drawn from the recipe's declaration, so that form, API and documents cannot differ.
"""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.models import ApprovalRequest
from governance.policy import Gate, Permission
from governance.services import access
from projects.forms import Form
from projects.models import DatasetClearance, DatasetVersion, UseCase
from training.engine import baselines, recipes
from training.engine.hyperparameters import Hyperparameter, Recipe, resolve
from training.forms.pickers import Picker
from training.models import BaseModel, RegisteredModel, TrainingJob

SETTING = "setting_"
USUAL = "sequence_classification"


class JobFilter(forms.Form):
    """The filters of the list of jobs."""

    q = forms.CharField(required=False, max_length=100)
    state = forms.ChoiceField(required=False, choices=[("", ""), *TrainingJob.State.choices])
    mine = forms.BooleanField(required=False)

    def narrow(self, rows, user):
        """Return the rows that the filters leave; an unknown value filters nothing."""
        self.is_valid()
        chosen = getattr(self, "cleaned_data", {})
        if chosen.get("q"):
            rows = rows.filter(Q(model_name__icontains=chosen["q"]) | Q(use_case__title__icontains=chosen["q"]))
        if chosen.get("state"):
            rows = rows.filter(state=chosen["state"])
        return rows.filter(submitted_by=user) if chosen.get("mine") else rows


class JobForm(Form):
    """Everything a job needs. Settings left empty take the preset's value."""

    use_case = Picker(
        empty=gettext_lazy("Choose a use case"),
        label=gettext_lazy("Use case"),
        help_text=gettext_lazy("What the model is for. It has to be approved for development."),
    )
    dataset_version = Picker(
        empty=gettext_lazy("Choose a dataset version"),
        label=gettext_lazy("Dataset version"),
        help_text=gettext_lazy("What it learns from and is tested on. It has to be cleared for the use case."),
    )
    base_model = Picker(
        empty=gettext_lazy("Choose a base model"),
        label=gettext_lazy("Base model"),
        help_text=gettext_lazy("What is fine-tuned. A reviewer has to have allowed it."),
    )
    model_name = forms.CharField(
        max_length=64,
        label=gettext_lazy("Name of the model"),
        help_text=gettext_lazy("Lowercase letters, digits, dots and hyphens. The same name again makes a new version."),
        error_messages={"required": gettext_lazy("Give the model a name, such as request-router.")},
        widget=forms.TextInput(attrs={"list": "model-names", "autocomplete": "off", "spellcheck": "false"}),
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
    suggested = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._offer_rows()
        self._offer_recipe()
        self._suggest_name()

    # What may be chosen

    def _offer_rows(self) -> None:
        teams = access.scope_ids(self.user, Permission.JOB_SUBMIT)
        self.fields["use_case"].offer(
            UseCase.objects.visible_to(self.user).filter(team__in=teams).select_related("team").order_by("title", "pk"),
            label_of=lambda row: f"{row.title} ({row.get_stage_display().lower()})",
            matching=lambda rows, words: rows.filter(title__icontains=_bare(words)),
            light=lambda rows: rows.only("title", "stage", "team"),
            list_id="use-case-options",
            suggestions_url=reverse("training:job_options", args=["use_case"]),
        )
        self.chosen_use_case: UseCase | None = self._peek("use_case")
        self.chosen_version: DatasetVersion | None = None
        cleared = cleared_versions(self.chosen_use_case)
        self.fields["dataset_version"].offer(
            DatasetVersion.objects.visible_to(self.user)
            .ready()
            .select_related("dataset__team", "commit")
            .order_by("dataset__name", "-number"),
            label_of=str,
            matching=_named_like,
            groups=(lambda rows: _by_clearance(rows, cleared)) if self.chosen_use_case else None,
            light=lambda rows: (
                rows.select_related(None)
                .select_related("dataset__team")
                .only("number", "dataset__name", "dataset__team__slug")
            ),
            list_id="dataset-version-options",
            suggestions_url=reverse("training:job_options", args=["dataset_version"]),
        )
        self.fields["base_model"].offer(
            BaseModel.objects.visible_to(self.user)
            .exclude(state=BaseModel.State.DISALLOWED)
            .select_related("commit")
            .order_by("state", "title", "pk"),
            label_of=lambda row: f"{row.title} ({row.get_state_display().lower()})",
            matching=lambda rows, words: rows.filter(
                Q(title__icontains=_bare(words)) | Q(name__icontains=_bare(words))
            ),
            list_id="base-model-options",
            suggestions_url=reverse("training:job_options", args=["base_model"]),
        )
        self.only_cleared = [pk for pk in cleared if str(pk) in _keys(self.fields["dataset_version"])]
        if not self.is_bound and not self.initial.get("dataset_version") and len(self.only_cleared) == 1:
            self.initial["dataset_version"] = self.only_cleared[0]
        self.chosen_version = self._peek("dataset_version")

    def _peek(self, name: str) -> Any:
        """Return the row that is chosen so far, or None; what is wrong with it is said when the form is checked."""
        value = self.data.get(name) if self.is_bound else self.initial.get(name)
        try:
            return self.fields[name].clean(getattr(value, "pk", value)) if value else None
        except forms.ValidationError:
            return None

    def _offer_recipe(self) -> None:
        layout = self.chosen_version.layout if self.chosen_version is not None else ""
        known = [recipes.get(name) for name in recipes.names()]
        # The kinds that learn from the chosen rows come first; the others stay, so that the dry run can say why not.
        fitting = [recipe for recipe in known if not layout or layout in recipe.layouts]
        self.fields["recipe"].choices = [(one.name, one.title) for one in fitting] + [
            (one.name, _("%(title)s (does not fit these rows)") % {"title": one.title})
            for one in known
            if one not in fitting
        ]
        chosen = self.data.get("recipe") or self.initial.get("recipe")
        if not self.is_bound and layout and chosen not in {one.name for one in fitting}:
            chosen = fitting[0].name if fitting else chosen
        self.declared: Recipe = recipes.get(chosen if chosen in recipes.names() else USUAL)
        self.initial["recipe"] = self.fields["recipe"].initial = self.declared.name
        self._suit_base_model()
        self.rivals = [
            baselines.get(name).title
            for name in baselines.fitting(self.declared.measure, layout or self.declared.layouts[0])
        ]
        titles = {
            "full": _("Full fine-tune: all weights change; the best results on small models"),
            "lora": _("LoRA: a small adapter is trained; less memory, and a small file to keep"),
            "dora": _("DoRA: LoRA that learns size and direction apart; slower, sometimes better at low ranks"),
            "rslora": _("rsLoRA: LoRA scaled by the square root of its rank; for ranks above 32"),
        }
        self.fields["method"].choices = [(name, titles.get(name, name)) for name in self.declared.methods]
        self.fields["method"].initial = self.declared.methods[0]
        self.fields["preset"].choices = [
            (preset.name, f"{preset.title}: {preset.help}") for preset in self.declared.presets.values()
        ]
        self.fields["preset"].initial = self.declared.default_preset
        standard = resolve(self.declared, self._value("preset"), None, self._value("method"))
        for setting in self.declared.hyperparameters:
            self.fields[SETTING + setting.name] = _field(setting, standard.get(setting.name, setting.default))

    def _suit_base_model(self) -> None:
        """Offer a base model that this kind of training can tune, where the one at hand is of another family."""
        held = None if self.is_bound else self._peek("base_model")
        if held is None or held.family in self.declared.families:
            return
        allowed = BaseModel.objects.visible_to(self.user).allowed().filter(family__in=self.declared.families)
        fitting = allowed.order_by("title", "pk").values_list("pk", flat=True).first()
        self.initial["base_model"] = fitting or held.pk

    def _value(self, name: str) -> str:
        value = self.data.get(name) or self.initial.get(name) or self.fields[name].initial
        return value if value in dict(self.fields[name].choices) else self.fields[name].initial

    def _suggest_name(self) -> None:
        """Offer the names that the use case has already, else one made of its title; never replace what was typed."""
        self.known_names: list[str] = []
        if self.chosen_use_case is None:
            return
        held = RegisteredModel.objects.visible_to(self.user).filter(use_case=self.chosen_use_case)
        self.known_names = list(held.order_by("-changed_at").values_list("name", flat=True)[:20])
        suggestion = self.known_names[0] if self.known_names else name_from(self.chosen_use_case.title)
        typed = str(self.initial.get("model_name") or "")
        if not self.is_bound and typed in ("", str(self.initial.get("suggested") or "")):
            self.initial["model_name"] = self.initial["suggested"] = suggestion

    # Parts of the page

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

    def _touched(self, fields: list) -> bool:
        return any(field.errors or field.value() not in (None, "") for field in fields)

    @property
    def basic_open(self) -> bool:
        """Return whether the basic settings are to be shown unfolded: something is set or wrong there."""
        return self._touched(self.basic_settings)

    @property
    def advanced_open(self) -> bool:
        """Return whether the advanced settings are to be shown unfolded."""
        return self._touched(self.advanced_settings)

    # Results

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


def cleared_versions(use_case: UseCase | None) -> list[int]:
    """Return the ids of the dataset versions whose clearance for the use case was approved.

    A drop-down groups by this; whether the approval still stands is asked by the gate itself, in the dry run.
    """
    if use_case is None:
        return []
    clearances = DatasetClearance.objects.filter(use_case=use_case)
    asked = ApprovalRequest.objects.filter(
        gate=Gate.DATASET_USE.value, object_id__in=clearances.values("pk"), state=ApprovalRequest.State.APPROVED
    )
    return list(clearances.filter(pk__in=asked.values("object_id")).values_list("version_id", flat=True))


def name_from(title: str) -> str:
    """Return a model's name made of a use case's title: "Route help-desk requests" -> "route-help-desk-requests"."""
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return words[:48].rstrip("-")


def _by_clearance(rows: list, cleared: list[int]) -> list[tuple[str, list]]:
    return [
        (_("Cleared for this use case"), [row for row in rows if row.pk in cleared]),
        (_("Not cleared for it yet"), [row for row in rows if row.pk not in cleared]),
    ]


def _keys(field: Picker) -> set[str]:
    """Return the ids that a drop-down offers; none where one searches."""
    found: set[str] = set()
    for key, label in getattr(field.widget, "choices", []):
        found |= {inner for inner, _label in label} if isinstance(label, list) else {key}
    return found


def _bare(words: str) -> str:
    """Return what was typed without the state in brackets that a label ends with."""
    return re.sub(r"\s*\([^()]*\)\s*$", "", words).strip()


def _named_like(rows, words: str):
    """Return the versions whose dataset is called like that: "helpdesk/requests v2", or a part of it."""
    found = re.fullmatch(r"(?:(?P<team>[^/\s]+)/)?(?P<name>[^\s]*)(?:\s+v(?P<number>\d+))?", words.strip())
    if found is None:
        return rows.filter(dataset__title__icontains=words)
    if found["team"]:
        rows = rows.filter(dataset__team__slug__icontains=found["team"])
    if found["number"]:
        rows = rows.filter(number=int(found["number"][:9]))
    return rows.filter(Q(dataset__name__icontains=found["name"]) | Q(dataset__title__icontains=found["name"]))


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
    number = f"{standard:g}" if isinstance(standard, int | float) else str(standard)
    attributes = {"placeholder": _("Preset: %s") % number, "inputmode": "decimal", "autocomplete": "off"}
    # Bounds are checked by the declaration itself, so that its sentence is the one that is shown.
    return forms.CharField(max_length=40, widget=forms.TextInput(attrs=attributes), **common)
