"""The classifier that is trained and served: any admitted encoder, its token vectors pooled, one linear head on top.

Mean pooling is the default, since the stock classification head reads the first token only, which in encoders trained
for sentence similarity carries little: there it scores worse than the untuned model with a linear head.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from training.engine.admission import ARCHITECTURES
from training.engine.failures import EngineError

ADAPTER_CONFIG = "adapter_config.json"


class PooledConfig(PretrainedConfig):
    """The encoder's configuration, the kind of pooling, and (as ``id2label``) the names of the outputs in order.

    ``activation`` says what the outputs are: ``softmax`` (one class of several; the default, which is not written),
    ``sigmoid`` (each label by itself) or ``none`` (a number).
    """

    model_type = "pooled_sequence_classifier"

    def __init__(self, encoder: dict[str, Any] | None = None, pooling: str = "mean", **kwargs: Any):
        self.encoder = encoder or {}
        self.pooling = pooling
        super().__init__(**kwargs)

    def encoder_config(self) -> PretrainedConfig:
        """Return the encoder's own configuration; raises ``EngineError`` for an architecture not admitted."""
        settings = dict(self.encoder)
        kind = settings.pop("model_type", None)
        if kind not in ARCHITECTURES or "auto_map" in settings:
            raise EngineError(
                "unsafe_model", f"The encoder's architecture {kind!r} is not admitted.", "Train on an admitted model."
            )
        return AutoConfig.for_model(kind, **settings)


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """Return one vector per text, batch x width, from token vectors (batch x length x width) and their mask."""
    if how == "cls":
        return hidden[:, 0]
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)


class PooledSequenceClassifier(PreTrainedModel):
    """An encoder, a pooling and a linear head; the head computes in fp32 whatever the encoder does."""

    config_class = PooledConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True
    _no_split_modules: list[str] = []

    def __init__(self, config: PooledConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        self.encoder = encoder if encoder is not None else _build_encoder(config.encoder_config())
        self.head = nn.Linear(self.encoder.config.hidden_size, config.num_labels)
        self.post_init()

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the pooled vectors, batch x width, in fp32."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return pool(hidden.float(), attention_mask, self.config.pooling)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Return logits, batch x classes, and with ``labels`` the plain cross-entropy."""
        vectors = self.embed(input_ids, attention_mask)
        with torch.autocast(vectors.device.type, enabled=False):
            logits = self.head(vectors)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def _without_pooler(config: PretrainedConfig) -> dict[str, Any]:
    # A pooler that nothing reads would be saved, counted and, with weight decay, even changed.
    takes = inspect.signature(AutoModel._model_mapping[type(config)].__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in takes else {}


def _build_encoder(config: PretrainedConfig) -> PreTrainedModel:
    return AutoModel._model_mapping[type(config)]._from_config(config, dtype=torch.float32, **_without_pooler(config))


def load_encoder(folder: Path) -> PreTrainedModel:
    """Return the encoder of a base model that ``admission`` has passed, in fp32."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        **_without_pooler(config),
    )


def new_classifier(
    folder: Path, labels: tuple[str, ...], pooling: str, activation: str = "softmax"
) -> PooledSequenceClassifier:
    """Return the base model of ``folder`` with a random head for ``labels``, in fp32."""
    encoder = load_encoder(folder)
    settings = {
        k: v for k, v in encoder.config.to_dict().items() if k not in ("_name_or_path", "architectures", "dtype")
    }
    config = PooledConfig(
        encoder=settings,
        pooling=pooling,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        **({} if activation == "softmax" else {"activation": activation}),
    )
    return PooledSequenceClassifier(config, encoder=encoder)


def add_lora(
    model: PooledSequenceClassifier, rank: int, alpha: float, dropout: float, targets: str, method: str = "lora"
) -> nn.Module:
    """Return ``model`` with adapters on the encoder; its head trains in full and is saved with the adapter.

    ``method`` is one of ``spec.ADAPTERS``.
    """
    from peft import LoraConfig, get_peft_model

    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith("encoder.")
        and (targets == "all-linear" or ".attention" in name or ".attn" in name or "_attn." in name)
    ]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=names,
        modules_to_save=["head"],
        bias="none",
        use_dora=method == "dora",
        use_rslora=method == "rslora",
    )
    return get_peft_model(model, config)


def trained_head(model: nn.Module) -> nn.Linear:
    """Return the head that is trained and saved: the classifier's own, or the copy that its adapter holds."""
    head = model.get_base_model().head if hasattr(model, "get_base_model") else model.head
    if hasattr(head, "modules_to_save"):
        head = head.modules_to_save[head.active_adapter]
    assert isinstance(head, nn.Linear)
    return head


def trainable_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of the parameters that training will change."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters() if parameter.requires_grad}


def interpolate(model: nn.Module, start: dict[str, torch.Tensor], share: float) -> None:
    """Move the trained weights to the point that lies ``share`` of the way from ``start`` to where they are.

    Wortsman et al., "Robust fine-tuning of zero-shot models" (CVPR 2022). An adapter's change is a product whose
    second factor starts at zero, so moving that factor alone moves the product along a straight line.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in start and "lora_A" not in name:
                parameter.copy_(torch.lerp(start[name].to(parameter.device), parameter, share))


_LAYER = re.compile(r"\.layers?\.(\d+)\.")


def _depth(name: str, layers: int) -> int:
    """Return how many blocks lie below a parameter: 0 for embeddings, ``layers`` + 1 for the head."""
    found = _LAYER.search(name)
    if found:
        return int(found[1]) + 1
    if "embeddings" in name:
        return 0
    return layers if "encoder." in name else layers + 1


def embedding_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the encoder's embeddings."""
    return [parameter for name, parameter in model.named_parameters() if "embeddings" in name]


def parameter_groups(
    model: nn.Module, rate: float, head_speed: float, layer_decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return optimiser groups of the trainable parameters, in a stable order.

    The head learns at ``rate`` times ``head_speed``, the top block at ``rate``, each block below at ``layer_decay``
    times the one above. Biases and norms do not decay.
    """
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    found = [_LAYER.search(name) for name, _ in model.named_parameters()]
    layers = max((int(match[1]) + 1 for match in found if match), default=0)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable:
        depth = _depth(name, layers)
        speed = head_speed if depth > layers else layer_decay ** (layers - depth)
        decay = weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate * speed, decay), []).append(parameter)
    return [{"params": members, "lr": lr, "weight_decay": decay} for (lr, decay), members in sorted(groups.items())]


def load_classifier(folder: Path, base_folder: Path | None = None) -> PooledSequenceClassifier:
    """Return the classifier saved in ``folder``, ready to predict in fp32.

    An adapter is merged into the encoder of ``base_folder``, which must then be given. Both folders must have been
    verified before. Raises ``EngineError`` when the folder holds an adapter and no base model is given.
    """
    if not (folder / ADAPTER_CONFIG).exists():
        return PooledSequenceClassifier.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
        ).eval()
    if base_folder is None:
        raise EngineError("bad_spec", "This model is an adapter.", "Give the folder of its base model as well.")
    from peft import PeftModel

    config = PooledConfig.from_pretrained(folder, local_files_only=True)
    config.encoder_config()
    model = PooledSequenceClassifier(config, encoder=load_encoder(base_folder))
    return PeftModel.from_pretrained(model, str(folder), local_files_only=True).merge_and_unload().eval()


def class_names(folder: Path) -> list[str]:
    """Return the class names of a saved classifier, in the order of its outputs."""
    named = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    return [named[str(index)] for index in range(len(named))]
