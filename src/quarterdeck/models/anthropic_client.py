"""The only file that knows the `anthropic` SDK: it sends a body and hands on events."""

import json
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

import anthropic
import httpx2

from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.models import anthropic_messages, connection, errors, tls
from quarterdeck.models.port import Deadlines
from quarterdeck.models.streaming import Dialect

_DIALECT: Final = Dialect(
    wire="messages",
    body=lambda request, model, window: anthropic_messages.body(request, model),
    fold=lambda name, request: anthropic_messages.MessagesFold(name),
)


def connect(
    provider: str, key: str | None, base_url: str | None, deadlines: Deadlines, reload: Callable[[], str | None]
) -> tuple["AnthropicTransport", Dialect]:
    """A connection and how it is spoken to."""
    return AnthropicTransport(key, base_url or "https://api.anthropic.com", deadlines, reload), _DIALECT


class AnthropicTransport:
    """One SDK client, shared by all agents."""

    def __init__(self, key: str | None, base_url: str, deadlines: Deadlines, reload: Callable[[], str | None]) -> None:
        self._key = key
        self._reload = reload
        self._address = base_url
        plain = tls.needless(base_url)
        self._client = anthropic.AsyncAnthropic(
            api_key=key or "",
            base_url=base_url,
            max_retries=0,
            timeout=anthropic.Timeout(None, connect=deadlines.connect),
            http_client=anthropic.DefaultAsyncHttpxClient(verify=plain) if plain is not None else None,
        )

    @property
    def key(self) -> str | None:
        return self._key

    async def events(self, wire: str, body: dict[str, Any], tag: str) -> AsyncGenerator[dict[str, Any]]:
        headers = {"x-quarterdeck-tag": tag} if tag else {}
        name = f"anthropic:{body['model']}"
        try:
            # Not by `create`: bringing a body that is right already into the SDK's types takes more time than the rest.
            stream = await self._client.post(
                "/v1/messages",
                body={**body, "stream": True},
                options={"headers": headers},
                cast_to=object,
                stream=True,
                stream_cls=anthropic.AsyncStream[object],
            )
            try:
                # Raw, because the SDK's own iteration hides the pings that show that a long thought is alive.
                async for sent in anthropic.AsyncStream.raw_events(stream.response):
                    if sent.data:
                        yield json.loads(sent.data)
            finally:
                await stream.close()
        except (anthropic.APIError, httpx2.HTTPError, OSError, ValueError, RecursionError) as error:
            raise failure(name, self._address, error) from error

    async def window(self, model: str) -> int | None:
        try:
            return (await self._client.models.retrieve(model)).max_input_tokens
        except (anthropic.APIError, httpx2.HTTPError) as error:
            raise failure(f"anthropic:{model}", self._address, error) from error

    async def reload_key(self, used: str | None) -> None:
        if used == self._key and (fresh := self._reload()):
            self._key = self._client.api_key = fresh

    async def close(self) -> None:
        await self._client.close()


def failure(name: str, address: str, error: Exception) -> ModelFailed:
    """What an exception of the SDK means, in a call to the server at `address`."""
    if isinstance(error, anthropic.APIStatusError):
        wait = errors.retry_after(error.response.headers, time.time())
        return errors.failed(name, errors.read_body(error.status_code, error.body, wait, error.message))
    cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) and error.__cause__ else error
    return connection.broken(name, address, cause)
