"""Tiny real models, written as files without a model library: a Llama in two shards, an adapter on it, an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

HIDDEN, WIDE, HEADS, LAYERS = 16, 32, 2, 2
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}</s>{% endfor %}"


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) * 0.1).astype(np.float32)


def make_llama(folder: Path) -> Path:
    """Write a two-layer Llama whose weights are in two files beside an index, with a byte-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    known = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    shards: list[dict[str, np.ndarray]] = [{}, {}]
    shards[0]["model.embed_tokens.weight"] = _weights(rng, len(known), HIDDEN)
    for number in range(LAYERS):
        at = f"model.layers.{number}"
        for name, out, into in (
            ("self_attn.q_proj", HIDDEN, HIDDEN),
            ("self_attn.k_proj", HIDDEN, HIDDEN),
            ("self_attn.v_proj", HIDDEN, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HIDDEN),
            ("mlp.gate_proj", WIDE, HIDDEN),
            ("mlp.up_proj", WIDE, HIDDEN),
            ("mlp.down_proj", HIDDEN, WIDE),
        ):
            shards[number][f"{at}.{name}.weight"] = _weights(rng, out, into)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shards[number][f"{at}.{name}.weight"] = np.ones(HIDDEN, np.float32)
    shards[1]["model.norm.weight"] = np.ones(HIDDEN, np.float32)
    shards[1]["lm_head.weight"] = _weights(rng, len(known), HIDDEN)
    where = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        save_file(tensors, folder / name, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, name)
    total = sum(tensor.nbytes for tensors in shards for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(known),
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.BPE({word: n for n, word in enumerate(known)}, [], unk_token="<unk>"))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    words = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, **words})
    )
    return folder


def make_adapter(folder: Path, *, base: str, revision: str) -> Path:
    """Write a LoRA adapter of rank 2 for the Llama, which names its base as a repository of the portal."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(6)
    tensors = {}
    for number in range(LAYERS):
        at = f"base_model.model.model.layers.{number}.self_attn.q_proj"
        tensors[f"{at}.lora_A.weight"] = _weights(rng, 2, HIDDEN)
        tensors[f"{at}.lora_B.weight"] = _weights(rng, HIDDEN, 2)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "revision": revision,
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "serving.json").write_text(json.dumps({"task": "text-generation", "max_length": 64}))
    return folder
