"""/v1/fine_tuning/jobs: training jobs of the governed queue, in the shape that OpenAI clients know.

`model` is a base model of the catalogue, `training_file` a version of a dataset (`dataset:team/name@number`), `suffix`
the registered model that the result becomes a version of. The same gates hold as everywhere: a job that may not run is
refused, with everything that is missing for it; one that was let in shows under `governance` how its gates stand now.
"""

from __future__ import annotations

import re
from typing import Any

from django.http import JsonResponse

from governance.models import User
from portal.gateway.openai import callers, questions
from portal.gateway.openai.endpoints import endpoint
from portal.gateway.openai.errors import Invalid, NotThere
from portal.gateway.openai.files import ends, find, id_of, limit_of
from projects.models import DatasetVersion, UseCase
from training.engine import recipes
from training.models import BaseModel, JobEvent, TrainingJob
from training.services import jobs

_ID = re.compile(r"ftjob-(\d{1,18})")
_EVENT = re.compile(r"ftevent-(\d{1,18})")
PREFIX = "base/"
LIMIT = 100
# The names of hyperparameters that OpenAI's clients know, and ours.
_KNOWN = {"n_epochs": "epochs", "batch_size": "batch_size"}
_LEVELS = {"error": "error", "warning": "warn", "warn": "warn"}


def describe(job: TrainingJob, *, gates: bool = True) -> dict[str, Any]:
    """Return a job in the shape of OpenAI's; with `gates`, which are asked one by one, also how they stand now."""
    version = getattr(job, "model_version", None)
    settings = dict(job.spec["hyperparameters"])
    failed = job.state == TrainingJob.State.FAILED
    message = f"{job.error_message} {job.error_advice}".strip()
    live = [row.alias for row in version.publications.all() if row.state == "published"] if version else []
    return {
        "id": f"ftjob-{job.pk}",
        "object": "fine_tuning.job",
        "model": job.base_model.name,
        "created_at": int(job.submitted_at.timestamp()),
        "finished_at": int(job.finished_at.timestamp()) if job.finished_at else None,
        "fine_tuned_model": str(version.model) if version else None,
        "organization_id": job.team.slug,
        "result_files": [],
        "status": str(job.state),
        "training_file": id_of(job.dataset_version),
        "validation_file": None,
        "hyperparameters": {name: settings.get(ours, "auto") for name, ours in _KNOWN.items()}
        | {"learning_rate_multiplier": "auto"},
        "trained_tokens": None,
        "error": {"code": job.error_code or "failed", "message": message, "param": None} if failed else None,
        "seed": job.spec["seed"],
        "estimated_finish": int(job.eta_at.timestamp()) if job.eta_at and not job.is_finished else None,
        "integrations": [],
        "metadata": {"use_case": str(job.use_case_id)},
        "method": {"type": "supervised", "supervised": {"hyperparameters": settings}},
        "governance": {
            "url": job.get_absolute_url(),
            "recipe": job.recipe,
            "method": job.method,
            "spec_digest": job.spec_digest,
            "version": version.number if version else None,
            "published_as": live,
            **({"gates": _gates(job)} if gates else {}),
        },
    }


def _gates(job: TrainingJob) -> list[dict[str, Any]]:
    held = jobs.checks(use_case=job.use_case, dataset_version=job.dataset_version, base_model=job.base_model)
    return [{"gate": check.label, "open": check.met, "reason": check.advice} for check in held]


def _visible(user: User):
    rows = TrainingJob.objects.visible_to(user).select_related(
        "team", "use_case", "base_model", "dataset_version__dataset__team", "dataset_version__commit",
        "model_version__model__team",
    )  # fmt: skip
    return rows.prefetch_related("model_version__publications")


def _find(user: User, job_id: str) -> TrainingJob:
    match = _ID.fullmatch(job_id)
    job = _visible(user).filter(pk=int(match[1])).first() if match else None
    if job is None:
        raise NotThere(f"There is no job “{job_id[:60]}” for you.", param="fine_tuning_job_id", code="no_such_job")
    return job


@endpoint("GET", "HEAD", "POST")
def collection(request):
    """List the jobs, newest first, or submit one."""
    user = callers.admit(request, calling=False)
    if request.method == "POST":
        job = _submit(user, questions.read(request), request.headers.get("Idempotency-Key", ""))
        return JsonResponse(describe(_visible(user).get(pk=job.pk)))
    rows = _visible(user).order_by("-pk")
    if after := request.GET.get("after"):
        rows = rows.filter(pk__lt=_find(user, after).pk)
    limit = limit_of(request, LIMIT)
    page = list(rows[: limit + 1])
    data = [describe(job, gates=False) for job in page[:limit]]
    return JsonResponse({"object": "list", "data": data, "has_more": len(page) > limit, **ends(data)})


def _submit(user: User, body: dict[str, Any], key: str) -> TrainingJob:
    name = body["model"].removeprefix(PREFIX)
    base = BaseModel.objects.visible_to(user).filter(name=name).first()
    if base is None:
        raise NotThere(f"There is no base model “{name[:200]}”.", param="model", code="model_not_found")
    if not isinstance(body.get("training_file"), str):
        raise Invalid(
            "training_file must name a version of a dataset: dataset:team/name@number.", param="training_file"
        )
    version = find(user, body["training_file"], param="training_file")
    if body.get("validation_file"):
        raise Invalid(
            "validation_file is not supported: a version of a dataset has a validation split of its own.",
            param="validation_file",
            code="unsupported_parameter",
        )
    method = body.get("method") or {}
    if not isinstance(method, dict) or method.get("type", "supervised") != "supervised":
        raise Invalid("The method must be “supervised”.", param="method", code="unsupported_parameter")
    suffix = body.get("suffix")
    if not isinstance(suffix, str) or not suffix:
        raise Invalid("suffix must name the model that the result becomes a version of.", param="suffix")
    given = (method.get("supervised") or {}).get("hyperparameters") or body.get("hyperparameters") or {}
    recipe = _recipe(body, version)
    seed = body.get("seed")
    try:
        return jobs.submit(
            actor=user,
            use_case=_use_case(user, body, version),
            dataset_version=version,
            base_model=base,
            model_name=suffix,
            recipe=recipe,
            method=str(body.get("tuning") or ""),
            overrides=_overrides(given, recipe),
            seed=42 if seed is None else _seed(seed),
            key=key[:64],
        )
    except jobs.Invalid as error:
        raise Invalid(str(error), param=error.field or None) from error


def _seed(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise Invalid("seed must be a whole number from 0.", param="seed")
    return value


def _recipe(body: dict[str, Any], version: DatasetVersion) -> str:
    """Return the recipe that was named, or the one that fits the version's layout."""
    named = body.get("recipe")
    if named is not None:
        if named not in recipes.names():
            raise Invalid(
                f"There is no recipe “{str(named)[:60]}”; there are {', '.join(recipes.names())}.", param="recipe"
            )
        return named
    layout = version.source.get("options", {}).get("layout", "classes")
    fitting = [name for name in recipes.names() if layout in getattr(recipes.get(name), "layouts", ("classes",))]
    return fitting[0] if fitting else "sequence_classification"


def _use_case(user: User, body: dict[str, Any], version: DatasetVersion) -> UseCase:
    """Return the use case named in the metadata, or the only one that the version is cleared for."""
    rows = UseCase.objects.visible_to(user)
    named = (body.get("metadata") or {}).get("use_case") or body.get("use_case")
    if named is not None:
        found = rows.filter(pk=int(named)).first() if str(named).isdigit() else None
        if found is None:
            raise NotThere(
                f"There is no use case {str(named)[:40]} for you.", param="metadata", code="no_such_use_case"
            )
        return found
    cleared = list(rows.filter(pk__in=version.clearances.values("use_case"))[:2])
    if len(cleared) != 1:
        raise Invalid(
            'Say which use case it is for: metadata={"use_case": "its number"}. '
            + ("The file is cleared for several." if cleared else "The file is cleared for none."),
            param="metadata",
        )
    return cleared[0]


def _overrides(given: Any, recipe: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise Invalid("hyperparameters must be an object.", param="hyperparameters")
    found = {_KNOWN.get(name, name): value for name, value in given.items() if value != "auto"}
    multiplier = found.pop("learning_rate_multiplier", None)
    if multiplier is not None:
        usual = next(one.default for one in recipes.get(recipe).hyperparameters if one.name == "learning_rate")
        if isinstance(multiplier, bool) or not isinstance(multiplier, int | float) or multiplier <= 0:
            raise Invalid("learning_rate_multiplier must be a number above 0.", param="hyperparameters")
        found["learning_rate"] = usual * multiplier
    return found


@endpoint("GET", "HEAD")
def one(request, job_id):
    """Show a job."""
    return JsonResponse(describe(_find(callers.admit(request, calling=False), job_id)))


@endpoint("POST")
def cancel(request, job_id):
    """Stop a job; one that runs stops after a last checkpoint."""
    user = callers.admit(request, calling=False)
    job = _find(user, job_id)
    try:
        jobs.cancel(actor=user, job=job)
    except jobs.NotPossible as error:
        raise Invalid(error.reason, code="not_possible") from error
    return JsonResponse(describe(_find(user, job_id)))


@endpoint("GET", "HEAD")
def events(request, job_id):
    """List what a job reported, newest first."""
    job = _find(callers.admit(request, calling=False), job_id)
    rows = JobEvent.objects.filter(job=job, type__in=["log", "metrics", "stage", "done", "error"]).order_by("-pk")
    if after := request.GET.get("after"):
        match = _EVENT.fullmatch(after)
        if match is None:
            raise Invalid("after must be the id of an event.", param="after")
        rows = rows.filter(pk__lt=int(match[1]))
    limit = limit_of(request, LIMIT)
    page = list(rows[: limit + 1])
    data = [_event(row) for row in page[:limit]]
    return JsonResponse({"object": "list", "data": data, "has_more": len(page) > limit, **ends(data)})


def _event(row: JobEvent) -> dict[str, Any]:
    metrics = row.type == "metrics"
    said = row.data.get("message") or row.data.get("name") or row.type.capitalize()
    if metrics:
        said = f"Step {row.data.get('step', 0)}: " + ", ".join(
            f"{name}={value:.4g}"
            for name, value in row.data.get("values", row.data).items()
            if isinstance(value, float)
        )
    level = "error" if row.type == "error" else _LEVELS.get(str(row.data.get("level")), "info")
    return {
        "id": f"ftevent-{row.pk}",
        "object": "fine_tuning.job.event",
        "created_at": int(row.at.timestamp()),
        "level": level,
        "message": said,
        "type": "metrics" if metrics else "message",
        "data": row.data,
    }


@endpoint("GET", "HEAD")
def checkpoints(request, job_id):
    """Return no checkpoints: what a run keeps on its way serves to go on from, and is no version of a model."""
    _find(callers.admit(request, calling=False), job_id)
    return JsonResponse({"object": "list", "data": [], "has_more": False, **ends([])})
