"""The inference process over HTTP: answers, batching, limits, verification and memory."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.training.engine.conftest import WORDS, Launcher, World
from tests.training.engine.service import Service, listed
from training.engine.spec import EXIT_DONE, Placement

# peft asks a model for a property that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def versions(world: World, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """A full model and an adapter, as requests to load them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    requests = {}
    for method in ("full", "lora"):
        folder = tmp_path_factory.mktemp(method)
        spec = world.with_settings(method, epochs=8, head_start="linear_probe")
        outcome = launcher.run(spec, Placement(str(world.base), str(world.dataset), str(folder), 1, 1))
        assert outcome.code == EXIT_DONE, outcome.stderr
        artifacts = folder / "artifacts"
        requests[method] = {"key": method, "folder": str(artifacts), "files": listed(artifacts), "base_folder": None}
    requests["lora"].update(base_folder=str(world.base), base_files=listed(world.base))
    torch.set_num_threads(threads)
    return requests


@pytest.fixture
def service() -> Service:
    return Service(memory=2**30)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_text_gets_its_class_with_probabilities(service: Service, versions: Any, method: str) -> None:
    texts = [f"please help with my {' '.join(words[:3])}" for _, words in sorted(WORDS.items())]

    async def calls(client: httpx.AsyncClient) -> Any:
        return (await client.post("/v1/predict", json={**versions[method], "texts": texts, "top_k": 2})).json()

    answer = service(calls)
    assert [result["labels"][0]["label"] for result in answer["results"]] == sorted(WORDS)
    for result in answer["results"]:
        first, second = result["labels"]
        assert 1 >= first["probability"] >= second["probability"] >= 0
        assert result["tokens"] > 3
    assert answer["tokens"] == sum(result["tokens"] for result in answer["results"])


def test_concurrent_requests_share_batches_and_answer_as_alone(service: Service, versions: Any) -> None:
    texts = [f"my laptop {'is broken ' * (n % 5)}since monday {n}" for n in range(40)]

    async def calls(client: httpx.AsyncClient) -> Any:
        await client.post("/v1/load", json=versions["full"])
        together = await asyncio.gather(
            *(client.post("/v1/predict", json={**versions["full"], "texts": [text]}) for text in texts)
        )
        batches = (await client.get("/v1/loaded")).json()["batches"]
        alone = [await client.post("/v1/predict", json={**versions["full"], "texts": [text]}) for text in texts]
        return together, batches, alone

    together, batches, alone = service(calls)
    assert batches < len(texts) / 4
    for one, other in zip(together, alone, strict=True):
        first, second = one.json()["results"][0]["labels"][0], other.json()["results"][0]["labels"][0]
        assert first["label"] == second["label"]
        assert first["probability"] == pytest.approx(second["probability"], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"texts": []}, 422, "bad_texts"),
        ({"texts": ["x", " "]}, 422, "bad_texts"),
        ({"texts": ["x"] * 257}, 422, "too_many_texts"),
        ({"texts": ["x" * 50_001]}, 422, "text_too_long"),
        ({"texts": ["x"], "top_k": 0}, 422, "bad_top_k"),
        ({"texts": ["x"], "files": {"../config.json": "0" * 64}}, 422, "bad_path"),
        ({"texts": ["x"], "files": {}}, 422, "unsafe_model"),
        ({"texts": ["x"], "folder": 3}, 422, "wrong_type"),
    ],
)
def test_a_bad_request_is_refused_with_a_sentence(
    service: Service, versions: Any, change: dict[str, Any], status: int, code: str
) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        return await client.post("/v1/predict", json={**versions["full"], **change})

    answer = service(calls)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["advice"]


def test_nothing_but_health_answers_without_the_token(service: Service, versions: Any) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        client.headers["Authorization"] = "Bearer wrong"
        answers = [await client.get("/v1/loaded")]
        for path in ("load", "predict", "unload"):
            answers.append(await client.post(f"/v1/{path}", json=versions["full"]))
        return answers, await client.get("/health")

    answers, health = service(calls)
    assert {answer.status_code for answer in answers} == {401}
    assert health.json() == {"status": "ok"}


def test_a_changed_file_or_a_script_is_never_loaded(service: Service, versions: Any, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(versions["full"]["folder"], tmp_path / "copy"))
    (folder / "labels.json").write_text("[]")
    changed = {**versions["full"], "folder": str(folder)}
    (folder / "run.py").write_text("print()")
    scripted = {**changed, "files": listed(folder)}

    async def calls(client: httpx.AsyncClient) -> Any:
        return [await client.post("/v1/load", json=request) for request in (changed, scripted)]

    codes = [answer.json()["error"]["code"] for answer in service(calls)]
    assert codes == ["hash_mismatch", "unsafe_model"]


def test_the_least_recently_used_model_leaves_when_memory_is_short(versions: Any) -> None:
    async def size(client: httpx.AsyncClient) -> int:
        return (await client.post("/v1/load", json=versions["full"])).json()["size"]

    service = Service(memory=int(2.5 * Service(memory=2**30)(size)))

    async def calls(client: httpx.AsyncClient) -> Any:
        for key in ("one", "two", "one", "three"):
            await client.post("/v1/predict", json={**versions["full"], "key": key, "texts": ["hello"]})
        return (await client.get("/v1/loaded")).json()

    assert [model["key"] for model in service(calls)["models"]] == ["one", "three"]


def test_a_model_larger_than_the_budget_is_refused(versions: Any) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        return await client.post("/v1/load", json=versions["full"])

    assert Service(memory=1000)(calls).status_code == 507


def test_an_unloaded_model_is_gone(service: Service, versions: Any) -> None:
    async def calls(client: httpx.AsyncClient) -> Any:
        await client.post("/v1/load", json=versions["full"])
        unloaded = [(await client.post("/v1/unload", json={"key": "full"})).json() for _ in range(2)]
        return unloaded, (await client.get("/v1/loaded")).json()["models"]

    assert service(calls) == ([{"unloaded": True}, {"unloaded": False}], [])
