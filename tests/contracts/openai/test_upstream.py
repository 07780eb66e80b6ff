"""A published model that another server answers for: that server is this site's own /v1, over the network as ever."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from portal.gateway import engines
from tests.rig.site import Site

pytestmark = pytest.mark.slow
CHAT = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def upstream(served: Site, settings):
    """Return the engine, with three models of ours given to the other server."""
    settings.UPSTREAM_URL, settings.UPSTREAM_KEY = f"{served.url}/v1", served.tokens["predict"]
    settings.UPSTREAM_MODELS = {
        "team/a": "helpdesk/assistant", "team/v": "helpdesk/vectors", "team/none": "helpdesk/nothing",
    }  # fmt: skip
    return engines.of("team/a")


def named(model: str) -> engines.Loaded:
    return engines.Loaded("0" * 40, Path(), None, {}, {}, model=model)


def run(work):
    """Await it on an event loop of its own, whose connections are closed with it."""

    async def inside():
        try:
            return await work
        finally:
            await engines.close()

    return asyncio.run(inside())


def gather(pieces) -> list[engines.Piece]:
    async def inside() -> list[engines.Piece]:
        async with aclosing(pieces):
            return [piece async for piece in pieces]

    return run(inside())


def test_it_says_the_same_with_the_same_usage(upstream, client) -> None:
    ask = engines.Ask(max_tokens=12, temperature=0.0, n=2, logprobs=1)
    direct = client().chat.completions.create(
        model="helpdesk/assistant", messages=CHAT, max_tokens=12, temperature=0, n=2
    )
    pieces = gather(upstream.chat(named("team/a"), CHAT, ask))
    for index, choice in enumerate(direct.choices):
        mine = [piece for piece in pieces if piece.choice == index]
        assert "".join(piece.text for piece in mine) == choice.message.content
        assert next(piece.finish for piece in mine if piece.finish) == choice.finish_reason
    assert sum(piece.prompt_tokens for piece in pieces) == direct.usage.prompt_tokens
    assert sum(piece.completion_tokens for piece in pieces) == direct.usage.completion_tokens
    told = [one for piece in pieces for one in piece.logprobs or ()]
    assert all(one["logprob"] == one["top"][0]["logprob"] for one in told)
    assert upstream.state() == "ok"


def test_it_completes_and_embeds(upstream, client) -> None:
    ask = engines.Ask(max_tokens=6, temperature=0.0)
    direct = client().completions.create(model="helpdesk/assistant", prompt=["one", "two"], max_tokens=6, temperature=0)
    pieces = gather(upstream.complete(named("team/a"), ["one", "two"], ask))
    texts = ["".join(piece.text for piece in pieces if piece.choice == index) for index in range(2)]
    assert texts == [choice.text for choice in direct.choices]
    held = run(upstream.embed(named("team/v"), ["a door", "a train"]))
    plain = client().embeddings.create(model="helpdesk/vectors", input=["a door", "a train"])
    vectors = np.frombuffer(held.data, dtype="<f4").reshape(2, held.width)
    assert np.allclose(vectors, [row.embedding for row in plain.data])
    assert held.tokens == plain.usage.prompt_tokens


def test_its_refusals_reach_the_caller_and_its_own_troubles_do_not(upstream, settings) -> None:
    long = [{"role": "user", "content": "Who are you? " * 2000}]
    with pytest.raises(engines.Refused) as refused:
        gather(upstream.chat(named("team/a"), long, engines.Ask(max_tokens=1)))
    assert refused.value.field == "messages"
    with pytest.raises(engines.Unavailable) as missing:
        gather(upstream.chat(named("team/none"), CHAT, engines.Ask(max_tokens=1)))
    assert "helpdesk/nothing" not in str(missing.value)
    settings.UPSTREAM_KEY = "wrong"
    with pytest.raises(engines.Unavailable):
        gather(upstream.chat(named("team/a"), CHAT, engines.Ask(max_tokens=1)))
    settings.UPSTREAM_URL = "http://127.0.0.1:9/v1"
    with pytest.raises(engines.Unavailable):
        gather(upstream.chat(named("team/a"), CHAT, engines.Ask(max_tokens=1)))
    assert upstream.state() != "ok"
