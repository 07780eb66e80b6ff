"""What transformers' own `generate` does with the same model, in turn and in static batches; prints a JSON object."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from training.engine import process

process.prepare_libraries()

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from benchmarks.serving.material import PROMPTS  # noqa: E402
from training.engine.frozen import load_tokenizer  # noqa: E402
from training.engine.generation.language_models import _number_format  # noqa: E402


def main(folder: Path, tokens: int, threads: int, clients: list[int]) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    dtype = _number_format("cpu")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    tokenizer = load_tokenizer(folder)
    tokenizer.padding_side = "left"

    def generate(prompts: list[str]) -> float:
        batch = tokenizer(prompts, return_tensors="pt", padding=True)
        began = time.perf_counter()
        model.generate(
            **{key: batch[key] for key in ("input_ids", "attention_mask")},
            max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0,
        )  # fmt: skip
        return time.perf_counter() - began

    generate(PROMPTS[:1])
    in_turn = sum(generate([PROMPTS[number % len(PROMPTS)]]) for number in range(4))
    static = {
        str(many): many * tokens / generate([PROMPTS[number % len(PROMPTS)] for number in range(many)])
        for many in clients
    }
    found = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "in_turn": 4 * tokens / in_turn,
        "static": static,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [int(one) for one in sys.argv[4:]])
