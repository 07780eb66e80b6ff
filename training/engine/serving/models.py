"""The models in memory and their budget; all methods belong to one event loop."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, Protocol

import numpy as np

from training.engine.data import Tokens
from training.engine.generation import Ask, LanguageModel, Seat, expected_size, load_language_model, weights_key
from training.engine.serving.encoders import Batches, Loaded, load
from training.engine.serving.sources import Refused, Source, verify_generator


class Resident(Protocol):
    """Weights in memory: how large they are, and whether somebody is being answered with them."""

    size: int

    @property
    def busy(self) -> int:
        """Return how many requests are being answered."""

    def describe(self) -> dict[str, Any]:
        """Return what is told about it."""

    def close(self) -> None:
        """End what runs on its behalf; may take the length of one step of generation."""


class ServedModels:
    """Loads what is asked for, drops what was used longest ago, and answers."""

    def __init__(self, memory: int, device: str = "cpu"):
        self._memory = memory
        self._device = device
        self._residents: OrderedDict[str, Resident] = OrderedDict()
        self._loading = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="compute")
        # Loading and starting language models must not hold up the classifiers' one thread.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._batches = Batches(self._thread, device)

    @property
    def batches(self) -> int:
        """Return how many batches of encoders were computed."""
        return self._batches.count

    def start(self) -> None:
        """Start to answer."""
        self._batches.start()

    async def stop(self) -> None:
        """Stop answering; requests still waiting are refused."""
        await self._batches.stop()
        for resident in self._residents.values():
            await self._in_loader(resident.close)
        self._residents.clear()
        self._thread.shutdown(wait=True)
        self._loader.shutdown(wait=True)

    def describe(self) -> list[dict[str, Any]]:
        """Return what is loaded, most recently used last."""
        return [resident.describe() for resident in self._residents.values()]

    async def unload(self, key: str) -> bool:
        """Forget a version; False when it was not loaded. Answers that are being written with it end."""
        async with self._loading:
            if key in self._residents:
                await self._in_loader(self._residents.pop(key).close)
                return True
            for resident in self._residents.values():
                if isinstance(resident, LanguageModel) and resident.seat(key) is not None:
                    await self._in_loader(resident.remove, key)
                    return True
        return False

    async def get(self, source: Source) -> Loaded:
        """Return an encoder, loading it first where needed; raises ``Refused`` and ``EngineError``."""
        # What is there is found without waiting for others to be loaded.
        if (found := self._encoder(source)) is not None:
            return found
        async with self._loading:
            if (found := self._encoder(source)) is not None:
                return found
            await self._make_room(source.stored_bytes())
            model = await asyncio.get_running_loop().run_in_executor(self._thread, load, source, self._device)
            await self._make_room(model.size)
            self._residents[source.key] = model
            return model

    def _encoder(self, source: Source) -> Loaded | None:
        found = self._residents.get(source.key)
        if found is None:
            return None
        if not isinstance(found, Loaded) or found.source.files != source.files:
            raise _key_taken()
        self._residents.move_to_end(source.key)
        return found

    async def sit(self, source: Source) -> Seat:
        """Return a version's place on its language model, loading what is not there; raises as ``get`` does."""
        if (seat := self._seat(source)) is not None:
            return seat
        async with self._loading:
            await self._bury()
            if (seat := self._seat(source)) is not None:
                return seat
            if source.key in self._residents:
                raise _key_taken()
            await self._in_loader(verify_generator, source)
            key = weights_key(source)
            weights = self._residents.get(key)
            if weights is None:
                await self._make_room(expected_size(source, self._memory, self._device))
                weights = await self._in_loader(load_language_model, key, source, self._memory, self._device)
                self._residents[key] = weights
            assert isinstance(weights, LanguageModel)
            seat = await self._in_loader(weights.add, source)
            self._residents.move_to_end(key)
            await self._make_room(0, keep=key)
            return seat

    def _seat(self, source: Source) -> Seat | None:
        for key, resident in self._residents.items():
            if isinstance(resident, LanguageModel) and resident.running:
                seat = resident.seat(source.key)
                if seat is not None:
                    if seat.files != source.files:
                        raise _key_taken()
                    self._residents.move_to_end(key)
                    return seat
        return None

    async def _bury(self) -> None:
        """Drop language models whose thread an error has ended: whom they answered was told, and they load afresh."""
        ended = [key for key, one in self._residents.items() if isinstance(one, LanguageModel) and not one.running]
        for key in ended:
            await self._in_loader(self._residents.pop(key).close)

    async def _in_loader(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)

    async def _make_room(self, size: int, keep: str = "") -> None:
        if size > self._memory:
            raise Refused(
                507,
                "too_large",
                f"The model needs {size / 2**20:.0f} MB and the engine may use {self._memory / 2**20:.0f} MB.",
                "Start the engine with more memory.",
            )
        while self._residents and sum(one.size for one in self._residents.values()) + size > self._memory:
            idle = next((key for key, one in self._residents.items() if not one.busy and key != keep), None)
            if idle is None:
                if keep:
                    return
                raise Refused(
                    503, "busy", "The memory is full of models that are answering.", "Try again in a few seconds."
                )
            await self._in_loader(self._residents.pop(idle).close)

    async def predict(self, source: Source, texts: list[str]) -> tuple[Loaded, np.ndarray, Tokens]:
        """Return the model, probabilities (texts x classes) and the tokens; shares batches with other callers."""
        self._batches.check_room(len(texts))
        model = await self.get(source)
        if model.pooling:
            raise _wrong_task("It gives vectors, not labels.", "Ask for embeddings.")
        values, tokens = await self._batches.run(model, texts)
        return model, values, tokens

    async def embed(self, source: Source, inputs: list[str] | list[list[int]]) -> tuple[np.ndarray, Tokens]:
        """Return vectors (inputs x width) and the tokens; shares batches with other callers."""
        self._batches.check_room(len(inputs))
        model = await self.get(source)
        if not model.pooling:
            raise _wrong_task("It gives labels, not vectors.", "Ask it to predict.")
        return await self._batches.run(model, inputs)

    async def generate(self, source: Source, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of one answer; closing the iterator ends the work on it."""
        seat = await self.sit(source)
        async with aclosing(seat.answer(ask)) as events:
            async for event in events:
                yield event


def _key_taken() -> Refused:
    return Refused(409, "key_taken", "Another model is loaded under this key.", "Unload it, or use another key.")


def _wrong_task(message: str, advice: str) -> Refused:
    return Refused(422, "wrong_task", message, advice)
