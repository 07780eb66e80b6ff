"""The script that the documentation of transformers and peft would have you write; reads a request, prints a result.

It follows the text classification guide of transformers (dynamic padding, validation and a saved checkpoint after
every epoch, the best one loaded at the end) and the quick tour of peft (``LoraConfig`` with a task type), with the
same data, seed, epochs, batch size, learning rate and longest text as the job.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from sklearn.metrics import accuracy_score, f1_score, log_loss
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from training.engine.spec import read_request


def main() -> None:
    """Train, test and print one JSON object."""
    spec, placement = read_request(sys.stdin.read())
    settings = spec.hyperparameters
    torch.set_num_threads(placement.threads)
    labels = list(spec.dataset.labels)
    tokenizer = AutoTokenizer.from_pretrained(placement.base_model)

    def load(name: str) -> list[dict[str, Any]]:
        with (Path(placement.dataset) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            return [
                {
                    **tokenizer(row["text"], truncation=True, max_length=settings["max_length"]),
                    "label": labels.index(row["label"]),
                }
                for row in csv.DictReader(file)
            ]

    train, validation, test = load("train"), load("validation"), load("test")
    model = AutoModelForSequenceClassification.from_pretrained(
        placement.base_model, num_labels=len(labels), dtype=torch.float32
    )
    if spec.method == "lora":
        model = get_peft_model(
            model,
            LoraConfig(
                task_type=TaskType.SEQ_CLS,
                r=settings["lora_rank"],
                lora_alpha=settings["lora_alpha"],
                lora_dropout=settings["lora_dropout"],
            ),
        )

    def compute_metrics(prediction: Any) -> dict[str, float]:
        return {"accuracy": accuracy_score(prediction.label_ids, prediction.predictions.argmax(axis=1))}

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=placement.run,
            learning_rate=settings["learning_rate"],
            per_device_train_batch_size=settings["batch_size"],
            per_device_eval_batch_size=settings["batch_size"],
            num_train_epochs=settings["epochs"],
            weight_decay=settings["weight_decay"],
            eval_strategy="epoch",
            save_strategy="epoch",
            load_best_model_at_end=True,
            seed=spec.seed,
            use_cpu=True,
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
    )
    seconds = trainer.train().metrics["train_runtime"]
    output = trainer.predict(test)
    exponents = np.exp(output.predictions - output.predictions.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    chosen = probabilities.argmax(axis=1)
    result = {
        "useful_tokens": settings["epochs"] * sum(len(row["input_ids"]) for row in train),
        "seconds": seconds,
        "accuracy": float(accuracy_score(output.label_ids, chosen)),
        "macro_f1": float(f1_score(output.label_ids, chosen, average="macro")),
        "log_loss": float(log_loss(output.label_ids, probabilities, labels=range(len(labels)))),
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
