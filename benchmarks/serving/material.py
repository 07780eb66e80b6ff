"""The model that is measured, and what is asked of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

PROMPTS = [
    "my laptop screen is broken since monday and the keyboard does not answer",
    "please reset the password of my account",
    "the train ticket and the hotel booking need a receipt before friday, which form is it",
    "help",
]


def make_model(folder: Path) -> Path:
    """Write a Llama of about 30 million parameters with random weights; nothing it says ends before its length."""
    import json

    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    from tests.training.language_models import make_tiny_llama

    make_tiny_llama(folder)
    config = AutoConfig.from_pretrained(folder)
    config.update({
        "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 9, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 64, "initializer_range": 0.02, "eos_token_id": None,
    })  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told.pop("eos_token", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def listed(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
