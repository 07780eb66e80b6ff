"""The settings that several recipes share, each declared once; a recipe that needs another default replaces it."""

from training.engine.hyperparameters import Hyperparameter
from training.engine.spec import ADAPTERS

EPOCHS = Hyperparameter(
    name="epochs",
    title="Epochs",
    type="int",
    default=3,
    minimum=1,
    maximum=100,
    help="How often the model sees every training example.",
    when="Raise it for small datasets; early stopping ends a run that no longer improves.",
)

LEARNING_RATE = Hyperparameter(
    name="learning_rate",
    title="Learning rate",
    type="float",
    default=5e-4,
    minimum=1e-7,
    maximum=0.1,
    help="The size of the largest step that the optimiser takes.",
    when="Lower it when the loss jumps or becomes not a number; LoRA bears about twice as much as full.",
)

BATCH_SIZE = Hyperparameter(
    name="batch_size",
    title="Batch size",
    type="int",
    default=64,
    minimum=1,
    maximum=1024,
    unit="examples",
    help="How many examples one step looks at.",
    when="Lower it when memory runs out, and raise gradient accumulation by the same factor.",
)

MAX_LENGTH = Hyperparameter(
    name="max_length",
    title="Longest text",
    type="int",
    default=128,
    minimum=8,
    maximum=8192,
    unit="tokens",
    help="Texts are cut after this many tokens; a model that reads less cuts earlier.",
    when="Raise it when the log says that many texts were cut.",
)

EARLY_STOPPING = Hyperparameter(
    name="early_stopping",
    title="Early stopping",
    type="int",
    default=3,
    minimum=0,
    maximum=100,
    unit="evaluations",
    help="Training ends after this many validations in a row without improvement; 0 never ends it early.",
    when="Set it to 0 when runs must have the same length.",
)

POOLING = Hyperparameter(
    name="pooling",
    title="Pooling",
    type="choice",
    default="mean",
    choices=("mean", "cls"),
    help="How token vectors become one vector: their mean, or the vector of the first token.",
    when="Choose cls only for base models that were trained that way.",
    advanced=True,
)

HEAD_START = Hyperparameter(
    name="head_start",
    title="Head starts from",
    type="choice",
    default="linear_probe",
    choices=("linear_probe", "random"),
    help="The classifier on top starts random, or from a logistic regression on the untuned model's vectors.",
    when="Choose random for a base model whose untuned vectors say little about the texts.",
    advanced=True,
)

HEAD_SPEED = Hyperparameter(
    name="head_speed",
    title="Head speed",
    type="float",
    default=10.0,
    minimum=0.1,
    maximum=1000.0,
    help="The head's learning rate is this many times that of the encoder.",
    when="Raise it for a random head that should settle early; lower it when the head overfits.",
    advanced=True,
)

LAYER_DECAY = Hyperparameter(
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
)

FREEZE_EMBEDDINGS = Hyperparameter(
    name="freeze_embeddings",
    title="Freeze embeddings",
    type="bool",
    default=True,
    help="Leaves the word vectors as they are, which saves memory and time.",
    when="Switch it off when the texts use words that the base model has rarely seen.",
    methods=("full",),
    advanced=True,
)

LORA_RANK = Hyperparameter(
    name="lora_rank",
    title="LoRA rank",
    type="int",
    default=16,
    minimum=1,
    maximum=256,
    help="How many directions each adapted layer may change.",
    when="Raise it when training loss stays high; lower it for a smaller adapter.",
    methods=ADAPTERS,
)

LORA_ALPHA = Hyperparameter(
    name="lora_alpha",
    title="LoRA alpha",
    type="float",
    default=32,
    minimum=1,
    maximum=1024,
    help="Scales the adapter: its output is multiplied by alpha divided by rank.",
    when="Keep it at twice the rank unless you know why not.",
    methods=ADAPTERS,
    advanced=True,
)

LORA_DROPOUT = Hyperparameter(
    name="lora_dropout",
    title="LoRA dropout",
    type="float",
    default=0.0,
    minimum=0.0,
    maximum=0.9,
    help="The share of adapter inputs that is switched off at random in training.",
    when="Raise it when training accuracy runs far ahead of validation accuracy.",
    methods=ADAPTERS,
    advanced=True,
)

LORA_TARGETS = Hyperparameter(
    name="lora_targets",
    title="LoRA layers",
    type="choice",
    default="all-linear",
    choices=("all-linear", "attention"),
    help="Which layers get an adapter: every linear layer, or only those of attention.",
    when="Choose attention for a smaller adapter.",
    methods=ADAPTERS,
    advanced=True,
)

GRADIENT_ACCUMULATION = Hyperparameter(
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
)

WARMUP = Hyperparameter(
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
)

SCHEDULER = Hyperparameter(
    name="scheduler",
    title="Learning rate schedule",
    type="choice",
    default="linear",
    choices=("linear", "cosine", "constant_with_warmup"),
    help="How the learning rate falls after the warm-up.",
    when="Rarely matters.",
    advanced=True,
)

WEIGHT_DECAY = Hyperparameter(
    name="weight_decay",
    title="Weight decay",
    type="float",
    default=0.01,
    minimum=0.0,
    maximum=1.0,
    help="Pulls weights towards zero at every step.",
    when="Raise it a little against overfitting.",
    advanced=True,
)

TOKEN_MASKING = Hyperparameter(
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
)

TUNING_KEPT = Hyperparameter(
    name="tuning_kept",
    title="Share of the tuning that is kept",
    type="float",
    default=0.7,
    minimum=0.1,
    maximum=1.0,
    help="The saved weights lie this far on the way from the untuned to the tuned ones; with a linear probe.",
    when="Set it to 1 when the classes have little to do with what the base model knows.",
    advanced=True,
)

MAX_GRAD_NORM = Hyperparameter(
    name="max_grad_norm",
    title="Largest gradient",
    type="float",
    default=1.0,
    minimum=0.01,
    maximum=1000.0,
    help="A gradient whose norm is larger is scaled down to this.",
    when="Lower it when the loss jumps.",
    advanced=True,
)

EVALUATIONS_PER_EPOCH = Hyperparameter(
    name="evaluations_per_epoch",
    title="Validations per epoch",
    type="int",
    default=1,
    minimum=1,
    maximum=50,
    help="How often per epoch the model is validated, and may become the best one.",
    when="Raise it for large datasets that need one or two epochs.",
    advanced=True,
)

CHECKPOINT_SECONDS = Hyperparameter(
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
)

BATCHING = Hyperparameter(
    name="batching",
    title="Batching",
    type="choice",
    default="by_length",
    choices=("by_length", "random"),
    help="Batches of texts of similar length waste little on padding; random batches mix all lengths.",
    when="Choose random to compare with a script that does not sort.",
    advanced=True,
)

PRECISION = Hyperparameter(
    name="precision",
    title="Precision",
    type="choice",
    default="auto",
    choices=("auto", "fp32", "bf16"),
    help="The number format of training; auto takes bf16 where the processor is fast in it, fp32 elsewhere.",
    when="Choose fp32 to get the same weights on processors of different kinds.",
    advanced=True,
)

ENCODER = (
    POOLING,
    HEAD_START,
    HEAD_SPEED,
    LAYER_DECAY,
    FREEZE_EMBEDDINGS,
)
"""What encoders with a pooled head have beside the loop's own settings."""

ADAPTER = (LORA_RANK, LORA_ALPHA, LORA_DROPOUT, LORA_TARGETS)

LOOP = (
    GRADIENT_ACCUMULATION,
    WARMUP,
    SCHEDULER,
    WEIGHT_DECAY,
    MAX_GRAD_NORM,
    EVALUATIONS_PER_EPOCH,
    CHECKPOINT_SECONDS,
    PRECISION,
)
"""What the shared loop can be told."""

POOLED = (*ENCODER, *ADAPTER, TOKEN_MASKING, TUNING_KEPT, BATCHING, *LOOP)
"""All of it for an encoder with a pooled head, in the order in which a form shows it."""
