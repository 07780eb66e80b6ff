"""Language models: what is learned of each example, that packing changes nothing, and whole runs killed and resumed."""

import json
import math
import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from tests.training.engine.conftest import Launcher, World, sha256, some_answers, write_json_lines
from training.engine import baselines, causal, chat
from training.engine.measures.generation import rouge_l, token_f1, words_of
from training.engine.spec import EXIT_DONE, Placement, RunSpec

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "my laptop is locked"},
    {"role": "assistant", "content": "ask hardware"},
    {"role": "user", "content": "and the hotel"},
    {"role": "assistant", "content": "ask travel"},
]


@pytest.fixture(scope="module")
def words(tiny_llama: Path) -> causal.Words:
    return causal.words_of(tiny_llama, None, 96)


def placed(world: World, folder: Path, token: int = 1) -> Placement:
    return Placement(str(world.base), str(world.dataset), str(folder), token=token, threads=1)


# What is learned


def test_the_text_of_a_conversation_is_that_of_transformers(words: causal.Words) -> None:
    wanted = words.tokenizer.apply_chat_template(TALK, tokenize=False)
    rendered = chat.render(TALK, words.template)
    assert rendered.text == wanted
    assert words.encode(rendered).ids == words.tokenizer.apply_chat_template(TALK, return_dict=False)
    asked = words.tokenizer.apply_chat_template(TALK[:-1], tokenize=False, add_generation_prompt=True)
    assert chat.question(TALK, words.template).text == asked


@pytest.mark.parametrize("template", [True, False])
def test_only_the_answers_and_what_closes_them_are_learned(words: causal.Words, template: bool) -> None:
    found = words.encode(chat.render(TALK, words.template if template else None))
    learned = [token for token, yes in zip(found.ids, found.learned, strict=True) if yes]
    said = words.tokenizer.decode(learned)
    wanted = "ask hardware<|im_end|>\nask travel<|im_end|>\n" if template else "ask travel<|im_end|>"
    assert said == wanted


def test_of_a_plain_text_everything_is_learned(words: causal.Words) -> None:
    found = words.encode(chat.render([{"role": chat.TEXT, "content": "my laptop"}], words.template))
    assert all(found.learned)
    assert words.tokenizer.decode(found.ids) == "my laptop<|im_end|>"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ raise_exception('no') }}",
        "{% for",
    ],
)
def test_a_template_reaches_nothing_and_its_failure_is_said(source: str) -> None:
    with pytest.raises((chat.TemplateError, OverflowError)):
        chat.Template(source, {}).render(TALK)


def test_a_cut_example_without_an_answer_is_left_out_and_counted(words: causal.Words) -> None:
    short = causal.prepare(replace(words, longest=8), [TALK, [{"role": "text", "content": "my laptop is"}]])
    assert (len(short), short.cut, short.left_out) == (1, 1, 1)


# The loss


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_packing_changes_no_loss_and_the_loss_is_that_of_the_model(words: causal.Words, tiny_llama: Path) -> None:
    import torch

    model = causal.load(tiny_llama).eval()
    rows = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        for question, answer in some_answers(20, seed=5)
    ]
    examples = causal.prepare(words, rows)
    packed = causal.pack(examples, 90)
    assert len(packed) < len(examples) / 2
    assert packed.lengths.max() <= 90
    assert (packed.learned, packed.lengths.sum()) == (examples.learned, examples.lengths.sum())
    sums, counts = causal.example_losses(model, examples, words.pad, "cpu", bf16=False)
    batch = causal.Collator(packed, words.pad, packed=True)(range(len(packed)))
    with torch.no_grad():
        together = causal.token_losses(model, batch, bf16=False).sum()
        alone = []
        for messages in rows[:3]:
            found = words.encode(chat.render(messages, words.template))
            labels = [t if yes else -100 for t, yes in zip(found.ids, found.learned, strict=True)]
            alone.append(float(model(torch.tensor([found.ids]), labels=torch.tensor([labels])).loss))
    assert float(together) == pytest.approx(sums.sum(), rel=1e-6)
    assert np.allclose(sums[:3] / counts[:3], alone, rtol=1e-5)


# Measures


@pytest.mark.parametrize(
    ("given", "wanted", "f1", "rouge"),
    [
        ("The cat sat.", "the cat sat", 1, 1),
        ("sat cat the", "the cat sat", 1, 1 / 3),
        ("the cat", "the cat sat down", 2 / 3, 2 / 3),
        ("", "the cat", 0, 0),
        ("", "", 1, 1),
    ],
)
def test_overlap_is_counted_in_words(given: str, wanted: str, f1: float, rouge: float) -> None:
    pair = words_of(given), words_of(wanted)
    assert token_f1(*pair) == pytest.approx(f1)
    assert rouge_l(*pair) == pytest.approx(rouge)


# Whole runs

LEARN = {"epochs": 12, "learning_rate": 1e-2, "batch_size": 8, "early_stopping": 0, "answer_tokens": 8}
RESUME = {"epochs": 3, "checkpoint_seconds": 0, "packing": True, "batch_size": 2, "lora_dropout": 0.1, "max_length": 64}


def test_a_run_learns_the_answers_and_leaves_what_is_needed_to_serve_it(
    talk: World, launcher: Launcher, tmp_path: Path
) -> None:
    rivals = tuple(baselines.fitting("generation", "prompts"))
    assert rivals == ("frequent_answer", "nearest_answer", "untuned")
    outcome = launcher.run(talk.with_settings("lora", rivals, **LEARN), placed(talk, tmp_path))
    assert outcome.code == EXIT_DONE, outcome.stderr
    folder = tmp_path / "artifacts"
    assert json.loads((folder / "serving.json").read_text()) == {"task": "text-generation", "max_length": 96}
    adapter = json.loads((folder / "adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["revision"]) == ("base/tiny-llama", "a" * 40)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "llama"
    for name in ("adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"):
        assert (folder / name).is_file()
    for path in folder.iterdir():
        assert path.suffix in {".json", ".jsonl", ".safetensors", ".parquet", ".jinja"}
        assert str(talk.base).encode() not in path.read_bytes(), path.name
    report = json.loads((folder / "evaluation.json").read_text())
    assert (report["version"], report["primary"], report["rows"]) == (2, "rouge_l", 24)
    tuned, frequent, nearest, untuned = report["candidates"]
    assert [tuned["name"], frequent["name"], nearest["name"], untuned["name"]] == ["tuned", *rivals]
    assert tuned["metrics"]["exact_match"]["value"] > 0.5
    assert tuned["metrics"]["perplexity"]["value"] < untuned["metrics"]["perplexity"]["value"] / 2
    assert "perplexity" not in nearest["metrics"]
    assert {row["baseline"]: row["better"] for row in report["comparisons"]}["untuned"]
    held = pyarrow.parquet.read_table(folder / "predictions.parquet")
    assert "predicted_nearest_answer" not in held.column_names
    assert held["predicted_tuned"].to_pylist()[0].startswith("ask ")
    values = [event.data["values"] for event in outcome.of("metrics")]
    last = [one for one in values if "validation_perplexity" in one][-1]
    assert last["validation_perplexity"] == pytest.approx(math.exp(last["validation_loss"]))


def finish(talk: World, launcher: Launcher, spec: RunSpec, folder: Path, kills: list[int]) -> str:
    """Kill a run after these steps, let it finish, and return the hash of its weights."""
    struck = 0
    for attempt, step in enumerate(kills, start=1):
        child = launcher.start(spec, placed(talk, folder, attempt))
        struck += child.send_after_step(step, signal.SIGKILL)
        child.wait()
    assert struck == len(kills)
    outcome = launcher.run(spec, placed(talk, folder, len(kills) + 1))
    assert outcome.code == EXIT_DONE, outcome.stderr
    [path] = (folder / "artifacts").glob("*.safetensors")
    return sha256(path)


@pytest.mark.parametrize(("method", "kills"), [("lora", 1), pytest.param("full", 6, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_steps_ends_with_the_same_weights(
    talk: World, launcher: Launcher, tmp_path: Path, method: str, kills: int
) -> None:
    spec = talk.with_settings(method, **RESUME)
    untouched = finish(talk, launcher, spec, tmp_path / "untouched", [])
    steps = sorted(random.Random(method).sample(range(2, 24), kills))
    assert finish(talk, launcher, spec, tmp_path / "killed", steps) == untouched


@pytest.mark.parametrize(("layout", "method"), [("conversations", "dora"), ("texts", "full")])
def test_conversations_and_plain_texts_are_learned_too(
    talk: World, launcher: Launcher, tmp_path: Path, layout: str, method: str
) -> None:
    files = {}
    for split, count in (("train", 24), ("test", 8)):
        rows = [
            {"text": f"{question} so {answer}"}
            if layout == "texts"
            else {"text": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
            for question, answer in some_answers(count, seed=count)
        ]
        kept = [row if layout == "texts" else {"text": json.dumps(row["text"])} for row in rows]
        files[split] = write_json_lines(tmp_path / f"{split}.jsonl", kept)
    role = "text" if layout == "texts" else "messages"
    data = replace(talk.spec.dataset, files=files, layout=layout, columns={role: "text"})
    rivals = tuple(baselines.fitting("generation", layout))
    spec = replace(talk.with_settings(method, rivals, epochs=1, answer_tokens=4), dataset=data)
    place = Placement(str(talk.base), str(tmp_path), str(tmp_path / "run"), token=1, threads=1)
    outcome = launcher.run(spec, place)
    assert outcome.code == EXIT_DONE, outcome.stderr
    report = json.loads((tmp_path / "run" / "artifacts" / "evaluation.json").read_text())
    assert report["primary"] == ("perplexity" if layout == "texts" else "rouge_l")
    assert [one["name"] for one in report["metrics"]] == (["perplexity"] if layout == "texts" else [
        "rouge_l", "token_f1", "exact_match", "perplexity", "length"
    ])  # fmt: skip


def test_an_encoder_is_no_base_model_for_it(talk: World, world: World, launcher: Launcher, tmp_path: Path) -> None:
    spec = replace(talk.with_settings(), base_model=world.spec.base_model)
    place = Placement(str(world.base), str(talk.dataset), str(tmp_path / "run"), token=1, threads=1)
    assert launcher.run(spec, place).error["code"] == "unsafe_model"
