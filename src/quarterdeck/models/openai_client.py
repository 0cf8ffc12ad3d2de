"""The only file that knows the `openai` SDK: it sends a body in one of two formats and hands on events."""

import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx2
import openai

from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import connection, errors, openai_chat, openai_responses, tls
from quarterdeck.models.port import Deadlines
from quarterdeck.models.streaming import Dialect

_PATHS: Final = {"chat": "/chat/completions", "responses": "/responses"}
"""By wire format."""


def _chat(hosted: bool) -> Dialect:
    return Dialect(
        wire="chat",
        body=lambda request, model, window: openai_chat.body(request, model, hosted=hosted),
        fold=lambda name, request: openai_chat.ChatFold(name, len(request.messages)),
    )


_RESPONSES = Dialect(
    wire="responses",
    body=lambda request, model, window: openai_responses.body(request, model),
    fold=lambda name, request: openai_responses.ResponsesFold(name),
)


def dialect(provider: str, base_url: str | None) -> Dialect:
    """The format that `provider` (`openai` or `chat`) is spoken to in."""
    if provider == "openai":
        return _RESPONSES
    host = urlsplit(base_url or "https://api.openai.com").hostname or ""
    return _chat(hosted=host == "openai.com" or host.endswith(".openai.com"))


def connect(
    provider: str, key: str | None, base_url: str | None, deadlines: Deadlines, reload: Callable[[], str | None]
) -> tuple["OpenAITransport", Dialect]:
    """A connection and how it is spoken to."""
    return OpenAITransport(provider, key, base_url, deadlines, reload), dialect(provider, base_url)


class OpenAITransport:
    """One SDK client, shared by all agents."""

    def __init__(
        self,
        provider: str,
        key: str | None,
        base_url: str | None,
        deadlines: Deadlines,
        reload: Callable[[], str | None],
    ) -> None:
        self._provider = provider
        self._key = key
        self._reload = reload
        self._address = address = base_url or "https://api.openai.com/v1"
        plain = tls.needless(address)
        self._client = openai.AsyncOpenAI(
            # Local servers ask for no key, but the SDK does.
            api_key=key or "none",
            base_url=address,
            max_retries=0,
            timeout=openai.Timeout(None, connect=deadlines.connect),
            http_client=openai.DefaultAsyncHttpx2Client(verify=plain) if plain is not None else None,
        )

    @property
    def key(self) -> str | None:
        return self._key

    async def events(self, wire: str, body: dict[str, Any], tag: str) -> AsyncGenerator[dict[str, Any]]:
        headers = {"x-quarterdeck-tag": tag} if tag else {}
        try:
            # Not by `create`: bringing a body that is right already into the SDK's types, and each event out of them
            # again, takes more time than everything else in a call.
            stream = await self._client.post(
                _PATHS[wire],
                body={**body, "stream": True},
                options={"headers": headers},
                cast_to=object,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
            try:
                async for event in stream:
                    yield cast("dict[str, Any]", event)  # whoever collects it finds out where it is none
            finally:
                await stream.close()
        except (openai.APIError, httpx2.HTTPError, OSError, ValueError, RecursionError) as error:
            raise failure(f"{self._provider}:{body['model']}", self._address, error) from error

    async def window(self, model: str) -> int | None:
        try:
            listed = [entry async for entry in self._client.models.list()]
        except openai.NotFoundError:
            return None
        except (openai.APIError, httpx2.HTTPError, json.JSONDecodeError) as error:
            raise failure(f"{self._provider}:{model}", self._address, error) from error
        extra = next((entry.to_dict(warnings=False) for entry in listed if entry.id == model), {})
        window = extra.get("max_model_len")
        return window if isinstance(window, int) else None

    async def reload_key(self, used: str | None) -> None:
        if used == self._key and (fresh := self._reload()):
            self._key = self._client.api_key = fresh

    async def close(self) -> None:
        await self._client.close()


def failure(name: str, address: str, error: Exception) -> ModelFailed:
    """What an exception of the SDK means, in a call to the server at `address`."""
    if isinstance(error, openai.APIStatusError):
        wait = errors.retry_after(error.response.headers, time.time())
        return errors.failed(name, errors.read_body(error.status_code, error.body, wait, error.message))
    if isinstance(error, openai.APIError) and not isinstance(error, openai.APIConnectionError):
        return errors.failed(name, errors.read_body(None, error.body, fallback=error.message), billed=True)
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    return connection.broken(name, address, cause)
