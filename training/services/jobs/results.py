"""What a finished run leaves: artefacts in the store, an evaluation, and a version in the registry, exactly once."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from governance.actions import Action
from governance.models import User
from governance.policy import Permission
from governance.services import access, ledger
from projects.models import Blob, Repository, Team
from projects.services import repositories
from training.engine import recipes
from training.models import Evaluation, JobEvent, ModelVersion, RegisteredModel, TrainingJob
from training.models.evaluations import figures_of
from training.services import cards
from training.services.jobs.ownership import Claim, LostOwnership

EVALUATION = "evaluation.json"
ENVIRONMENT = "environment.json"
CARD = "README.md"
ARTIFACTS = "artifacts/"
MAX_REPORT = 64 * 1024 * 1024


class BadResult(RuntimeError):
    """What the engine left is not what it reported, or not complete; nothing was registered."""


def finish(
    *, actor: User, claim: Claim, folder: Path, artifacts: Mapping[str, str], summary: Mapping[str, Any]
) -> ModelVersion:
    """Store the artefacts, write the evaluation and register the version; return it.

    `folder` is the attempt's run folder; `artifacts` maps each file (relative to it) to the sha256 that the engine
    reported. Raises LostOwnership, or BadResult where a file is missing, differs or is not readable.
    """
    access.require(actor, Permission.MODEL_REGISTER)
    # Bytes first, outside the transaction: hashing gigabytes must not hold a lock. Without a commit they name nothing.
    files = {path.removeprefix(ARTIFACTS): _store(folder, path, sha256) for path, sha256 in artifacts.items()}
    report = _read(folder, files, EVALUATION)
    environment = _read(folder, files, ENVIRONMENT)
    _check(report)
    return _register(
        actor=actor, claim=claim, files=files, report=report, environment=environment, summary=dict(summary)
    )


def _store(folder: Path, path: str, sha256: str) -> Blob:
    target = folder / path
    # The engine loads what others made: a link in its folder could point at any file of this machine.
    if target.is_symlink() or not target.resolve().is_relative_to(folder.resolve()) or not target.is_file():
        raise BadResult(f"The engine reported “{path}”, which is not a file in its run folder.")
    blob = repositories.store_blob(target)
    if blob.sha256 != sha256:
        raise BadResult(f"“{path}” is not the file that the engine reported: its sha256 differs.")
    return blob


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _read(folder: Path, files: Mapping[str, Blob], name: str) -> dict[str, Any]:
    if name not in files:
        raise BadResult(f"The engine reported no {name}.")
    try:
        value = json.loads(repositories.read_blob(files[name], limit=MAX_REPORT), parse_constant=_refuse_constant)
    except ValueError as error:
        raise BadResult(f"{name} is not readable: {error}.") from error
    if not isinstance(value, dict):
        raise BadResult(f"{name} is not a JSON object.")
    return value


def _check(report: dict[str, Any]) -> None:
    try:
        tuned = report["candidates"][0]
        sound = tuned["name"] == "tuned" and int(report["rows"]) > 0
        [figure, *_others] = figures_of(report, tuned)
        sound = sound and figure.name == report.get("primary", figure.name) and math.isfinite(figure.value)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadResult(f"{EVALUATION} does not have the form that was agreed: {error!r}.") from error
    if not sound:
        raise BadResult(f"{EVALUATION} does not begin with the tuned model.")


@transaction.atomic
def _register(
    *,
    actor: User,
    claim: Claim,
    files: dict[str, Blob],
    report: dict[str, Any],
    environment: dict[str, Any],
    summary: dict[str, Any],
) -> ModelVersion:
    now = timezone.now()
    written = TrainingJob.objects.owned(claim.job_id, claim.token).update(
        state=TrainingJob.State.SUCCEEDED,
        finished_at=now,
        lease_until=None,
        eta_at=None,
        summary=summary,
        error_code="",
        error_message="",
        error_advice="",
    )
    if not written:
        raise LostOwnership(f"Job {claim.job_id} is no longer held with token {claim.token}.")
    job = TrainingJob.objects.select_related(
        "team", "use_case", "base_model", "dataset_version__dataset__team", "submitted_by"
    ).get(pk=claim.job_id)
    figures = {figure.name: figure for figure in figures_of(report, report["candidates"][0])}
    decisive = next(iter(figures.values()))
    evaluation = Evaluation.objects.create(
        job=job,
        digest=files[EVALUATION].sha256,
        report=report,
        metric=decisive.name,
        score=decisive.value,
        accuracy=figures["accuracy"].value if "accuracy" in figures else None,
        macro_f1=figures["macro_f1"].value if "macro_f1" in figures else None,
        test_rows=report["rows"],
    )
    model = _model(actor, job)
    number = (model.versions.aggregate(last=Max("number"))["last"] or 0) + 1
    card = cards.write(job=job, number=number, report=report, environment=environment)
    tree = {**files, CARD: repositories.store_blob(card.encode())}
    commit = repositories.commit(
        actor=actor, repository=model.repository, files=tree, message=f"Version {number} from job {job.pk}"
    )
    version = ModelVersion.objects.create(
        model=model,
        number=number,
        commit=commit,
        job=job,
        use_case=job.use_case,
        dataset_version=job.dataset_version,
        base_model=job.base_model,
        spec_digest=job.spec_digest,
        evaluation_digest=evaluation.digest,
        labels=list(job.spec["dataset"]["labels"]),
        size=sum(blob.size for blob in tree.values()),
    )
    RegisteredModel.objects.filter(pk=model.pk).update(changed_at=now)
    JobEvent.objects.create(job=job, token=claim.token, type="done", at=now, data={"summary": summary})
    for action, subject, digest in (
        (Action.JOB_SUCCEEDED, job, job.spec_digest),
        (Action.MODEL_VERSION_REGISTERED, version, evaluation.digest),
    ):
        ledger.record(
            action,
            actor=actor,
            on_behalf_of=job.submitted_by,
            subject=subject,
            digest=digest,
            details={
                "job": job.pk,
                "token": claim.token,
                "model": str(model),
                "version": number,
                "commit": commit.oid,
                decisive.name: f"{decisive.value:.6f}",
            },
        )
    return version


def _model(actor: User, job: TrainingJob) -> RegisteredModel:
    """Return the registered model, locked; made on its first version."""
    # Two first versions at once would both make the model: the team's row makes them take turns.
    Team.objects.select_for_update(no_key=True).get(pk=job.team_id)
    model = (
        RegisteredModel.objects.select_for_update(of=("self",), no_key=True)
        .select_related("team", "repository")
        .filter(team_id=job.team_id, name=job.model_name)
        .first()
    )
    if model is not None:
        return model
    model = RegisteredModel.objects.create(
        team=job.team,
        name=job.model_name,
        title=job.model_name.replace("-", " ").replace("_", " ").capitalize(),
        use_case=job.use_case,
        task=recipes.get(job.recipe).task,
        repository=repositories.create(actor=actor, kind=Repository.Kind.MODEL, team=job.team, name=job.model_name),
        created_by=job.submitted_by,
    )
    ledger.record(
        Action.MODEL_REGISTERED,
        actor=actor,
        on_behalf_of=job.submitted_by,
        subject=model,
        details={"model": str(model), "use_case": job.use_case_id},
    )
    return model
