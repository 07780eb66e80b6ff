"""Models that need one pass over a text: classifiers and embedders, their requests answered in shared batches."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.engine import inference
from training.engine.admission import admit_base_model
from training.engine.data import Tokens, tokenise
from training.engine.failures import EngineError
from training.engine.frozen import load_tokenizer
from training.engine.pooling import class_names, load_classifier, load_encoder
from training.engine.serving.sources import Refused, Source, verify

WAIT_MS = 2.0
BATCH_TEXTS = 256
QUEUE_TEXTS = 4096
# What a pooled head answers: one class, several labels, or a number.
HEADS = frozenset({"text-classification", "text-multi-label-classification", "text-regression"})
EMBEDDING = "sentence-similarity"


@dataclass
class Loaded:
    """An encoder in memory; ``labels`` is empty for one that embeds, and ``pooling`` then says how."""

    source: Source
    model: Any
    tokenizer: Any
    labels: list[str]
    max_length: int
    size: int
    loaded_at: float
    pooling: str = ""
    normalise: bool = False
    calls: int = 0
    busy: int = 0

    def compute(self, tokens: Tokens, device: str) -> np.ndarray:
        """Return class probabilities, or vectors: one row for each text."""
        if not self.pooling:
            return inference.probabilities(self.model, tokens, device)
        vectors = inference.embed(self.model, tokens, self.pooling, device)
        if self.normalise:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def describe(self) -> dict[str, Any]:
        """Return what is told about it."""
        kind = "embedder" if self.pooling else "classifier"
        return {
            "key": self.source.key,
            "kind": kind,
            "size": self.size,
            "labels": len(self.labels),
            "calls": self.calls,
        }

    def close(self) -> None:
        """Nothing runs on its behalf."""


def load(source: Source, device: str) -> Loaded:
    """Verify and load one encoder; raises ``EngineError`` when a file is missing, changed, unsafe or of no use here."""
    verify(source)
    if source.base_folder is not None:
        admit_base_model(source.base_folder, source.base_files)
    settings = source.settings()
    if settings["task"] == EMBEDDING:
        model, labels = _load_embedder(source), []
        pooling, normalise = _pooling(source, settings)
    elif settings["task"] in HEADS:
        model, labels = load_classifier(source.folder, source.base_folder), class_names(source.folder)
        pooling, normalise = "", False
    else:
        raise EngineError("bad_spec", f"The model is for {settings['task']}.", "Call it as what it is.")
    model = model.to(device)
    return Loaded(
        source=source,
        model=model,
        tokenizer=load_tokenizer(source.folder),
        labels=labels,
        max_length=settings["max_length"],
        size=sum(p.numel() * p.element_size() for p in model.parameters()),
        loaded_at=time.time(),
        pooling=pooling,
        normalise=normalise,
    )


def _load_embedder(source: Source) -> Any:
    if not source.is_adapter:
        admit_base_model(source.folder, {name: sha for name, sha in source.files.items() if _is_model_file(name)})
        return load_encoder(source.folder).eval()
    from peft import PeftModel

    assert source.base_folder is not None
    encoder = load_encoder(source.base_folder)
    return PeftModel.from_pretrained(encoder, str(source.folder), local_files_only=True).merge_and_unload().eval()


def _is_model_file(name: str) -> bool:
    return name.endswith((".json", ".safetensors", ".txt", ".model"))


def _pooling(source: Source, settings: dict[str, Any]) -> tuple[str, bool]:
    """Return how token vectors become one, and whether it is scaled to length one, as sentence-transformers writes it.

    Without its ``modules.json`` the model's own serving.json says so, and the mean is taken where that is silent too.
    """
    if "modules.json" not in source.files:
        return str(settings.get("pooling", "mean")), bool(settings.get("normalise", False))
    modules = _read(source.folder / "modules.json")
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    if modules[0].get("path") or set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise EngineError(
            "unsafe_model",
            f"The model is put together from {', '.join(kinds)}; served are Transformer, Pooling and Normalize alone.",
            "Choose a model without further modules.",
        )
    pooling = next((module for module in modules if module["type"].endswith("Pooling")), None)
    told = _read(source.folder / pooling["path"] / "config.json") if pooling else {"pooling_mode": "mean"}
    for how in ("mean", "cls"):
        if told.get("pooling_mode") == how or told.get(f"pooling_mode_{how}_token{'s' if how == 'mean' else ''}"):
            return how, "Normalize" in kinds
    raise EngineError("unsafe_model", "The model pools in a way that is not served.", "Choose mean or cls pooling.")


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass
class _Waiting:
    model: Loaded
    tokens: Tokens
    answer: "asyncio.Future[np.ndarray]"


class Batches:
    """The one thread that computes for encoders; whoever asks at the same moment shares a batch."""

    def __init__(self, thread: ThreadPoolExecutor, device: str):
        self._thread = thread
        self._device = device
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._queued_texts = 0
        self._worker: asyncio.Task[None] | None = None
        self.count = 0

    def start(self) -> None:
        """Start to answer."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Stop answering; requests still waiting are refused."""
        if self._worker:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        while not self._queue.empty():
            waiting = self._queue.get_nowait()
            if not waiting.answer.done():
                waiting.answer.set_exception(Refused(503, "stopping", "The engine is stopping.", "Try again shortly."))

    def check_room(self, texts: int) -> None:
        """Raise ``Refused`` where so many texts wait that these could not be answered soon."""
        if self._queued_texts + texts > QUEUE_TEXTS:
            raise Refused(503, "busy", "Too many texts are waiting.", "Try again in a second, or send fewer at once.")

    async def run(self, model: Loaded, inputs: list[str] | list[list[int]]) -> tuple[np.ndarray, Tokens]:
        """Return one row for each input (texts, or ids of the model's own tokens), and the tokens."""
        tokens = _tokens(model, inputs)
        waiting = _Waiting(model, tokens, asyncio.get_running_loop().create_future())
        self._queued_texts += len(inputs)
        model.busy += 1
        try:
            self._queue.put_nowait(waiting)
            values = await waiting.answer
        finally:
            self._queued_texts -= len(inputs)
            model.busy -= 1
        model.calls += 1
        return values, tokens

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            # Whoever asks at the same moment shares the batch; a lone caller waits no longer than this.
            await asyncio.sleep(WAIT_MS / 1000)
            while not self._queue.empty() and sum(len(waiting.tokens) for waiting in batch) < BATCH_TEXTS:
                batch.append(self._queue.get_nowait())
            for model in {id(waiting.model): waiting.model for waiting in batch}.values():
                await self._answer(model, [waiting for waiting in batch if waiting.model is model])

    async def _answer(self, model: Loaded, group: list[_Waiting]) -> None:
        tokens = _join([waiting.tokens for waiting in group])
        try:
            values = await asyncio.get_running_loop().run_in_executor(self._thread, model.compute, tokens, self._device)
        except Exception as error:
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        self.count += 1
        start = 0
        for waiting in group:
            if not waiting.answer.done():
                waiting.answer.set_result(values[start : start + len(waiting.tokens)])
            start += len(waiting.tokens)


def _tokens(model: Loaded, inputs: list[str] | list[list[int]]) -> Tokens:
    if isinstance(inputs[0], str):
        return tokenise(model.tokenizer, inputs, model.max_length)  # type: ignore[arg-type]
    cut = [list(ids)[: model.max_length] for ids in inputs]
    largest = len(model.tokenizer)
    if any(not 0 <= token < largest for ids in cut for token in ids):
        raise Refused(422, "bad_tokens", f"Token ids go from 0 to {largest - 1}.", "Send texts.", "input")
    pad = model.tokenizer.pad_token_id
    return Tokens(
        np.concatenate([np.asarray(ids, dtype=np.int32) for ids in cut]),
        np.concatenate([[0], np.cumsum([len(ids) for ids in cut])]).astype(np.int64),
        pad if pad is not None else 0,
        np.array([len(ids) > model.max_length for ids in inputs], dtype=bool),
    )


def _join(parts: list[Tokens]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    offsets = np.concatenate([[0], np.cumsum(np.concatenate([part.lengths for part in parts]))])
    return Tokens(
        np.concatenate([part.ids for part in parts]),
        offsets,
        parts[0].pad,
        np.concatenate([part.was_cut for part in parts]),
    )
