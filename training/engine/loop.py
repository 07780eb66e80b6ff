"""The training loop that all recipes share: transformers' Trainer, with our batches, checkpoints and events.

What is added to the Trainer: batches that depend on seed and epoch alone, validation over length-sorted batches, the
best weights kept in memory and in every checkpoint, checkpoints that are complete or absent, a stop after any step,
and the promise that a resumed run ends with the same weights, bit by bit, as one that was never interrupted (on CPU).
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import DefaultFlowCallback, EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import ExportableState, TrainerControl, TrainerState

from training.engine import checkpoints
from training.engine.batches import EpochBatches, Positions
from training.engine.failures import EngineError
from training.engine.files import write_json

if TYPE_CHECKING:
    from training.engine.run import Run

NEVER = 10**9
PROGRESS_EVERY_S = 1.0


def count_mask(batch: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Return the tokens of a batch that has an attention mask, without and with padding."""
    mask = batch["attention_mask"]
    return int(mask.sum()), mask.numel()


@dataclass(frozen=True)
class Plan:
    """What to train and how: everything that the loop needs and a recipe decides.

    ``lengths`` are the tokens of each training example; ``collate`` turns indices of examples into a batch, which has
    ``labels``. ``loss`` maps the model, a batch and the number of targets of the whole optimiser step (labels that are
    not -100) to a scalar that adds up to the step's loss over its batches. ``validate`` returns ``loss`` and the
    recipe's own figures; ``best_metric`` is one of them. ``count`` returns a batch's tokens without and with padding.
    """

    model: Any
    optimizer: torch.optim.Optimizer
    lengths: np.ndarray
    collate: Callable[[list[int]], dict[str, torch.Tensor]]
    loss: Callable[[Any, dict[str, torch.Tensor], Any], torch.Tensor]
    validate: Callable[[Any], dict[str, float]]
    epochs: int
    batch_size: int
    gradient_accumulation: int
    by_length: bool
    scheduler: str
    warmup: float
    max_grad_norm: float
    evaluations_per_epoch: int
    early_stopping: int
    best_metric: str
    checkpoint_seconds: float
    higher_is_better: bool = True
    count: Callable[[dict[str, torch.Tensor]], tuple[int, int]] = count_mask


@dataclass
class Trained:
    """A trained model with its best weights loaded, and the numbers of its training.

    ``temperature`` is what a recipe has folded into the head to calibrate it; 1 when it has not.
    """

    model: Any
    tokenizer: Any
    max_length: int
    steps: int
    best_step: int
    seconds: float
    useful_tokens: int
    padded_tokens: int
    history: list[dict[str, float]] = field(default_factory=list)
    temperature: float = 1.0


@dataclass
class Counters:
    """What a run has done so far, across resumes."""

    useful_tokens: int = 0
    padded_tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_loss: float = 1e30
    finished: bool = False


class _Cadence(TrainerCallback):
    """Decides after each step whether to log, validate, save or end; replaces the Trainer's own flow."""

    def __init__(self, trainer: "EngineTrainer"):
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        trainer = self._trainer
        step = state.global_step
        control.should_log = step % args.logging_steps == 0 or step >= state.max_steps
        control.should_evaluate = step in trainer.evaluation_steps(state.max_steps)
        control.should_training_stop = step >= state.max_steps
        control.should_save = control.should_training_stop or trainer.checkpoint_is_due()
        if trainer.run.stop.requested:
            control.should_save = control.should_training_stop = True
        trainer.report_progress()
        return control

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        # Early stopping comes before this callback in the list, so its verdict is known here.
        control.should_save = control.should_save or control.should_training_stop
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        said = (logs or {}).items()
        values = {name: float(value) for name, value in said if name in ("loss", "grad_norm", "learning_rate")}
        values |= {f"validation_{name[5:]}": float(value) for name, value in said if name.startswith("eval_")}
        if values:
            self._trainer.run.events.emit("metrics", step=state.global_step, values=values)


class EngineTrainer(Trainer):
    """transformers' Trainer over a ``Plan``; see the module's docstring for what it adds."""

    state: TrainerState
    control: TrainerControl

    def __init__(self, run: "Run", plan: Plan):
        self.run = run
        self.plan = plan
        self.counters = Counters()
        self._best: dict[str, torch.Tensor] = {}
        self._saved_at = self._reported_at = self._began = time.monotonic()
        self._earlier_seconds = 0.0
        self._tokens_before = 0
        self._steps_before = 0
        self._batches = EpochBatches(plan.lengths, plan.batch_size, run.spec.seed, plan.by_length)
        steps = max(1, -(-len(self._batches) // plan.gradient_accumulation)) * plan.epochs
        arguments = TrainingArguments(
            output_dir=str(run.folder / "trainer"),
            per_device_train_batch_size=plan.batch_size,
            gradient_accumulation_steps=plan.gradient_accumulation,
            num_train_epochs=plan.epochs,
            lr_scheduler_type=plan.scheduler,
            warmup_steps=int(plan.warmup * steps),
            max_grad_norm=plan.max_grad_norm,
            logging_strategy="steps",
            logging_steps=max(1, min(25, steps // 50)),
            eval_strategy="steps",
            eval_steps=NEVER,
            save_strategy="steps",
            save_steps=NEVER,
            metric_for_best_model=plan.best_metric,
            greater_is_better=plan.higher_is_better and plan.best_metric != "loss",
            restore_callback_states_from_checkpoint=True,
            logging_nan_inf_filter=False,
            bf16=run.hardware.bf16,
            use_cpu=run.hardware.device == "cpu",
            dataloader_pin_memory=run.hardware.device != "cpu",
            seed=run.spec.seed,
            data_seed=run.spec.seed,
            disable_tqdm=True,
            report_to="none",
        )
        # The stopping callback warns that the Trainer will not load the best weights; ours are loaded by ``fit``.
        logging.getLogger("transformers.trainer_callback").setLevel(logging.ERROR)
        stopping = [EarlyStoppingCallback(plan.early_stopping)] if plan.early_stopping else []
        super().__init__(
            model=plan.model,
            args=arguments,
            train_dataset=Positions(len(plan.lengths)),
            # Never iterated: validation is the plan's own; the Trainer refuses to schedule one without a dataset.
            eval_dataset=Positions(1),
            data_collator=plan.collate,
            # Having one makes the Trainer count the targets of a whole step; ``compute_loss`` below is what is called.
            compute_loss_func=plan.loss,
            optimizers=(plan.optimizer, None),
            callbacks=stopping,
        )
        self.remove_callback(DefaultFlowCallback)
        self._cadence = _Cadence(self)
        self.add_callback(self._cadence)

    # Batches

    def get_train_dataloader(self) -> DataLoader:  # type: ignore[type-arg]
        """Return the batches of ``EpochBatches``; loading them consumes none of the model's random numbers."""
        return DataLoader(
            self.train_dataset,
            batch_sampler=self._batches,
            collate_fn=self.data_collator,
            generator=torch.Generator(),
            pin_memory=self.args.dataloader_pin_memory,
        )

    def _run_epoch(self, **kwargs: Any) -> None:
        self._batches.epoch = kwargs["epoch"]
        super()._run_epoch(**kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Do one forward and backward pass; raises ``EngineError`` with code ``nan_loss``."""
        useful, padded = self.plan.count(inputs)
        self.counters.useful_tokens += useful
        self.counters.padded_tokens += padded
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            raise EngineError(
                "nan_loss",
                f"The loss became {float(loss)} at step {self.state.global_step + 1}; the weights are useless now.",
                "Lower the learning rate, raise the warm-up, or choose the precision fp32.",
            )
        return loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the plan's loss of a batch."""
        return self.plan.loss(model, inputs, num_items_in_batch)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: the Trainer's figure counts padding and overstates adapters, so none is reported."""
        return 0

    # Validation

    def evaluation_steps(self, max_steps: int) -> frozenset[int]:
        """Return the steps after which the model is validated: evenly over each epoch, always at its end."""
        per_epoch = max_steps // self.plan.epochs
        times = self.plan.evaluations_per_epoch
        return frozenset(
            epoch * per_epoch + max(1, round(per_epoch * part / times))
            for epoch in range(self.plan.epochs)
            for part in range(1, times + 1)
        )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Validate, log and tell the callbacks; returns the plan's figures with the Trainer's prefix."""
        metrics = {f"eval_{name}": value for name, value in self.plan.validate(self.model).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        loss = metrics["eval_loss"]
        level = metrics[f"eval_{self.plan.best_metric}"] == self.state.best_metric and loss < self.counters.best_loss
        # On a small validation split several epochs are often equally accurate; the surer one is then the better one.
        better = super()._determine_best_metric(metrics, trial) or level
        if better:
            self.counters.best_loss = loss
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in self._trainable().items()}
            self.counters.best_step = self.state.global_step
        return better

    # Checkpoints

    def _trainable(self) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in self.model.named_parameters() if tensor.requires_grad}

    def checkpoint_is_due(self) -> bool:
        """Tell whether the last checkpoint is old enough for a new one."""
        return time.monotonic() - self._saved_at >= self.plan.checkpoint_seconds

    def _early_stopped(self) -> bool:
        return any(
            isinstance(callback, EarlyStoppingCallback)
            and callback.early_stopping_patience_counter >= callback.early_stopping_patience
            for callback in self.callback_handler.callbacks
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.counters.seconds = self._earlier_seconds + time.monotonic() - self._began
        self.counters.finished = self.state.global_step >= self.state.max_steps or self._early_stopped()
        step = self.state.global_step
        saved, manifest = checkpoints.save(self.run.folder, self.run.placement.token, step, self._write_checkpoint)
        path = saved.path.relative_to(self.run.folder).as_posix()
        self.run.events.emit("checkpoint", step=step, path=path, manifest=manifest)
        self._saved_at = time.monotonic()

    def _write_checkpoint(self, folder: Path) -> None:
        if self._best:
            save_file(self._best, folder / "best.safetensors")
        if not self.counters.finished:
            # What only a continued training needs; a finished one needs the best weights alone.
            current = {name: tensor.detach().cpu().contiguous() for name, tensor in self._trainable().items()}
            save_file(current, folder / "weights.safetensors")
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
        for callback in [*self.callback_handler.callbacks, self.control]:
            if isinstance(callback, ExportableState):
                self.state.stateful_callbacks[callback.__class__.__name__] = callback.state()
        self.state.save_to_json(str(folder / "trainer_state.json"))
        write_json(folder / "counters.json", vars(self.counters))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self._fill(load_file(Path(resume_from_checkpoint) / "weights.safetensors"))

    def _fill(self, weights: dict[str, torch.Tensor]) -> None:
        trainable = self._trainable()
        if set(weights) != set(trainable):
            raise RuntimeError("The checkpoint holds other parameters than the model trains.")
        with torch.no_grad():
            for name, tensor in trainable.items():
                tensor.copy_(weights[name])

    # Running

    def report_progress(self) -> None:
        """Emit a ``progress`` event after the first step, the last one, and otherwise about once a second."""
        now = time.monotonic()
        done, planned = self.state.global_step, self.state.max_steps
        first = done == self._steps_before + 1
        if not first and done < planned and now - self._reported_at < PROGRESS_EVERY_S:
            return
        self._reported_at = now
        here = max(now - self._began, 1e-6)
        taken = done - self._steps_before
        self.run.events.emit(
            "progress",
            step=done,
            max_steps=planned,
            epoch=round(float(self.state.epoch or 0), 4),
            eta_s=None if first and done < planned else round((planned - done) * here / taken, 1),
            useful_tokens=self.counters.useful_tokens,
            useful_tokens_per_s=round((self.counters.useful_tokens - self._tokens_before) / here, 1),
        )

    def fit(self) -> None:
        """Train from the newest sound checkpoint, or from the start, and load the best weights.

        Raises ``failures.Stopped`` when asked to stop (a checkpoint has then been written) and ``EngineError``.
        """
        run = self.run
        checkpoints.drop_drafts(run.folder, run.placement.token)
        found = checkpoints.newest_sound(
            run.folder,
            lambda bad: run.events.log(f"The checkpoint of step {bad.step} is damaged and was passed over.", "warning"),
        )
        if found is not None:
            self.counters = Counters(**json.loads((found.path / "counters.json").read_text(encoding="utf-8")))
            self._earlier_seconds = self.counters.seconds
            self._tokens_before, self._steps_before = self.counters.useful_tokens, found.step
            if (found.path / "best.safetensors").exists():
                self._best = load_file(found.path / "best.safetensors")
            run.events.log(f"Continuing from the checkpoint of step {found.step}.")
        self._began = self._saved_at = time.monotonic()
        if self.counters.finished and found is not None:
            self.state = self.state.load_from_json(str(found.path / "trainer_state.json"))
        else:
            with run.stop.deferred():
                self.train(resume_from_checkpoint=str(found.path) if found else None)
            self.counters.seconds = self._earlier_seconds + time.monotonic() - self._began
        self._fill(self._best)

    def _load_callback_state(self) -> None:
        # Restored callbacks are put at the end of the list; ours has to come after them.
        super()._load_callback_state()
        self.remove_callback(self._cadence)
        self.add_callback(self._cadence)


def fit(run: "Run", plan: Plan, tokenizer: Any, max_length: int) -> Trained:
    """Train ``plan`` and return the model with its best weights and the numbers of its training."""
    trainer = EngineTrainer(run, plan)
    trainer.fit()
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return Trained(
        model=model,
        tokenizer=tokenizer,
        max_length=max_length,
        steps=trainer.state.global_step,
        best_step=trainer.counters.best_step,
        seconds=trainer.counters.seconds,
        useful_tokens=trainer.counters.useful_tokens,
        padded_tokens=trainer.counters.padded_tokens,
        history=trainer.state.log_history,
    )
