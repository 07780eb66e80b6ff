"""Registered models: list, the page of one, its versions, putting one before the publication gate, stopping it."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.interfaces.paging import keyset
from governance.models import ApprovalCondition, ApprovalRequest
from governance.policy import Gate, Permission
from governance.services import access
from projects import downloads
from projects.models import DatasetVersion, UseCase
from projects.services import repositories
from projects.views import history
from training.forms import PublishForm, ReasonForm
from training.lists import MODELS
from training.models import ModelVersion, Publication, RegisteredModel, TrainingJob
from training.services import handouts, registry
from training.views import reports, snippets

PUBLICATIONS = 50
FILES = 200
DIGESTS = {
    "commit": gettext_lazy("Commit of this version"),
    "spec_digest": gettext_lazy("Run specification"),
    "evaluation_digest": gettext_lazy("Evaluation"),
    "dataset_commit": gettext_lazy("Commit of the data"),
    "base_revision": gettext_lazy("Revision of the base model"),
}
STOPPED = (Publication.State.SUSPENDED, Publication.State.RETIRED)
PARTS = (
    "commit", "use_case", "base_model__commit", "dataset_version__dataset__team", "dataset_version__commit",
    "job__evaluation",
)  # fmt: skip
UNREAD = ("job__dry_run", "dataset_version__profile", "dataset_version__errors", "dataset_version__changes")


def _visible_models(request):
    rows = RegisteredModel.objects.visible_to(request.user).select_related("team", "use_case")
    return rows.defer("use_case__words", "use_case__problem")


def _rows(request):
    """Return the models that the filters leave: by words, and only those that the reader may use."""
    rows = _visible_models(request)
    if request.GET.get("use") == "mine":
        rows = rows.filter(pk__in=RegisteredModel.objects.usable_by(request.user).values("pk"))
    words = " ".join(request.GET.get("q", "").split())[:100]
    return rows.filter(Q(title__icontains=words) | Q(name__icontains=words)) if words else rows


def _hang_publications(request, rows: list[RegisteredModel]) -> None:
    """Hang on each model what is published of it."""
    live = Publication.objects.live().filter(model__in=[row.pk for row in rows]).select_related("version")
    by_model: dict[int, list[Publication]] = {}
    for publication in live:
        by_model.setdefault(publication.model_id, []).append(publication)
    for row in rows:
        row.live = by_model.get(row.pk, [])


@declares("signed_in")
@require_GET
@listings.page(MODELS)
def listing(request):
    """List the models that the reader may see, or only those that they may use."""
    shown = listings.show(request, MODELS, _rows(request), prepare=_hang_publications)
    context = {"shown": shown, "page": shown.page, "use": request.GET.get("use", "")}
    return render(request, "training/models.html", context)


export = listings.export_view(MODELS, _rows, policy="signed_in", prepare=_hang_publications)
bulk_suspend = bulk.view(MODELS, _visible_models, policy="model.retire")


def _model(request, team: str, name: str) -> RegisteredModel:
    rows = RegisteredModel.objects.visible_to(request.user).select_related("team", "use_case", "repository")
    return get_object_or_404(rows, team__slug=team, name=name)


def _frame(request, model: RegisteredModel, tab: str) -> dict:
    """Return what every section of a model's page shows: what is live, what waits, what was stopped and why."""
    user = request.user
    publications = list(
        Publication.objects.visible_to(user)
        .filter(model=model)
        .exclude(state=Publication.State.DECLINED)
        .select_related("version")[:PUBLICATIONS]
    )
    for row in publications:
        # They all belong to the model at hand; its page must not be asked for again for each of them.
        row.model = row.version.model = model
    live = [row for row in publications if row.state == Publication.State.PUBLISHED]
    champion = next((row for row in live if row.alias == registry.DEFAULT_ALIAS), live[0] if live else None)
    if champion is not None:
        champion.version = _whole(ModelVersion.objects.all(), model).get(pk=champion.version_id)
        champion.version.model = model
    member = access.allows(user, Permission.MODEL_VIEW, model)
    newest = _whole(ModelVersion.objects.visible_to(user), model).first()
    if newest is not None:
        newest.model = model
    waiting = next((row for row in publications if row.state == Publication.State.PROPOSED), None)
    stopped = None if champion else next((row for row in publications if row.state in STOPPED), None)
    may_retire = access.allows(user, Permission.MODEL_RETIRE, model)
    standing = registry.standing(champion) if champion else None
    return {
        "model": model,
        f"on_{tab}": True,
        "live": live,
        "champion": champion,
        "standing": standing,
        "state": _state(standing, waiting, stopped, newest),
        "waiting": waiting,
        "review": ApprovalRequest.objects.visible_to(user).about(waiting).open().first() if waiting else None,
        "stopped": stopped,
        "newest": newest,
        "conditions": list(ApprovalCondition.objects.in_force(user, live)) if tab == "overview" else [],
        "asked": {row.version_id for row in publications if row.state in {"proposed", "published"}},
        "shown": champion.version if champion else newest,
        "member": member,
        "usable": access.allows(user, Permission.MODEL_USE, model)
        or any(row.audience == Publication.Audience.ORGANISATION for row in live),
        "publications": publications,
        "try_url": reverse("portal:try_model", args=[model.team.slug, model.name]),
        "chat_url": reverse("portal:chat", args=[model.team.slug, model.name])
        if model.task == snippets.GENERATION
        else "",
        "may_publish": access.allows(user, Permission.MODEL_PUBLISH, model),
        "may_suspend": may_retire and champion is not None,
        "may_see_access": access.allows(user, Permission.TEAM_VIEW, model),
        "retirable": (champion or (stopped if stopped and stopped.state == "suspended" else None))
        if may_retire
        else None,
        "holders_url": _holders_url(request, champion.version) if champion is not None else "",
        "base_url": request.build_absolute_uri("/").rstrip("/"),
    }


def _whole(rows, model: RegisteredModel):
    """Return the model's versions with all that their page, their card and their approval read, in one query."""
    return rows.filter(model=model).select_related(*PARTS).defer(*UNREAD)


def _state(standing, waiting, stopped, newest) -> str:
    """Return the word for where the model stands, the most important first."""
    if standing is not None:
        return "published" if standing.open else "suspended"
    if stopped is not None and stopped.state == Publication.State.SUSPENDED:
        return "suspended"
    if waiting is not None:
        return "in_review"
    if stopped is not None:
        return "retired"
    return "evaluated" if newest is not None else ""


@declares("signed_in")
@require_GET
def detail(request, team, name):
    """Show a model: try it, code to copy, who may use it, its card and where it comes from."""
    model = _model(request, team, name)
    context = _frame(request, model, "overview")
    shown = context["shown"]
    if shown is not None:
        context["card"] = registry.card(shown)
        context["result"] = shown.job.evaluation.shown
        context |= _lineage(shown) if context["member"] else {}
        context["snippets"] = snippets.of(context["base_url"], model, context["champion"])
    context["limit"] = settings.PREDICT_MAX_CHARACTERS
    return render(request, "training/model.html", context)


def _lineage(version: ModelVersion) -> dict:
    graph = registry.lineage(version)
    words = {
        "use_case": _("Use case"), "dataset": _("Dataset version"), "base_model": _("Base model"),
        "job": _("Training job"), "model_version": _("Model version"), "publication": _("Publication"),
    }  # fmt: skip
    return {
        "nodes": [
            {"id": n.key, "label": n.title, "kind": words.get(n.kind, n.kind), "note": n.detail[:10], "url": n.url,
             "current": n.kind == "model_version"}
            for n in graph.nodes
        ],
        "edges": [(source, target) for source, target, _label in graph.edges],
    }  # fmt: skip


@declares("signed_in")
@require_GET
def versions(request, team, name):
    """List a model's versions with their results, and what each is published as."""
    model = _model(request, team, name)
    rows = (
        ModelVersion.objects.visible_to(request.user)
        .filter(model=model)
        .select_related("commit", "job__evaluation", "dataset_version__dataset__team", "base_model")
        .defer("job__spec", "job__dry_run", "job__evaluation__report", "dataset_version__profile")
        .prefetch_related("publications")
    )
    page = keyset(rows, request, order=("-number", "-id"), size=25)
    for row in page.items:
        row.model = model
    context = _frame(request, model, "versions") | {"page": page}
    return render(request, "training/model_versions.html", context)


@declares("signed_in")
@require_GET
def past(request, team, name):
    """Show what happened to a model and its publications."""
    model = _model(request, team, name)
    context = _frame(request, model, "history")
    context["history"] = history.of(request, *context["publications"]) if context["publications"] else None
    return render(request, "training/model_history.html", context)


@declares("signed_in")
@require_GET
def version(request, team, name, number):
    """Show one version: evaluation beside its baselines, files, lineage, and the gate it stands before."""
    model = _model(request, team, name)
    row = _version(request, model, number)
    row.model = model
    evaluation = getattr(row.job, "evaluation", None)
    publications = list(row.publications.select_related("requested_by"))
    member = access.allows(request.user, Permission.MODEL_VIEW, model)
    asked = any(one.state in {"proposed", "published"} for one in publications)
    context = {
        "model": model,
        "version": row,
        "state": _version_state(row, publications),
        "report": reports.read(evaluation) if evaluation else None,
        "files": row.commit.files.all()[:FILES],
        # Whoever sees it is in its team, reads everything, or has it published to them.
        "downloadable": True,
        "member": member,
        "card": registry.card(row),
        "facts": [(DIGESTS[name], value) for name, value in registry.facts(row).items() if value],
        "publications": _reviews(request, publications),
        "conditions": list(ApprovalCondition.objects.in_force(request.user, publications)),
        "may_publish": access.allows(request.user, Permission.MODEL_PUBLISH, model)
        and row.state != ModelVersion.State.RETIRED,
        "asked": asked,
        "holders_url": _holders_url(request, row),
        **(_lineage(row) if member else {}),
    }
    return render(request, "training/model_version.html", context)


@declares("model.retire")
@require_GET
def holders(request, team, name, number):
    """Show who fetched files of a version; a fragment of its page, and of the dialogs that stop it."""
    row = _version(request, _model(request, team, name), number)
    access.require(request.user, Permission.MODEL_RETIRE, row.model)
    context = {"holders": handouts.holders(row), "brief": "brief" in request.GET}
    return render(request, "training/_holders.html", context)


def _holders_url(request, version: ModelVersion) -> str:
    """Return where who holds the version is told, for those who may stop it."""
    model = version.model
    if not access.allows(request.user, Permission.MODEL_RETIRE, model):
        return ""
    return reverse("training:model_holders", args=[model.team.slug, model.name, version.number])


def _version_state(row: ModelVersion, publications: list[Publication]) -> str:
    states = {one.state for one in publications}
    if row.state == ModelVersion.State.RETIRED:
        return "retired"
    for state, word in (("published", "published"), ("proposed", "in_review"), ("suspended", "suspended"),
                        ("superseded", "superseded"), ("retired", "retired")):  # fmt: skip
        if state in states:
            return word
    return "evaluated"


def _reviews(request, publications: list[Publication]) -> list[tuple[Publication, ApprovalRequest | None]]:
    """Return each publication with the review about it that the reader may open, in one query."""
    if not publications:
        return []
    kind = ContentType.objects.get_for_model(Publication)
    asked = ApprovalRequest.objects.visible_to(request.user).filter(
        content_type=kind, object_id__in=[one.pk for one in publications]
    )
    by_subject = {one.object_id: one for one in asked.defer("snapshot").order_by("pk")}
    return [(one, by_subject.get(one.pk)) for one in publications]


@declares("model.view")
@require_GET
def file(request, team, name, number, path):
    """Send one file of a version to those who may see the model; the read is in the ledger."""
    row = _version(request, _model(request, team, name), number)
    try:
        found = handouts.download(actor=request.user, version=row, path=path)
    except repositories.Missing as error:
        raise Http404 from error
    return downloads.respond(request, found.blob, path.rsplit("/", 1)[-1])


def _version(request, model: RegisteredModel, number: int) -> ModelVersion:
    rows = _whole(ModelVersion.objects.visible_to(request.user), model).select_related("model__team", *PARTS)
    return get_object_or_404(rows, number=number)


@declares("model.publish")
@require_http_methods(["GET", "POST"])
def publish(request, team, name, number):
    """Put a version before the publication gate."""
    model = _model(request, team, name)
    row = _version(request, model, number)
    last = model.publications.order_by("-pk").values("alias", "audience", "intended_use").first()
    initial = last or {"alias": registry.DEFAULT_ALIAS, "audience": Publication.Audience.ORGANISATION}
    form = PublishForm(request.POST or None, user=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        asked = form.attempt(registry.request_publication, version=row, **form.cleaned_data)
        if asked is not None:
            messages.success(request, _("Reviewers are asked. You will see their decision on this page."))
            return redirect("governance:review", asked.pk)
    draft = Publication(model=model, version=row, intended_use="-")
    context = {
        "form": form,
        "model": model,
        "version": row,
        "checklist": draft.approval_checklist(Gate.MODEL_PUBLICATION),
    }
    return render(request, "training/publish.html", context, status=422 if form.errors else 200)


@declares("model.retire")
@require_POST
def stop(request, pk, act):
    """Suspend or retire a publication at once."""
    row = get_object_or_404(Publication.objects.visible_to(request.user).select_related("model__team"), pk=pk)
    form = ReasonForm(request.POST, user=request.user)
    doing = {"suspend": registry.suspend, "retire": registry.retire}.get(act)
    if doing is None:
        raise Http404
    if form.is_valid():
        ended = form.attempt(doing, publication=row, reason=form.cleaned_data["reason"])
        if ended is not None:
            messages.success(request, _("It is no longer served."))
            return redirect(row.model)
    messages.error(request, _("Say why: its users and the auditor will read it."))
    return redirect(row.model)


@declares("signed_in")
@require_GET
def of_use_case(request, pk):
    """Show the jobs and models of a use case; a fragment of its page."""
    use_case = get_object_or_404(UseCase.objects.visible_to(request.user), pk=pk)
    context = {
        "use_case": use_case,
        "jobs": TrainingJob.objects.visible_to(request.user)
        .filter(use_case=use_case)
        .select_related("dataset_version__dataset__team", "evaluation")
        .defer("spec", "dry_run", "evaluation__report", "dataset_version__profile")[:20],
        "models": RegisteredModel.objects.visible_to(request.user)
        .filter(use_case=use_case)
        .select_related("team")[:20],
        "may_submit": access.allows(request.user, Permission.JOB_SUBMIT, use_case),
    }
    return render(request, "training/_use_case_models.html", context)


@declares("signed_in")
@require_GET
def of_dataset_version(request, pk):
    """Show what was trained on a dataset version; a fragment of its page."""
    data = get_object_or_404(DatasetVersion.objects.visible_to(request.user).only("pk", "dataset_id"), pk=pk)
    versions = (
        ModelVersion.objects.visible_to(request.user)
        .filter(dataset_version=data)
        .select_related("model__team", "use_case")
        .order_by("-created_at")[:50]
    )
    return render(request, "training/_dataset_version_models.html", {"versions": versions})
