"""The libraries that people load models and data with, unmodified, each through the portal and nothing else."""

from __future__ import annotations

import pytest

from tests.contracts.hub.conftest import Person

MODELS = """
import json, warnings
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
encoder = AutoModel.from_pretrained("base/tiny-bert")
published = AutoModel.from_pretrained("helpdesk/sorter")
tokenizer = AutoTokenizer.from_pretrained("base/tiny-llama")
base = AutoModelForCausalLM.from_pretrained("base/tiny-llama")
ids = tokenizer("hello", return_tensors="pt")
def answer(model):
    return model.generate(**ids, max_new_tokens=4, do_sample=False)[0].tolist()
def logits(model):
    return round(float(model(**ids).logits.sum()), 4)
before, words = logits(base), answer(base)
automatic = logits(AutoPeftModelForCausalLM.from_pretrained("helpdesk/writer"))
through = logits(AutoModelForCausalLM.from_pretrained("helpdesk/writer"))
adapted = logits(PeftModel.from_pretrained(base, "helpdesk/writer"))
sentences = SentenceTransformer("base/tiny-bert", device="cpu").encode(["my laptop is locked"])
chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
print(json.dumps({
    "hidden": encoder.config.hidden_size, "published": published.config.model_type, "words": len(words),
    "layers": base.config.num_hidden_layers, "chat": chat, "before": before,
    "adapted": [adapted, automatic, through], "sentences": list(sentences.shape),
}))
"""
DATA = """
import json
from datasets import load_dataset
whole = load_dataset("helpdesk/requests")
stream = load_dataset("helpdesk/requests", split="train", streaming=True)
first = next(iter(stream))
tagged = load_dataset("helpdesk/requests", revision="v1", split="test")
print(json.dumps({
    "rows": {name: len(rows) for name, rows in whole.items()}, "columns": whole["train"].column_names,
    "first": first, "same": whole["train"][0], "test": len(tagged),
}))
"""


@pytest.fixture(scope="module")
def loaded(hub, tmp_path_factory):
    """Return what eve, who is in no team, gets out of the libraries."""
    return Person(hub, tmp_path_factory.mktemp("eve"), "eve").run(MODELS)[0]


def test_transformers_loads_encoders_and_sharded_language_models(loaded):
    assert (loaded["hidden"], loaded["published"], loaded["layers"]) == (16, "bert", 2)
    assert loaded["words"] > 5
    assert loaded["chat"].startswith("<|user|>hi")


def test_peft_finds_an_adapters_base_through_the_portal(loaded):
    adapted = loaded["adapted"]
    assert adapted[0] == adapted[1] == adapted[2]
    assert adapted[0] != loaded["before"], "the adapter changed nothing"


def test_sentence_transformers_loads_an_encoder(loaded):
    assert loaded["sentences"] == [1, 16]


def test_datasets_loads_the_cleared_version_whole_and_as_a_stream(hub, at_home):
    # eve has the data by a share, and only what is cleared.
    found, said = at_home("eve").run(DATA)
    assert set(found["rows"]) == {"train", "validation", "test"}
    assert sum(found["rows"].values()) == 30
    assert found["columns"] == ["text", "label"]
    assert found["first"] == found["same"]
    assert found["test"] == found["rows"]["test"]
    assert "is internal data under CC0-1.0" in said


def test_every_file_that_left_is_recorded_with_its_reader_and_commit(hub, loaded):
    entries = hub.entries("base_model.downloaded")
    assert entries
    for entry in entries:
        assert (entry["who"], entry["outcome"]) == ("eve", "answered")
        assert 0 < entry["bytes"] <= entry["size"]
        assert len(entry["commit"]) == 40
