"""One version of a dataset: its profile, its rows, what changed, its files and datasheet, what it is cleared for."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from governance.interfaces.declared import declares
from governance.models import ApprovalCondition
from governance.policy import Gate, Permission
from governance.services import access
from projects import downloads, layouts
from projects.forms import ClearanceForm, WithdrawForm
from projects.models import DatasetVersion
from projects.services import datasets, repositories
from projects.views.use_cases import latest_requests, neighbour

State = DatasetVersion.State
ROWS = 25
BARS = 40
HEAVY = {"profile", "errors", "changes"}


def load_version(request, team: str, name: str, number: int, *, heavy: list[str] | None = None) -> DatasetVersion:
    """Return the version if the reader may see its dataset; of the large JSON columns only those named."""
    rows = DatasetVersion.objects.visible_to(request.user).select_related(
        "dataset__team", "dataset__steward", "commit", "created_by"
    )
    rows = rows.defer(*sorted(HEAVY - set(heavy or [])))
    return get_object_or_404(rows, dataset__team__slug=team, dataset__name=name, number=number)


def frame(request, version: DatasetVersion, section: str, withdraw: WithdrawForm | None = None) -> dict:
    """Return what every page of an imported version shows."""
    user, dataset = request.user, version.dataset
    sections = [
        ("overview", _("Overview"), "dataset_version"),
        ("rows", _("Rows"), "dataset_rows"),
        ("changes", _("Changes"), "dataset_changes"),
        ("use", _("Use"), "dataset_use"),
        ("files", _("Files"), "dataset_files"),
        ("datasheet", _("Datasheet"), "dataset_datasheet"),
    ]
    place = [dataset.team.slug, dataset.name, version.number]
    live = version.state == State.PROFILED
    may_withdraw = live and access.allows(user, Permission.DATASET_WITHDRAW, dataset)
    return {
        "version": version,
        "dataset": dataset,
        "tabs": [
            {"label": label, "url": reverse(f"projects:{name}", args=place), "current": key == section}
            for key, label, name in sections
        ],
        "may_ask": live and access.allows(user, Permission.DATASET_CLEAR, dataset),
        "withdraw": withdraw or (WithdrawForm(user=user, auto_id="withdraw_%s") if may_withdraw else None),
        "withdraw_open": withdraw is not None or request.GET.get("withdraw") == "ask",
    }


def imported(request, team, name, number, *, heavy: list[str] | None = None) -> DatasetVersion:
    """Return a version that has been imported; raises Http404 for one that has not."""
    version = load_version(request, team, name, number, heavy=heavy)
    if version.commit_id is None:
        raise Http404
    return version


@declares("dataset.view")
@require_GET
def detail(request, team, name, number):
    """Show the profile of a version, or where its import stands."""
    version = load_version(request, team, name, number, heavy=["profile", "errors"])
    if version.state == State.REFUSED:
        return _refused(request, version)
    if version.commit_id is None:
        may_upload = access.allows(request.user, Permission.DATASET_UPLOAD, version.dataset)
        if version.mapped_at is None and may_upload:
            return redirect("projects:dataset_columns", team, name, number)
        return render(request, "projects/version_importing.html", {"version": version, "dataset": version.dataset})
    return _overview(request, version)


def _refused(request, version: DatasetVersion):
    """Return the page that says why an import was refused, with the rows at fault."""
    may_upload = access.allows(request.user, Permission.DATASET_UPLOAD, version.dataset)
    context = {
        "version": version,
        "dataset": version.dataset,
        "problems": sorted(version.errors, key=lambda problem: problem.get("line") or 0),
        "may_upload": may_upload,
        "upload_url": reverse("projects:dataset_upload", args=[version.dataset.team.slug, version.dataset.name]),
    }
    return render(request, "projects/version_refused.html", context)


def _overview(request, version: DatasetVersion, withdraw: WithdrawForm | None = None, status: int = 200):
    profile = version.profile or {}
    labels = profile.get("labels") or {}
    classes = labels.get("classes") or []
    splits = list((version.split_rows or {}).items())
    text = next((c for c in profile.get("columns") or [] if c["name"] == profile.get("text_column")), {})
    context = frame(request, version, "overview", withdraw) | {
        "profile": profile,
        "labels": labels,
        "splits": splits,
        "text": text,
        "balance": [
            {"name": split, "rows": [(one["label"], one["splits"].get(split, 0)) for one in classes[:BARS]]}
            for split, _rows in splits
        ],
        "all_classes": [(one["label"], one["rows"]) for one in classes[:BARS]],
        "unlisted": max(0, labels.get("distinct", 0) - BARS),
        "layout_title": layouts.get(version.layout).title,
        "roles": [(layouts.get(version.layout).role(name).title, column) for name, column in version.columns.items()],
        "leaks": [pair for pair in profile.get("leakage") or [] if pair.get("rows")],
        "conditions": list(ApprovalCondition.objects.in_force(request.user, list(version.clearances.all()[:100]))),
    }
    return render(request, "projects/version.html", context, status=status)


@declares("dataset.view")
@require_GET
def rows(request, team, name, number):
    """Show the rows of a split, some at a time."""
    version = imported(request, team, name, number)
    splits = list(version.split_rows or {})
    split = request.GET.get("split", splits[0] if splits else "")
    if split not in splits:
        raise Http404
    total = version.split_rows[split]
    start = request.GET.get("from", "1")
    start = min(max(1, int(start)), max(1, total)) if start.isdigit() and len(start) < 12 else 1
    found = datasets.example_rows(version=version, split=split, offset=start - 1, count=ROWS)
    first = list(version.columns.values())
    columns = first + [column for column in (found[0] if found else {}) if column not in first]
    context = frame(request, version, "rows") | {
        "split": split,
        "splits": list(version.split_rows.items()),
        "columns": columns,
        "lines": [(start + at, [row.get(column) for column in columns]) for at, row in enumerate(found)],
        "first": start,
        "last": start + len(found) - 1,
        "total": total,
        "previous": max(1, start - ROWS) if start > 1 else None,
        "next": start + ROWS if start + ROWS <= total else None,
    }
    return render(request, "projects/version_rows.html", context)


@declares("dataset.view")
@require_GET
def changes(request, team, name, number):
    """Show what is different from the version before."""
    version = imported(request, team, name, number, heavy=["changes"])
    found = version.changes or {}
    moved = [one for one in found.get("classes") or [] if one["before"] != one["after"]]
    context = frame(request, version, "changes") | {"changes": found, "moved": moved[:BARS]}
    return render(request, "projects/version_changes.html", context)


@declares("dataset.view")
@require_GET
def files(request, team, name, number):
    """List the files of the version's commit with their digests."""
    version = imported(request, team, name, number)
    context = frame(request, version, "files") | {
        "files": version.commit.files.all()[:500],
        "snippets": _snippets(request.build_absolute_uri("/").rstrip("/"), version),
        "may_download": version.state == State.PROFILED
        and access.allows(request.user, Permission.DATASET_DOWNLOAD, version.dataset),
    }
    return render(request, "projects/version_files.html", context)


def _snippets(base_url: str, version: DatasetVersion) -> list[tuple[str, str]]:
    """Return code that loads the version into the reader's own programs, with their own host."""
    variables = f"export HF_ENDPOINT={base_url}\nexport HF_TOKEN=$GATEHOUSE_TOKEN\n"
    name, tag = str(version.dataset), f"v{version.number}"
    load = (
        "".join(f"# {line}\n" for line in variables.splitlines()) + "from datasets import load_dataset\n\n"
        f'rows = load_dataset("{name}", revision="{tag}", split="train")'
    )
    fetch = f"{variables}hf download --repo-type dataset {name} --revision {tag}"
    return [("datasets", load), ("hf", fetch)]


@declares("dataset.download")
@require_GET
def download(request, team, name, number, path):
    """Send one file of the version; the download is in the ledger."""
    version = imported(request, team, name, number)
    try:
        file = datasets.download(actor=request.user, version=version, path=path)
    except repositories.Missing as error:
        raise Http404 from error
    filename = f"{version.dataset.team.slug}-{version.dataset.name}-v{version.number}-{path.replace('/', '-')}"
    return downloads.respond(request, file.blob, filename)


@declares("dataset.view")
@require_GET
def datasheet(request, team, name, number):
    """Show the version's datasheet."""
    version = imported(request, team, name, number, heavy=["profile"])
    card = datasets.card(dataset=version.dataset, version=version)
    return render(request, "projects/version_datasheet.html", frame(request, version, "datasheet") | {"card": card})


def _use(request, version: DatasetVersion, form: ClearanceForm | None = None, status: int = 200, missing=None):
    clearances = list(
        version.clearances.select_related("use_case", "requested_by").order_by("-requested_at", "-pk")[:100]
    )
    latest = latest_requests(clearances, Gate.DATASET_USE)
    context = frame(request, version, "use")
    context |= {
        "clearances": [{"clearance": one, "request": latest.get(one.pk)} for one in clearances],
        "conditions": list(ApprovalCondition.objects.in_force(request.user, clearances)),
        "form": form or (ClearanceForm(user=request.user, dataset=version.dataset) if context["may_ask"] else None),
        "missing": missing or [],
        "models_url": neighbour("training:dataset_version_models", version.pk),
    }
    return render(request, "projects/version_use.html", context, status=status)


@declares("dataset.view")
@require_GET
def use(request, team, name, number):
    """Show what the version is cleared for, and what was made of it."""
    return _use(request, imported(request, team, name, number, heavy=["profile"]))


@declares("dataset.clear")
@require_POST
def clear(request, team, name, number):
    """Ask that the version may be used for a use case and a purpose."""
    version = imported(request, team, name, number, heavy=["profile"])
    form = ClearanceForm(request.POST, user=request.user, dataset=version.dataset)
    if form.is_valid():
        asked = form.attempt(datasets.request_clearance, version=version, **form.cleaned_data)
        if asked is not None:
            messages.success(request, _("The reviewers have been asked. You see their answer here."))
            return redirect("projects:dataset_use", team, name, number)
    return _use(request, version, form, status=422)


@declares("dataset.withdraw")
@require_POST
def withdraw(request, team, name, number):
    """Take the version out of use."""
    version = imported(request, team, name, number, heavy=["profile"])
    form = WithdrawForm(request.POST, user=request.user, auto_id="withdraw_%s")
    if form.is_valid():
        gone = form.attempt(datasets.withdraw, version=version, reason=form.cleaned_data["reason"])
        if gone is not None:
            messages.success(request, _("It is withdrawn: nothing can be trained on it any more."))
            return redirect(version)
    return _overview(request, version, form, status=422)
