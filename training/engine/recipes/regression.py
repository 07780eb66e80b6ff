"""Estimating a number from a text: full fine-tuning or LoRA of an encoder with a pooled linear head."""

from dataclasses import replace
from typing import TYPE_CHECKING

from training.engine import settings
from training.engine.hyperparameters import Hyperparameter, Preset, Recipe
from training.engine.spec import METHODS

if TYPE_CHECKING:
    from pathlib import Path

    from training.engine.estimates import Estimates
    from training.engine.loop import Trained
    from training.engine.run import Run

RECIPE = Recipe(
    name="regression",
    title="Estimating a number",
    task="text-regression",
    help="Learns to estimate a number from each text, such as a price, a score or a duration.",
    methods=METHODS,
    layouts=("numbers",),
    measure="numbers",
    hyperparameters=(
        settings.EPOCHS,
        replace(settings.LEARNING_RATE, default=3e-4),
        settings.BATCH_SIZE,
        settings.MAX_LENGTH,
        Hyperparameter(
            name="loss",
            title="Loss",
            type="choice",
            default="huber",
            choices=("huber", "squared"),
            help="What an error costs: huber counts large errors by their size, squared by the square of it.",
            when="Choose squared when large errors matter most and the numbers have no outliers.",
        ),
        settings.EARLY_STOPPING,
        Hyperparameter(
            name="best_metric",
            title="Best checkpoint by",
            type="choice",
            default="mae",
            choices=("mae", "rmse", "loss"),
            help="The validation figure that decides which checkpoint becomes the model.",
            when="Choose the root mean squared error when large errors matter most.",
        ),
        *settings.POOLED,
    ),
    presets={
        "quick": Preset("quick", "Quick", "A first impression: three passes over the data.", {"epochs": 3}),
        "balanced": Preset("balanced", "Balanced", "The right choice when in doubt.", {"epochs": 6}),
        "thorough": Preset(
            "thorough",
            "Thorough",
            "Many passes with early stopping; for small datasets.",
            {"epochs": 20, "batch_size": 32, "early_stopping": 4},
        ),
    },
)


def train(run: "Run") -> "Trained":
    """Learn the numbers in units of their spread, and give the head their own unit at the end."""
    import numpy as np
    import torch

    from training.engine import pooled
    from training.engine.pooling import trained_head
    from training.engine.probe import fit_number_head

    chosen = run.hyperparameters
    train, validation = run.splits["train"], run.splits["validation"]
    middle, spread = float(train.labels.mean()), float(train.labels.std()) or 1.0
    targets = ((train.labels - middle) / spread).astype(np.float32)[:, None]
    held_out = (validation.labels - middle) / spread
    cost = torch.nn.functional.huber_loss if chosen["loss"] == "huber" else torch.nn.functional.mse_loss

    def loss(logits: "torch.Tensor", wanted: "torch.Tensor", examples: int) -> "torch.Tensor":
        return cost(logits.float(), wanted, reduction="sum") / examples

    def validate(values: np.ndarray) -> dict[str, float]:
        given = torch.from_numpy(values[:, 0].astype(np.float64))
        error = (values[:, 0] - held_out) * spread
        return {
            "loss": float(cost(given, torch.from_numpy(held_out))),
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt((error**2).mean())),
        }

    trained, _answers = pooled.train(
        run,
        pooled.Head(
            labels=("number",),
            targets=targets,
            probe=lambda vectors: fit_number_head(vectors, targets[:, 0]),
            loss=loss,
            validate=validate,
            message=f"Training on {len(train)} texts and their numbers.",
            higher_is_better=False,
            activation="none",
        ),
    )
    head = trained_head(trained.model)
    with torch.no_grad():
        head.weight.mul_(spread)
        head.bias.mul_(spread).add_(middle)
    return trained


def write_model(run: "Run", trained: "Trained", folder: "Path") -> None:
    """Write weights or adapter, configuration and tokenizer into an emptied ``folder``."""
    from training.engine import export

    export.write_pooled(run, trained, folder, RECIPE.task, ["number"])


def answer(run: "Run", trained: "Trained", folder: "Path") -> "Estimates":
    """Return what the model saved in ``folder`` estimates for the test split."""
    from training.engine import export

    return export.estimate_saved(run, trained, folder, run.splits["test"].texts)
