"""The catalogue of base models: list, one entry with its files, import from this server, allow and disallow."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Q
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import listings
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from projects.views import history
from training.forms import ImportForm, ReasonForm
from training.lists import BASE_MODELS
from training.models import BaseModel
from training.services import base_models


def _may_import(user) -> bool:
    return access.organisation_allows(user, Permission.BASE_MODEL_IMPORT) or bool(
        access.scope_ids(user, Permission.BASE_MODEL_IMPORT)
    )


def _rows(request):
    """Return the catalogue as the filters leave it: by words and state."""
    rows = BaseModel.objects.visible_to(request.user).select_related("commit", "allowed_by", "imported_by")
    words = " ".join(request.GET.get("q", "").split())[:100]
    if words:
        rows = rows.filter(Q(title__icontains=words) | Q(name__icontains=words) | Q(task__icontains=words))
    state = request.GET.get("state", "")
    return rows.filter(state=state) if state in BaseModel.State.values else rows


@declares("base_model.view")
@require_GET
@listings.page(BASE_MODELS)
def listing(request):
    """List the catalogue."""
    shown = listings.show(request, BASE_MODELS, _rows(request))
    context = {"shown": shown, "page": shown.page, "states": BaseModel.State.choices}
    return render(request, "training/base_models.html", context | {"may_import": _may_import(request.user)})


export = listings.export_view(BASE_MODELS, _rows, policy="base_model.view")


@declares("base_model.view")
@require_GET
def detail(request, pk):
    """Show one entry: licence, origin, revision, files with hashes, who allowed it and why."""
    model = get_object_or_404(
        BaseModel.objects.visible_to(request.user).select_related("commit", "allowed_by", "imported_by"), pk=pk
    )
    context = {
        "base_model": model,
        "files": model.commit.files.all()[:200],
        "history": history.of(request, model),
        "may_decide": access.organisation_allows(request.user, Permission.BASE_MODEL_ALLOW)
        and model.imported_by_id != request.user.pk,
        "form": ReasonForm(user=request.user),
    }
    return render(request, "training/base_model.html", context)


@declares("base_model.import")
@require_http_methods(["GET", "POST"])
def create(request):
    """Propose a base model that is on this server."""
    form = ImportForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        model = form.attempt(base_models.import_source, **form.cleaned_data)
        if model is not None:
            messages.success(request, _("The model is in the catalogue. A reviewer has to allow it before it is used."))
            return redirect(model)
    return render(request, "training/base_model_new.html", {"form": form}, status=422 if form.errors else 200)


@declares("base_model.allow")
@require_POST
def decide(request, pk):
    """Allow or disallow a base model."""
    model = get_object_or_404(BaseModel.objects.visible_to(request.user), pk=pk)
    form = ReasonForm(request.POST, user=request.user)
    doing = base_models.disallow if request.POST.get("act") == "disallow" else base_models.allow
    if form.is_valid() and form.attempt(doing, base_model=model, reason=form.cleaned_data["reason"]) is not None:
        messages.success(request, _("Decided. The reason is in the ledger."))
    else:
        messages.error(
            request,
            " ".join(sentence for found in form.errors.values() for sentence in found) or _("Say why, in a sentence."),
        )
    return redirect(model)
