"""Tuning a language model (SFT) on prompts and answers, conversations or plain text: all weights, or an adapter."""

from dataclasses import replace
from typing import TYPE_CHECKING

from training.engine import settings
from training.engine.admission import GENERATORS
from training.engine.hyperparameters import Hyperparameter, Preset, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from training.engine.answers import Answers
    from training.engine.loop import Trained
    from training.engine.run import Run

RECIPE = Recipe(
    name="causal_lm",
    title="Language model",
    task="text-generation",
    help="Teaches a language model to go on as the examples do: prompts and answers, conversations, plain text.",
    methods=("lora", "dora", "rslora", "full"),
    layouts=("prompts", "conversations", "texts"),
    measure="generation",
    families=GENERATORS,
    hyperparameters=(
        replace(settings.EPOCHS, default=2, when="Raise it for small datasets; more than three rarely help."),
        replace(
            settings.LEARNING_RATE,
            default=2e-4,
            when="Lower it when the loss jumps or becomes not a number; full tuning bears about a tenth of LoRA's.",
        ),
        replace(settings.BATCH_SIZE, default=8),
        replace(
            settings.MAX_LENGTH,
            title="Longest example",
            default=512,
            maximum=32768,
            help="Examples are cut after this many tokens, prompt and answer together.",
            when="Raise it when the dry run says that many answers are cut.",
        ),
        Hyperparameter(
            name="format",
            title="Format",
            type="choice",
            default="auto",
            choices=("auto", "plain"),
            help="How messages become text: by the chat template of the base model where it has one, or one after the "
            "other.",
            when="Choose plain for a base model whose template does not fit; who calls the model has to do the same.",
        ),
        Hyperparameter(
            name="packing",
            title="Packing",
            type="bool",
            default=False,
            help="Lays several short examples end to end in one row; they do not see each other.",
            when="Switch it on when most examples are much shorter than the longest one allowed, on a GPU above all.",
        ),
        replace(settings.EARLY_STOPPING, default=2),
        *settings.ADAPTER,
        Hyperparameter(
            name="answered_rows",
            title="Test rows answered",
            type="int",
            default=100,
            minimum=2,
            maximum=100_000,
            unit="rows",
            help="For how many rows of the test split each candidate writes an answer; a larger split is sampled.",
            when="Raise it when intervals are too wide; writing is the slowest part of an evaluation.",
        ),
        Hyperparameter(
            name="answer_tokens",
            title="Longest answer",
            type="int",
            default=64,
            minimum=1,
            maximum=4096,
            unit="tokens",
            help="An answer is cut after this many tokens when it is measured.",
            when="Raise it when wanted answers are longer.",
        ),
        replace(settings.BATCHING, when="Rarely matters with packing."),
        *(replace(one, default=0.03) if one is settings.WARMUP else one for one in settings.LOOP),
    ),
    presets={
        "quick": Preset(
            "quick",
            "Quick",
            "A first impression: one pass over the data.",
            {"epochs": 1, "answered_rows": 30},
            {"full": {"learning_rate": 2e-5}},
        ),
        "balanced": Preset(
            "balanced",
            "Balanced",
            "Two passes; the right choice when in doubt.",
            {"epochs": 2},
            {"full": {"learning_rate": 2e-5}},
        ),
        "thorough": Preset(
            "thorough",
            "Thorough",
            "More passes with early stopping, and more test rows answered.",
            {"epochs": 4, "answered_rows": 300, "evaluations_per_epoch": 2, "early_stopping": 3},
            {"full": {"learning_rate": 1e-5}},
        ),
    },
)


def train(run: "Run") -> "Trained":
    """Turn the rows into tokens, build the model and its adapter, and hand all to the shared loop."""
    import math

    import numpy as np
    import torch

    from training.engine import causal, loop
    from training.engine.answers import dtype_of

    chosen, method = run.hyperparameters, run.spec.method
    model = causal.load(run.base_folder, dtype_of(run, frozen=method != "full"))
    words = causal.words_of(run.base_folder, model.config, chosen["max_length"], chosen["format"] != "plain")
    examples = causal.prepare(words, run.splits["train"].conversations)
    held_out = causal.prepare(words, run.splits["validation"].conversations)
    if examples.cut:
        run.events.log(
            f"{examples.cut} training examples are longer than {words.longest} tokens and were cut; of "
            f"{examples.left_out} nothing to learn was left, so they were left out."
        )
    if chosen["packing"]:
        before = len(examples)
        examples = causal.pack(examples, words.longest)
        run.events.log(f"{before} examples were packed into {len(examples)} rows of at most {words.longest} tokens.")
    if method != "full":
        model = causal.add_adapter(
            model, method, chosen["lora_rank"], chosen["lora_alpha"], chosen["lora_dropout"], chosen["lora_targets"]
        )
    model.to(run.hardware.device)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": chosen["weight_decay"]},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    bf16, device = run.hardware.bf16, run.hardware.device

    def validate(current: torch.nn.Module) -> dict[str, float]:
        losses, tokens = causal.example_losses(current, held_out, words.pad, device, bf16)
        loss = float(losses.sum() / tokens.sum())
        return {"loss": loss, "perplexity": float(np.exp(min(loss, 100.0)))}

    def loss(current: torch.nn.Module, batch: dict[str, torch.Tensor], items: "torch.Tensor") -> "torch.Tensor":
        return causal.token_losses(current, batch, bf16).sum() / items

    plan = loop.Plan(
        model=model,
        optimizer=torch.optim.AdamW([g for g in groups if g["params"]], lr=chosen["learning_rate"], fused=True),
        lengths=examples.lengths,
        collate=causal.Collator(examples, words.pad, chosen["packing"]),
        loss=loss,
        validate=validate,
        count=causal.count,
        epochs=chosen["epochs"],
        batch_size=chosen["batch_size"],
        gradient_accumulation=chosen["gradient_accumulation"],
        by_length=chosen["batching"] == "by_length",
        scheduler=chosen["scheduler"],
        warmup=chosen["warmup"],
        max_grad_norm=chosen["max_grad_norm"],
        evaluations_per_epoch=chosen["evaluations_per_epoch"],
        early_stopping=chosen["early_stopping"],
        best_metric="loss",
        checkpoint_seconds=chosen["checkpoint_seconds"],
        higher_is_better=False,
    )
    run.events.emit(
        "stage",
        name="train",
        message=f"Training on {len(run.splits['train'])} examples, {examples.learned:,} tokens of which are learned.",
    )
    trained = loop.fit(run, plan, words.tokenizer, words.longest)
    final = validate(trained.model)
    run.events.log(
        f"The model that is saved has a perplexity of {math.exp(final['loss']):.3f} on the validation split."
    )
    return trained


def write_model(run: "Run", trained: "Trained", folder: "Path") -> None:
    """Write weights or adapter, configuration, tokenizer with its chat template, and what serving has to know."""
    import json

    from training.engine import export
    from training.engine.files import write_json

    export.save_model(run, trained, folder, f"base/{run.spec.base_model.name}")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Where the weights lay on this machine is nobody's business.
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config)
    if run.hyperparameters["format"] == "plain":
        (folder / "chat_template.jinja").unlink(missing_ok=True)
    write_json(folder / "serving.json", {"max_length": trained.max_length, "task": RECIPE.task})


def answer(run: "Run", trained: "Trained", folder: "Path") -> "Answers":
    """Return what the model saved in ``folder`` answers to the test split."""
    from training.engine import answers, causal

    model = causal.load_saved(folder, run.base_folder, answers.dtype_of(run)).eval().to(run.hardware.device)
    parameters = list(model.parameters())
    return answers.answer(
        run,
        "tuned",
        model,
        sum(p.numel() * p.element_size() for p in parameters),
        parameters=sum(p.numel() for p in parameters),
        stored_bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    )
