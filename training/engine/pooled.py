"""Training an encoder with a pooled head: what the recipes share that put texts into classes, tags or numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from training.engine import inference, loop, pooling
from training.engine.batches import Collator, TokenMask
from training.engine.data import longest_input, tokenise
from training.engine.frozen import load_tokenizer
from training.engine.probe import LinearHead

if TYPE_CHECKING:
    from training.engine.run import Run


@dataclass(frozen=True)
class Head:
    """What the outputs stand for and how they are learned.

    ``labels`` name the outputs, ``targets`` are those of the training split, ``probe`` fits a linear head on vectors of
    the untuned model. ``loss`` maps logits, targets and the targets of the whole step to a share of the step's loss;
    ``validate`` maps the logits of the validation split to figures.
    """

    labels: tuple[str, ...]
    targets: np.ndarray
    probe: Callable[[np.ndarray], LinearHead]
    loss: Callable[[torch.Tensor, torch.Tensor, Any], torch.Tensor]
    validate: Callable[[np.ndarray], dict[str, float]]
    message: str
    higher_is_better: bool = True
    activation: str = "softmax"


def train(run: "Run", head: Head) -> tuple[loop.Trained, np.ndarray]:
    """Tokenise, build the model and its optimiser, start the head, and hand all to the shared loop.

    Returns the trained model and its logits on the validation split.
    """
    settings = run.hyperparameters
    train, validation = run.splits["train"], run.splits["validation"]
    tokenizer = load_tokenizer(run.base_folder)
    model = pooling.new_classifier(run.base_folder, head.labels, settings["pooling"], head.activation)
    max_length = longest_input(tokenizer, model.encoder.config, settings["max_length"])
    tokens = tokenise(tokenizer, train.texts, max_length)
    if tokens.was_cut.any():
        run.events.log(
            f"{tokens.was_cut.sum()} of {len(tokens)} training texts are longer than {max_length} tokens and were cut."
        )
    if settings["head_start"] == "linear_probe":
        run.events.log("Fitting the head on the untuned model's vectors.")
        start_head = head.probe(run.frozen.embed_train(settings["pooling"]))
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(start_head.weight))
            model.head.bias.copy_(torch.from_numpy(start_head.bias))
    if run.spec.method != "full":
        model = pooling.add_lora(
            model,
            settings["lora_rank"],
            settings["lora_alpha"],
            settings["lora_dropout"],
            settings["lora_targets"],
            run.spec.method,
        )
    elif settings["freeze_embeddings"]:
        for parameter in pooling.embedding_parameters(model):
            parameter.requires_grad_(False)
    model.to(run.hardware.device)
    start = pooling.trainable_weights(model)
    groups = pooling.parameter_groups(
        model,
        settings["learning_rate"],
        settings["head_speed"],
        settings["layer_decay"] if run.spec.method == "full" else 1.0,
        settings["weight_decay"],
    )
    mask = TokenMask.of(tokenizer, settings["token_masking"])
    held_out = tokenise(tokenizer, validation.texts, max_length)
    device, bf16 = run.hardware.device, run.hardware.bf16

    def loss(model: Any, batch: dict[str, torch.Tensor], items: Any) -> torch.Tensor:
        ids = batch["input_ids"] if mask is None else mask(batch["input_ids"])
        logits = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits
        return head.loss(logits, batch["labels"], items)

    plan = loop.Plan(
        model=model,
        optimizer=torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True),
        lengths=tokens.lengths,
        collate=Collator(tokens, head.targets),
        loss=loss,
        validate=lambda model: head.validate(inference.logits(model, held_out, device, bf16)),
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        gradient_accumulation=settings["gradient_accumulation"],
        by_length=settings["batching"] == "by_length",
        scheduler=settings["scheduler"],
        warmup=settings["warmup"],
        max_grad_norm=settings["max_grad_norm"],
        evaluations_per_epoch=settings["evaluations_per_epoch"],
        early_stopping=settings["early_stopping"],
        best_metric=settings["best_metric"],
        checkpoint_seconds=settings["checkpoint_seconds"],
        higher_is_better=head.higher_is_better,
    )
    run.events.emit("stage", name="train", message=head.message)
    trained = loop.fit(run, plan, tokenizer, max_length)
    if settings["head_start"] == "linear_probe":
        # A random head is no place to go back to.
        pooling.interpolate(trained.model, start, settings["tuning_kept"])
    return trained, inference.logits(trained.model, held_out, device)
