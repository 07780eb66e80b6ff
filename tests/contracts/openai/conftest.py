"""OpenAI's own client for the live site that serves models."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openai
import pytest

from tests.rig.site import Site


@pytest.fixture(scope="module")
def client(served: Site) -> Iterator[Callable[..., openai.OpenAI]]:
    """Return a function that gives OpenAI's client for a persona, or for a token by its name."""
    made: list[openai.OpenAI] = []

    def of(name: str = "eve", **options: object) -> openai.OpenAI:
        key = served.tokens.get(name, name)
        made.append(openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, **({"max_retries": 0} | options)))
        return made[-1]

    yield of
    for one in made:
        one.close()
