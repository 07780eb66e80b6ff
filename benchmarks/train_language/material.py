"""What all runs of this benchmark work on: help-desk requests as questions with answers, and a language model.

Without a folder of a real one, the model is a Llama of about ten million weights, random, with a byte-level BPE learned
from the requests and the chat template of ChatML. Its answers mean nothing; its shapes and its cost are real.
"""

import csv
import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

from training.engine import recipes
from training.engine.hyperparameters import resolve
from training.engine.spec import BaseModelSource, DatasetSource, Placement, RunSpec, SplitFile

HELPDESK = Path(__file__).resolve().parents[2] / "portal" / "demo" / "helpdesk" / "requests.csv"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
END, FILL = "<|im_end|>", "<|endoftext|>"
REVISION, COMMIT = "a" * 40, "b" * 40


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_model(folder: Path, texts: list[str]) -> Path:
    """Write the random language model."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder.mkdir(parents=True)
    words = ByteLevelBPETokenizer()
    special = [FILL, "<|im_start|>", END]
    words.train_from_iterator(texts, vocab_size=8000, special_tokens=special, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, eos_token=END, pad_token=FILL, model_max_length=512
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=320,
        intermediate_size=864,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def build(folder: Path, base: Path | None, method: str, epochs: int, rows: int, seed: int) -> tuple[RunSpec, Placement]:
    """Write data and model and return what a run of them is told."""
    with HELPDESK.open(encoding="utf-8", newline="") as file:
        held = [(row["text"], f"This goes to the queue {row['label']}.") for row in csv.DictReader(file)]
    random.Random(seed).shuffle(held)
    held = held[:rows]
    data = folder / "data"
    data.mkdir()
    files = {}
    tenth = len(held) // 10
    for name, part in (("test", held[:tenth]), ("validation", held[tenth : 2 * tenth]), ("train", held[2 * tenth :])):
        path = data / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"prompt": p, "completion": c}) + "\n" for p, c in part), encoding="utf-8")
        files[name] = SplitFile(path.name, _sha256(path), len(part))
    base = base or make_model(folder / "base", [text for pair in held for text in pair])
    recipe = recipes.get("causal_lm")
    settings = {
        "epochs": epochs,
        "max_length": 256,
        "precision": "fp32",
        "early_stopping": 0,
        "answered_rows": 8,
        "answer_tokens": 8,
        "learning_rate": 1e-3 if method == "lora" else 3e-4,
    }
    spec = RunSpec(
        recipe=recipe.name,
        method=method,
        base_model=BaseModelSource(
            "base", REVISION, {p.name: _sha256(p) for p in base.iterdir() if p.is_file() and p.suffix != ".md"}
        ),
        dataset=DatasetSource(
            "helpdesk",
            COMMIT,
            files,
            (),
            layout="prompts",
            columns={"prompt": "prompt", "completion": "completion"},
        ),
        hyperparameters=resolve(recipe, "balanced", settings, method),
        seed=seed,
        baselines=(),
    )
    return spec, Placement(str(base), str(data), str(folder / "run"))


def placed(placement: Placement, number: int, threads: int) -> Placement:
    """Return the placement with a run folder of its own."""
    return replace(placement, run=f"{placement.run}-{number}", threads=threads)
