"""A tiny language model on disk, made without torch: two Llama layers with random weights and a byte-level BPE."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import ByteLevelBPETokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def make_tiny_llama(folder: Path, texts: Sequence[str], *, seed: int = 0) -> Path:
    """Write the model with a tokenizer that has learned from `texts` and a chat template; transformers can load it."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ByteLevelBPETokenizer()
    learned = [*texts, *["user assistant system"] * 50]
    words.train_from_iterator(learned, vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    words.save(str(folder / "tokenizer.json"))
    named = {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 96, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    hidden, wide, layers, heads, vocabulary = 48, 96, 2, 2, words.get_vocab_size()
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.05).astype(np.float32)

    tensors = {
        "model.embed_tokens.weight": weights(vocabulary, hidden),
        "model.norm.weight": np.ones(hidden, np.float32),
    }
    for layer in range(layers):
        name = f"model.layers.{layer}"
        for part, out, into in (
            ("self_attn.q_proj", hidden, hidden),
            ("self_attn.k_proj", hidden // heads, hidden),
            ("self_attn.v_proj", hidden // heads, hidden),
            ("self_attn.o_proj", hidden, hidden),
            ("mlp.gate_proj", wide, hidden),
            ("mlp.up_proj", wide, hidden),
            ("mlp.down_proj", hidden, wide),
        ):
            tensors[f"{name}.{part}.weight"] = weights(out, into)
        for part in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{name}.{part}.weight"] = np.ones(hidden, np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": wide,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder
