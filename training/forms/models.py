"""What people fill in about base models, publications and the reason of an act: shape and scope, nothing is saved."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from projects.forms import Form
from training.models import Publication
from training.services import base_models


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
