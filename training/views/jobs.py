"""Jobs: list, new with its dry run in place, the live page, cancel and retry, and comparing results."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import Max
from django.http import Http404, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from governance.interfaces import bulk, listings
from governance.interfaces.declared import declares
from governance.policy import Permission
from governance.services import access
from training import streams
from training.engine import measures, recipes, spec
from training.engine.hyperparameters import HyperparameterError, resolve
from training.forms import JobFilter, JobForm, Picker
from training.lists import JOBS
from training.models import BaseModel, Evaluation, JobEvent, TrainingJob
from training.services import evaluations, jobs
from training.views import reports

LOG_LINES = 200
COMPARED = evaluations.MAX_EVALUATIONS
DISAGREEMENTS = 400
STAGE_WORDS = {
    "verify": gettext_lazy("Check files"),
    "prepare": gettext_lazy("Prepare data"),
    "train": gettext_lazy("Train"),
    "baselines": gettext_lazy("Baselines"),
    "evaluate": gettext_lazy("Evaluate"),
    "export": gettext_lazy("Export"),
}


def _visible_jobs(request):
    rows = TrainingJob.objects.visible_to(request.user)
    rows = rows.select_related("team", "use_case", "submitted_by", "evaluation")
    return rows.defer("spec", "dry_run", "summary", "evaluation__report", "use_case__words", "use_case__problem")


def _rows(request):
    return JobFilter(request.GET).narrow(_visible_jobs(request), request.user)


@declares("job.view")
@require_GET
@listings.page(JOBS)
def listing(request):
    """List the jobs of the reader's teams, newest first."""
    shown = listings.show(request, JOBS, _rows(request))
    context = {
        "shown": shown,
        "page": shown.page,
        "states": TrainingJob.State.choices,
        "chosen": request.GET,
        "may_submit": bool(access.scope_ids(request.user, Permission.JOB_SUBMIT)),
    }
    return render(request, "training/jobs.html", context)


export = listings.export_view(JOBS, _rows, policy="job.view")
bulk_act = bulk.view(JOBS, _visible_jobs, policy="job.view")


@declares("job.submit")
@require_http_methods(["GET", "POST"])
def create(request):
    """Describe a job, see its dry run in place, and queue it.

    The button's `act` says what is asked: "refresh" draws the form anew after a choice on which others depend, "check"
    is the dry run, "submit" queues the job. Without scripts each is a page of its own with the same content.
    """
    if request.method == "GET":
        names = ("use_case", "dataset_version", "base_model", "model_name", "method", "preset")
        form = JobForm(user=request.user, initial=_first_choices(request, names))
        return _new_job(request, form, uuid.uuid4().hex)
    act, key = request.POST.get("act", "check"), request.POST.get("key", "")[:64]
    if act == "refresh":
        typed = {name: value for name, value in request.POST.items() if name not in {"csrfmiddlewaretoken", "act"}}
        return _new_job(request, JobForm(user=request.user, initial=typed), key)
    form, plan = JobForm(request.POST, user=request.user), None
    if form.is_valid():
        plan = jobs.plan(actor=request.user, **form.arguments())
        form.note(plan.errors)
        if act == "submit" and plan.ready:
            job = jobs.submit(actor=request.user, key=key, **form.arguments())
            messages.success(request, _("The job is queued. You can close this page; the job goes on."))
            return redirect(job)
    refused = bool(form.errors) or (act == "submit" and plan is not None and not plan.ready)
    return _new_job(request, form, key, plan, refused)


def _first_choices(request, names) -> dict:
    """Return what the address asks for, and the only or the newest allowed base model."""
    initial = {name: request.GET[name] for name in names if request.GET.get(name)}
    if "base_model" not in initial:
        allowed = BaseModel.objects.visible_to(request.user).allowed().order_by("title", "pk")
        initial["base_model"] = allowed.values_list("pk", flat=True).first()
    return initial


def _new_job(request, form: JobForm, key: str, plan=None, refused: bool = False):
    context = {
        "form": form,
        "plan": plan,
        "key": key,
        "checked": form.is_bound,
        "missing": [
            {"label": check.label, "note": check.advice, "url": check.url} for check in plan.checks if not check.met
        ]
        if plan
        else [],
        "baselines": form.rivals,
    }
    if getattr(request, "htmx", False):
        return render(request, "training/_job_form.html", context | {"fragment": True})
    return render(request, "training/job_new.html", context, status=422 if refused else 200)


@declares("job.submit")
@require_GET
def options(request, field):
    """Offer what matches the words typed into a search field of the form; a fragment for a datalist."""
    form = JobForm(user=request.user)
    picker = form.fields.get(field)
    if not isinstance(picker, Picker):
        raise Http404
    words = request.GET.get(field, "").strip()[:100]
    found = [picker.named(row) for row in picker.find(words)] if len(words) > 1 else []
    return render(request, "training/_options.html", {"found": found})


def _visible(request, pk: int) -> TrainingJob:
    rows = TrainingJob.objects.visible_to(request.user).select_related(
        "team", "use_case", "dataset_version__dataset__team", "base_model__commit", "submitted_by", "retry_of",
        "model_version__model__team", "evaluation",
    ).defer("dataset_version__profile", "dataset_version__errors", "dataset_version__changes")  # fmt: skip
    return get_object_or_404(rows, pk=pk)


@declares("job.view")
@require_GET
def detail(request, pk):
    """Show one job: its stages, curves and log while it runs, its evaluation once it has ended."""
    job = _visible(request, pk)
    evaluation = getattr(job, "evaluation", None)
    events = JobEvent.objects.filter(job=job)
    log = list(events.filter(type__in=["log", "stage"]).order_by("-pk")[:LOG_LINES])
    settings = _settings(job)
    context = {
        "job": job,
        "version": getattr(job, "model_version", None),
        "report": reports.read(evaluation) if evaluation else None,
        "position": jobs.queue_position(job),
        "stages": _stages(job),
        "curves": _curves(events) if job.is_finished else [],
        "log": reversed(log),
        "last_event": 0 if not job.is_finished else events.aggregate(last=Max("pk"))["last"] or 0,
        "may_control": access.allows(request.user, Permission.JOB_CONTROL, job),
        "may_submit": access.allows(request.user, Permission.JOB_SUBMIT, job),
        "settings": settings,
        "validation": _validation(job),
        "changed": sum(one["changed"] for one in settings),
        "took": (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else None,
    }
    return render(request, "training/job.html", context)


def _settings(job: TrainingJob) -> list[dict]:
    """Return every setting of the frozen run with its title; those that differ from the preset come first."""
    try:
        declared = recipes.get(job.recipe)
        standard = resolve(declared, job.preset, None, job.method)
    except (recipes.UnknownRecipe, HyperparameterError):
        # An older run may name a recipe or preset that is gone; its values are shown as they were frozen.
        return [
            {"title": name, "value": value, "changed": False} for name, value in job.spec["hyperparameters"].items()
        ]
    held = job.spec["hyperparameters"]
    rows = [
        {
            "title": one.title,
            "value": {True: _("yes"), False: _("no")}.get(held[one.name], held[one.name])
            if one.type == "bool"
            else held[one.name],
            "unit": one.unit,
            "changed": held[one.name] != standard.get(one.name),
        }
        for one in declared.hyperparameters
        if one.name in held and job.method in one.methods
    ]
    return sorted(rows, key=lambda row: not row["changed"])


def _validation(job: TrainingJob) -> str:
    """Return the names of the figures that are drawn beside the loss while the job runs."""
    try:
        names = measures.get(recipes.get(job.recipe).measure).validation
    except (recipes.UnknownRecipe, measures.UnknownMeasure):
        return "validation_loss"
    return " ".join(names)


def _stages(job: TrainingJob) -> list[dict]:
    names = list(spec.STAGES)
    reached = names.index(job.stage) if job.stage in names else -1
    found = []
    for place, name in enumerate(names):
        state = "done" if place < reached or job.state == TrainingJob.State.SUCCEEDED else "todo"
        if place == reached and job.state != TrainingJob.State.SUCCEEDED:
            state = {"failed": "failed", "cancelled": "failed"}.get(job.state, "current")
        found.append({"key": name, "label": STAGE_WORDS[name], "state": state})
    return found


def _curves(events) -> list[dict]:
    """Return the finished run's losses for a drawn chart, as (step, value)."""
    points: dict[str, list[tuple[int, float]]] = {}
    for data in events.filter(type="metrics").order_by("pk").values_list("data", flat=True)[:4000]:
        for name in ("loss", "validation_loss"):
            value = (data.get("values") or {}).get(name)
            if isinstance(value, int | float):
                points.setdefault(name, []).append((data.get("step", 0), value))
    return [{"name": name.replace("_", " "), "points": found} for name, found in points.items()]


@declares("job.view")
@require_GET
def events(request, pk):
    """Stream what happens to a job as server-sent events; `Last-Event-ID` continues where a reader left off."""
    job = _visible(request, pk)
    given = request.headers.get("Last-Event-ID") or request.GET.get("last_event_id") or "0"
    if not given.isdigit():
        raise BadRequest("Last-Event-ID must be the id of an event of this job.")
    response = StreamingHttpResponse(
        streams.follow(job.pk, int(given[:18]), job.state), content_type="text/event-stream"
    )
    response["Cache-Control"] = "no-cache"
    response["X-Accel-Buffering"] = "no"
    return response


@declares("job.control")
@require_POST
def cancel(request, pk):
    """Stop a job."""
    job = jobs.cancel(actor=request.user, job=_visible(request, pk))
    if job.state == TrainingJob.State.CANCELLED:
        messages.success(request, _("The job is cancelled."))
    else:
        messages.info(request, _("The job stops after a last checkpoint."))
    return redirect(job)


@declares("job.submit")
@require_POST
def retry(request, pk):
    """Queue the same frozen run again."""
    job = jobs.retry(actor=request.user, job=_visible(request, pk))
    messages.success(request, _("The same run is queued again as a new job."))
    return redirect(job)


@declares("job.view")
@require_GET
def compare(request):
    """Put the candidates of one or several jobs beside each other, each against a reference, with their differences."""
    ids = [int(value[:18]) for value in request.GET.getlist("job") if value.isdigit()]
    ids = list(dict.fromkeys(ids))
    found = (
        Evaluation.objects.visible_to(request.user)
        .filter(job__in=ids[: COMPARED + 1])
        .select_related(
            "job__dataset_version__dataset__team", "job__dataset_version__commit", "job__base_model",
            "job__model_version__commit", "job__model_version__model__team",
        )
    )  # fmt: skip
    sides = sorted(found, key=lambda evaluation: ids.index(evaluation.job_id))
    context = {"sides": sides, "problem": "", "reference": request.GET.get("reference", "")}
    if sides:
        try:
            compared = evaluations.compare(
                user=request.user, evaluations=sides, reference=context["reference"], shown=DISAGREEMENTS
            )
        except evaluations.Invalid as error:
            context["problem"] = str(error)
        else:
            context |= {
                "compared": compared,
                "intervals": reports.intervals_of(compared.candidates),
                "disagreements": reports.differing(compared),
            }
    return render(request, "training/compare.html", context, status=422 if context["problem"] else 200)
