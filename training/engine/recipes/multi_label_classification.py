"""Any number of labels per text: full fine-tuning or LoRA of an encoder with a pooled head, one output per label."""

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
    name="multi_label_classification",
    title="Text classification, several labels",
    task="text-multi-label-classification",
    help="Learns which of the dataset's labels apply to each text: none, one or many.",
    methods=METHODS,
    layouts=("tag_sets",),
    measure="tag_sets",
    hyperparameters=(
        settings.EPOCHS,
        replace(settings.LEARNING_RATE, default=5e-4),
        settings.BATCH_SIZE,
        settings.MAX_LENGTH,
        settings.EARLY_STOPPING,
        Hyperparameter(
            name="best_metric",
            title="Best checkpoint by",
            type="choice",
            default="micro_f1",
            choices=("micro_f1", "label_f1", "loss"),
            help="The validation figure that decides which checkpoint becomes the model.",
            when="Choose F1 by label when rare labels matter as much as frequent ones.",
        ),
        *settings.POOLED,
    ),
    presets={
        "quick": Preset("quick", "Quick", "A first impression: two passes over the data.", {"epochs": 2}),
        "balanced": Preset("balanced", "Balanced", "The right choice when in doubt.", {"epochs": 5}),
        "thorough": Preset(
            "thorough",
            "Thorough",
            "Many passes with early stopping; for small datasets.",
            {"epochs": 15, "batch_size": 32, "early_stopping": 4},
        ),
    },
)


def train(run: "Run") -> "Trained":
    """Learn each label by itself, with the cross-entropy of yes and no."""
    import numpy as np
    import torch

    from training.engine import pooled
    from training.engine.inference import sigmoid
    from training.engine.measures import load
    from training.engine.probe import fit_tag_head

    measure = load(RECIPE.measure)
    train, validation = run.splits["train"], run.splits["validation"]
    width = train.labels.shape[1]

    def loss(logits: "torch.Tensor", wanted: "torch.Tensor", targets: int) -> "torch.Tensor":
        # The Trainer counts every label of every row as a target; a row's labels are added up and rows averaged.
        cost = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="sum")
        return cost * width / targets

    def validate(values: np.ndarray) -> dict[str, float]:
        wanted = torch.from_numpy(validation.labels)
        cost = torch.nn.functional.binary_cross_entropy_with_logits(torch.from_numpy(values), wanted)
        found = measure.figures(validation.labels, sigmoid(values))
        return {"loss": float(cost), "micro_f1": found["micro_f1"], "label_f1": found["label_f1"]}

    trained, _answers = pooled.train(
        run,
        pooled.Head(
            labels=run.spec.dataset.labels,
            targets=train.labels,
            probe=lambda vectors: fit_tag_head(vectors, train.labels),
            loss=loss,
            validate=validate,
            message=f"Training on {len(train)} texts with any of {width} labels.",
            activation="sigmoid",
        ),
    )
    return trained


def write_model(run: "Run", trained: "Trained", folder: "Path") -> None:
    """Write weights or adapter, configuration, tokenizer and label names into an emptied ``folder``."""
    from training.engine import export

    export.write_pooled(run, trained, folder, RECIPE.task, list(run.spec.dataset.labels))


def answer(run: "Run", trained: "Trained", folder: "Path") -> "Estimates":
    """Return the probabilities that the model saved in ``folder`` gives to each label of each test row."""
    from training.engine import export

    return export.estimate_saved(run, trained, folder, run.splits["test"].texts)
