"""One run from specification to artifacts: verify, prepare, train, compare with baselines, evaluate, export."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from training.engine import baselines, recipes
from training.engine.admission import admit_base_model
from training.engine.data import Split, read_splits
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
    splits: Mapping[str, Split]

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return Path(self.placement.run)

    @property
    def base_folder(self) -> Path:
        """The folder of the admitted base model."""
        return Path(self.placement.base_model)

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
            baselines.get(name)
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
    admit_base_model(base, spec.base_model.files)
    splits = read_splits(Path(placement.dataset), spec.dataset, spec.seed)

    events.emit("stage", name="prepare", message="Loading the base model and preparing the texts.")
    import torch
    import transformers

    from training.engine import evaluation, export, hardware
    from training.engine.predictions import Context

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    machine = hardware.choose(spec.device, str(hyperparameters.get("precision", "auto")), placement.threads)
    torch.set_num_threads(machine.threads)
    os.makedirs(placement.run, exist_ok=True)
    run = Run(spec, placement, hyperparameters, events, stop, machine, splits)
    transformers.set_seed(spec.seed)
    trained = recipes.load(spec.recipe).train(run)
    folder = run.folder / "artifacts"
    export.write_model(run, trained, folder)

    events.emit("stage", name="baselines", message="Measuring the cheap rivals on the same test split.")
    test = splits["test"]
    context = Context(
        train=splits["train"],
        test_texts=test.texts,
        classes=len(spec.dataset.labels),
        seed=spec.seed,
        embed=lambda texts: run.frozen.embed(texts),
        embed_train=lambda: run.frozen.embed_train(),
        base_model_size=sum(
            (base / name).stat().st_size for name in spec.base_model.files if name.endswith(".safetensors")
        ),
        balanced=hyperparameters.get("class_weights") == "balanced",
    )
    rivals = []
    for name in spec.baselines:
        events.emit("baseline", name=name, done=False)
        rivals.append(baselines.load(name).fit_predict(context))
        events.emit("baseline", name=name, done=True)

    events.emit("stage", name="evaluate", message="Measuring the tuned model on the test split.")
    tuned = export.predict_saved(run, trained, folder, test.texts)
    result = evaluation.compare(tuned, rivals, test.labels, list(spec.dataset.labels), spec.seed)
    evaluation.write(folder, result, tuned, rivals, test, list(spec.dataset.labels))
    events.emit("evaluation", path="artifacts/evaluation.json")

    events.emit("stage", name="export", message="Writing the artifacts and their hashes.")
    export.write_records(run, trained, folder)
    for path, sha256, size in export.list_artifacts(folder):
        events.emit("artifact", path=f"artifacts/{path}", sha256=sha256, size=size)
    events.emit(
        "done",
        summary={
            "accuracy": result["candidates"][0]["accuracy"]["value"],
            "macro_f1": result["candidates"][0]["macro_f1"]["value"],
            "baselines": {c["name"]: c["accuracy"]["value"] for c in result["candidates"][1:]},
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
