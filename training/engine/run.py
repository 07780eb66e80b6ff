"""One run from specification to artifacts: verify, prepare, train, compare with baselines, evaluate, export."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from training.engine import baselines, measures, recipes
from training.engine.admission import admit_base_model
from training.engine.events import EventStream
from training.engine.failures import EngineError
from training.engine.hyperparameters import HyperparameterError, check_complete
from training.engine.spec import Placement, RunSpec
from training.engine.stopping import StopSignal


@dataclass
class Run:
    """What a recipe works with: the specification, this machine, the data, and where to report."""

    spec: RunSpec
    placement: Placement
    hyperparameters: Mapping[str, Any]
    events: EventStream
    stop: StopSignal
    hardware: Any
    splits: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return Path(self.placement.run)

    @property
    def base_folder(self) -> Path:
        """The folder of the admitted base model."""
        return Path(self.placement.base_model)

    @property
    def base_size(self) -> int:
        """The bytes of the base model's weights."""
        names = [name for name in self.spec.base_model.files if name.endswith(".safetensors")]
        return sum((self.base_folder / name).stat().st_size for name in names)

    @cached_property
    def frozen(self) -> Any:
        """The untuned base model as a source of vectors."""
        from training.engine.frozen import FrozenBase

        length = int(self.hyperparameters.get("max_length", 512))
        return FrozenBase(self.base_folder, length, self.hardware, self.splits["train"].texts)


def check_names(spec: RunSpec) -> Mapping[str, Any]:
    """Return the checked hyperparameters; raises ``EngineError`` for an unknown recipe, baseline, method or setting."""
    try:
        recipe = recipes.get(spec.recipe)
        for name in spec.baselines:
            if not baselines.get(name).fits(recipe.measure, spec.dataset.layout):
                raise HyperparameterError({"baselines": f"{baselines.get(name).title} does not fit {recipe.title}."})
        if spec.dataset.layout not in recipe.layouts:
            raise HyperparameterError(
                {"dataset": f"{recipe.title} learns from {', '.join(recipe.layouts)}, not {spec.dataset.layout}."}
            )
        if spec.method not in recipe.methods:
            raise HyperparameterError({"method": f"{recipe.title} has no method {spec.method!r}."})
        return check_complete(recipe, spec.hyperparameters)
    except (HyperparameterError, recipes.UnknownRecipe, baselines.UnknownBaseline) as error:
        raise EngineError("bad_spec", str(error), "Correct the specification and submit it again.") from error


def execute(spec: RunSpec, placement: Placement, events: EventStream, stop: StopSignal) -> None:
    """Do the whole run; raises ``EngineError``, ``failures.Stopped``, or whatever a library raises."""
    began = time.monotonic()
    hyperparameters = check_names(spec)
    events.emit("stage", name="verify", message="Checking the base model and the data against their hashes.")
    base = Path(placement.base_model)
    recipe = recipes.get(spec.recipe)
    measure = measures.load(recipe.measure)
    admit_base_model(base, spec.base_model.files, recipe.families)
    splits = measure.read(Path(placement.dataset), spec.dataset, spec.seed)

    events.emit("stage", name="prepare", message="Loading the base model and preparing the texts.")
    import torch
    import transformers

    from training.engine import export, hardware

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    machine = hardware.choose(spec.device, str(hyperparameters.get("precision", "auto")), placement.threads)
    torch.set_num_threads(machine.threads)
    os.makedirs(placement.run, exist_ok=True)
    run = Run(spec, placement, hyperparameters, events, stop, machine, splits)
    transformers.set_seed(spec.seed)
    work = recipes.load(spec.recipe)
    trained = work.train(run)
    folder = run.folder / "artifacts"
    work.write_model(run, trained, folder)

    events.emit("stage", name="baselines", message="Measuring the cheap rivals on the same test split.")
    context = measure.context(run)
    rivals = []
    for name in spec.baselines:
        events.emit("baseline", name=name, done=False)
        rivals.append(baselines.load(name).fit_predict(context))
        events.emit("baseline", name=name, done=True)

    events.emit("stage", name="evaluate", message="Measuring the tuned model on the test split.")
    tuned = work.answer(run, trained, folder)
    report = measure.compare(run, tuned, rivals)
    measure.write(run, folder, report, tuned, rivals)
    events.emit("evaluation", path="artifacts/evaluation.json")

    events.emit("stage", name="export", message="Writing the artifacts and their hashes.")
    export.write_records(run, trained, folder)
    for path, sha256, size in export.list_artifacts(folder):
        events.emit("artifact", path=f"artifacts/{path}", sha256=sha256, size=size)
    events.emit(
        "done",
        summary={
            **measure.summary(report),
            "steps": trained.steps,
            "best_step": trained.best_step,
            "temperature": round(trained.temperature, 6),
            "train_seconds": round(trained.seconds, 3),
            "seconds": round(time.monotonic() - began, 3),
            "useful_tokens": trained.useful_tokens,
            "useful_tokens_per_s": round(trained.useful_tokens / max(trained.seconds, 1e-9), 1),
            "padding_share": round(1 - trained.useful_tokens / max(trained.padded_tokens, 1), 4),
            "precision": machine.precision,
            "threads": machine.threads,
            "device": machine.device,
        },
    )
