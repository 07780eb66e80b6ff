"""Classifiers held in memory, least recently used out first, answering concurrent requests in shared batches."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from training.engine import inference
from training.engine.admission import admit_base_model, refuse_unsafe_configs, refuse_unsafe_names, verify_hashes
from training.engine.data import Tokens, tokenise
from training.engine.failures import EngineError
from training.engine.frozen import load_tokenizer
from training.engine.pooling import class_names, load_classifier
from training.engine.spec import SpecError, check_relative_path

WAIT_MS = 2.0
BATCH_TEXTS = 256
QUEUE_TEXTS = 4096
# Files of a model version that nothing loads; they may lie in its folder and need no check of their kind.
RECORDS = (".parquet", ".jsonl", ".md", ".csv")


class Refused(Exception):
    """A request cannot be served; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, code: str, message: str, advice: str):
        self.status, self.code, self.message, self.advice = status, code, message, advice
        super().__init__(message)


@dataclass(frozen=True)
class Source:
    """Where a model version lies and what its files must be: ``files`` and ``base_files`` map paths to sha256."""

    key: str
    folder: Path
    files: Mapping[str, str]
    base_folder: Path | None = None
    base_files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Source":
        """Validate the fields of a request; raises ``Refused``."""
        try:
            key, folder = value["key"], value["folder"]
            base = value.get("base_folder")
            files, base_files = value["files"], value.get("base_files") or {}
        except KeyError as error:
            raise Refused(422, "missing_field", f"The request lacks {error}.", "Add the field.") from None
        if not (isinstance(key, str) and key and isinstance(folder, str) and folder and isinstance(base, str | None)):
            raise Refused(422, "wrong_type", "key, folder and base_folder must be text.", "Correct the request.")
        for listed in (files, base_files):
            if not isinstance(listed, dict) or not all(isinstance(sha, str) for sha in listed.values()):
                raise Refused(422, "wrong_type", "files must map paths to sha256.", "Correct the request.")
            try:
                for path in listed:
                    check_relative_path(path, "A path in files")
            except SpecError as error:
                raise Refused(422, "bad_path", str(error), "Name files inside the folder.") from None
        return cls(key, Path(folder), files, Path(base) if base else None, base_files)


@dataclass
class Loaded:
    """A model in memory."""

    source: Source
    model: Any
    tokenizer: Any
    labels: list[str]
    max_length: int
    size: int
    loaded_at: float
    calls: int = 0


def load(source: Source, device: str) -> Loaded:
    """Verify and load one model version; raises ``EngineError`` when a file is missing, changed or unsafe."""
    loadable = [name for name in source.files if not name.endswith(RECORDS)]
    refuse_unsafe_names(loadable)
    verify_hashes(source.folder, source.files)
    refuse_unsafe_configs(source.folder, loadable)
    if source.base_folder is not None:
        admit_base_model(source.base_folder, source.base_files)
    if "config.json" not in source.files or not any(name.endswith(".safetensors") for name in source.files):
        raise EngineError("unsafe_model", "The model has no config.json or no weights.", "Publish a complete version.")
    adapter = source.folder / "adapter_config.json"
    if adapter.exists() and "adapter_config.json" not in source.files:
        raise EngineError("hash_mismatch", "The folder holds an adapter that is not listed.", "List all of its files.")
    model = load_classifier(source.folder, source.base_folder).to(device)
    settings = json.loads((source.folder / "serving.json").read_text(encoding="utf-8"))
    return Loaded(
        source=source,
        model=model,
        tokenizer=load_tokenizer(source.folder),
        labels=class_names(source.folder),
        max_length=int(settings["max_length"]),
        size=sum(p.numel() * p.element_size() for p in model.parameters()),
        loaded_at=time.time(),
    )


@dataclass
class _Waiting:
    model: Loaded
    tokens: Tokens
    answer: "asyncio.Future[np.ndarray]"


class ServedModels:
    """The models in memory and the one thread that computes; all methods belong to one event loop."""

    def __init__(self, memory: int, device: str = "cpu"):
        self._memory = memory
        self._device = device
        self._models: OrderedDict[str, Loaded] = OrderedDict()
        self._loading = asyncio.Lock()
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._queued_texts = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._worker: asyncio.Task[None] | None = None
        self.batches = 0

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
        self._thread.shutdown(wait=True)

    def describe(self) -> list[dict[str, Any]]:
        """Return what is loaded, most recently used last."""
        return [
            {"key": key, "size": model.size, "labels": len(model.labels), "calls": model.calls}
            for key, model in self._models.items()
        ]

    def unload(self, key: str) -> bool:
        """Forget a model; False when it was not loaded."""
        return self._models.pop(key, None) is not None

    async def get(self, source: Source) -> Loaded:
        """Return the model, loading it first where needed; raises ``Refused`` and ``EngineError``."""
        async with self._loading:
            found = self._models.get(source.key)
            if found is not None:
                if found.source.files != source.files:
                    raise Refused(
                        409, "key_taken", "Another model is loaded under this key.", "Unload it, or use another key."
                    )
                self._models.move_to_end(source.key)
                return found
            self._make_room(self._expected_size(source))
            model = await asyncio.get_running_loop().run_in_executor(self._thread, load, source, self._device)
            self._make_room(model.size)
            self._models[source.key] = model
            return model

    def _expected_size(self, source: Source) -> int:
        weights = [source.folder / name for name in source.files if name.endswith(".safetensors")]
        if source.base_folder is not None:
            weights += [source.base_folder / name for name in source.base_files if name.endswith(".safetensors")]
        return sum(path.stat().st_size for path in weights if path.is_file())

    def _make_room(self, size: int) -> None:
        if size > self._memory:
            raise Refused(
                507,
                "too_large",
                f"The model needs {size / 2**20:.0f} MB and the engine may use {self._memory / 2**20:.0f} MB.",
                "Start the engine with more memory.",
            )
        while self._models and sum(model.size for model in self._models.values()) + size > self._memory:
            self._models.popitem(last=False)

    async def predict(self, source: Source, texts: list[str]) -> tuple[Loaded, np.ndarray, Tokens]:
        """Return the model, probabilities (texts x classes) and the tokens; shares batches with other callers."""
        if self._queued_texts + len(texts) > QUEUE_TEXTS:
            raise Refused(503, "busy", "Too many texts are waiting.", "Try again in a second, or send fewer at once.")
        model = await self.get(source)
        tokens = tokenise(model.tokenizer, texts, model.max_length)
        waiting = _Waiting(model, tokens, asyncio.get_running_loop().create_future())
        self._queued_texts += len(texts)
        try:
            self._queue.put_nowait(waiting)
            probabilities = await waiting.answer
        finally:
            self._queued_texts -= len(texts)
        model.calls += 1
        return model, probabilities, tokens

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
            values = await asyncio.get_running_loop().run_in_executor(
                self._thread, inference.probabilities, model.model, tokens, self._device
            )
        except Exception as error:
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        self.batches += 1
        start = 0
        for waiting in group:
            if not waiting.answer.done():
                waiting.answer.set_result(values[start : start + len(waiting.tokens)])
            start += len(waiting.tokens)


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
