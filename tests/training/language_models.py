"""A tiny real language model built in code: a two-layer Llama with random weights and a byte-level tokenizer.

It must not import pytest or Django: the process that settles a live site uses it as well.
"""

import json
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = [
    "my laptop screen is broken since monday and the keyboard does not answer",
    "please reset the password of my account, the login is locked",
    "the train ticket and the hotel booking for the journey need a receipt",
]


def make_tiny_llama(folder: Path, *, seed: int = 0, positions: int = 512, chat: bool = True) -> Path:
    """Write the model with all that serving needs; transformers loads it and a few milliseconds make a token."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(TEXTS * 20, vocab_size=384, special_tokens=special, show_progress=False)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:],
        model_max_length=positions,
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        eos_token_id=fast.eos_token_id,
        bos_token_id=None,
        pad_token_id=fast.pad_token_id,
        initializer_range=0.4,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "serving.json").write_text(json.dumps({"task": "text-generation", "max_length": positions}))
    return folder


def make_adapter(base: Path, folder: Path, *, seed: int, **changes: object) -> Path:
    """Write a LoRA adapter with random weights for the model of ``base``, as a training run leaves one."""
    import shutil

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings: dict[str, object] = {"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**(settings | changes))
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    for path in base.iterdir():
        if not path.name.startswith("model") and path.suffix != ".safetensors":
            shutil.copy(path, folder / path.name)
    return folder
