"""The dry run: what a job would do, what it would cost and what stands in its way, without touching an accelerator."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import pyarrow.parquet
from tokenizers import Tokenizer

from governance.models import User
from governance.policy import Permission
from governance.services import access
from governance.services.approvals import Check
from projects.models import DatasetVersion, UseCase
from projects.models.teams import SLUG
from projects.services import repositories
from training.engine import admission, recipes
from training.engine import baselines as engine_baselines
from training.engine.hyperparameters import HyperparameterError, Recipe, resolve
from training.engine.spec import BaseModelSource, DatasetSource, RunSpec, SpecError, SplitFile
from training.models import BaseModel, RegisteredModel, TrainingJob
from training.services.jobs import gates

SAMPLE_ROWS = 512
SPECIAL_TOKENS = 2
CHARACTERS_PER_TOKEN = 4.0
"""For text whose file cannot be read here: English word pieces have about four characters, blanks included."""
FIRST_GUESS = 1.5e11
"""Useful floating-point operations per second of two ordinary cores, until jobs on this site have been timed."""
FIXED_SECONDS = 12.0
"""What every run needs besides training: starting, hashing, baselines on small data, evaluation, export."""
BINS = 12
ADAM_BYTES = 12
"""Bytes per trained weight besides the weight: its gradient and two moments, in 32 bits (Kingma and Ba, 2015)."""


@dataclass(frozen=True)
class Range:
    """An estimate with its bounds, in one unit."""

    likely: float
    low: float
    high: float


@dataclass(frozen=True)
class Truncation:
    """How long the texts are in tokens. `bins` are (from, to, share of texts); `cut` is the share that is shortened.

    `measured` is how many training texts were counted with the model's own tokenizer; 0 means guessed from characters.
    """

    max_length: int
    cut: float
    mean_tokens: float
    longest: int
    bins: list[tuple[int, int, float]]
    measured: int


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
        """Return the plan as the API shows it and as it is kept with the job."""
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
    rivals = list(baselines) if baselines is not None else engine_baselines.names()
    if unknown := sorted(set(rivals) - set(engine_baselines.names())):
        known = ", ".join(engine_baselines.names())
        errors["baselines"] = f"There is no baseline named {unknown[0]!r}; there are {known}."
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        errors["seed"] = "The seed must be a whole number from 0 to 4294967295."
    errors |= _name_errors(use_case, model_name) | _data_errors(dataset_version)
    if base_model.family not in admission.ARCHITECTURES:
        errors["base_model"] = (
            f"{base_model.title} generates text; this kind of training needs an encoder, such as one of the family "
            f"{', '.join(admission.ARCHITECTURES[:3])}."
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


def _data_errors(version: DatasetVersion) -> dict[str, str]:
    if version.commit_id is None:
        return {"dataset_version": "This version is not imported yet; wait for the import or correct the upload."}
    rows = version.split_rows or {}
    for split in ("train", "test"):
        if not rows.get(split):
            return {
                "dataset_version": f"This version has no rows in the split “{split}”; training needs train and test."
            }
    if len(version.labels or []) < 2:
        return {"dataset_version": "Training a classifier needs a label column with at least two different labels."}
    return {}


def columns_of(version: DatasetVersion) -> tuple[str, str]:
    """Return the names of the text and the label column in the version's files."""
    mapping = (version.source or {}).get("mapping") or {}
    return str(mapping.get("text") or "text"), str(mapping.get("label") or "label")


def split_files(version: DatasetVersion) -> dict[str, SplitFile]:
    """Return the file of each split that has rows, as the commit names it."""
    assert version.commit is not None
    rows = version.split_rows or {}
    files: dict[str, SplitFile] = {}
    for path, sha256 in version.commit.files.values_list("path", "blob_id"):
        split = path.rsplit("/", 1)[-1].split(".", 1)[0]
        if path.endswith((".parquet", ".csv", ".jsonl")) and rows.get(split):
            files[split] = SplitFile(path=path, sha256=sha256, rows=int(rows[split]))
    return files


def _freeze(plan: Plan, version: DatasetVersion, base_model: BaseModel) -> RunSpec | SpecError:
    assert plan.recipe is not None
    assert version.commit is not None
    text, label = columns_of(version)
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
            text_column=text,
            label_column=label,
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
    values, shape = plan.hyperparameters, base_model.shape or {}
    longest = min(int(values.get("max_length", 128)), base_model.context_length)
    truncation = _truncation(version, base_model, longest)
    rows = plan.rows.get("train", 0)
    if not plan.rows.get("validation"):
        rows -= rows // 10
    batch, accumulate = int(values.get("batch_size", 32)), int(values.get("gradient_accumulation", 1))
    epochs = int(values.get("epochs", 1))
    per_epoch = max(1, -(-rows // (batch * accumulate)))
    trained = _trained(plan.method, values, shape, base_model.parameters, plan.labels)
    tokens = min(truncation.mean_tokens, longest)
    body = max(1, base_model.parameters - shape.get("vocabulary", 0) * shape.get("hidden_size", 0))
    # Six operations per weight and token (forward two, backward four; Kaplan et al., 2020, section 2.1); an adapter
    # needs no gradient of the frozen weights, which saves one third. Validation is a forward pass per epoch.
    per_token = (4 if plan.method == "lora" else 6) * body
    seen = rows * epochs * tokens
    checked = (plan.rows.get("validation") or rows // 9) * epochs * tokens + plan.rows.get("test", 0) * tokens
    rivals = (sum(plan.rows.values()) * tokens) if "frozen_embeddings" in plan.baselines else 0
    work = per_token * seen + 2 * body * (checked + rivals)
    seconds, calibrated = _seconds(work, base_model, plan.method)
    return replace(
        plan,
        truncation=truncation,
        steps_per_epoch=per_epoch,
        steps=per_epoch * epochs,
        trained_parameters=trained,
        memory_bytes=_memory(plan, trained, longest, batch, shape),
        seconds=seconds,
        calibrated_on=calibrated,
        work=work,
        warnings=_warnings(plan, version, truncation, rows, longest),
    )


def _trained(method: str, values: Mapping[str, Any], shape: Mapping[str, int], total: int, labels: int) -> int:
    """Return how many weights are trained: all and the head, or two thin matrices per adapted layer and the head."""
    hidden = shape.get("hidden_size", 384)
    head = (hidden + 1) * labels
    if method != "lora":
        frozen = shape.get("vocabulary", 0) * hidden if values.get("freeze_embeddings") else 0
        return total - frozen + head
    rank, layers = int(values.get("lora_rank", 16)), shape.get("layers", 6)
    wide = shape.get("intermediate_size", 4 * hidden)
    attention = 4 * rank * 2 * hidden
    feed_forward = 2 * rank * (hidden + wide) if values.get("lora_targets") != "attention" else 0
    return layers * (attention + feed_forward) + head


def _memory(plan: Plan, trained: int, longest: int, batch: int, shape: Mapping[str, int]) -> Range:
    """Return bytes at the peak: weights, optimiser state, and activations of one batch of the longest texts.

    Activations per layer follow Korthikanti et al. (2022), equation 1, in 32 bits: s b h (34 + 5 a s / h) x 2.
    """
    hidden, layers = shape.get("hidden_size", 384), shape.get("layers", 6)
    heads = shape.get("attention_heads", max(1, hidden // 64))
    length = min(longest, plan.truncation.longest if plan.truncation else longest)
    activations = 2 * layers * length * batch * hidden * (34 + 5 * heads * length / hidden)
    likely = 4 * plan.total_parameters + ADAM_BYTES * trained + activations + 600e6
    return Range(likely, likely * 0.6, likely * 1.5)


def _seconds(work: float, base_model: BaseModel, method: str) -> tuple[Range, int]:
    past = TrainingJob.objects.filter(state=TrainingJob.State.SUCCEEDED, started_at__isnull=False).order_by("-pk")
    alike = list(past.filter(base_model=base_model, method=method).values_list("dry_run", "summary")[:20])
    if not alike:
        alike = list(past.values_list("dry_run", "summary")[:20])
    ratios = []
    for dry_run, summary in alike:
        took, planned = (summary or {}).get("seconds"), (dry_run or {}).get("work")
        if isinstance(took, int | float) and isinstance(planned, int | float) and took > 0 and planned > 0:
            ratios.append(planned / max(1.0, took - FIXED_SECONDS))
    speed = statistics.median(ratios) if ratios else FIRST_GUESS
    spread = 2.5 if not ratios else 1.6 if len(ratios) < 3 else 1.3
    likely = FIXED_SECONDS + work / speed
    return Range(likely, max(5.0, likely / spread), likely * spread), len(ratios)


def _truncation(version: DatasetVersion, base_model: BaseModel, longest: int) -> Truncation:
    counted = _token_counts(version, base_model)
    if counted:
        return _histogram(counted, longest, len(counted))
    text, _label = columns_of(version)
    reports = (version.profile or {}).get("columns") or []
    found = next((column.get("lengths") for column in reports if column.get("name") == text), None) or {}
    guessed = [
        round(found.get(name, fallback) / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS
        for name, share, fallback in (("min", 5, 20), ("median", 85, 80), ("p95", 9, 300), ("max", 1, 600))
        for _ in range(share)
    ]
    return _histogram(guessed, longest, 0)


def _histogram(counts: list[int], longest: int, measured: int) -> Truncation:
    top = max(counts)
    width = max(1, -(-(top + 1) // BINS))
    bins = [
        (start, start + width - 1, sum(start <= count < start + width for count in counts) / len(counts))
        for start in range(0, top + 1, width)
    ]
    return Truncation(
        max_length=longest,
        cut=sum(count > longest for count in counts) / len(counts),
        mean_tokens=statistics.fmean(min(count, longest) for count in counts),
        longest=top,
        bins=bins,
        measured=measured,
    )


def _token_counts(version: DatasetVersion, base_model: BaseModel) -> list[int]:
    """Return the tokens of a sample of training texts, counted by the model's own tokenizer; empty where unreadable."""
    train = split_files(version).get("train")
    tokenizer = dict(base_model.commit.files.values_list("path", "blob_id")).get("tokenizer.json")
    if train is None or tokenizer is None or not train.path.endswith(".parquet"):
        return []
    return list(_count(train.sha256, columns_of(version)[0], tokenizer))


@lru_cache(maxsize=64)
def _count(table_sha256: str, column: str, tokenizer_sha256: str) -> tuple[int, ...]:
    from projects.models import Blob

    try:
        table = repositories.local_path(Blob(sha256=table_sha256))
        words = Tokenizer.from_file(str(repositories.local_path(Blob(sha256=tokenizer_sha256))))
        words.no_truncation()
        words.no_padding()
        batch = next(pyarrow.parquet.ParquetFile(table).iter_batches(batch_size=SAMPLE_ROWS, columns=[column]), None)
        texts = [text for text in batch[column].to_pylist() if isinstance(text, str)] if batch is not None else []
        return tuple(len(encoding.ids) for encoding in words.encode_batch(texts))
    except (repositories.Missing, NotImplementedError, OSError, KeyError, ValueError):
        return ()
    except Exception as error:
        # tokenizers raises bare Exception for a file that it cannot read; the engine will say so with more detail.
        if type(error) is Exception:
            return ()
        raise


def _warnings(plan: Plan, version: DatasetVersion, truncation: Truncation, rows: int, longest: int) -> list[str]:
    said = []
    if truncation.cut > 0.01:
        said.append(
            f"About {truncation.cut:.0%} of the texts are longer than {longest} tokens and will be cut; "
            "raise the longest text if their ends matter."
        )
    if rows < 20 * plan.labels:
        said.append(f"{rows} training rows for {plan.labels} labels is little: the frozen baselines may do as well.")
    if plan.rows.get("test", 0) < 100:
        said.append(f"The test split has {plan.rows.get('test', 0)} rows: confidence intervals will be wide.")
    if version.error_count:
        said.append(f"{version.error_count} rows of the upload were refused and are not part of this version.")
    return said
