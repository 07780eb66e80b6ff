"""Text classification with one label per text: full fine-tuning or LoRA of an encoder with a pooled linear head."""

from typing import TYPE_CHECKING

from training.engine.hyperparameters import Hyperparameter, Preset, Recipe

if TYPE_CHECKING:
    from training.engine.loop import Trained
    from training.engine.run import Run

RECIPE = Recipe(
    name="sequence_classification",
    title="Text classification",
    task="text-classification",
    help="Learns to put each text into exactly one of the dataset's classes.",
    methods=("full", "lora"),
    default_preset="balanced",
    hyperparameters=(
        Hyperparameter(
            name="epochs",
            title="Epochs",
            type="int",
            default=3,
            minimum=1,
            maximum=100,
            help="How often the model sees every training example.",
            when="Raise it for small datasets; early stopping ends a run that no longer improves.",
        ),
        Hyperparameter(
            name="learning_rate",
            title="Learning rate",
            type="float",
            default=5e-4,
            minimum=1e-7,
            maximum=0.1,
            help="The size of the largest step that the optimiser takes.",
            when="Lower it when the loss jumps or becomes not a number; LoRA bears about twice as much as full.",
        ),
        Hyperparameter(
            name="batch_size",
            title="Batch size",
            type="int",
            default=64,
            minimum=1,
            maximum=1024,
            unit="examples",
            help="How many examples one step looks at.",
            when="Lower it when memory runs out, and raise gradient accumulation by the same factor.",
        ),
        Hyperparameter(
            name="max_length",
            title="Longest text",
            type="int",
            default=128,
            minimum=8,
            maximum=8192,
            unit="tokens",
            help="Texts are cut after this many tokens; a model that reads less cuts earlier.",
            when="Raise it when the log says that many texts were cut.",
        ),
        Hyperparameter(
            name="class_weights",
            title="Class weights",
            type="choice",
            default="none",
            choices=("none", "balanced"),
            help="With balanced, an error on a rare class counts as much as many errors on a frequent one.",
            when="Choose balanced when some classes are rare and matter as much as the others.",
        ),
        Hyperparameter(
            name="early_stopping",
            title="Early stopping",
            type="int",
            default=3,
            minimum=0,
            maximum=100,
            unit="evaluations",
            help="Training ends after this many validations in a row without improvement; 0 never ends it early.",
            when="Set it to 0 when runs must have the same length.",
        ),
        Hyperparameter(
            name="best_metric",
            title="Best checkpoint by",
            type="choice",
            default="accuracy",
            choices=("accuracy", "macro_f1", "loss"),
            help="The validation figure that decides which checkpoint becomes the model.",
            when="Choose macro F1 when classes are unbalanced.",
        ),
        Hyperparameter(
            name="pooling",
            title="Pooling",
            type="choice",
            default="mean",
            choices=("mean", "cls"),
            help="How token vectors become one vector: their mean, or the vector of the first token.",
            when="Choose cls only for base models that were trained that way.",
            advanced=True,
        ),
        Hyperparameter(
            name="head_start",
            title="Head starts from",
            type="choice",
            default="linear_probe",
            choices=("linear_probe", "random"),
            help="The classifier on top starts random, or from a logistic regression on the untuned model's vectors.",
            when="Choose random for a base model whose untuned vectors say little about the texts.",
            advanced=True,
        ),
        Hyperparameter(
            name="head_speed",
            title="Head speed",
            type="float",
            default=10.0,
            minimum=0.1,
            maximum=1000.0,
            help="The head's learning rate is this many times that of the encoder.",
            when="Raise it for a random head that should settle early; lower it when the head overfits.",
            advanced=True,
        ),
        Hyperparameter(
            name="layer_decay",
            title="Learning rate decay per layer",
            type="float",
            default=0.8,
            minimum=0.1,
            maximum=1.0,
            help="Each layer learns slower by this factor than the one above it; 1 treats all alike.",
            when="Lower it when a full fine-tune forgets what the base model knew.",
            methods=("full",),
            advanced=True,
        ),
        Hyperparameter(
            name="freeze_embeddings",
            title="Freeze embeddings",
            type="bool",
            default=True,
            help="Leaves the word vectors as they are, which saves memory and time.",
            when="Switch it off when the texts use words that the base model has rarely seen.",
            methods=("full",),
            advanced=True,
        ),
        Hyperparameter(
            name="lora_rank",
            title="LoRA rank",
            type="int",
            default=16,
            minimum=1,
            maximum=256,
            help="How many directions each adapted layer may change.",
            when="Raise it when training loss stays high; lower it for a smaller adapter.",
            methods=("lora",),
        ),
        Hyperparameter(
            name="lora_alpha",
            title="LoRA alpha",
            type="float",
            default=32,
            minimum=1,
            maximum=1024,
            help="Scales the adapter: its output is multiplied by alpha divided by rank.",
            when="Keep it at twice the rank unless you know why not.",
            methods=("lora",),
            advanced=True,
        ),
        Hyperparameter(
            name="lora_dropout",
            title="LoRA dropout",
            type="float",
            default=0.0,
            minimum=0.0,
            maximum=0.9,
            help="The share of adapter inputs that is switched off at random in training.",
            when="Raise it when training accuracy runs far ahead of validation accuracy.",
            methods=("lora",),
            advanced=True,
        ),
        Hyperparameter(
            name="lora_targets",
            title="LoRA layers",
            type="choice",
            default="all-linear",
            choices=("all-linear", "attention"),
            help="Which layers get an adapter: every linear layer, or only those of attention.",
            when="Choose attention for a smaller adapter.",
            methods=("lora",),
            advanced=True,
        ),
        Hyperparameter(
            name="gradient_accumulation",
            title="Gradient accumulation",
            type="int",
            default=1,
            minimum=1,
            maximum=256,
            unit="batches",
            help="How many batches are added up before the optimiser takes one step.",
            when="Raise it when memory allows only small batches.",
            advanced=True,
        ),
        Hyperparameter(
            name="warmup",
            title="Warm-up",
            type="float",
            default=0.1,
            minimum=0.0,
            maximum=0.5,
            unit="of all steps",
            help="The share of steps over which the learning rate rises from zero.",
            when="Raise it when the first steps are unstable.",
            advanced=True,
        ),
        Hyperparameter(
            name="scheduler",
            title="Learning rate schedule",
            type="choice",
            default="linear",
            choices=("linear", "cosine", "constant_with_warmup"),
            help="How the learning rate falls after the warm-up.",
            when="Rarely matters.",
            advanced=True,
        ),
        Hyperparameter(
            name="weight_decay",
            title="Weight decay",
            type="float",
            default=0.01,
            minimum=0.0,
            maximum=1.0,
            help="Pulls weights towards zero at every step.",
            when="Raise it a little against overfitting.",
            advanced=True,
        ),
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
        Hyperparameter(
            name="token_masking",
            title="Hidden tokens",
            type="float",
            default=0.1,
            minimum=0.0,
            maximum=0.5,
            unit="of all tokens",
            help="The share of tokens that is hidden at random in training, so that no answer hangs on one word.",
            when="Lower it for very short texts; raise it when training accuracy runs far ahead of validation.",
            advanced=True,
        ),
        Hyperparameter(
            name="tuning_kept",
            title="Share of the tuning that is kept",
            type="float",
            default=0.7,
            minimum=0.1,
            maximum=1.0,
            help="The saved weights lie this far on the way from the untuned to the tuned ones; with a linear probe.",
            when="Set it to 1 when the classes have little to do with what the base model knows.",
            advanced=True,
        ),
        Hyperparameter(
            name="max_grad_norm",
            title="Largest gradient",
            type="float",
            default=1.0,
            minimum=0.01,
            maximum=1000.0,
            help="A gradient whose norm is larger is scaled down to this.",
            when="Lower it when the loss jumps.",
            advanced=True,
        ),
        Hyperparameter(
            name="evaluations_per_epoch",
            title="Validations per epoch",
            type="int",
            default=1,
            minimum=1,
            maximum=50,
            help="How often per epoch the model is validated, and may become the best one.",
            when="Raise it for large datasets that need one or two epochs.",
            advanced=True,
        ),
        Hyperparameter(
            name="checkpoint_seconds",
            title="Time between checkpoints",
            type="int",
            default=60,
            minimum=0,
            maximum=86400,
            unit="seconds",
            help="How often everything is saved so that a killed run can continue; it does not change the result.",
            when="Raise it for large models, whose checkpoints take long to write.",
            advanced=True,
        ),
        Hyperparameter(
            name="batching",
            title="Batching",
            type="choice",
            default="by_length",
            choices=("by_length", "random"),
            help="Batches of texts of similar length waste little on padding; random batches mix all lengths.",
            when="Choose random to compare with a script that does not sort.",
            advanced=True,
        ),
        Hyperparameter(
            name="precision",
            title="Precision",
            type="choice",
            default="auto",
            choices=("auto", "fp32", "bf16"),
            help="The number format of training; auto takes bf16 where the processor is fast in it, fp32 elsewhere.",
            when="Choose fp32 to get the same weights on processors of different kinds.",
            advanced=True,
        ),
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
    """Tokenise, build the model and its optimiser, start the head, and hand all to the shared loop."""
    import numpy as np
    import torch

    from training.engine import inference, loop, pooling
    from training.engine.batches import TokenMask
    from training.engine.calibration import apply_temperature, fit_temperature
    from training.engine.data import longest_input, tokenise
    from training.engine.frozen import load_tokenizer
    from training.engine.probe import fit_linear_head

    settings = run.hyperparameters
    labels = run.spec.dataset.labels
    train, validation = run.splits["train"], run.splits["validation"]
    tokenizer = load_tokenizer(run.base_folder)
    model = pooling.new_classifier(run.base_folder, labels, settings["pooling"])
    max_length = longest_input(tokenizer, model.encoder.config, settings["max_length"])
    tokens = tokenise(tokenizer, train.texts, max_length)
    if tokens.was_cut.any():
        run.events.log(
            f"{tokens.was_cut.sum()} of {len(tokens)} training texts are longer than {max_length} tokens and were cut."
        )
    counts = np.bincount(train.labels, minlength=len(labels))
    balanced = settings["class_weights"] == "balanced"
    weights = torch.tensor(counts.sum() / (len(labels) * counts), dtype=torch.float32) if balanced else None

    if settings["head_start"] == "linear_probe":
        run.events.log("Fitting the head on the untuned model's vectors.")
        vectors = run.frozen.embed_train(settings["pooling"])
        head = fit_linear_head(vectors, train.labels, len(labels), balanced=balanced)
        with torch.no_grad():
            model.head.weight.copy_(torch.from_numpy(head.weight))
            model.head.bias.copy_(torch.from_numpy(head.bias))
    if run.spec.method == "lora":
        model = pooling.add_lora(
            model, settings["lora_rank"], settings["lora_alpha"], settings["lora_dropout"], settings["lora_targets"]
        )
    elif settings["freeze_embeddings"]:
        for parameter in pooling.embedding_parameters(model):
            parameter.requires_grad_(False)
    model.to(run.hardware.device)
    start = pooling.trainable_weights(model)
    weights = weights.to(run.hardware.device) if weights is not None else None
    smoothing = settings["label_smoothing"]

    def loss(logits: "torch.Tensor", targets: "torch.Tensor", examples: int) -> "torch.Tensor":
        # Summed and divided by the examples of the whole step, so that accumulated batches weigh by their size.
        total = torch.nn.functional.cross_entropy(
            logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum"
        )
        return total / examples

    groups = pooling.parameter_groups(
        model,
        settings["learning_rate"],
        settings["head_speed"],
        settings["layer_decay"] if run.spec.method == "full" else 1.0,
        settings["weight_decay"],
    )
    plan = loop.Plan(
        model=model,
        optimizer=torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True),
        loss=loss,
        train=tokens,
        train_labels=train.labels,
        validation=tokenise(tokenizer, validation.texts, max_length),
        validation_labels=validation.labels,
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
        token_mask=TokenMask.of(tokenizer, settings["token_masking"]),
    )
    run.events.emit("stage", name="train", message=f"Training on {len(train)} texts in {len(labels)} classes.")
    trained = loop.fit(run, plan, tokenizer, max_length)
    if settings["head_start"] == "linear_probe":
        # A random head is no place to go back to.
        pooling.interpolate(trained.model, start, settings["tuning_kept"])
    answers = inference.logits(trained.model, plan.validation, run.hardware.device)
    right = float((answers.argmax(axis=1) == validation.labels).mean())
    run.events.log(f"The model that is saved is right on {right:.1%} of the validation split.")
    trained.temperature = fit_temperature(answers, validation.labels)
    apply_temperature(pooling.trained_head(trained.model), trained.temperature)
    return trained
