"""OpenAI's own Python client against a live site: nothing but its base URL and key is ours."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from tests.rig.processes import speaking_of, wait_until
from tests.rig.site import Site

pytestmark = pytest.mark.slow

MODEL = "helpdesk/assistant"
CHAT = [{"role": "user", "content": "Who are you?"}]
LONG = [{"role": "user", "content": "Who are you? " * 2000}]


def calls(served: Site, count: int = 1) -> list[dict[str, Any]]:
    """What the ledger's newest entries of calls say, as the auditor reads them."""
    dan = served.api("dan")
    found = dan.get("ledger/", params={"action": "model.called"}).json()["results"]
    return [dan.get(f"ledger/{entry['id']}/").json()["body"]["details"] for entry in found[:count]]


def test_a_caller_sees_what_they_may_use_and_what_it_is_for(client) -> None:
    eve, bob = client("eve").models.list().data, client("bob").models.list().data
    assert [model.id for model in eve] == [MODEL, "helpdesk/vectors"]
    assert [model.id for model in bob] == [MODEL, "helpdesk/guarded", "helpdesk/private", "helpdesk/vectors"]
    one = client("predict").models.retrieve(MODEL)
    assert one.owned_by == "helpdesk"
    assert one.governance["intended_use"].startswith("Answer questions of employees")
    assert len(one.governance["commit"]) == 40


def test_a_chat_is_answered_whole_with_its_usage(client) -> None:
    answer = client().chat.completions.create(model=MODEL, messages=CHAT, max_completion_tokens=12, temperature=0)
    assert answer.object == "chat.completion"
    assert answer.model == MODEL
    choice = answer.choices[0]
    assert (choice.message.role, choice.finish_reason) in {("assistant", "length"), ("assistant", "stop")}
    assert choice.message.content
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_the_same_in_pieces(client) -> None:
    asked = {"model": MODEL, "messages": CHAT, "max_tokens": 16, "temperature": 0}
    whole = client().chat.completions.create(**asked)
    with client().chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
        headers = stream.response.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-cache", "no")
    assert chunks[0].choices[0].delta.role == "assistant"
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert len([piece for piece in said if piece]) > 3
    assert "".join(said) == whole.choices[0].message.content
    ends = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason]
    assert ends == [whole.choices[0].finish_reason]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_stop_n_seed_and_logprobs(client) -> None:
    chat = client().chat.completions.create
    asked = {"model": MODEL, "messages": CHAT, "max_tokens": 16}
    whole = chat(**asked, temperature=0).choices[0].message.content
    stop = whole[5:8]
    stopped = chat(**asked, temperature=0, stop=stop).choices[0]
    assert stopped.message.content == whole[: whole.index(stop)]
    assert stopped.finish_reason == "stop"
    first, again = (chat(**asked, n=3, seed=5, temperature=1.2) for _ in range(2))
    texts = [choice.message.content for choice in first.choices]
    assert texts == [choice.message.content for choice in again.choices]
    assert len(set(texts)) == 3
    assert [choice.index for choice in first.choices] == [0, 1, 2]
    told = chat(**asked, temperature=0, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    assert all(one.logprob == one.top_logprobs[0].logprob and len(one.top_logprobs) == 2 for one in told)


def test_plain_completions_whole_and_streamed(client) -> None:
    complete = client().completions.create
    asked = {"model": MODEL, "prompt": ["my laptop", "the train"], "max_tokens": 8, "temperature": 0, "logprobs": 1}
    whole = complete(**asked)
    assert whole.object == "text_completion"
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert len(whole.choices[0].logprobs.token_logprobs) == len(whole.choices[0].logprobs.tokens)
    texts = ["", ""]
    for chunk in complete(**asked, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_embeddings_in_both_encodings(client) -> None:
    texts = ["my badge does not open the door", "the door stays shut for my badge", "flight to Oslo"]
    # The client asks for base64 unless told otherwise and unpacks it itself.
    packed = client().embeddings.create(model="helpdesk/vectors", input=texts)
    plain = client().embeddings.create(model="helpdesk/vectors", input=texts, encoding_format="float")
    vectors = np.array([row.embedding for row in packed.data])
    assert vectors.shape == (3, 384)
    assert np.allclose(vectors, [row.embedding for row in plain.data], atol=1e-6)
    near = vectors @ vectors.T
    assert near[0, 1] > near[0, 2] + 0.3
    assert packed.usage.prompt_tokens > 10


def test_errors_are_the_clients_own(client, served: Site) -> None:
    chat = {"messages": CHAT, "max_tokens": 2}
    with pytest.raises(openai.AuthenticationError) as wrong:
        client("gh_nobody").models.list()
    assert wrong.value.code == "invalid_api_key"
    assert wrong.value.request_id
    with pytest.raises(openai.PermissionDeniedError) as scope:
        client("read").chat.completions.create(model=MODEL, **chat)
    assert "predict" in scope.value.message
    for name in ("helpdesk/nothing", "helpdesk/private", f"{MODEL}:unknown", "gpt-4o"):
        with pytest.raises(openai.NotFoundError) as missing:
            client("eve").chat.completions.create(model=name, **chat)
        assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    for changed, param in (
        ({"temperature": 9}, "temperature"),
        ({"messages": []}, "messages"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"messages": LONG}, "messages"),
        ({"model": "helpdesk/vectors"}, "model"),
    ):
        with pytest.raises(openai.BadRequestError) as bad:
            client("eve").chat.completions.create(**({"model": MODEL, **chat} | changed))
        assert bad.value.param == param, bad.value.message
    with pytest.raises(openai.NotFoundError) as nowhere:
        client().responses.create(model=MODEL, input="x")
    assert nowhere.value.code == "unknown_url"
    # A stream that cannot begin is an ordinary error, not an event.
    with pytest.raises(openai.BadRequestError):
        client().chat.completions.create(model=MODEL, messages=LONG, stream=True)


def test_every_call_is_in_the_ledger_and_never_its_text(client, served: Site) -> None:
    secret = "my badge number is 4711"
    answer = client("bob").chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": secret}], max_tokens=3, user="somebody"
    )
    details = calls(served)[0]
    assert (details["outcome"], details["kind"]) == ("answered", "chat")
    assert details["completion_tokens"] == answer.usage.completion_tokens
    assert answer.system_fingerprint == f"gh_{details['commit'][:12]}"
    assert secret not in json.dumps(details)


def test_a_client_that_leaves_is_counted_and_the_engine_stops_writing(client, served: Site) -> None:
    stream = client().chat.completions.create(
        model=MODEL, messages=CHAT, max_tokens=450, n=8, temperature=1.9, stream=True
    )
    assert len(list(itertools.islice(stream, 20))) == 20
    stream.response.close()
    wait_until(lambda: calls(served)[0]["outcome"] == "cancelled", seconds=10, what="the entry of the call")
    assert 0 < calls(served)[0]["completion_tokens"] < 8 * 450


def test_an_engine_that_is_killed_ends_the_stream_with_an_error_and_comes_back(client, served: Site) -> None:
    (engine,) = [one for one in speaking_of(str(served.live.var)) if "training.engine.serve" in one.cmdline()]
    stream = client(timeout=60).chat.completions.create(
        model=MODEL, messages=CHAT, max_tokens=450, n=8, temperature=1.9, stream=True
    )
    next(iter(stream))
    began = time.monotonic()
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(openai.APIError, match="stopped in the middle"):
        list(stream)
    assert time.monotonic() - began < 10
    with pytest.raises(openai.InternalServerError) as away:
        client().chat.completions.create(model=MODEL, messages=CHAT, max_tokens=1)
    assert away.value.code == "engine_unavailable"
    assert served.api("eve").get("models/").status_code == 200

    def answers() -> bool:
        try:
            return bool(client().chat.completions.create(model=MODEL, messages=CHAT, max_tokens=1).choices)
        except openai.InternalServerError:
            return False

    wait_until(answers, seconds=60, what="the engine's return")
    assert {"unavailable", "answered"} <= {details["outcome"] for details in calls(served, 5)}


def test_an_answer_that_guardrails_look_at_is_held_back_until_it_is_whole(client, served: Site) -> None:
    alice, address = served.api("alice"), "models/helpdesk/guarded/guardrails"
    asked = {"model": "helpdesk/guarded", "messages": CHAT, "max_tokens": 8, "temperature": 0}
    chat = client("bob").chat.completions.create
    whole = chat(**asked).choices[0].message.content

    def look(**rule: object) -> None:
        tag = alice.get(address).headers.get("ETag", "*")
        done = alice.put(address, json={"rules": {"size": rule} if rule else {}}, headers={"If-Match": tag})
        assert done.status_code == 200, done.text

    look(output="note", characters=1)
    chunks = list(chat(**asked, stream=True))
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert said == [whole]
    look(output="refuse", characters=1)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="held back") as refused:
            chat(**asked, stream=stream)
        assert refused.value.code == "content_filter"
    assert calls(served)[0]["outcome"] == "refused"


def test_a_revoked_model_is_gone_in_seconds_even_in_the_middle_of_an_answer(client, served: Site) -> None:
    chat = client("bob", timeout=60).chat.completions.create
    asked = {"model": "helpdesk/private", "messages": CHAT}
    assert chat(**asked, max_tokens=1).choices
    page = served.api("bob").get("publications/", params={"state": "published"}).json()["results"]
    publication = next(one for one in page if one["model"] == "helpdesk/private")
    stream = chat(**asked, max_tokens=4000, temperature=1.9, n=8, stream=True)
    next(iter(stream))
    stopped = served.api("alice").post(
        f"publications/{publication['id']}/suspend/", json={"reason": "It said something rude."}
    )
    assert stopped.status_code == 200, stopped.text
    with pytest.raises(openai.APIError, match="rude"):
        list(stream)
    assert calls(served)[0]["outcome"] == "refused"
    with pytest.raises(openai.NotFoundError, match="rude"):
        chat(**asked, max_tokens=1)
    assert "helpdesk/private" not in [model.id for model in client("bob").models.list().data]


def test_curl_and_every_other_client_get_the_same(served: Site) -> None:
    headers = {"Authorization": f"Bearer {served.tokens['predict']}"}
    with httpx.Client(base_url=f"{served.url}/v1", headers=headers, timeout=60) as plain:
        body = {"model": MODEL, "messages": CHAT, "max_tokens": 3, "stream": True}
        text = plain.post("/chat/completions", json=body).text
        assert text.startswith("data: {")
        assert text.endswith("data: [DONE]\n\n")
        assert plain.get("/chat/completions").status_code == 405
        assert plain.get(f"/models/{MODEL}").json()["id"] == MODEL
        broken = plain.post("/chat/completions", content=b"{")
        assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
