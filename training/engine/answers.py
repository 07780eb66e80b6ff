"""Rows that are conversations, what candidates answer to them, and what baselines of written answers are given."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from training.engine import chat
from training.engine.data import _unreadable, read_rows
from training.engine.predictions import measure
from training.engine.spec import DatasetSource, SplitFile

if TYPE_CHECKING:
    from training.engine.run import Run

# Writing an answer takes seconds, so fewer single examples are timed than where a class is chosen.
LATENCY_SAMPLE = 4


@dataclass(frozen=True)
class Dialogues:
    """Rows of one split: their messages, the last of which is what is wanted, and their place in the file."""

    conversations: list[list[chat.Message]]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.conversations)

    def take(self, indices: np.ndarray) -> "Dialogues":
        """Return the rows at ``indices``, in that order."""
        return Dialogues([self.conversations[i] for i in indices], self.rows[indices])

    @property
    def wanted(self) -> list[str]:
        """Return the last message of each row."""
        return [messages[-1]["content"] for messages in self.conversations]

    @property
    def questions(self) -> list[str]:
        """Return what comes before the last message of each row, as one text."""
        return ["\n".join(message["content"] for message in messages[:-1]) for messages in self.conversations]

    @property
    def asks(self) -> bool:
        """Tell whether the rows are questions with answers, and no plain texts."""
        return all(chat.asks(messages) for messages in self.conversations)


def read_dialogues(folder: Path, file: SplitFile, source: DatasetSource) -> Dialogues:
    """Return one split as messages; raises ``EngineError`` as ``data.read_rows`` does."""
    found: list[list[chat.Message]] = []
    for place, cells in read_rows(folder, file, source):
        try:
            found.append(chat.messages_of(source.layout, cells))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise _unreadable(file.path, f"{place} is no conversation: {error}.") from error
    return Dialogues(found, np.arange(len(found)))


def asked(run: "Run") -> Dialogues:
    """Return the test rows that every candidate answers: all, or a sample of as many as the settings allow."""
    test: Dialogues = run.splits["test"]
    most = int(run.hyperparameters["answered_rows"])
    if len(test) <= most:
        return test
    return test.take(np.sort(np.random.default_rng([run.spec.seed, 5]).choice(len(test), most, replace=False)))


@dataclass(frozen=True)
class Answers:
    """One candidate's answers in the order of ``asked``: texts where it writes, losses where it gives probabilities.

    ``losses`` is the sum of the cross-entropy of each wanted answer's tokens, ``tokens`` their number. ``wrote`` says
    that the texts are its own words, and no rows of the training split.
    """

    name: str
    texts: list[str] | None
    latencies_ms: list[float]
    throughput: float
    size: int
    losses: np.ndarray | None = None
    tokens: np.ndarray | None = None
    wrote: bool = False
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a baseline works with: the training rows, the questions of the test rows, and the untuned model.

    ``untuned`` returns its answers and losses; it is asked at most once.
    """

    train: Dialogues
    questions: list[str]
    seed: int
    untuned: Callable[[str], Answers]
    base_model_size: int


def context_of(run: "Run") -> Context:
    """Return the context of a run's baselines."""
    from training.engine import causal

    def untuned(name: str) -> Answers:
        model = causal.load(run.base_folder, dtype_of(run)).eval().to(run.hardware.device)
        return answer(run, name, model, run.base_size)

    test = asked(run)
    return Context(run.splits["train"], test.questions, run.spec.seed, untuned, run.base_size)


def dtype_of(run: "Run", frozen: bool = True) -> Any:
    """Return the number format in which weights that are not trained are held: half of it on a GPU that is fast so."""
    import torch

    return torch.bfloat16 if frozen and run.hardware.device == "cuda" and run.hardware.bf16 else torch.float32


def answer(run: "Run", name: str, model: Any, size: int, **details: object) -> Answers:
    """Return what a model writes for the test rows and how surprised it is by what was wanted."""
    from training.engine import causal

    device, settings = run.hardware.device, run.hyperparameters
    words = causal.words_of(
        run.base_folder, model.config, settings["max_length"], use_template=settings["format"] != "plain"
    )
    test = asked(run)
    examples = causal.prepare(words, test.conversations)
    losses, tokens = causal.example_losses(model, examples, words.pad, device, bf16=False)
    if examples.left_out:
        # Rows stay in line with the others: one without a learned token adds nothing to either sum.
        losses, tokens = _spread(words, test, losses, tokens)
    if not test.asks:
        return Answers(name, None, [], 0.0, size, losses, tokens, details=dict(details))
    longest = int(settings["answer_tokens"])

    def write(indices: list[int]) -> list[str]:
        return causal.generate(model, words, [test.conversations[i] for i in indices], longest, device)

    texts, latencies, throughput = measure(write, list(range(len(test))), LATENCY_SAMPLE)
    return Answers(name, texts, latencies, throughput, size, losses, tokens, wrote=True, details=dict(details))


def _spread(words: Any, test: Dialogues, losses: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = [any(words.encode(chat.render(messages, words.template)).learned[1:]) for messages in test.conversations]
    all_losses, all_tokens = np.zeros(len(test)), np.zeros(len(test))
    all_losses[kept], all_tokens[kept] = losses, tokens
    return all_losses, all_tokens
