"""Datasets: list and export; registering and describing; the page of one with its versions, shares and history."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.models import Share
from governance.policy import Permission
from governance.services import access, roles
from projects.forms import LICENCES, DatasetFilter, DatasetForm, ShareForm, end_of
from projects.lists import DATASETS
from projects.models import Dataset, DatasetVersion
from projects.services import datasets
from projects.views import history, teams

VERSIONS = 50
HEAVY = ("profile", "errors", "changes", "source", "labels")
"""The JSON columns of a version that lists do without."""


def _with_latest(rows):
    """Return the datasets with number, state and rows of their newest version."""
    newest = DatasetVersion.objects.filter(dataset=OuterRef("pk")).order_by("-number")
    return rows.annotate(
        latest_number=Subquery(newest.values("number")[:1]),
        latest_state=Subquery(newest.values("state")[:1]),
        latest_rows=Subquery(newest.values("rows")[:1]),
    )


def _visible(request):
    rows = Dataset.objects.visible_to(request.user).select_related("team", "steward").defer("words")
    return _with_latest(rows)


def _rows(request):
    return DatasetFilter(request.GET, user=request.user).narrow(_visible(request))


@declares("signed_in")
@require_GET
@listings.page(DATASETS)
def listing(request):
    """List the datasets that the reader may see, newest change first."""
    user = request.user
    chosen = DatasetFilter(request.GET, user=user)
    shown = listings.show(request, DATASETS, chosen.narrow(_visible(request)), counted=True)
    context = {
        "filter": chosen,
        "shown": shown,
        "page": shown.page,
        "classifications": Dataset.Classification.choices,
        "teams": teams.choice(user, chosen.cleaned_data.get("team")),
        "may_register": bool(access.scope_ids(user, Permission.DATASET_REGISTER)),
    }
    return render(request, "projects/datasets.html", context)


export = listings.export_view(DATASETS, _rows, policy="signed_in")
bulk_withdraw = bulk.view(DATASETS, _visible, policy="dataset.withdraw")


def load(request, team: str, name: str) -> Dataset:
    """Return the dataset if the reader may see it."""
    rows = Dataset.objects.visible_to(request.user).select_related("team", "steward")
    return get_object_or_404(rows, team__slug=team, name=name)


def suggestions() -> str:
    """Return where names are suggested from."""
    return reverse("projects:people_suggestions")


@declares("dataset.register")
@require_http_methods(["GET", "POST"])
def create(request):
    """Register a dataset."""
    if not access.scope_ids(request.user, Permission.DATASET_REGISTER):
        access.require(request.user, Permission.DATASET_REGISTER)
    form = DatasetForm(request.POST or None, user=request.user, suggestions_url=suggestions())
    if request.method == "POST" and form.is_valid():
        dataset = form.attempt(datasets.register, **form.cleaned_data)
        if dataset is not None:
            words = _("“%(title)s” is registered. Now upload its first table.")
            messages.success(request, words % {"title": dataset.title})
            return redirect("projects:dataset_upload", dataset.team.slug, dataset.name)
    context = {"form": form, "licences": LICENCES}
    return render(request, "projects/dataset_form.html", context, status=422 if form.errors else 200)


@declares("dataset.edit")
@require_http_methods(["GET", "POST"])
def edit(request, team, name):
    """Change what is said about a dataset."""
    dataset = load(request, team, name)
    access.require(request.user, Permission.DATASET_EDIT, dataset)
    initial = {name: getattr(dataset, name) for name in Dataset.MATERIAL} | {"steward": dataset.steward.email}
    form = DatasetForm(
        request.POST or None, user=request.user, new=False, initial=initial, suggestions_url=suggestions()
    )
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        if values["steward"] == dataset.steward:
            del values["steward"]
        if form.attempt(datasets.change, dataset=dataset, **values) is not None:
            messages.success(request, _("Saved. Clearances that rested on what you changed have lapsed."))
            return redirect(dataset)
    context = {"form": form, "dataset": dataset, "licences": LICENCES}
    return render(request, "projects/dataset_form.html", context, status=422 if form.errors else 200)


def _page(request, dataset: Dataset, form: ShareForm | None = None, status: int = 200):
    user = request.user
    may_share = access.allows(user, Permission.DATASET_SHARE, dataset)
    shares = (
        Share.objects.visible_to(user)
        .live()
        .filter(content_type=ContentType.objects.get_for_model(Dataset), object_id=dataset.pk)
        .select_related("user", "granted_by")
    )
    context = {
        "dataset": dataset,
        "versions": dataset.versions.select_related("created_by").defer(*HEAVY)[:VERSIONS],
        "shares": shares[:100],
        "may_share": may_share,
        "may_see_access": access.allows(user, Permission.TEAM_VIEW, dataset),
        "may_edit": access.allows(user, Permission.DATASET_EDIT, dataset),
        "may_upload": access.allows(user, Permission.DATASET_UPLOAD, dataset),
        "form": form or (ShareForm(user=user, suggestions_url=suggestions()) if may_share else None),
        "members_url": reverse("projects:team", args=[dataset.team.slug]),
    }
    return render(request, "projects/dataset.html", context, status=status)


@declares("dataset.view")
@require_GET
def detail(request, team, name):
    """Show a dataset: its rules, its versions, and who may see it."""
    return _page(request, load(request, team, name))


@declares("dataset.view")
@require_GET
def past(request, team, name):
    """Show who did what to a dataset and what changed."""
    dataset = load(request, team, name)
    context = {"dataset": dataset, "page": history.of(request, dataset)}
    return render(request, "projects/dataset_history.html", context)


@declares("dataset.share")
@require_POST
def share(request, team, name):
    """Open the dataset to one person until a date."""
    dataset = load(request, team, name)
    form = ShareForm(request.POST, user=request.user, suggestions_url=suggestions())
    if form.is_valid():
        chosen = form.cleaned_data
        with transaction.atomic():
            made = [
                form.attempt(
                    roles.share,
                    user=chosen["person"],
                    permission=permission,
                    subject=dataset,
                    purpose=chosen["purpose"],
                    expires_at=end_of(chosen["until"]),
                )
                for permission in form.permissions()
                if form.is_valid()
            ]
        if form.is_valid() and all(made):
            words = _("%(person)s may see it until %(day)s.")
            messages.success(request, words % {"person": chosen["person"], "day": chosen["until"].isoformat()})
            return redirect(dataset)
    return _page(request, dataset, form, status=422)


@declares("dataset.share")
@require_POST
def unshare(request, team, name, pk):
    """End a share at once."""
    dataset = load(request, team, name)
    held = get_object_or_404(
        Share.objects.visible_to(request.user)
        .filter(content_type=ContentType.objects.get_for_model(Dataset), object_id=dataset.pk)
        .select_related("user"),
        pk=pk,
    )
    roles.unshare(actor=request.user, share=held)
    messages.success(request, _("The share with %(person)s has ended.") % {"person": held.user})
    return redirect(dataset)
