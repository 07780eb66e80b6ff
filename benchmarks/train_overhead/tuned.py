"""A loop tuned by hand with every trick of the engine and none of its duties; reads a request, prints a result.

The same model, start of the head, batches, optimiser and number format as the job, but no Trainer, no events, no
checkpoints, no check of the loss, and no way to stop or resume. What a job loses against it is the price of being
governed.
"""

import json
import math
import sys
import time
from pathlib import Path

from training.engine import process

process.prepare_libraries()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import get_scheduler, set_seed  # noqa: E402

from training.engine import hardware, inference, pooling  # noqa: E402
from training.engine.batches import EpochBatches, TokenMask, pad  # noqa: E402
from training.engine.calibration import apply_temperature, fit_temperature  # noqa: E402
from training.engine.data import longest_input, read_splits, tokenise  # noqa: E402
from training.engine.frozen import FrozenBase, load_tokenizer  # noqa: E402
from training.engine.probe import fit_linear_head  # noqa: E402
from training.engine.spec import read_request  # noqa: E402


def main() -> None:
    """Train, test and print one JSON object."""
    spec, placement = read_request(sys.stdin.read())
    settings, labels = spec.hyperparameters, spec.dataset.labels
    machine = hardware.choose("cpu", settings["precision"], placement.threads)
    torch.set_num_threads(machine.threads)
    set_seed(spec.seed)
    base = Path(placement.base_model)
    splits = read_splits(Path(placement.dataset), spec.dataset, spec.seed)
    tokenizer = load_tokenizer(base)
    model = pooling.new_classifier(base, labels, settings["pooling"])
    length = longest_input(tokenizer, model.encoder.config, settings["max_length"])
    tokens = {name: tokenise(tokenizer, part.texts, length) for name, part in splits.items()}
    if settings["head_start"] == "linear_probe":
        vectors = FrozenBase(base, length, machine, splits["train"].texts).embed_train(settings["pooling"])
        head = fit_linear_head(vectors, splits["train"].labels, len(labels))
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(head.weight))
            model.head.bias.copy_(torch.from_numpy(head.bias))
    if spec.method == "lora":
        model = pooling.add_lora(
            model, settings["lora_rank"], settings["lora_alpha"], settings["lora_dropout"], settings["lora_targets"]
        )
    elif settings["freeze_embeddings"]:
        for parameter in pooling.embedding_parameters(model):
            parameter.requires_grad_(False)
    start = pooling.trainable_weights(model)
    hide = TokenMask.of(tokenizer, settings["token_masking"]) or (lambda ids: ids)
    decay = settings["layer_decay"] if spec.method == "full" else 1.0
    groups = pooling.parameter_groups(
        model, settings["learning_rate"], settings["head_speed"], decay, settings["weight_decay"]
    )
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    batches = EpochBatches(
        tokens["train"].lengths, settings["batch_size"], spec.seed, settings["batching"] == "by_length"
    )
    steps = len(batches) * settings["epochs"]
    scheduler = get_scheduler(settings["scheduler"], optimizer, int(settings["warmup"] * steps), steps)
    targets = torch.from_numpy(splits["train"].labels)
    best, reached = None, (-1.0, -math.inf)
    set_seed(spec.seed)
    model.train()
    began = time.monotonic()
    for epoch in range(settings["epochs"]):
        batches.epoch = epoch
        for indices in batches:
            batch = pad(tokens["train"], indices)
            with torch.autocast("cpu", torch.bfloat16, enabled=machine.bf16):
                logits = model(hide(batch["input_ids"]), batch["attention_mask"]).logits
            loss = torch.nn.functional.cross_entropy(
                logits.float(), targets[indices], label_smoothing=settings["label_smoothing"], reduction="sum"
            ) / len(indices)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trainable, settings["max_grad_norm"])
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        values = inference.logits(model, tokens["validation"], "cpu", machine.bf16)
        true = splits["validation"].labels
        chances = inference.softmax(values)[np.arange(len(true)), true]
        # Equal accuracy is decided by the loss.
        found = (float((values.argmax(axis=1) == true).mean()), float(np.log(np.maximum(chances, 1e-30)).mean()))
        if found > reached:
            reached, best = found, [parameter.detach().clone() for parameter in trainable]
    seconds = time.monotonic() - began
    with torch.no_grad():
        for parameter, value in zip(trainable, best or [], strict=True):
            parameter.copy_(value)
    if settings["head_start"] == "linear_probe":
        pooling.interpolate(model, start, settings["tuning_kept"])
    answers = inference.logits(model, tokens["validation"], "cpu")
    apply_temperature(pooling.trained_head(model), fit_temperature(answers, splits["validation"].labels))
    if spec.method == "lora":
        model = model.merge_and_unload()
    probabilities = inference.probabilities(model.eval(), tokens["test"], "cpu")
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    true, chosen = splits["test"].labels, probabilities.argmax(axis=1)
    result = {
        "useful_tokens": settings["epochs"] * int(tokens["train"].lengths.sum()),
        "seconds": seconds,
        "accuracy": float(accuracy_score(true, chosen)),
        "macro_f1": float(f1_score(true, chosen, average="macro")),
        "log_loss": float(log_loss(true, probabilities, labels=np.arange(len(labels)))),
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
