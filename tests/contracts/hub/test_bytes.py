"""Bytes: whole, in ranges, resumed after a cut, from an object store elsewhere, and never all in memory."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from tests.rig import processes

LARGE = "/helpdesk/sorter/resolve/main/onnx/model.onnx"


@pytest.fixture(scope="module")
def whole(hub) -> bytes:
    """Return the large file as it was stored."""
    answer = hub.ask("bob", "GET", LARGE)
    assert hashlib.sha256(answer.content).hexdigest() == answer.headers["ETag"].strip('"')
    return answer.content


def test_head_says_all_that_a_client_asks_of_a_file(hub):
    large, small = (hub.ask("bob", "HEAD", path) for path in (LARGE, LARGE.replace("onnx/model.onnx", "config.json")))
    for answer in (large, small):
        assert answer.status_code == 200
        assert answer.headers["X-Repo-Commit"] == hub.commits["sorter"]
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Content-Length"] == answer.headers["X-Linked-Size"]
        assert "internal use" in answer.headers["X-HF-Warning"]
        assert "content-encoding" not in answer.headers
    assert large.headers["Content-Length"] == "12000000"
    assert (len(large.headers["ETag"]), len(small.headers["ETag"])) == (66, 42)


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [("0-99", 206, 0, 100), ("11999990-", 206, 11_999_990, None), ("-10", 206, -10, None), ("5-4", 200, 0, None)],
)
def test_ranges_are_met(hub, whole, wanted, status, start, end):
    answer = hub.ask("bob", "GET", LARGE, headers={"Range": f"bytes={wanted}"})
    assert answer.status_code == status
    assert answer.content == whole[start:end]
    if status == 206:
        assert answer.headers["Content-Range"].endswith("/12000000")


def test_a_range_behind_the_end_is_refused_with_the_size(hub):
    answer = hub.ask("bob", "GET", LARGE, headers={"Range": "bytes=12000000-"})
    assert (answer.status_code, answer.headers["Content-Range"]) == (416, "bytes */12000000")


def test_curl_downloads_with_a_token(hub, whole, tmp_path):
    target = tmp_path / "model.onnx"
    command = ["curl", "--silent", "--fail", "--location", "--continue-at", "-", "--output", str(target)]
    target.write_bytes(whole[:5_000_000])
    token = f"Authorization: Bearer {hub.tokens['eve']}"
    subprocess.run([*command, "--header", token, hub.url + LARGE], check=True)
    assert target.read_bytes() == whole


@contextmanager
def cutting(target: int, after: int) -> Iterator[int]:
    """Yield the port of a proxy that cuts the first connection that carries more than `after` bytes to the client."""
    server = socket.create_server(("127.0.0.1", 0))
    state = {"cut": False}
    opened: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket, *, limited: bool) -> None:
        seen = 0
        with suppress(OSError):
            while data := source.recv(65536):
                seen += len(data)
                if limited and seen > after and not state["cut"]:
                    state["cut"] = True
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _address = server.accept()
                far = socket.create_connection(("127.0.0.1", target))
                opened.extend((near, far))
                for source, sink, limited in ((near, far, False), (far, near, True)):
                    threading.Thread(target=pump, args=(source, sink), kwargs={"limited": limited}, daemon=True).start()

    waiting = threading.Thread(target=serve, daemon=True)
    waiting.start()
    try:
        yield server.getsockname()[1]
    finally:
        # Closing alone leaves a thread that accepts waiting for ever.
        server.shutdown(socket.SHUT_RDWR)
        waiting.join(5)
        for end in (server, *opened):
            end.close()


GET_LARGE = """
import hashlib, json, pathlib
from huggingface_hub import hf_hub_download
path = pathlib.Path(hf_hub_download("helpdesk/sorter", "onnx/model.onnx"))
print(json.dumps(hashlib.sha256(path.read_bytes()).hexdigest()))
"""


def test_a_client_goes_on_after_its_connection_was_cut(hub, whole, at_home):
    with cutting(int(hub.url.rpartition(":")[2]), after=11_000_000) as port:
        found, _said = at_home("bob").run(GET_LARGE, environment={"HF_ENDPOINT": f"http://127.0.0.1:{port}"})
    assert found == hashlib.sha256(whole).hexdigest()
    entries = [one for one in hub.entries("model.downloaded") if one["path"] == "onnx/model.onnx"]
    resumed, first = entries[:2]
    assert resumed["part"] == "10485760-", entries
    assert resumed["bytes"] == 12_000_000 - 10_485_760
    # All of the first answer had left the site when the connection was cut, or not all of it.
    assert "part" not in first
    assert 10_485_760 <= first["bytes"] <= 12_000_000


def test_files_of_an_object_store_come_from_there_without_the_token(hub, at_home):
    path = LARGE.replace("model.onnx", "elsewhere.onnx")
    for method in ("HEAD", "GET"):
        answer = hub.ask("bob", method, path)
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith(hub.objects.url)
        assert answer.headers["X-Repo-Commit"] == hub.commits["sorter"]
        assert answer.headers["X-Linked-Size"] == "3500000"
        assert len(answer.headers["X-Linked-Etag"].strip('"')) == 64
    hub.objects.asked.clear()
    found, _said = at_home("eve").run(GET_LARGE.replace("onnx/model", "onnx/elsewhere"))
    assert found == hub.ask("bob", "HEAD", path).headers["X-Linked-Etag"].strip('"')
    assert hub.objects.asked
    assert all(authorization == "" for _method, _path, authorization in hub.objects.asked)
    address = hub.ask("bob", "HEAD", path).headers["Location"]
    assert httpx.get(address.replace("signature=", "signature=0")).status_code == 403
    entry = hub.entries("model.downloaded", 1)[0]
    assert (entry["path"], entry["bytes"]) == ("onnx/elsewhere.onnx", 3_500_000)


def test_a_reader_who_goes_away_is_counted_and_holds_nothing(hub):
    web, database = psutil.Process(hub.process.pid), str(hub.var / "gatehouse.sqlite3")

    def connected() -> bool:
        return database in {file.path for file in web.open_files()}

    processes.wait_until(lambda: not connected(), seconds=10, what="giving back what the tests before have used")
    headers = {"Authorization": f"Bearer {hub.tokens['bob']}"}
    with hub.http.stream("GET", hub.url + LARGE, headers=headers) as answer:
        next(answer.iter_bytes(1000))
        assert not connected(), "a connection is held while bytes flow"
    processes.wait_until(
        lambda: hub.entries("model.downloaded", 1)[0]["outcome"] == "cancelled", seconds=10, what="counting what left"
    )


def test_readers_at_once_do_not_fill_the_memory(hub, whole):
    web = psutil.Process(hub.process.pid)
    hub.ask("bob", "GET", LARGE)
    before = web.memory_info().rss
    headers = {"Authorization": f"Bearer {hub.tokens['bob']}"}
    client = httpx.Client(timeout=60)
    streams = [client.stream("GET", hub.url + LARGE, headers=headers) for _number in range(12)]
    bodies = [stream.__enter__() for stream in streams]
    pieces = [body.iter_bytes(65536) for body in bodies]
    for body in pieces:
        next(body)
    most = web.memory_info().rss
    digests = []
    for body in pieces:
        digests.append(sum(len(piece) for piece in body))
        most = max(most, web.memory_info().rss)
    for stream in streams:
        stream.__exit__(None, None, None)
    client.close()
    assert min(digests) > 11_000_000
    # Twelve files of 12 MB would be 144 MB.
    assert most - before < 48 * 1024 * 1024, f"{(most - before) / 1e6:.0f} MB more"


def test_lost_bytes_are_said_with_a_status(hub):
    sha256 = hub.ask("bob", "HEAD", LARGE).headers["ETag"].strip('"')
    kept = hub.var / "store" / sha256[:2] / sha256[2:4] / sha256
    aside = kept.with_name("aside")
    kept.rename(aside)
    try:
        answer = hub.ask("bob", "GET", LARGE)
    finally:
        aside.rename(kept)
    assert answer.status_code == 503, hub.log()
    assert "has lost" in answer.json()["error"]
    assert json.loads(answer.text)
