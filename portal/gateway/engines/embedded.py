"""The engine process on this machine: classifiers behind a Unix socket (`python -m training.engine.serve`)."""

from __future__ import annotations

import logging

import httpx
from django.conf import settings

from portal.gateway.engines import Answer, Loaded, Refused, Unavailable

logger = logging.getLogger(__name__)

NAME = "embedded"
AWAY = "The model cannot answer right now. Try again in a minute; if that does not help, tell your administrator."
# The first call of a version loads it, which reads and verifies its files.
SECONDS = 60.0


class Engine:
    """Speaks to the engine process; holds no state of its own."""

    def state(self) -> str:
        """Return "ok", or what is wrong."""
        try:
            with self._client(timeout=2.0) as client:
                client.get("/health").raise_for_status()
        except (httpx.HTTPError, Unavailable) as error:
            return str(error) or "the engine does not answer"
        return "ok"

    def predict(self, loaded: Loaded, texts: list[str], top_k: int) -> Answer:
        """Return the labels of each text; raises Unavailable, Refused."""
        body = {
            "key": loaded.key,
            "folder": str(loaded.folder),
            "files": loaded.files,
            "base_folder": str(loaded.base_folder) if loaded.base_folder else None,
            "base_files": loaded.base_files or None,
            "texts": texts,
            "top_k": top_k,
        }
        try:
            with self._client(timeout=SECONDS) as client:
                response = client.post("/v1/predict", json=body)
        except httpx.TimeoutException as error:
            raise Unavailable(f"The engine did not answer within {SECONDS:.0f} seconds. Try again.") from error
        except httpx.HTTPError as error:
            logger.error("The engine process does not answer: %s", error)
            raise Unavailable(AWAY) from error
        held = response.json()
        if response.status_code in {413, 422}:
            problem = held["error"]
            raise Refused(f"{problem['message']} {problem.get('advice', '')}".strip())
        if response.status_code != 200:
            problem = held["error"]
            raise Unavailable(f"{problem['message']} {problem.get('advice', '')}".strip())
        return Answer(
            results=[
                [{"label": row["label"], "score": row["probability"]} for row in one["labels"]]
                for one in held["results"]
            ],
            tokens=held["tokens"],
            latency_ms=round(held["latency_ms"]),
        )

    @staticmethod
    def _client(*, timeout: float) -> httpx.Client:
        try:
            token = settings.ENGINE_TOKEN_FILE.read_text().strip()
        except OSError as error:
            logger.error("The engine's token cannot be read (%s): has the engine process been started?", error)
            raise Unavailable(AWAY) from error
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(settings.ENGINE_SOCKET)),
            base_url="http://engine",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
        )
