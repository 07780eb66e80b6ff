"""A tiny real encoder built in code, a tiny real dataset, and a way to run the engine on them as its own process."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny import make_tiny_llama
from training.engine import recipes
from training.engine.hyperparameters import resolve
from training.engine.spec import (
    BaseModelSource,
    DatasetSource,
    Event,
    Placement,
    RunSpec,
    SplitFile,
    write_request,
)

ROOT = Path(__file__).resolve().parents[3]
WORDS = {
    "account": ["password", "login", "locked", "reset", "username", "expired"],
    "hardware": ["laptop", "screen", "keyboard", "battery", "mouse", "dock"],
    "travel": ["flight", "hotel", "train", "ticket", "receipt", "booking"],
}
FILLERS = ["please", "my", "the", "is", "today", "again", "help", "with", "cannot", "and", "since", "monday"]


def sha256(path: Path) -> str:
    """Return the sha256 of a small file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write rows of text and label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)


def some_rows(count: int, seed: int) -> list[tuple[str, str]]:
    """Return rows whose class shows in one or two of their words."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = sorted(WORDS)[number % len(WORDS)]
        words = rng.choices(FILLERS, k=rng.randint(2, 9)) + rng.choices(WORDS[label], k=rng.randint(1, 2))
        rng.shuffle(words)
        rows.append((" ".join(words), label))
    return rows


@dataclass(frozen=True)
class World:
    """A base model and a dataset on disk, and the specification of a run on them."""

    base: Path
    dataset: Path
    spec: RunSpec

    def with_settings(self, method: str = "full", baselines: tuple[str, ...] = (), **overrides: Any) -> RunSpec:
        """Return the specification with other settings."""
        recipe = recipes.get(self.spec.recipe)
        quick = {name: value for name, value in QUICK.items() if name in {h.name for h in recipe.hyperparameters}}
        settings = resolve(recipe, "quick", {**quick, **overrides}, method)
        return replace(self.spec, method=method, hyperparameters=settings, baselines=baselines)


QUICK = {
    "precision": "fp32",
    "batch_size": 8,
    "learning_rate": 3e-3,
    "head_start": "random",
    "checkpoint_seconds": 3600,
}


@dataclass
class Outcome:
    """What an engine process left: exit code, events and standard error."""

    code: int
    events: list[Event]
    stderr: str
    run: Path

    def of(self, kind: str) -> list[Event]:
        """Return the events of one type."""
        return [event for event in self.events if event.type == kind]

    @property
    def error(self) -> dict[str, Any]:
        """Return the fields of the error event."""
        return dict(self.of("error")[0].data)


def environment() -> dict[str, str]:
    """Return the clean environment of an engine process."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": "/nonexistent"}


class Launcher:
    """Starts engine processes through ``launcher.py`` and waits for them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.engine.launcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=ROOT,
        )

    def _order(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, spec: RunSpec | str, placement: Placement | None = None, fault: str = "") -> "Child":
        """Start the engine; ``spec`` may be the whole input as text, ``fault`` one of the launcher's."""
        self._count += 1
        stem = self._folder / str(self._count)
        text = spec if isinstance(spec, str) else write_request(spec, placement)  # type: ignore[arg-type]
        request, stdout, stderr = (stem.with_suffix(suffix) for suffix in (".json", ".out", ".err"))
        request.write_text(text, encoding="utf-8")
        stdout.touch()
        paths = {"request": str(request), "stdout": str(stdout), "stderr": str(stderr)}
        pid = self._order({"start": {**paths, "fault": fault}})
        return Child(self, pid, stdout, stderr, Path(placement.run) if placement else Path())

    def wait(self, pid: int) -> int:
        """Return the exit code of a child."""
        return self._order({"wait": pid})

    def run(self, spec: RunSpec | str, placement: Placement | None = None, fault: str = "") -> Outcome:
        """Run the engine to its end."""
        return self.start(spec, placement, fault).wait()

    def close(self) -> None:
        """End the launcher."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


@dataclass
class Child:
    """A running engine process."""

    launcher: Launcher
    pid: int
    stdout: Path
    stderr: Path
    run: Path

    def send_after_step(self, step: int, number: int) -> bool:
        """Send a signal once the events show ``step``; False when the process ended before."""
        while True:
            events = self.events()
            steps = [event.data["step"] for event in events if event.type in ("metrics", "progress", "checkpoint")]
            if any(event.type in ("done", "error") for event in events):
                return False
            if steps and max(steps) >= step:
                os.kill(self.pid, number)
                return True
            time.sleep(0.001)

    def events(self) -> list[Event]:
        """Return the complete events so far."""
        text = self.stdout.read_text(encoding="utf-8")
        return [Event.from_json(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def wait(self) -> Outcome:
        """Wait for the end."""
        code = self.launcher.wait(self.pid)
        return Outcome(code, self.events(), self.stderr.read_text(encoding="utf-8"), self.run)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """A process that starts engines."""
    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.close()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer encoder with a byte-level BPE tokenizer, saved as a base model."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("base")
    tokenizer = ByteLevelBPETokenizer()
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    texts = [text for text, _ in some_rows(300, seed=0)]
    tokenizer.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def world(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny base model with a dataset of three classes."""
    folder = tmp_path_factory.mktemp("dataset")
    files = {}
    for split, count, seed in (("train", 96, 1), ("validation", 30, 2), ("test", 45, 3)):
        path = folder / f"{split}.csv"
        write_csv(path, some_rows(count, seed))
        files[split] = SplitFile(path.name, sha256(path), count)
    spec = RunSpec(
        recipe="sequence_classification",
        method="full",
        base_model=BaseModelSource(
            "tiny-bert", "a" * 40, {p.name: sha256(p) for p in tiny_base.iterdir() if p.is_file()}
        ),
        dataset=DatasetSource("requests", "b" * 40, files, tuple(sorted(WORDS))),
        hyperparameters=resolve(recipes.get("sequence_classification"), "quick", QUICK),
        seed=7,
        baselines=(),
    )
    return World(tiny_base, folder, spec)


def some_answers(count: int, seed: int) -> list[tuple[str, str]]:
    """Return questions whose answer hangs on one of their words."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        label = sorted(WORDS)[number % len(WORDS)]
        words = [*rng.choices(FILLERS, k=rng.randint(2, 6)), rng.choice(WORDS[label])]
        rng.shuffle(words)
        rows.append((" ".join(words), f"ask {label}"))
    return rows


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with a byte-level BPE tokenizer and a chat template, saved as a base model."""
    texts = [" ".join(pair) for pair in some_answers(300, seed=0)]
    return make_tiny_llama(tmp_path_factory.mktemp("llama"), texts)


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> SplitFile:
    """Write rows and return how a specification names the file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return SplitFile(path.name, sha256(path), len(rows))


def base_source(folder: Path, name: str) -> BaseModelSource:
    """Return a saved base model as a specification names it."""
    return BaseModelSource(name, "a" * 40, {p.name: sha256(p) for p in folder.iterdir() if p.is_file()})


@pytest.fixture(scope="session")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The tiny language model with questions and answers."""
    folder = tmp_path_factory.mktemp("talk")
    files = {}
    for split, count, seed in (("train", 96, 1), ("validation", 18, 2), ("test", 24, 3)):
        rows = [{"question": question, "reply": answer} for question, answer in some_answers(count, seed)]
        files[split] = write_json_lines(folder / f"{split}.jsonl", rows)
    recipe = recipes.get("causal_lm")
    spec = RunSpec(
        recipe="causal_lm",
        method="lora",
        base_model=base_source(tiny_llama, "tiny-llama"),
        dataset=DatasetSource(
            "talk", "b" * 40, files, (), layout="prompts", columns={"prompt": "question", "completion": "reply"}
        ),
        hyperparameters=resolve(recipe, "quick"),
        seed=7,
        baselines=(),
    )
    return World(tiny_llama, folder, spec)


@pytest.fixture
def place(world: World, tmp_path: Path) -> Placement:
    """Where a run of ``world`` lies, in a folder of its own."""
    return Placement(str(world.base), str(world.dataset), str(tmp_path / "run"), token=1, threads=1)
