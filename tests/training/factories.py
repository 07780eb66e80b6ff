"""A tiny real base model on disk, and the short way through every gate to a job that may be submitted."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from django.core.files.base import ContentFile
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from governance.models import User
from governance.policy import Gate
from projects.models import DatasetVersion, Team, UseCase
from projects.services import datasets
from tests.factories import approve, make_approved_use_case
from training.models import BaseModel, TrainingJob
from training.services import base_models, jobs

WORDS = {
    "account": ["password", "login", "locked", "reset", "username", "expired"],
    "hardware": ["laptop", "screen", "keyboard", "battery", "mouse", "dock"],
    "travel": ["flight", "hotel", "train", "ticket", "receipt", "booking"],
}
FILLERS = ["please", "my", "the", "is", "today", "again", "help", "with", "cannot", "and", "since", "monday"]
QUICK = {"epochs": 2, "batch_size": 8, "precision": "fp32", "head_start": "random", "learning_rate": 3e-3}


def make_tiny_model(folder: Path, *, seed: int = 0, words: Sequence[str] = ()) -> Path:
    """Write a one-layer BERT of 16 dimensions with random weights and a word tokenizer; transformers can load it.

    The tokenizer knows `words`, or else the words of `make_rows`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    words = words or [*FILLERS, *(word for group in WORDS.values() for word in group)]
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    hidden, wide, positions = 16, 32, 32

    def weights(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": weights(len(known), hidden),
        "embeddings.position_embeddings.weight": weights(positions, hidden),
        "embeddings.token_type_embeddings.weight": weights(2, hidden),
        "embeddings.LayerNorm.weight": np.ones(hidden, np.float32),
        "embeddings.LayerNorm.bias": np.zeros(hidden, np.float32),
    }
    layer = "encoder.layer.0"
    for name, out, into in (
        ("attention.self.query", hidden, hidden),
        ("attention.self.key", hidden, hidden),
        ("attention.self.value", hidden, hidden),
        ("attention.output.dense", hidden, hidden),
        ("intermediate.dense", wide, hidden),
        ("output.dense", hidden, wide),
    ):
        tensors[f"{layer}.{name}.weight"] = weights(out, into)
        tensors[f"{layer}.{name}.bias"] = np.zeros(out, np.float32)
    for name in ("attention.output.LayerNorm", "output.LayerNorm"):
        tensors[f"{layer}.{name}.weight"] = np.ones(hidden, np.float32)
        tensors[f"{layer}.{name}.bias"] = np.zeros(hidden, np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(known),
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": wide,
        "max_position_embeddings": positions,
        "type_vocab_size": 2,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": positions, **special})
    )
    return folder


def make_rows(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return texts whose class shows in one or two of their words; no text comes twice."""
    rng = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < count:
        label = sorted(WORDS)[len(rows) % len(WORDS)]
        words = rng.choices(FILLERS, k=rng.randint(3, 9)) + rng.choices(WORDS[label], k=rng.randint(1, 3))
        rng.shuffle(words)
        rows.setdefault(" ".join(words), label)
    return list(rows.items())


def make_dataset_version(*, actor: User, team: Team, name: str = "requests", rows: int = 150) -> DatasetVersion:
    """Return an imported version with the splits train, validation and test."""
    dataset = datasets.register(
        actor=actor,
        team=team,
        name=name,
        title="Requests",
        provenance="Written for this test.",
        licence="CC0-1.0",
    )
    lines = ["text,label", *(f"{text},{label}" for text, label in make_rows(rows))]
    version = datasets.receive(
        actor=actor,
        dataset=dataset,
        file=ContentFile("\n".join(lines).encode(), name="requests.csv"),
        options={"text_column": "text", "label_column": "label"},
    )
    datasets.run_import(version.pk)
    version.refresh_from_db()
    assert version.state == DatasetVersion.State.PROFILED, version.refusal
    return version


def clear(*, actor: User, reviewer: User, version: DatasetVersion, use_case: UseCase) -> None:
    """Have the version cleared for the use case."""
    request = datasets.request_clearance(
        actor=actor, version=version, use_case=use_case, purpose="Train and test a classifier."
    )
    approve(reviewer=reviewer, subject=request.subject, gate=Gate.DATASET_USE)


def make_base_model(*, actor: User, reviewer: User | None, folder: Path, name: str = "tiny-bert") -> BaseModel:
    """Return the tiny model of `folder` in the catalogue, allowed by `reviewer` where one is given."""
    model = base_models.import_folder(
        actor=actor,
        folder=make_tiny_model(folder),
        name=name,
        title="Tiny BERT",
        licence="Apache-2.0",
        origin="Random weights written for this test.",
    )
    if reviewer is not None:
        model = base_models.allow(actor=reviewer, base_model=model, reason="It is random and harmless.")
    return model


@dataclass(frozen=True)
class Ground:
    """Everything that a job needs, each gate open."""

    use_case: UseCase
    version: DatasetVersion
    base_model: BaseModel

    def described(self, **changes: object) -> dict:
        """Return the arguments of `jobs.plan` and `jobs.submit` but for the actor."""
        return {
            "use_case": self.use_case,
            "dataset_version": self.version,
            "base_model": self.base_model,
            "model_name": "sorter",
            "method": "lora",
            "preset": "quick",
            "overrides": QUICK,
            "seed": 1,
            "baselines": ["majority"],
        } | changes

    def submit(self, actor: User, **changes: object) -> TrainingJob:
        """Return a submitted job."""
        return jobs.submit(actor=actor, **self.described(**changes))


def make_ground(
    *, owner: User, reviewer: User, administrator: User, team: Team, folder: Path, rows: int = 150
) -> Ground:
    """Return a use case, dataset version and base model that may be trained together."""
    use_case = make_approved_use_case(actor=owner, reviewer=reviewer, team=team)
    version = make_dataset_version(actor=owner, team=team, rows=rows)
    clear(actor=owner, reviewer=reviewer, version=version, use_case=use_case)
    base_model = make_base_model(actor=administrator, reviewer=reviewer, folder=folder)
    return Ground(use_case, version, base_model)
