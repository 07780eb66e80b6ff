"""The dry run: what a job would do, what it would cost and what stands in its way, without touching an accelerator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from governance.models import User
from governance.policy import Permission
from governance.services import access
from governance.services.approvals import Check
from projects import layouts
from projects.models import DatasetVersion, UseCase
from projects.models.teams import SLUG
from projects.services import repositories
from training.engine import baselines as engine_baselines
from training.engine import recipes
from training.engine.hyperparameters import HyperparameterError, Recipe, resolve
from training.engine.spec import CLASSES, BaseModelSource, DatasetSource, RunSpec, SpecError
from training.models import BaseModel, RegisteredModel
from training.services.jobs import estimates, gates, samples
from training.services.jobs.estimates import Range, Truncation
from training.services.jobs.samples import Shown


@dataclass(frozen=True)
class Plan:
    """What would happen. `errors` maps fields to sentences, `checks` are the gates; with errors, `spec` is None."""

    recipe: Recipe | None
    method: str
    preset: str
    hyperparameters: dict[str, Any]
    seed: int
    baselines: list[str]
    errors: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    truncation: Truncation | None = None
    preview: list[Shown] = field(default_factory=list)
    steps: int = 0
    steps_per_epoch: int = 0
    trained_parameters: int = 0
    total_parameters: int = 0
    memory_bytes: Range | None = None
    seconds: Range | None = None
    calibrated_on: int = 0
    work: float = 0.0
    spec: RunSpec | None = None

    @property
    def ready(self) -> bool:
        """Return whether the run could be submitted as it is."""
        return not self.errors and all(check.met for check in self.checks)

    @property
    def missing(self) -> list[str]:
        """Return what the gates still want, each a sentence."""
        return [f"{check.label}: {check.advice}" for check in self.checks if not check.met]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as it is kept with the job: without the preview, whose texts belong to the dataset."""
        value = {
            name: getattr(self, name)
            for name in (
                "method", "preset", "hyperparameters", "seed", "baselines", "errors", "warnings", "rows", "labels",
                "steps", "steps_per_epoch", "trained_parameters", "total_parameters", "calibrated_on", "work", "ready",
            )
        }  # fmt: skip
        value["recipe"] = self.recipe.name if self.recipe else ""
        value["checks"] = [check.as_dict() for check in self.checks]
        for name in ("truncation", "memory_bytes", "seconds"):
            found = getattr(self, name)
            value[name] = asdict(found) if found is not None else None
        value["spec_digest"] = self.spec.digest() if self.spec else ""
        return value


def plan(
    *,
    actor: User,
    use_case: UseCase,
    dataset_version: DatasetVersion,
    base_model: BaseModel,
    model_name: str,
    recipe: str = "sequence_classification",
    method: str = "",
    preset: str = "",
    overrides: Mapping[str, Any] | None = None,
    seed: int = 42,
    baselines: Sequence[str] | None = None,
) -> Plan:
    """Return what such a job would do and what stands in its way; changes nothing. Raises Denied.

    Estimates are ranges: time is fitted to jobs that ran here, where there are any (`calibrated_on` says how many).
    """
    access.require(actor, Permission.JOB_VIEW, use_case)
    access.require(actor, Permission.DATASET_VIEW, dataset_version.dataset)
    errors: dict[str, str] = {}
    declared: Recipe | None = None
    values: dict[str, Any] = {}
    try:
        declared = recipes.get(recipe)
        values = resolve(declared, preset, overrides, method)
    except recipes.UnknownRecipe as error:
        errors["recipe"] = str(error)
    except HyperparameterError as error:
        errors |= error.errors
    fitting = engine_baselines.fitting(declared.measure, dataset_version.layout) if declared else []
    rivals = list(baselines) if baselines is not None else fitting
    if declared and (unknown := sorted(set(rivals) - set(fitting))):
        errors["baselines"] = (
            f"{declared.title} has no baseline named {unknown[0]!r}; these fit the data: {', '.join(fitting)}."
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        errors["seed"] = "The seed must be a whole number from 0 to 4294967295."
    errors |= _name_errors(use_case, model_name) | _data_errors(dataset_version, declared)
    if declared and base_model.family not in declared.families:
        errors["base_model"] = (
            f"{base_model.title} does not fit {declared.title.lower()}: it is a model of the family "
            f"{base_model.family}, and this kind of training needs one of {', '.join(declared.families[:5])} and the "
            "like."
        )
    chosen = method or (declared.methods[0] if declared else "")
    found = Plan(
        recipe=declared,
        method=chosen,
        preset=preset or (declared.default_preset if declared else ""),
        hyperparameters=values,
        seed=seed,
        baselines=rivals,
        errors=errors,
        checks=gates.checks(use_case=use_case, dataset_version=dataset_version, base_model=base_model),
        rows={name: int(rows) for name, rows in (dataset_version.split_rows or {}).items()},
        labels=len(dataset_version.labels or []),
        total_parameters=base_model.parameters,
    )
    if errors:
        return found
    spec = _freeze(found, dataset_version, base_model)
    if isinstance(spec, SpecError):
        return replace(found, errors={"dataset_version": str(spec)})
    return _estimate(replace(found, spec=spec), dataset_version, base_model)


def _name_errors(use_case: UseCase, model_name: str) -> dict[str, str]:
    from django.core.exceptions import ValidationError

    try:
        SLUG(model_name)
    except ValidationError as error:
        return {"model_name": " ".join(error.messages)}
    if model_name in repositories.RESERVED_NAMES:
        return {"model_name": f"“{model_name}” is a word of the site's own addresses; choose another."}
    held = RegisteredModel.objects.filter(team_id=use_case.team_id, name=model_name).select_related("use_case").first()
    if held is not None and held.use_case_id != use_case.pk:
        return {
            "model_name": f"“{model_name}” is a model of the use case “{held.use_case.title}”; "
            "choose another name, so that its approvals keep their meaning."
        }
    return {}


def _data_errors(version: DatasetVersion, recipe: Recipe | None) -> dict[str, str]:
    if version.commit_id is None:
        return {"dataset_version": "This version is not imported yet; wait for the import or correct the upload."}
    rows = version.split_rows or {}
    for split in ("train", "test"):
        if not rows.get(split):
            return {
                "dataset_version": f"This version has no rows in the split “{split}”; training needs train and test."
            }
    if recipe is not None and version.layout not in recipe.layouts:
        wanted = " or ".join(f"“{layouts.get(name).title}”" for name in recipe.layouts)
        return {
            "dataset_version": f"{recipe.title} learns from rows of the kind {wanted}; those of this version are "
            f"“{layouts.get(version.layout).title}”. Choose another version, or another kind of training."
        }
    if version.layout in (CLASSES, "tag_sets") and len(version.labels or []) < 2:
        return {"dataset_version": "Training a classifier needs a label column with at least two different labels."}
    return {}


def columns_of(version: DatasetVersion) -> tuple[str, str]:
    """Return the names of the text and the label column in the files of a version of texts and classes."""
    held = version.columns
    return held.get("text") or "text", held.get("label") or "label"


split_files = samples.split_files


def _freeze(plan: Plan, version: DatasetVersion, base_model: BaseModel) -> RunSpec | SpecError:
    assert plan.recipe is not None
    assert version.commit is not None
    text, label = columns_of(version)
    shape: dict[str, Any] = {"text_column": text, "label_column": label}
    if version.layout != CLASSES:
        shape = {"layout": version.layout, "columns": version.columns}
    spec = RunSpec(
        recipe=plan.recipe.name,
        method=plan.method,
        base_model=BaseModelSource(
            name=base_model.name,
            revision=base_model.revision,
            files=dict(base_model.commit.files.values_list("path", "blob_id")),
        ),
        dataset=DatasetSource(
            name=str(version.dataset),
            commit=version.commit.oid,
            files=split_files(version),
            labels=tuple(sorted(map(str, version.labels))),
            **shape,
        ),
        hyperparameters=plan.hyperparameters,
        seed=plan.seed,
        baselines=tuple(plan.baselines),
    )
    try:
        # What is frozen must be what the engine will accept: it reads it back the same way.
        return RunSpec.from_json(spec.to_json())
    except SpecError as error:
        return error


# Estimates


def _estimate(plan: Plan, version: DatasetVersion, base_model: BaseModel) -> Plan:
    assert plan.recipe is not None
    longest = min(int(plan.hyperparameters.get("max_length", 128)), base_model.context_length)
    sample = samples.take(version, base_model, plan.recipe, plan.hyperparameters)
    lengths = estimates.truncation(sample, version, layouts.get(version.layout).text, longest)
    cost = estimates.cost(
        recipe=plan.recipe,
        method=plan.method,
        values=plan.hyperparameters,
        rows=plan.rows,
        outputs=max(1, plan.labels),
        baselines=plan.baselines,
        base_model=base_model,
        lengths=lengths,
    )
    took, calibrated = estimates.seconds(cost.work, base_model, plan.method, plan.recipe.name)
    return replace(
        plan,
        truncation=lengths,
        preview=list(sample.shown),
        steps_per_epoch=cost.steps_per_epoch,
        steps=cost.steps,
        trained_parameters=cost.trained,
        memory_bytes=cost.memory,
        seconds=took,
        calibrated_on=calibrated,
        work=cost.work,
        warnings=_warnings(plan, version, lengths, longest, sample.trouble),
    )


def _warnings(plan: Plan, version: DatasetVersion, lengths: Truncation, longest: int, trouble: str) -> list[str]:
    rows = plan.rows.get("train", 0)
    if not plan.rows.get("validation"):
        rows -= rows // 10
    said = [trouble] if trouble else []
    if lengths.lost:
        said.append(
            f"Of about {lengths.lost:.0%} of the examples the whole answer lies behind {longest} tokens: they teach "
            "nothing and are left out. Raise the longest example."
        )
    if lengths.cut > 0.01:
        said.append(
            f"About {lengths.cut:.0%} of the texts are longer than {longest} tokens and will be cut; "
            "raise the longest text if their ends matter."
        )
    if plan.labels and rows < 20 * plan.labels:
        said.append(f"{rows} training rows for {plan.labels} labels is little: the frozen baselines may do as well.")
    test = plan.rows.get("test", 0)
    asked = plan.hyperparameters.get("answered_rows")
    if test < 100:
        said.append(f"The test split has {test} rows: confidence intervals will be wide.")
    elif asked is not None and asked < test:
        said.append(f"Answers are written for {asked} of the {test} test rows; more would narrow the intervals.")
    if version.error_count:
        said.append(f"{version.error_count} rows of the upload were refused and are not part of this version.")
    return said
