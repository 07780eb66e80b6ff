"""A language model in memory: its weights, its cache, its scheduler, and the versions that it answers for."""

import asyncio
import contextlib
import hashlib
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers.decoders import DecodeStream
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

from training.engine import hardware
from training.engine.frozen import load_tokenizer
from training.engine.generation import adapters
from training.engine.generation.asks import Ask, StopScanner
from training.engine.generation.sampling import Draw, Sampler, TokenRecord
from training.engine.serving.sources import Refused, Source

# It warns of what is meant to be so: a model that is put away before it was asked anything.
logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)

GENERATION = "text-generation"
PAGE_TOKENS = 32
# The cache holds the tokens of all answers that are being written; it takes this part of the budget at most.
CACHE_TOKENS = 16_384
CACHE_SHARE = 4
# How many tokens one step computes: prompts longer than this are read over several steps.
STEP_TOKENS = {"cpu": 256, "cuda": 2048}
REQUESTS = 64
WAITING = 256
# A step of a large model on a slow machine takes seconds; a scheduler that says nothing for so long is broken.
SILENCE_SECONDS = 120.0


def weights_key(source: Source) -> str:
    """Return a name for the weights that a verified version runs on: plain adapters of one base model share them."""
    if not source.is_adapter or not adapters.is_plain(source.folder):
        return source.key
    listed = json.dumps(sorted(source.base_files.items())).encode()
    return f"base-{hashlib.sha256(listed).hexdigest()[:40]}"


def load_language_model(key: str, source: Source, memory: int, device: str) -> "LanguageModel":
    """Load the weights named ``key`` that a verified version runs on, and start their scheduler.

    An adapter that cannot share its base model is merged into a copy of it.
    """
    folder = source.base_folder if source.is_adapter else source.folder
    assert folder is not None
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=_number_format(device),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        attn_implementation="sdpa",
    )
    if source.is_adapter and key == source.key:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(source.folder), local_files_only=True).merge_and_unload()
    return LanguageModel(key, model.to(device).eval(), folder, memory, device)


def _number_format(device: str) -> torch.dtype:
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else hardware.cpu_is_fast_in_bf16()
    return torch.bfloat16 if fast else torch.float32


def expected_size(source: Source, memory: int, device: str) -> int:
    """Return the bytes that weights and cache will take, as far as the files tell."""
    folder = source.base_folder if source.is_adapter else source.folder
    assert folder is not None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    wide = 4 if _number_format(device) == torch.float32 else 2
    # Stored in two bytes and computed in four, weights double; stored in four and computed in two, they halve.
    stored = 2 if str(config.get("dtype", config.get("torch_dtype", "float32"))).endswith("16") else 4
    return source.stored_bytes() * wide // stored + _cache_tokens(config, memory, wide) * _token_bytes(config, wide)


def _token_bytes(config: Mapping[str, Any], wide: int) -> int:
    """Return how much one token takes in the cache: a key and a value for each key-value head of each layer."""
    layers = config.get("num_hidden_layers") or config.get("n_layer") or 1
    heads = config.get("num_attention_heads") or config.get("n_head") or 1
    width = config.get("hidden_size") or config.get("n_embd") or 1
    return 2 * layers * (config.get("num_key_value_heads") or heads) * (config.get("head_dim") or width // heads) * wide


def _cache_tokens(config: Mapping[str, Any], memory: int, wide: int) -> int:
    most = memory // CACHE_SHARE // _token_bytes(config, wide)
    return max(PAGE_TOKENS * 4, min(CACHE_TOKENS, most) // PAGE_TOKENS * PAGE_TOKENS)


@dataclass(eq=False)
class Seat:
    """One version on a language model: its adapter's number (0 is none), its own tokenizer and its limits."""

    model: "LanguageModel"
    key: str
    files: Mapping[str, str]
    number: int
    tokenizer: Any
    ends: frozenset[int]
    max_length: int
    size: int = 0
    calls: int = 0
    closed: bool = False

    def answer(self, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of one answer, see ``LanguageModel.answer``."""
        return self.model.answer(self, ask)

    def ids(self, ask: Ask) -> list[list[int]]:
        """Return the tokens of each prompt; raises ``Refused`` where there is no template or a prompt is too long."""
        if ask.messages:
            if not getattr(self.tokenizer, "chat_template", None):
                raise Refused(
                    422,
                    "no_chat_template",
                    "This model was not made for conversations: it has no chat template.",
                    "Use /v1/completions with a prompt.",
                    "messages",
                )
            try:
                prompts = [
                    self.tokenizer.apply_chat_template(
                        list(ask.messages), add_generation_prompt=True, tokenize=True, return_dict=False
                    )
                ]
            except Exception as error:
                # A template may raise its own sentence, such as that roles must alternate.
                raise Refused(
                    422, "bad_request", f"The model's chat template refuses this: {error}", "Correct it.", "messages"
                ) from error
            name = "messages"
        else:
            # Beginning-of-text tokens are the tokenizer's own business; ids are taken as they are.
            prompts = [self.tokenizer(one)["input_ids"] if isinstance(one, str) else list(one) for one in ask.prompts]
            name = "prompt"
        largest = len(self.tokenizer)
        for ids in prompts:
            if not ids or any(not 0 <= token < largest for token in ids):
                raise Refused(422, "bad_tokens", f"Token ids go from 0 to {largest - 1}.", "Send a text.", name)
            if len(ids) >= self.max_length:
                raise Refused(
                    422,
                    "context_length_exceeded",
                    f"The prompt has {len(ids)} tokens; this model holds {self.max_length}, the answer included.",
                    "Shorten it.",
                    name,
                )
        return prompts


@dataclass
class _Choice:
    """One answer that is being written: what was seen of it and what of its text went out."""

    index: int
    request: str
    draw: Draw
    scanner: StopScanner
    decoder: Any
    tokens: int = 0
    ids: list[int] = field(default_factory=list)
    sent: str = ""
    told: int = 0
    finish: str = ""


class LanguageModel:
    """One set of weights; every version that runs on them shares each step of the scheduler's thread.

    Blocks of the cache are not shared between requests: an adapter changes the keys and values of the same text, and a
    faster answer would tell one caller what another has asked.
    """

    def __init__(self, key: str, model: Any, folder: Path, memory: int, device: str):
        self._key = key
        self._model = model
        self._device = device
        self._seats: dict[str, Seat] = {}
        self._numbers = 0
        self._waiting = 0
        config = model.config.get_text_config().to_dict()
        wide = next(model.parameters()).element_size()
        self._cache_tokens = _cache_tokens(config, memory, wide)
        self._context = int(config.get("max_position_embeddings") or config.get("n_positions") or self._cache_tokens)
        self._weights = sum(p.numel() * p.element_size() for p in model.parameters())
        self._cache = self._cache_tokens * _token_bytes(config, wide)
        self._ends = _end_tokens(folder, config)
        self._router = adapters.AdapterRouter(model)
        self._sampler = Sampler(self._router)
        self._manager = model.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=PAGE_TOKENS,
                num_blocks=self._cache_tokens // PAGE_TOKENS,
                max_batch_tokens=STEP_TOKENS[device],
                max_requests_per_batch=REQUESTS,
                max_blocks_per_request=0,
                allow_block_sharing=False,
                use_async_batching=False,
                use_cuda_graph=False,
                auto_switch_to_flash=False,
            ),
        )
        self._manager.logit_processor = self._sampler
        self._manager.start()

    @property
    def size(self) -> int:
        """Return the bytes of weights, cache and adapters."""
        return self._weights + self._cache + sum(seat.size for seat in self._seats.values())

    @property
    def busy(self) -> int:
        """Return how many answers are being written."""
        return self._waiting

    @property
    def running(self) -> bool:
        """Return whether the scheduler's thread lives."""
        return bool(self._manager.is_running())

    def describe(self) -> dict[str, Any]:
        """Return what is told about it."""
        return {
            "key": self._key,
            "kind": "language model",
            "size": self.size,
            "busy": self.busy,
            "versions": [{"key": seat.key, "calls": seat.calls} for seat in self._seats.values()],
            "calls": sum(seat.calls for seat in self._seats.values()),
        }

    def seat(self, key: str) -> Seat | None:
        """Return a version's place, or None."""
        return self._seats.get(key)

    def add(self, source: Source) -> Seat:
        """Give a verified version its place; raises ``EngineError`` where its adapter does not fit, or ``Refused``."""
        settings = source.settings()
        if settings["task"] != GENERATION:
            raise Refused(422, "wrong_task", "The model does not write text.", "Call it as what it is.")
        number, size = 0, 0
        if self._key != source.key:
            adapter = adapters.load(source.folder, self._model)
            self._numbers += 1
            number, size = self._numbers, adapter.size
            with self._paused():
                self._router.add(number, adapter)
        tokenizer = load_tokenizer(source.folder)
        own = tokenizer.eos_token_id
        seat = Seat(
            model=self,
            key=source.key,
            files=source.files,
            number=number,
            tokenizer=tokenizer,
            ends=self._ends | _end_tokens(source.folder, {}) | (frozenset() if own is None else {own}),
            max_length=min(settings["max_length"], self._context, self._cache_tokens - PAGE_TOKENS),
            size=size,
        )
        self._seats[source.key] = seat
        return seat

    def remove(self, key: str) -> None:
        """Take a version away; what is being written with it ends with an error."""
        seat = self._seats.pop(key)
        seat.closed = True
        if seat.number:
            with self._paused():
                self._router.remove(seat.number)

    def close(self) -> None:
        """End the scheduler's thread; requests still running are failed."""
        for seat in self._seats.values():
            seat.closed = True
        self._manager.stop(block=True, timeout=30, hard_stop=True)

    def _paused(self) -> contextlib.AbstractContextManager[None]:
        return self._manager.pause() if self.running else contextlib.nullcontext()

    async def answer(self, seat: Seat, ask: Ask) -> AsyncGenerator[dict[str, Any], None]:
        """Yield ``{"prompt_tokens"}`` first, then texts and ends of each choice as they come.

        ``{"choice", "text", "tokens", "logprobs"}`` counts the tokens computed since the last event of that choice;
        ``{"choice", "finish"}`` is "stop" or "length". Closing the iterator cancels what is still running. Raises
        ``Refused``.
        """
        wanted = ask.n * (len(ask.prompts) or 1)
        if self._waiting + wanted > WAITING:
            raise Refused(503, "busy", "Too many answers are being written.", "Try again in a few seconds.")
        # From here on nobody drops the model for want of memory.
        self._waiting += wanted
        seat.calls += 1
        choices: dict[str, _Choice] = {}
        news: asyncio.Queue[Any] = asyncio.Queue()
        try:
            prompts = await asyncio.get_running_loop().run_in_executor(None, seat.ids, ask)
            for place in range(wanted):
                choice = self._begin(seat, ask, prompts[place // ask.n], place, news)
                choices[choice.request] = choice
            yield {"prompt_tokens": sum(len(ids) for ids in prompts)}
            while not all(choice.finish for choice in choices.values()):
                try:
                    output = await asyncio.wait_for(news.get(), SILENCE_SECONDS)
                except TimeoutError:
                    raise _broken("The model has not written anything for a long time.") from None
                choice = choices[output.request_id]
                if choice.finish:
                    continue
                if output.error is not None or seat.closed:
                    raise _broken("The model stopped in the middle of its answer.")
                for event in self._follow(seat, choice, output):
                    yield event
        finally:
            self._waiting -= wanted
            for choice in choices.values():
                if not choice.finish:
                    self._manager.cancel_request(choice.request)
                self._sampler.forget(choice.request)
                with self._manager.output_router._lock:
                    self._manager.output_router.result_handlers.pop(choice.request, None)

    def _begin(self, seat: Seat, ask: Ask, ids: list[int], place: int, news: "asyncio.Queue[Any]") -> _Choice:
        generator = torch.Generator()
        if ask.seed is None:
            generator.seed()
        else:
            # The choices of one request differ, and each of them is drawn again under the same seed.
            generator.manual_seed((ask.seed + place * 1_000_003) % 2**63)
        request = uuid.uuid4().hex
        draw = Draw(ask.temperature, ask.top_p, generator, seat.number, ask.logprobs)
        self._sampler.expect(request, draw)
        self._manager.register_result_handler(request, news.put_nowait)
        accepted = self._manager.add_request(
            ids,
            request_id=request,
            max_new_tokens=min(seat.max_length - len(ids), ask.max_tokens or seat.max_length),
            streaming=True,
            eos_token_id=sorted(seat.ends),
        )
        if accepted is None:
            raise _broken("The model's scheduler has ended.")
        decoder = DecodeStream(skip_special_tokens=True)
        return _Choice(place, request, draw, StopScanner(ask.stop), decoder)

    def _follow(self, seat: Seat, choice: _Choice, output: Any) -> list[dict[str, Any]]:
        """Return the events that follow from what the scheduler has told of one choice."""
        fresh = output.generated_tokens[choice.tokens :]
        choice.tokens += len(fresh)
        ended = output.is_finished()
        at_end = ended and bool(fresh) and fresh[-1] in seat.ends
        shown = fresh[:-1] if at_end else fresh
        choice.ids += shown
        text = "".join(
            part
            for token in shown
            if (part := choice.decoder.step(seat.tokenizer.backend_tokenizer, token)) is not None
        )
        if ended:
            whole = seat.tokenizer.decode(choice.ids, skip_special_tokens=True)
            so_far = choice.sent + text
            # A text that ends within a character of several bytes: what the decoder waited for does not come.
            text += whole[len(so_far) :] if whole.startswith(so_far) else ""
        choice.sent += text
        out, met = choice.scanner.feed(text)
        if ended and not met:
            out += choice.scanner.rest()
        event: dict[str, Any] = {"choice": choice.index, "text": out, "tokens": len(fresh)}
        if choice.draw.logprobs is not None:
            records = choice.draw.records[choice.told : choice.told + len(shown)]
            choice.told += len(fresh)
            event["logprobs"] = [_told(seat.tokenizer, record) for record in records]
        events = [event]
        if met or ended:
            choice.finish = "stop" if met or at_end else "length"
            events.append({"choice": choice.index, "finish": choice.finish})
            if not ended:
                self._manager.cancel_request(choice.request)
        return events


def _broken(message: str) -> Refused:
    return Refused(503, "stopped", message, "Try again in a moment.")


def _told(tokenizer: Any, record: TokenRecord) -> dict[str, Any]:
    def words(token: int, logprob: float) -> dict[str, Any]:
        text = tokenizer.decode([token])
        # A token may be a part of a character, which no text can show.
        return {"token": text, "bytes": None if "\ufffd" in text else list(text.encode()), "logprob": logprob}

    return {**words(record.token, record.logprob), "top": [words(*one) for one in record.top]}


def _end_tokens(folder: Path, config: Mapping[str, Any]) -> frozenset[int]:
    """Return the tokens at which generation ends, as the model's two configurations tell."""
    told = [config.get("eos_token_id")]
    with contextlib.suppress(OSError, ValueError):
        told.append(json.loads((folder / "generation_config.json").read_text(encoding="utf-8")).get("eos_token_id"))
    found: set[int] = set()
    for value in told:
        found |= {token for token in (value if isinstance(value, list) else [value]) if isinstance(token, int)}
    return frozenset(found)
