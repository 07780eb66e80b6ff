"""Language models that continue a text: their examples, their loss, and what they answer.

The loss is the cross-entropy of the learned tokens alone, summed and divided by their number in the whole optimiser
step, so that neither padding, nor packing, nor the size of a batch changes what an example weighs. The last layer is
computed for learned tokens only, which for short answers to long prompts is most of its cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.engine import chat
from training.engine.batches import inference_batches
from training.engine.data import longest_input
from training.engine.failures import EngineError
from training.engine.frozen import load_tokenizer
from training.engine.pooling import ADAPTER_CONFIG

IGNORED = -100
# Logits of so many tokens are held at a time; the vocabulary is what makes them large.
SLICE = 2048


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the language model of an admitted folder with full weights."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        attn_implementation="sdpa",
    )


def load_saved(folder: Path, base_folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """Return the model saved in ``folder``, ready to answer; an adapter is merged into the base model."""
    if not (folder / ADAPTER_CONFIG).exists():
        return load(folder, dtype).eval()
    from peft import PeftModel

    return PeftModel.from_pretrained(load(base_folder, dtype), str(folder), local_files_only=True).merge_and_unload()


def add_adapter(model: Any, method: str, rank: int, alpha: float, dropout: float, targets: str) -> Any:
    """Return ``model`` with a LoRA adapter of the kind that ``method`` names (``spec.ADAPTERS``)."""
    from peft import LoraConfig, get_peft_model

    head = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        # gpt2 keeps its linear layers in a class of its own, which peft knows as well.
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D")
        and module is not head
        and (targets == "all-linear" or "attn" in name or "attention" in name)
    ]
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=names,
        bias="none",
        use_dora=method == "dora",
        use_rslora=method == "rslora",
    )
    return get_peft_model(model, config)


# Examples


@dataclass(frozen=True)
class Examples:
    """Token ids of many examples in one array; example ``i`` is ``ids[offsets[i]:offsets[i + 1]]``.

    ``targets`` holds for each place the token that is learned to follow, or ``IGNORED``; ``places`` counts from zero
    within each example, also where several are packed into one; ``cut`` and ``left_out`` count examples that were
    shortened, and those of which nothing to learn was left.
    """

    ids: np.ndarray
    targets: np.ndarray
    places: np.ndarray
    offsets: np.ndarray
    cut: int = 0
    left_out: int = 0

    @property
    def lengths(self) -> np.ndarray:
        """Return the number of tokens of each example."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def learned(self) -> int:
        """Return how many tokens are learned."""
        return int((self.targets != IGNORED).sum())


@dataclass(frozen=True)
class Words:
    """How a base model turns messages into tokens: its tokenizer, template, end-of-text token, and longest example."""

    tokenizer: Any
    template: chat.Template | None
    end: int | None
    longest: int

    @property
    def pad(self) -> int:
        """Return a token to fill up with; it is never read."""
        return int(self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end or 0)

    def encode(self, rendered: chat.Rendered, longest: int | None = None) -> chat.Encoded:
        """Return the tokens of a text."""
        words = self.tokenizer.backend_tokenizer
        words.no_truncation()
        words.no_padding()
        return chat.encode(words, rendered, self.end, longest or self.longest)


def words_of(folder: Path, config: Any, longest: int, use_template: bool = True) -> Words:
    """Return how the model in ``folder`` reads; raises ``EngineError`` for a chat template that is unusable."""
    tokenizer = load_tokenizer(folder)
    try:
        template = chat.Template.of(folder) if use_template else None
    except chat.TemplateError as error:
        raise EngineError("bad_spec", str(error), "Choose another base model, or the format plain.") from error
    return Words(tokenizer, template, tokenizer.eos_token_id, longest_input(tokenizer, config, longest))


def prepare(words: Words, conversations: Sequence[Sequence[chat.Message]]) -> Examples:
    """Return the examples to learn from, one for each conversation but those of which nothing learned is left."""
    ids: list[list[int]] = []
    targets: list[list[int]] = []
    cut = left_out = 0
    for messages in conversations:
        try:
            found = words.encode(chat.render(messages, words.template))
        except chat.TemplateError as error:
            raise EngineError(
                "unreadable_data", str(error), "Choose the format plain, or another base model."
            ) from error
        following = [
            token if learned else IGNORED for token, learned in zip(found.ids[1:], found.learned[1:], strict=True)
        ]
        cut += found.was_cut
        if all(token == IGNORED for token in following):
            left_out += 1
            continue
        ids.append(found.ids)
        targets.append([*following, IGNORED])
    if not ids:
        raise EngineError(
            "too_little_data",
            "Nothing to learn is left of any example: every answer lies behind the longest example.",
            "Raise the longest example.",
        )
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    return Examples(
        ids=np.concatenate([np.asarray(one, dtype=np.int64) for one in ids]),
        targets=np.concatenate([np.asarray(one, dtype=np.int64) for one in targets]),
        places=np.concatenate([np.arange(len(one)) for one in ids]),
        offsets=offsets,
        cut=cut,
        left_out=left_out,
    )


def pack(examples: Examples, size: int) -> Examples:
    """Return the same examples laid end to end in rows of at most ``size`` tokens, longest first into the fullest row.

    Best-fit decreasing (Johnson, 1973). Each example keeps its own places, by which the model keeps them apart.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for index in np.argsort(-examples.lengths, kind="stable"):
        length = int(examples.lengths[index])
        fitting = [(room, row) for row, room in enumerate(free) if room >= length]
        if fitting:
            _room, row = min(fitting)
            rows[row].append(int(index))
            free[row] -= length
        else:
            rows.append([int(index)])
            free.append(size - length)
    order = np.concatenate([np.arange(examples.offsets[i], examples.offsets[i + 1]) for row in rows for i in row])
    lengths = [sum(int(examples.lengths[i]) for i in row) for row in rows]
    return Examples(
        ids=examples.ids[order],
        targets=examples.targets[order],
        places=examples.places[order],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        cut=examples.cut,
        left_out=examples.left_out,
    )


class Collator:
    """Turns a list of indices into padded tensors: ``input_ids``, ``labels`` (the following token), and the mask.

    Packed rows have ``position_ids`` instead of a mask; what fills up a row counts on from the last place, so that it
    is told apart from nothing and changes nothing, since no label is there.
    """

    def __init__(self, examples: Examples, pad: int, packed: bool):
        self._examples = examples
        self._pad = pad
        self._packed = packed

    def __call__(self, indices: Sequence[int]) -> dict[str, torch.Tensor]:
        held = self._examples
        lengths = held.lengths[np.asarray(indices)]
        inside = np.arange(lengths.max())[None, :] < lengths[:, None]
        chosen = np.concatenate([np.arange(held.offsets[i], held.offsets[i + 1]) for i in indices])

        def filled(values: np.ndarray, empty: int) -> torch.Tensor:
            table = np.full(inside.shape, empty, dtype=np.int64)
            table[inside] = values[chosen]
            return torch.from_numpy(table)

        batch = {
            "input_ids": filled(held.ids, self._pad),
            "labels": filled(held.targets, IGNORED),
            "tokens": torch.tensor(int(lengths.sum())),
        }
        if not self._packed:
            return {**batch, "attention_mask": torch.from_numpy(inside.astype(np.int64))}
        places = filled(held.places, 0)
        # A filling of its own: counted from zero, it is one more example that nothing is learned from.
        for row, length in enumerate(lengths):
            places[row, length:] = torch.arange(inside.shape[1] - int(length))
        return {**batch, "position_ids": places}


def count(batch: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Return the tokens of a batch without and with padding."""
    return int(batch["tokens"]), batch["input_ids"].numel()


# Loss


def _parts(model: Any) -> tuple[Any, Any]:
    """Return the body, which gives a vector for each token, and the head, which makes logits of it."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.base_model, inner.get_output_embeddings()


def token_losses(model: Any, batch: dict[str, torch.Tensor], bf16: bool) -> torch.Tensor:
    """Return the cross-entropy of each learned token of a batch, in the order of rows and places, in fp32."""
    body, head = _parts(model)
    device = batch["input_ids"].device.type
    named = {name: batch[name] for name in ("attention_mask", "position_ids") if name in batch}
    labels = batch["labels"]
    wanted = labels != IGNORED
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        hidden = body(input_ids=batch["input_ids"], use_cache=False, **named).last_hidden_state[wanted]
        targets = labels[wanted]
        losses = [
            nn.functional.cross_entropy(
                head(hidden[start : start + SLICE]).float(), targets[start : start + SLICE], reduction="none"
            )
            for start in range(0, len(targets), SLICE)
        ]
    return torch.cat(losses) if losses else hidden.sum(dim=-1) * 0.0


def example_losses(model: Any, examples: Examples, pad: int, device: str, bf16: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return for each example the sum of its tokens' cross-entropy and their number; keeps the training mode."""
    training = model.training
    model.eval()
    collate = Collator(examples, pad, packed=False)
    sums, counts = np.zeros(len(examples)), np.zeros(len(examples))
    try:
        with torch.inference_mode():
            for indices in inference_batches(examples.lengths, largest=64):
                batch = {name: tensor.to(device) for name, tensor in collate(indices.tolist()).items()}
                losses = token_losses(model, batch, bf16).double().cpu()
                rows = (batch["labels"] != IGNORED).sum(dim=1).cpu()
                for index, part in zip(indices, torch.split(losses, rows.tolist()), strict=True):
                    sums[index], counts[index] = float(part.sum()), len(part)
    finally:
        model.train(training)
    return sums, counts


# Answers


def generate(
    model: Any, words: Words, conversations: Sequence[Sequence[chat.Message]], longest_answer: int, device: str
) -> list[str]:
    """Return what the model answers to each conversation, the most probable token at every place (no chance in it).

    Of a question that is too long its end is kept.
    """
    limit = min(words.longest, getattr(model.config, "max_position_embeddings", 10**9) - longest_answer)
    prompts = [words.encode(chat.question(messages, words.template), 10**9).ids[-limit:] for messages in conversations]
    ends = {words.end, *_listed(getattr(model.generation_config, "eos_token_id", None))} - {None}
    answers = [""] * len(prompts)
    lengths = np.array([len(prompt) for prompt in prompts])
    for indices in inference_batches(lengths + longest_answer, largest=32):
        width = int(lengths[indices].max())
        ids = np.full((len(indices), width), words.pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, index in enumerate(indices):
            ids[row, width - lengths[index] :] = prompts[index]
            mask[row, width - lengths[index] :] = 1
        with torch.inference_mode():
            said = model.generate(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=torch.from_numpy(mask).to(device),
                max_new_tokens=longest_answer,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=sorted(ends) or None,
                pad_token_id=words.pad,
            )
        for row, index in enumerate(indices):
            answers[index] = words.tokenizer.decode(said[row, width:], skip_special_tokens=True).strip()
    return answers


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]
