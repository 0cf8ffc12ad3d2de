"""Ollama's own HTTP interface: sends a body, hands on lines, and asks what window a model can have."""

import json
import re
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import httpx2

from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import connection, errors, ollama_chat, tls, windows
from quarterdeck.models.port import Deadlines
from quarterdeck.models.streaming import Dialect

DEFAULT_URL: Final = "http://localhost:11434"

_DIALECT: Final = Dialect(
    wire="ollama",
    body=ollama_chat.body,
    fold=lambda name, request: ollama_chat.OllamaFold(name, len(request.messages)),
    sets_window=True,
)


def connect(
    provider: str, key: str | None, base_url: str | None, deadlines: Deadlines, reload: Callable[[], str | None]
) -> tuple["OllamaTransport", Dialect]:
    """A connection and how it is spoken to."""
    return OllamaTransport(key, base_url, deadlines, reload), _DIALECT


class OllamaTransport:
    """One connection pool, shared by all agents."""

    def __init__(
        self, key: str | None, base_url: str | None, deadlines: Deadlines, reload: Callable[[], str | None]
    ) -> None:
        self._key = key
        self._reload = reload
        # The address of the OpenAI-compatible interface is what people have at hand.
        root = (base_url or DEFAULT_URL).rstrip("/").removesuffix("/v1")
        self._address = root
        plain = tls.needless(root)
        self._client = httpx2.AsyncClient(
            base_url=root + "/",
            timeout=httpx2.Timeout(None, connect=deadlines.connect),
            verify=plain if plain is not None else True,
        )

    @property
    def key(self) -> str | None:
        return self._key

    def _headers(self, tag: str = "") -> dict[str, str]:
        headers = {"x-quarterdeck-tag": tag} if tag else {}
        return {**headers, "authorization": f"Bearer {self._key}"} if self._key else headers

    async def events(self, wire: str, body: dict[str, Any], tag: str) -> AsyncGenerator[dict[str, Any]]:
        name = f"ollama:{body['model']}"
        try:
            async with self._client.stream("POST", "api/chat", json=body, headers=self._headers(tag)) as response:
                if response.status_code != 200:
                    await response.aread()
                    raise _refused(name, response)
                async for line in response.aiter_lines():
                    if line.strip():
                        yield json.loads(line)
        except (httpx2.HTTPError, OSError, ValueError, RecursionError) as error:
            raise _failure(name, self._address, error) from error

    async def window(self, model: str) -> int | None:
        try:
            response = await self._client.post("api/show", json={"model": model}, headers=self._headers())
            if response.status_code != 200:
                raise _refused(f"ollama:{model}", response)
            shown = response.json()
        except (httpx2.HTTPError, json.JSONDecodeError) as error:
            raise _failure(f"ollama:{model}", self._address, error) from error
        info = shown.get("model_info") or {}
        maximum = info.get(f"{info.get('general.architecture')}.context_length")
        set_to = re.search(r"^num_ctx\s+(\d+)", shown.get("parameters") or "", re.MULTILINE)
        return windows.of_ollama(maximum, int(set_to[1]) if set_to else None)

    async def reload_key(self, used: str | None) -> None:
        if used == self._key and (fresh := self._reload()):
            self._key = fresh

    async def close(self) -> None:
        await self._client.aclose()


def _refused(name: str, response: httpx2.Response) -> ModelFailed:
    try:
        body = response.json()
    except json.JSONDecodeError:
        body = response.text
    wait = errors.retry_after(response.headers, time.time())
    return errors.failed(name, errors.read_body(response.status_code, body, wait))


def _failure(name: str, address: str, error: Exception) -> ModelFailed:
    return connection.broken(name, address, error)
