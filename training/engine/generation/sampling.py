"""How the next token of each request is drawn: its own temperature, nucleus, seed and log probabilities in one batch.

transformers' continuous batching has one random state for everybody and reports the probability of the processed
scores. Here every request draws with a generator of its own, so that a seed means something however the batch is
made up, and log probabilities are those of the model, before temperature and nucleus.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList

from training.engine.generation.adapters import AdapterRouter


@dataclass(frozen=True)
class TokenRecord:
    """One drawn token with the natural logarithm of its probability, and the likeliest alternatives."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass
class Draw:
    """How one request draws; ``records`` grows by one for each token when ``logprobs`` is asked for."""

    temperature: float
    top_p: float
    generator: torch.Generator
    adapter: int = 0
    logprobs: int | None = None
    records: list[TokenRecord] = field(default_factory=list)


class Sampler(ContinuousBatchingLogitsProcessorList):
    """Takes the place of the manager's logits processors; marks each row's drawn token as its largest score.

    The manager itself then takes the largest (``do_sample`` is off). It also sees every batch before it is computed,
    which is where the adapters of its tokens are set. Relies on synchronous batching without CUDA graphs.
    """

    def __init__(self, router: AdapterRouter) -> None:
        # Of the parent's set-up nothing is wanted: there are no processors to convert.
        self.logits_processor = LogitsProcessorList()
        self.tensors_required = 0
        self.supported_keys: dict[str, type] = {}
        self.ignored_keys: set[str] = set()
        self.do_processing = True
        self._router = router
        self._draws: dict[str, Draw] = {}
        self._rows: list[Draw | None] = []

    def expect(self, request: str, draw: Draw) -> None:
        """Note how a request draws, before it is handed to the manager."""
        self._draws[request] = draw

    def forget(self, request: str) -> None:
        """Forget a request that has ended."""
        self._draws.pop(request, None)

    def prepare_tensor_args(self, requests_in_batch: list[Any], arg_storage: torch.Tensor) -> torch.Tensor:
        """Note whose tokens the coming batch holds, in its order."""
        draws = [self._draws.get(one.state.request_id) for one in requests_in_batch]
        self._router.place(
            [
                (one.query_length, draw.adapter if draw else 0)
                for one, draw in zip(requests_in_batch, draws, strict=True)
            ]
        )
        self._rows = [draw for one, draw in zip(requests_in_batch, draws, strict=True) if one.has_new_token]
        return arg_storage

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.Tensor, logits_processor_args: torch.Tensor
    ) -> torch.Tensor:
        """Return the scores (rows x vocabulary) with each drawn token's raised above all others."""
        rows = [(row, draw) for row, draw in enumerate(self._rows) if draw is not None]
        told = [(row, draw) for row, draw in rows if draw.logprobs is not None]
        logprobs = torch.log_softmax(scores[[row for row, _ in told]], dim=-1) if told else None
        drawing = [(row, draw) for row, draw in rows if draw.temperature > 0]
        if drawing:
            index = torch.tensor([row for row, _ in drawing], device=scores.device)
            chosen = _draw(scores[index], [draw for _, draw in drawing])
            scores[index, chosen] = torch.inf
        if logprobs is not None:
            for line, (row, draw) in zip(logprobs, told, strict=True):
                token = int(scores[row].argmax())
                top = line.topk(draw.logprobs) if draw.logprobs else None
                pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True) if top is not None else ()
                draw.records.append(TokenRecord(token, float(line[token]), tuple(pairs)))
        return scores


def _draw(scores: torch.Tensor, draws: list[Draw]) -> torch.Tensor:
    """Return one token for each row: the place in the cumulative distribution where the row's own number falls."""
    device = scores.device
    temperatures = torch.tensor([draw.temperature for draw in draws], device=device)
    numbers = torch.tensor([float(torch.rand((), generator=draw.generator)) for draw in draws], device=device)
    probabilities = torch.softmax(scores / temperatures.unsqueeze(-1), dim=-1)
    cut = [row for row, draw in enumerate(draws) if draw.top_p < 1]
    if cut:
        nucleus = torch.tensor([draws[row].top_p for row in cut], device=device).unsqueeze(-1)
        ordered, places = probabilities[cut].sort(dim=-1, descending=True)
        # The likeliest token stays whatever the nucleus; a token stays while those before it do not fill it.
        outside = ordered.cumsum(-1) - ordered >= nucleus
        outside[:, 0] = False
        probabilities[cut] = torch.zeros_like(ordered).scatter(-1, places, ordered.masked_fill(outside, 0))
    cumulative = probabilities.cumsum(-1)
    wanted = (numbers.unsqueeze(-1) * cumulative[:, -1:]).clamp(min=torch.finfo(cumulative.dtype).tiny)
    return torch.searchsorted(cumulative, wanted).squeeze(-1).clamp(max=scores.shape[-1] - 1)
