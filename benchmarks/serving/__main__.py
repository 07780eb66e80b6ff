"""``python -m benchmarks.serving``: tokens a second, time to the first token, and what the gateway adds.

A Llama of about 30 million parameters with random weights, the same prompts for everybody and as many threads:

- *in turn*: one `generate` after the other, as a script does it;
- *static batches*: all callers of one moment padded into one `generate`;
- *engine*: this project's engine process over its socket, callers as concurrent streams.

Then a running site with a tiny model, so that the model costs nothing: one caller, over /v1 and directly at the engine.
The difference is the gateway's: who may, the meter, the ledger. Goals: 3 ms, and 10 % of an answer of ordinary length.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.serving.material import PROMPTS, listed, make_model

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120


def plain(model: Path, tokens: int, clients: list[int], threads: int) -> dict[str, Any]:
    """Return what a process of its own measures with transformers' generate."""
    command = [sys.executable, "-m", "benchmarks.serving.plain", str(model), str(tokens), str(threads)]
    done = subprocess.run([*command, *map(str, clients)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def engine(folder: Path, threads: int) -> Iterator[tuple[Path, str]]:
    """Run the engine process until left; gives its socket and its token."""
    token, place = secrets.token_urlsafe(24), folder / "engine.sock"
    (folder / "token").write_text(token)
    command = [sys.executable, "-m", "training.engine.serve", "--socket", str(place), "--threads", str(threads)]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen([*command, "--token-file", str(folder / "token")], cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not place.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The engine did not start:\n{(folder / 'engine.log').read_text()}")
            time.sleep(0.1)
        yield place, token
    finally:
        process.terminate()
        process.wait(20)


def _named(model: Path) -> dict[str, Any]:
    return {"key": "bench", "folder": str(model), "files": listed(model), "base_folder": None}


async def streams(
    client: httpx.AsyncClient, body: dict[str, Any], clients: int, tokens: int
) -> tuple[float, list[float]]:
    """Return tokens a second over all callers, and each caller's seconds to its first token."""
    firsts: list[float] = []

    async def one(number: int) -> int:
        began, written = time.perf_counter(), 0
        asked = {**body, "prompts": [PROMPTS[number % len(PROMPTS)]], "max_tokens": tokens, "temperature": 0}
        async with client.stream("POST", "/v1/generate", json=asked) as answer:
            async for line in answer.aiter_lines():
                event = json.loads(line)
                if "error" in event:
                    raise SystemExit(str(event))
                if event.get("tokens") and not written:
                    firsts.append(time.perf_counter() - began)
                written += event.get("tokens", 0)
        return written

    began = time.perf_counter()
    written = sum(await asyncio.gather(*(one(number) for number in range(clients))))
    return written / (time.perf_counter() - began), firsts


async def measure_engine(place: Path, token: str, model: Path, tokens: int, clients: list[int]) -> dict[int, Any]:
    """Return (tokens a second, seconds to the first token) for each number of callers."""
    transport = httpx.AsyncHTTPTransport(uds=str(place), verify=False)
    headers = {"Authorization": f"Bearer {token}"}
    body, found = _named(model), {}
    async with httpx.AsyncClient(transport=transport, base_url="http://e", headers=headers, timeout=600) as client:
        await streams(client, body, 1, 4)
        for many in clients:
            found[many] = await streams(client, body, many, tokens)
    return found


def throughput(folder: Path, arguments: argparse.Namespace) -> None:
    """Print the table of tokens a second."""
    model = make_model(folder / "model")
    told = plain(model, arguments.tokens, arguments.clients, arguments.threads)
    with engine(folder, arguments.threads) as (place, token):
        found = asyncio.run(measure_engine(place, token, model, arguments.tokens, arguments.clients))
    print(f"\n{told['parameters'] / 1e6:.0f} M parameters, {told['dtype']}, {arguments.threads} threads, "
          f"{arguments.tokens} tokens for each caller; tokens a second\n")  # fmt: skip
    print(" callers   in turn    static    engine   x turn  x static   first token p50       max")
    for many in arguments.clients:
        turn, static = told["in_turn"], told["static"][str(many)]
        speed, firsts = found[many]
        print(
            f"{many:>8} {turn:>9.0f} {static:>9.0f} {speed:>9.0f} {speed / turn:>8.2f} {speed / static:>9.2f} "
            f"{statistics.median(firsts) * 1000:>14.0f} ms {max(firsts) * 1000:>6.0f} ms"
        )


def gateway(calls: int) -> None:
    """Print what /v1 adds to the engine for one caller, in milliseconds and processor time of the web process."""
    from tests.rig import live
    from tests.rig.served import settle as settle_models
    from tests.rig.site import settle

    with live.stack(extra={"API_RATE": "1000000/min", "PREDICT_RATE": "1000000/min"}) as site:
        settle(site)
        token = settle_models(site)["predict"]
        web = next(one for one in psutil.process_iter(["cmdline", "environ"]) if _is_web(one, str(site.var)))
        messages = [{"role": "user", "content": "Who are you?"}]
        with httpx.Client(
            base_url=f"{site.url}/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ) as client:
            for tokens in (1, 64):
                _compare(site, client, web, messages, tokens, calls)


def _compare(site: Any, client: httpx.Client, web: psutil.Process, messages: list, tokens: int, calls: int) -> None:
    asked = {"model": "helpdesk/assistant", "messages": messages, "max_tokens": tokens, "temperature": 0}

    def call() -> None:
        client.post("/chat/completions", json=asked).raise_for_status()

    call()
    weights = (site.var / "engine").glob("*/model.safetensors")
    model = next(path.parent for path in weights if _is_llama(path.parent))
    before = web.cpu_times()
    over = [_timed(call) for _ in range(calls)]
    after = web.cpu_times()
    spent = (after.user + after.system - before.user - before.system) / calls * 1000
    direct = _direct(site, model, messages, tokens, calls)
    there, here = statistics.median(over), statistics.median(direct)
    print(
        f"\n{tokens} token(s): /v1 {there:.1f} ms, engine alone {here:.1f} ms, gateway {there - here:+.1f} ms "
        f"({(there / here - 1) * 100:+.0f} %), p95 {_p95(over):.1f} ms; the web process spends {spent:.1f} ms a call"
    )


def _direct(site: Any, model: Path, messages: list, tokens: int, calls: int) -> list[float]:
    token = (site.var / "run" / "engine.token").read_text().strip()
    transport = httpx.HTTPTransport(uds=str(site.var / "run" / "engine.sock"), verify=False)
    body = {**_named(model), "key": model.name, "messages": messages, "max_tokens": tokens, "temperature": 0}
    with httpx.Client(
        transport=transport, base_url="http://e", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ) as client:
        client.post("/v1/generate", json=body).raise_for_status()
        return [_timed(lambda: client.post("/v1/generate", json=body).raise_for_status()) for _ in range(calls)]


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _is_web(process: psutil.Process, var: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return "uvicorn" in process.cmdline() and process.environ().get("GATEHOUSE_VAR") == var
    return False


def _is_llama(folder: Path) -> bool:
    return json.loads((folder / "config.json").read_text()).get("model_type") == "llama"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=64, help="tokens for each caller")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--calls", type=int, default=100, help="calls of the gateway")
    parser.add_argument("--only", choices=["engine", "gateway"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gh-serving-") as folder:
        if arguments.only != "gateway":
            throughput(Path(folder), arguments)
    if arguments.only != "engine":
        gateway(arguments.calls)


if __name__ == "__main__":
    main()
