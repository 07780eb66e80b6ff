"""What people fill in about datasets: their description, an upload and its columns, shares, clearances, withdrawal."""

from __future__ import annotations

from typing import Any

from django import forms
from django.db.models import Case, Q, Value, When
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from governance.models import User
from governance.policy import Permission
from governance.services import access
from projects import layouts, sources
from projects.forms.fields import DateInput, Form, PersonField, text_area
from projects.models import Dataset, Team, UseCase
from projects.models.use_cases import Stage
from projects.services import datasets

LICENCES = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "ODbL-1.0", "PDDL-1.0", "Apache-2.0", "MIT",
    "Internal use only",
)  # fmt: skip
"""Offered while one types; any other SPDX identifier or the name of your own terms will do."""

CANDIDATES = 100


class DatasetForm(Form):
    """What is said about a dataset: whose it is, where it comes from and how closely it is kept."""

    team = forms.ModelChoiceField(
        Team.objects.none(), label=gettext_lazy("Team"), empty_label=gettext_lazy("Choose a team")
    )
    title = forms.CharField(
        label=gettext_lazy("Title"),
        max_length=160,
        help_text=gettext_lazy("In a few words."),
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Help-desk requests")}),
    )
    name = forms.CharField(
        label=gettext_lazy("Short name"),
        max_length=64,
        help_text=gettext_lazy("Lowercase, no spaces; it stays."),
        widget=forms.TextInput(attrs={"placeholder": "requests", "autocapitalize": "none", "spellcheck": "false"}),
    )
    description = text_area(
        gettext_lazy("Description"),
        required=False,
        example=gettext_lazy("What employees write to the help desk, with the queue that answered."),
        rows=2,
    )
    provenance = text_area(
        gettext_lazy("Provenance"),
        help_text=gettext_lazy("Where it comes from, how it was collected, and by whom."),
        example=gettext_lazy("Exported from the ticket system for 2024 and 2025; internal notes were left out."),
        rows=2,
    )
    licence = forms.CharField(
        label=gettext_lazy("Licence"),
        max_length=80,
        help_text=gettext_lazy("SPDX identifier, or your own terms."),
        widget=forms.TextInput(attrs={"list": "licences", "placeholder": "CC-BY-4.0", "autocomplete": "off"}),
    )
    classification = forms.ChoiceField(
        label=gettext_lazy("Classification"),
        choices=[
            (Dataset.Classification.PUBLIC, gettext_lazy("Public – anyone may read it")),
            (Dataset.Classification.INTERNAL, gettext_lazy("Internal – for the organisation")),
            (Dataset.Classification.CONFIDENTIAL, gettext_lazy("Confidential – for the team")),
            (Dataset.Classification.RESTRICTED, gettext_lazy("Restricted – for named people")),
        ],
        initial=Dataset.Classification.INTERNAL,
        help_text=gettext_lazy("How closely it is kept."),
    )
    lawful_basis = forms.ChoiceField(
        label=gettext_lazy("Lawful basis"),
        choices=Dataset.LawfulBasis.choices,
        initial=Dataset.LawfulBasis.NONE,
        help_text=gettext_lazy("For personal data in it (GDPR, Art. 6)."),
    )
    region = forms.CharField(
        label=gettext_lazy("Region"),
        max_length=60,
        required=False,
        help_text=gettext_lazy("Where it may be kept."),
        widget=forms.TextInput(attrs={"placeholder": "EU"}),
    )
    retention_until = forms.DateField(
        label=gettext_lazy("Keep until"),
        required=False,
        widget=DateInput,
        help_text=gettext_lazy("When it must be deleted."),
    )

    def __init__(self, *args: Any, new: bool = True, suggestions_url: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        if new:
            teams = access.visible(Team.objects.all(), self.user, Permission.DATASET_REGISTER, scope="pk")
            self.fields["team"].queryset = teams
            mine = access.scope_ids(self.user, Permission.DATASET_REGISTER)
            if len(mine) == 1:
                self.initial.setdefault("team", next(iter(mine)))
        else:
            del self.fields["team"], self.fields["name"]
        self.fields["steward"] = PersonField(
            user=self.user,
            label=_("Steward"),
            help_text=_("Who looks after it: empty means you.") if new else _("Who looks after it."),
            required=not new,
            suggestions_url=suggestions_url,
        )


class DatasetFilter(Form):
    """What a list of datasets is narrowed to. An unknown value narrows nothing, so an old link still opens."""

    q = forms.CharField(required=False, max_length=100)
    team = forms.ModelChoiceField(Team.objects.none(), required=False, to_field_name="slug")
    classification = forms.ChoiceField(required=False, choices=Dataset.Classification.choices)
    steward = forms.ChoiceField(required=False, choices=[("mine", "mine")])

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = Team.objects.visible_to(self.user)

    def narrow(self, rows):
        """Return the rows that match everything that was chosen."""
        self.is_valid()
        chosen = self.cleaned_data
        if words := chosen.get("q"):
            rows = rows.filter(words__begun=words)
        if chosen.get("team"):
            rows = rows.filter(team=chosen["team"])
        if chosen.get("classification"):
            rows = rows.filter(classification=chosen["classification"])
        if chosen.get("steward") == "mine":
            rows = rows.filter(steward=self.user)
        return rows


class ShareForm(Form):
    """One person who may see a dataset, or take its files as well, until a date."""

    level = forms.ChoiceField(
        label=gettext_lazy("May"),
        choices=[
            ("view", gettext_lazy("See it: description, profile and example rows")),
            ("download", gettext_lazy("See it and download its files")),
        ],
    )
    until = forms.DateField(label=gettext_lazy("Until"), widget=DateInput, help_text=gettext_lazy("The last day."))
    purpose = forms.CharField(
        label=gettext_lazy("Purpose"),
        max_length=300,
        help_text=gettext_lazy("The auditor reads it."),
        widget=forms.TextInput(attrs={"placeholder": gettext_lazy("Check the labels of 200 rows")}),
    )
    fields_of = {"user": "person", "expires_at": "until"}

    def __init__(self, *args: Any, suggestions_url: str = "", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["person"] = PersonField(user=self.user, suggestions_url=suggestions_url)
        self.order_fields(["person", "level", "until", "purpose"])

    def permissions(self) -> list[Permission]:
        """Return what was chosen; who may take files may of course see the dataset."""
        seen = [Permission.DATASET_VIEW]
        return [*seen, Permission.DATASET_DOWNLOAD] if self.cleaned_data["level"] == "download" else seen


class UploadForm(Form):
    """The file of a new version."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        help_text=gettext_lazy("CSV, JSON, JSON Lines, Parquet, Excel, or a ZIP of texts in one folder per label."),
    )
    fields_of = dict.fromkeys(("format", "text_column", "label_column"), "file")

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.fields["file"].widget.attrs["accept"] = ",".join(sources.suffixes())


class ColumnsForm(Form):
    """Which column holds what, how rows are split, and what happens with rows that cannot be used.

    There is one field for each role of the layout: `<role>_column`.
    """

    layout = forms.CharField(widget=forms.HiddenInput, initial=layouts.DEFAULT, required=False)
    split_column = forms.ChoiceField(
        label=gettext_lazy("Split"),
        required=False,
        help_text=gettext_lazy("Only where the file says it."),
    )
    train = forms.IntegerField(label=gettext_lazy("Train"), min_value=1, max_value=98, initial=80)
    validation = forms.IntegerField(label=gettext_lazy("Validation"), min_value=0, max_value=98, initial=10)
    test = forms.IntegerField(label=gettext_lazy("Test"), min_value=1, max_value=98, initial=10)
    seed = forms.IntegerField(label=gettext_lazy("Seed"), min_value=0, max_value=2**31 - 1, initial=0)
    on_bad_rows = forms.ChoiceField(
        label=gettext_lazy("Rows that cannot be used"),
        widget=forms.RadioSelect,
        choices=[
            ("refuse", gettext_lazy("Stop, and show me each of them with its line number")),
            ("skip", gettext_lazy("Leave them out, and say how many")),
        ],
        initial="refuse",
    )
    fields_of = {"fractions": "train", "file": "", "layout": "", "columns": ""}

    def __init__(self, *args: Any, columns: list[str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        choices = [(name, name) for name in columns]
        said = (self.data.get("layout") if self.is_bound else self.initial.get("layout")) or layouts.DEFAULT
        self.shape = layouts.get(said if said in layouts.names() else layouts.DEFAULT)
        for role in self.shape.roles:
            self.fields[f"{role.name}_column"] = forms.ChoiceField(
                label=role.title,
                help_text=role.help,
                required=role.required,
                choices=[("", _("Choose a column") if role.required else _("None")), *choices],
            )
        self.fields["split_column"].choices = [("", _("None: draw the splits")), *choices]

    @property
    def role_fields(self) -> list:
        """Return the bound fields of the layout's roles."""
        return [self[f"{role.name}_column"] for role in self.shape.roles]

    def clean_layout(self) -> str:
        """Return the layout whose fields are shown."""
        return self.shape.name

    def clean(self) -> dict:
        """Say where one column is used twice and where the shares do not add up."""
        cleaned = super().clean()
        taken: dict[str, layouts.Role] = {}
        for role in self.shape.roles:
            column = cleaned.get(f"{role.name}_column")
            if column and column in taken:
                self.add_error(
                    f"{role.name}_column",
                    _("The %(this)s cannot be in the same column as the %(other)s.")
                    % {"this": role.title.lower(), "other": taken[column].title.lower()},
                )
            elif column:
                taken[column] = role
        shares = [cleaned.get(name) for name in ("train", "validation", "test")]
        if not cleaned.get("split_column") and None not in shares and sum(shares) != 100:
            self.add_error(
                "train", _("The three shares add up to %(sum)s; they must add up to 100.") % {"sum": sum(shares)}
            )
        return cleaned

    def options(self) -> dict:
        """Return what the service is told."""
        chosen = {name: self.cleaned_data[name] for name in ("layout", "split_column", "seed", "on_bad_rows")}
        chosen["columns"] = {role.name: self.cleaned_data[f"{role.name}_column"] for role in self.shape.roles}
        if not chosen["split_column"]:
            chosen["fractions"] = {n: self.cleaned_data[n] / 100 for n in ("train", "validation", "test")}
        return chosen

    @staticmethod
    def values_of(options: datasets.Options, guess: datasets.Guess, layout: str = "") -> dict:
        """Return what the form shows at first: what was said before, else the guess; `layout` is what was asked for."""
        said = options.layout if options.named() else guess.layout
        wanted = layout if layout in layouts.names() else said
        held = {"text": guess.text, "label": guess.label, **guess.columns, **options.named()}
        shown = {f"{role.name}_column": held.get(role.name, "") for role in layouts.get(wanted).roles} | {
            "layout": wanted,
            "split_column": options.split_column or guess.split,
            "seed": options.seed,
            "on_bad_rows": options.on_bad_rows,
        }
        return shown | {name: round(100 * options.fractions.get(name, 0)) for name in ("train", "validation", "test")}


class ReadingForm(Form):
    """How the file itself is to be read, where the guess was wrong."""

    delimiter = forms.CharField(
        label=gettext_lazy("Delimiter"),
        max_length=1,
        strip=False,
        required=False,
        help_text=gettext_lazy("The character between cells, such as a comma or a semicolon."),
    )
    sheet = forms.CharField(label=gettext_lazy("Worksheet"), max_length=200, required=False)
    records = forms.CharField(
        label=gettext_lazy("List of records"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("The name of the list inside the JSON object."),
    )
    WANTED = {"csv": ("delimiter",), "xlsx": ("sheet",), "json": ("records",)}

    def __init__(self, *args: Any, source: str, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name in set(self.fields) - set(self.WANTED.get(source, ())):
            del self.fields[name]


class ClearanceForm(Form):
    """The question whether a version may be used: for which use case, and for what."""

    use_case = forms.ModelChoiceField(
        UseCase.objects.none(),
        label=gettext_lazy("Use case"),
        empty_label=gettext_lazy("Choose a use case"),
        help_text=gettext_lazy("The clearance covers this use case alone."),
    )
    purpose = text_area(
        gettext_lazy("Purpose"),
        help_text=gettext_lazy("The clearance covers this and nothing else."),
        rows=2,
    )
    note = text_area(gettext_lazy("Note for the reviewers"), required=False, rows=2)

    def __init__(self, *args: Any, dataset: Dataset, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.initial.setdefault("purpose", _("Train a classifier on it and measure it on the test split."))
        # A plain list of the newest: who needs an older use case asks from its team's page. Approved ones come first.
        candidates = UseCase.objects.visible_to(self.user).exclude(stage__in=[Stage.REJECTED, Stage.RETIRED])
        newest = list(
            candidates.filter(self._near(self.user, dataset))
            .order_by("-changed_at", "-pk")
            .values_list("pk", flat=True)[:CANDIDATES]
        )
        self.fields["use_case"].queryset = UseCase.objects.filter(pk__in=newest).order_by(
            Case(When(stage__in=[Stage.APPROVED, Stage.PILOTING, Stage.LIVE], then=Value(0)), default=Value(1)),
            "-changed_at",
        )
        self.fields["use_case"].label_from_instance = lambda one: f"{one.title} ({one.get_stage_display().lower()})"

    @staticmethod
    def _near(user: User, dataset: Dataset) -> Q:
        """Return what keeps the list to the data's own team and the reader's teams."""
        return Q(team=dataset.team_id) | Q(team__in=access.scope_ids(user, Permission.USE_CASE_VIEW))


class WithdrawForm(Form):
    """Why a version is taken out of use."""

    reason = text_area(
        gettext_lazy("Why"),
        help_text=gettext_lazy("Those who used it read it."),
        example=gettext_lazy("The consent of 40 people was withdrawn; version 4 leaves their rows out."),
        rows=2,
    )
