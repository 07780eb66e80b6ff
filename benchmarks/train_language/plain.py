"""The script that the documentation of trl would have you write; reads a request, prints a result.

It follows the SFTTrainer page of trl 1.16: a conversational prompt-completion dataset (loss on completions only), a
``LoraConfig`` as ``peft_config``, everything else at the library's defaults but what the job was told too: epochs,
batch size, learning rate, longest example, number format, seed. Gradient checkpointing, which trl switches on by itself
and which trades speed for memory, is off, as it is in the job. With ``--evaluate FOLDER`` nothing is trained: trl
measures the loss of the job's saved model on the test rows.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from training.engine.spec import read_request


def main() -> None:
    """Train (or only evaluate) and print one JSON object."""
    spec, placement = read_request(sys.stdin.read())
    settings = spec.hyperparameters
    torch.set_num_threads(placement.threads)
    saved = Path(sys.argv[2]) if sys.argv[1:2] == ["--evaluate"] else None

    def load(name: str) -> Dataset:
        lines = (Path(placement.dataset) / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        return Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": row["prompt"]}],
                    "completion": [{"role": "assistant", "content": row["completion"]}],
                }
                for row in map(json.loads, lines)
            ]
        )

    model: Any = AutoModelForCausalLM.from_pretrained(placement.base_model, dtype=torch.float32)
    if saved is not None and (saved / "adapter_config.json").exists():
        model = PeftModel.from_pretrained(model, str(saved)).merge_and_unload()
    elif saved is not None:
        model = AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
    adapter = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings["lora_rank"],
        lora_alpha=settings["lora_alpha"],
        lora_dropout=settings["lora_dropout"],
        target_modules="all-linear",
    )
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=f"{placement.run}-trl",
            learning_rate=settings["learning_rate"],
            per_device_train_batch_size=settings["batch_size"],
            per_device_eval_batch_size=settings["batch_size"],
            num_train_epochs=settings["epochs"],
            max_length=settings["max_length"],
            eval_strategy="epoch",
            save_strategy="epoch",
            activation_checkpointing=False,
            bf16=False,
            use_cpu=True,
            seed=spec.seed,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=load("train"),
        eval_dataset=load("test" if saved is not None else "validation"),
        processing_class=AutoTokenizer.from_pretrained(placement.base_model),
        peft_config=adapter if spec.method == "lora" and saved is None else None,
    )
    if saved is not None:
        print("RESULT " + json.dumps({"loss": _token_loss(trainer)}))
        return
    began = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - began
    tokens = settings["epochs"] * sum(len(row["input_ids"]) for row in trainer.train_dataset)
    trainer.eval_dataset = trainer._prepare_dataset(
        load("test"), trainer.processing_class, trainer.args, False, None, "test"
    )
    print("RESULT " + json.dumps({"useful_tokens": tokens, "seconds": seconds, "loss": _token_loss(trainer)}))


def _token_loss(trainer: Any) -> float:
    """Return the mean cross-entropy of the completions' tokens: trl's own batches and loss, one example at a time.

    One at a time, because trl averages the means of batches, in which long answers weigh less than short ones.
    """
    trainer.model.eval()
    total = count = 0.0
    with torch.no_grad():
        for row in trainer.eval_dataset:
            batch = trainer.data_collator([row])
            wanted = int((batch["labels"][:, 1:] != -100).sum())
            total += float(trainer.model(**batch).loss) * wanted
            count += wanted
    return total / count


if __name__ == "__main__":
    main()
