"""What a run will cost, by formula: tokens, steps, weights trained, memory and time, each where it can be a range."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from projects.models import DatasetVersion
from training.engine.recipes import Recipe
from training.engine.spec import ADAPTERS
from training.models import BaseModel, TrainingJob
from training.services.jobs.samples import Sample

SPECIAL_TOKENS = 2
CHARACTERS_PER_TOKEN = 4.0
"""For text whose file cannot be read here: English word pieces have about four characters, blanks included."""
FIRST_GUESS = 1.5e11
"""Useful floating-point operations per second of two ordinary cores, until jobs on this site have been timed."""
FIXED_SECONDS = 12.0
"""What every run needs besides training: starting, hashing, baselines on small data, evaluation, export."""
BINS = 12
ADAM_BYTES = 12
"""Bytes per trained weight besides the weight: its gradient and two moments, in 32 bits (Kingma and Ba, 2015)."""
WRITING = 6
"""How many times as long a token takes to write as to read: one at a time keeps no processor busy."""


@dataclass(frozen=True)
class Range:
    """An estimate with its bounds, in one unit."""

    likely: float
    low: float
    high: float


@dataclass(frozen=True)
class Truncation:
    """How long the texts are in tokens. `bins` are (from, to, share of texts); `cut` is the share that is shortened.

    `lost` is the share of which nothing to learn is left, `learned` the mean number of tokens that are learned, both
    for language models alone. `measured` is how many training texts were counted with the model's own tokenizer; 0
    means guessed from characters.
    """

    max_length: int
    cut: float
    mean_tokens: float
    longest: int
    bins: list[tuple[int, int, float]]
    measured: int
    lost: float = 0.0
    learned: float = 0.0


def truncation(sample: Sample, version: DatasetVersion, text_role: str, longest: int) -> Truncation:
    """Return the lengths of the training texts, counted where a sample is at hand, else guessed from the profile."""
    if sample.rows:
        lost = sum(start >= longest for start in sample.starts) / sample.rows if sample.starts else 0.0
        learned = statistics.fmean(sample.learned) if sample.learned else 0.0
        return _histogram(list(sample.lengths), longest, sample.rows, lost, learned)
    column = version.columns.get(text_role)
    reports = (version.profile or {}).get("columns") or []
    found = next((one.get("lengths") for one in reports if one.get("name") == column), None) or {}
    guessed = [
        round(found.get(name, fallback) / CHARACTERS_PER_TOKEN) + SPECIAL_TOKENS
        for name, share, fallback in (("min", 5, 20), ("median", 85, 80), ("p95", 9, 300), ("max", 1, 600))
        for _ in range(share)
    ]
    return _histogram(guessed, longest, 0)


def _histogram(counts: list[int], longest: int, measured: int, lost: float = 0.0, learned: float = 0.0) -> Truncation:
    top = max(counts)
    width = max(1, -(-(top + 1) // BINS))
    bins = [
        (start, start + width - 1, sum(start <= count < start + width for count in counts) / len(counts))
        for start in range(0, top + 1, width)
    ]
    return Truncation(
        max_length=longest,
        cut=sum(count > longest for count in counts) / len(counts),
        mean_tokens=statistics.fmean(min(count, longest) for count in counts),
        longest=top,
        bins=bins,
        measured=measured,
        lost=lost,
        learned=learned,
    )


@dataclass(frozen=True)
class Cost:
    """What a run does and needs; `work` is in floating-point operations."""

    steps_per_epoch: int
    steps: int
    trained: int
    memory: Range
    work: float


def cost(
    *,
    recipe: Recipe,
    method: str,
    values: Mapping[str, Any],
    rows: Mapping[str, int],
    outputs: int,
    baselines: list[str],
    base_model: BaseModel,
    lengths: Truncation,
) -> Cost:
    """Return steps, trained weights, memory and work.

    Work counts six operations per weight and token (forward two, backward four; Kaplan et al., 2020, section 2.1); an
    adapter needs no gradient of the frozen weights, which saves one third. Validation is a forward pass per epoch.
    """
    shape, writes = base_model.shape or {}, recipe.measure == "generation"
    train = rows.get("train", 0)
    if not rows.get("validation"):
        train -= train // 10
    batch, accumulate, epochs = (
        int(values.get(name, fallback))
        for name, fallback in (("batch_size", 32), ("gradient_accumulation", 1), ("epochs", 1))
    )
    longest = lengths.max_length
    tokens = min(lengths.mean_tokens, longest)
    rows_an_epoch = -(-int(train * tokens) // longest) if values.get("packing") else train
    per_epoch = max(1, -(-rows_an_epoch // (batch * accumulate)))
    vocabulary, hidden = shape.get("vocabulary", 0), shape.get("hidden_size", 0)
    body = max(1, base_model.parameters - vocabulary * hidden)
    per_token = (4 if method in ADAPTERS else 6) * body
    seen = train * epochs * tokens
    checked = (rows.get("validation") or train // 9) * epochs * tokens + rows.get("test", 0) * tokens
    work = per_token * seen + 2 * body * checked
    if writes:
        learned = lengths.learned or tokens / 2
        asked = min(rows.get("test", 0), int(values.get("answered_rows", 0)))
        writers = 1 + ("untuned" in baselines)
        head = vocabulary * hidden
        work += 6 * head * train * epochs * learned
        work += WRITING * 2 * (body + head) * asked * writers * int(values.get("answer_tokens", 0))
    elif any(name.startswith("frozen") for name in baselines):
        work += 2 * body * sum(rows.values()) * tokens
    trained = _trained(method, values, shape, base_model.parameters, 0 if writes else outputs)
    return Cost(
        steps_per_epoch=per_epoch,
        steps=per_epoch * epochs,
        trained=trained,
        memory=_memory(base_model.parameters, trained, lengths, batch, shape, writes),
        work=work,
    )


def _trained(method: str, values: Mapping[str, Any], shape: Mapping[str, int], total: int, outputs: int) -> int:
    """Return how many weights are trained: all and the head, or two thin matrices per adapted layer and the head."""
    hidden = shape.get("hidden_size", 384)
    head = (hidden + 1) * outputs
    if method not in ADAPTERS:
        frozen = shape.get("vocabulary", 0) * hidden if values.get("freeze_embeddings") else 0
        return total - frozen + head
    rank, layers = int(values.get("lora_rank", 16)), shape.get("layers", 6)
    wide = shape.get("intermediate_size", 4 * hidden)
    attention = 4 * rank * 2 * hidden
    feed_forward = 2 * rank * (hidden + wide) if values.get("lora_targets") != "attention" else 0
    return layers * (attention + feed_forward) + head


def _memory(total: int, trained: int, lengths: Truncation, batch: int, shape: Mapping[str, int], writes: bool) -> Range:
    """Return bytes at the peak: weights, optimiser state, and activations of one batch of the longest texts.

    Activations per layer follow Korthikanti et al. (2022), equation 1, in 32 bits: s b h (34 + 5 a s / h) x 2. A
    language model adds the logits of the learned tokens with their gradient, in 32 bits.
    """
    hidden, layers = shape.get("hidden_size", 384), shape.get("layers", 6)
    heads = shape.get("attention_heads", max(1, hidden // 64))
    length = min(lengths.max_length, lengths.longest)
    activations = 2 * layers * length * batch * hidden * (34 + 5 * heads * length / hidden)
    logits = 0.0
    if writes:
        share = lengths.learned / max(1.0, lengths.mean_tokens) if lengths.learned else 0.5
        logits = 8 * min(1.0, share) * length * batch * shape.get("vocabulary", 0)
    likely = 4 * total + ADAM_BYTES * trained + activations + logits + 600e6
    return Range(likely, likely * 0.6, likely * 1.5)


def seconds(work: float, base_model: BaseModel, method: str, recipe: str) -> tuple[Range, int]:
    """Return how long so much work takes, and to how many earlier jobs that is fitted: those most alike."""
    past = TrainingJob.objects.filter(state=TrainingJob.State.SUCCEEDED, started_at__isnull=False).order_by("-pk")
    alike: list[tuple[Any, Any]] = []
    for chosen in ({"base_model": base_model, "method": method, "recipe": recipe}, {"recipe": recipe}, {}):
        alike = alike or list(past.filter(**chosen).values_list("dry_run", "summary")[:20])
    ratios = []
    for dry_run, summary in alike:
        took, planned = (summary or {}).get("seconds"), (dry_run or {}).get("work")
        if isinstance(took, int | float) and isinstance(planned, int | float) and took > 0 and planned > 0:
            ratios.append(planned / max(1.0, took - FIXED_SECONDS))
    speed = statistics.median(ratios) if ratios else FIRST_GUESS
    spread = 2.5 if not ratios else 1.6 if len(ratios) < 3 else 1.3
    likely = FIXED_SECONDS + work / speed
    return Range(likely, max(5.0, likely / spread), likely * spread), len(ratios)
