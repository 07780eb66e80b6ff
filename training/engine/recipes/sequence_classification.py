"""Text classification with one label per text: full fine-tuning or LoRA of an encoder with a pooled linear head."""

from typing import TYPE_CHECKING

from training.engine import settings
from training.engine.hyperparameters import Hyperparameter, Preset, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from training.engine.loop import Trained
    from training.engine.predictions import Predictions
    from training.engine.run import Run

RECIPE = Recipe(
    name="sequence_classification",
    title="Text classification",
    task="text-classification",
    help="Learns to put each text into exactly one of the dataset's classes.",
    methods=("full", "lora"),
    default_preset="balanced",
    hyperparameters=(
        settings.EPOCHS,
        settings.LEARNING_RATE,
        settings.BATCH_SIZE,
        settings.MAX_LENGTH,
        Hyperparameter(
            name="class_weights",
            title="Class weights",
            type="choice",
            default="none",
            choices=("none", "balanced"),
            help="With balanced, an error on a rare class counts as much as many errors on a frequent one.",
            when="Choose balanced when some classes are rare and matter as much as the others.",
        ),
        settings.EARLY_STOPPING,
        Hyperparameter(
            name="best_metric",
            title="Best checkpoint by",
            type="choice",
            default="accuracy",
            choices=("accuracy", "macro_f1", "loss"),
            help="The validation figure that decides which checkpoint becomes the model.",
            when="Choose macro F1 when classes are unbalanced.",
        ),
        *settings.ENCODER,
        *settings.ADAPTER,
        settings.GRADIENT_ACCUMULATION,
        settings.WARMUP,
        settings.SCHEDULER,
        settings.WEIGHT_DECAY,
        Hyperparameter(
            name="label_smoothing",
            title="Label smoothing",
            type="float",
            default=0.1,
            minimum=0.0,
            maximum=0.5,
            help="The share of each label that is spread over the other classes.",
            when="Raise it when labels are noisy; set it to 0 when probabilities must be sharp.",
            advanced=True,
        ),
        settings.TOKEN_MASKING,
        settings.TUNING_KEPT,
        settings.MAX_GRAD_NORM,
        settings.EVALUATIONS_PER_EPOCH,
        settings.CHECKPOINT_SECONDS,
        settings.BATCHING,
        settings.PRECISION,
    ),
    presets={
        "quick": Preset(
            name="quick",
            title="Quick",
            help="A first impression: two passes over the data.",
            values={"epochs": 2},
            by_method={"lora": {"learning_rate": 1e-3}},
        ),
        "balanced": Preset(
            name="balanced",
            title="Balanced",
            help="Good accuracy at a moderate price; the right choice when in doubt.",
            values={"epochs": 4},
            by_method={"lora": {"learning_rate": 1e-3}},
        ),
        "thorough": Preset(
            name="thorough",
            title="Thorough",
            help="Many passes with early stopping; for small datasets, or when the last half per cent counts.",
            values={"epochs": 12, "batch_size": 32, "early_stopping": 4},
            by_method={"lora": {"learning_rate": 5e-4}, "full": {"learning_rate": 3e-4}},
        ),
    },
)


def train(run: "Run") -> "Trained":
    """Start the head, train with the cross-entropy of the classes, and make the result as sure as it is right."""
    import numpy as np
    import torch
    from sklearn.metrics import f1_score

    from training.engine import inference, pooled
    from training.engine.calibration import apply_temperature, fit_temperature
    from training.engine.pooling import trained_head
    from training.engine.probe import fit_linear_head

    chosen, labels = run.hyperparameters, run.spec.dataset.labels
    train, validation = run.splits["train"], run.splits["validation"]
    counts = np.bincount(train.labels, minlength=len(labels))
    balanced = chosen["class_weights"] == "balanced"
    weights = torch.tensor(counts.sum() / (len(labels) * counts), dtype=torch.float32) if balanced else None
    weights = weights.to(run.hardware.device) if weights is not None else None
    smoothing = chosen["label_smoothing"]

    def loss(logits: "torch.Tensor", targets: "torch.Tensor", examples: int) -> "torch.Tensor":
        # Summed and divided by the examples of the whole step, so that accumulated batches weigh by their size.
        total = torch.nn.functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum"
        )
        return total / examples

    def validate(values: np.ndarray) -> dict[str, float]:
        answers = values.argmax(axis=1)
        chances = inference.softmax(values)[np.arange(len(validation)), validation.labels]
        return {
            "loss": float(-np.log(np.maximum(chances, 1e-30)).mean()),
            "accuracy": float((answers == validation.labels).mean()),
            "macro_f1": float(f1_score(validation.labels, answers, average="macro", zero_division=0)),
        }

    trained, answers = pooled.train(
        run,
        pooled.Head(
            labels=labels,
            targets=train.labels,
            probe=lambda vectors: fit_linear_head(vectors, train.labels, len(labels), balanced=balanced),
            loss=loss,
            validate=validate,
            message=f"Training on {len(train)} texts in {len(labels)} classes.",
        ),
    )
    right = float((answers.argmax(axis=1) == validation.labels).mean())
    run.events.log(f"The model that is saved is right on {right:.1%} of the validation split.")
    trained.temperature = fit_temperature(answers, validation.labels)
    apply_temperature(trained_head(trained.model), trained.temperature)
    return trained


def write_model(run: "Run", trained: "Trained", folder: "Path") -> None:
    """Write weights or adapter, configuration, tokenizer and class names into an emptied ``folder``."""
    from training.engine import export

    export.write_pooled(run, trained, folder, RECIPE.task, list(run.spec.dataset.labels))


def answer(run: "Run", trained: "Trained", folder: "Path") -> "Predictions":
    """Return what the model saved in ``folder`` answers to the test split."""
    from training.engine import export

    return export.predict_saved(run, trained, folder, run.splits["test"].texts)
