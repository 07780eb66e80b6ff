"""The inference application with its life cycle, called in process, and what a request says of a model's files."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from tests.training.engine.conftest import sha256
from training.engine import serve

TOKEN = "a-token-for-tests-only"


def listed(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder by its path."""
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


def request_for(folder: Path, base: Path | None = None, key: str = "") -> dict[str, Any]:
    """Return the fields that name a model version which lies in a folder."""
    return {
        "key": key or folder.name,
        "folder": str(folder),
        "files": listed(folder),
        "base_folder": str(base) if base else None,
        "base_files": listed(base) if base else None,
    }


class Service:
    """The application with its life cycle, called in process."""

    def __init__(self, memory: int):
        self.application = serve.Application(TOKEN, memory)

    def __call__(self, calls: Any) -> Any:
        """Run the coroutine function ``calls`` with a client of a started application."""

        async def inside() -> Any:
            into: asyncio.Queue[dict[str, str]] = asyncio.Queue()
            out: asyncio.Queue[Any] = asyncio.Queue()
            life = asyncio.create_task(self.application({"type": "lifespan"}, into.get, out.put))
            await into.put({"type": "lifespan.startup"})
            assert (await out.get())["type"] == "lifespan.startup.complete"
            transport = httpx.ASGITransport(app=self.application)
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers=headers) as client:
                try:
                    return await calls(client)
                finally:
                    await into.put({"type": "lifespan.shutdown"})
                    await life

        return asyncio.run(inside())
