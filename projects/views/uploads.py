"""From a file to a version: upload, naming of columns, progress of the import, and what was wrong with it."""

from __future__ import annotations

from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from governance.interfaces import spreadsheets
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from projects import layouts
from projects.forms import ColumnsForm, ReadingForm, UploadForm
from projects.models import DatasetVersion
from projects.services import datasets
from projects.views.datasets import load
from projects.views.versions import load_version

State = DatasetVersion.State
SAMPLE = 8


@declares("dataset.upload")
@require_http_methods(["GET", "POST"])
def upload(request, team, name):
    """Take a file in as the next version."""
    dataset = load(request, team, name)
    access.require(request.user, Permission.DATASET_UPLOAD, dataset)
    posted = request.method == "POST"
    form = UploadForm(request.POST if posted else None, request.FILES if posted else None, user=request.user)
    if posted and form.is_valid():
        version = form.attempt(datasets.receive, dataset=dataset, file=form.cleaned_data["file"])
        if version is not None:
            return redirect("projects:dataset_columns", team, name, version.number)
    context = {"dataset": dataset, "form": form}
    return render(request, "projects/dataset_upload.html", context, status=422 if form.errors else 200)


@declares("dataset.upload")
@require_http_methods(["GET", "POST"])
def columns(request, team, name, number):
    """Name the columns of an upload and start its import; shows the first rows as they were read."""
    version = load_version(request, team, name, number)
    access.require(request.user, Permission.DATASET_UPLOAD, version.dataset)
    if version.state not in {State.RECEIVED, State.REFUSED} or (version.state == State.RECEIVED and version.mapped_at):
        return redirect(version)
    held = datasets.Options(**(version.source.get("options") or {}))
    posted = request.method == "POST"
    reading = ReadingForm(
        request.POST if posted else None,
        user=request.user,
        source=version.source.get("format", ""),
        initial={name: getattr(held, name) for name in ("delimiter", "sheet", "records")},
    )
    how = dict(reading.cleaned_data) if posted and reading.is_valid() else {}
    looked = reading.attempt(_preview, version=version, options=how) if posted and not reading.errors else None
    if looked is None:
        # Read as asked it makes no sense: show what the file looks like as it was read before.
        looked = datasets.preview(actor=request.user, version=version)
    again = posted and "again" in request.POST
    shown = ColumnsForm.values_of(datasets.Options() if again else held, looked.guess, request.GET.get("layout", ""))
    typed = request.POST if posted and not again else None
    form = ColumnsForm(typed, user=request.user, columns=looked.columns, initial=shown)
    if typed is not None and not reading.errors and form.is_valid():
        started = form.attempt(datasets.map_columns, version=version, **form.options(), **how)
        if started is not None:
            return redirect(started)
    rows = looked.sample[:SAMPLE]
    context = {
        "version": version,
        "dataset": version.dataset,
        "form": form,
        "reading": reading,
        "looked": looked,
        "choices": [
            {"label": one.title, "url": f"?layout={one.name}", "current": one.name == form.shape.name}
            for one in map(layouts.get, layouts.names())
        ],
        "guessed": _guessed(looked.guess),
        "sample": [(row.line, [row.values.get(column) for column in looked.columns]) for row in rows],
        "problems": looked.errors[:20],
    }
    bad = form.errors or reading.errors
    return render(request, "projects/dataset_columns.html", context, status=422 if bad else 200)


def _guessed(guess: datasets.Guess) -> dict[str, str]:
    """Return by column what it probably holds, as far as the probable layout has such a role."""
    held = {"text": guess.text, "label": guess.label, **guess.columns}
    found = {held[role.name]: role.title.lower() for role in layouts.get(guess.layout).roles if held.get(role.name)}
    return found | ({guess.split: "split"} if guess.split else {})


def _preview(*, actor, version, options):
    return datasets.preview(actor=actor, version=version, options=options)


@declares("dataset.view")
@require_GET
def progress(request, team, name, number):
    """Show how far an import is; a fragment that asks again until it has ended."""
    version = load_version(request, team, name, number)
    response = render(request, "projects/_import_progress.html", {"version": version, "dataset": version.dataset})
    if version.state not in {State.RECEIVED, State.IMPORTING}:
        response["HX-Redirect"] = version.get_absolute_url()
    return response


@declares("dataset.view")
@require_GET
def errors(request, team, name, number):
    """Download the rows that could not be used, as CSV."""
    version = load_version(request, team, name, number, heavy=["errors"])
    header = [version.source.get("unit") or "line", "column", "severity", "code", "message", "advice"]
    names = ("line", "column", "severity", "code", "message", "advice")
    lines = ([problem.get(name) for name in names] for problem in version.errors)
    return spreadsheets.stream(request, f"{name}-v{number}-rows.csv", header, lines)
