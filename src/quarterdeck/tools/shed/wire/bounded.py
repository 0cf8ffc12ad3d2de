"""HTTP answers as they may be: of bounded size, plain, and not a refusal of who asks.

Rules
- A body that is no stream of events may have so many bytes, whatever its head says of its length.
- What is compressed is refused: nobody asked for it, and its real size is not known before it is there.
- Being refused as who one is ends the connection and is said: it is no answer of a tool, and trying does not mend it.
- A stream of events is bounded by each event, which is the SDK's work.
"""

from collections.abc import AsyncIterator
from typing import Final

import httpx2

_REFUSED: Final = (401, 403, 407)


class Bounded(httpx2.AsyncBaseTransport):
    """A transport whose answers are bounded."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, limit: int) -> None:
        """`limit`: bytes of one body."""
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it on."""
        response = await self._inner.handle_async_request(request)
        if request.method == "POST" and response.status_code in _REFUSED:
            await response.aclose()
            raise httpx2.RemoteProtocolError(
                f"HTTP {response.status_code}: it refuses the headers that are declared for it, or wants others"
            )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("the answer is compressed, which was not asked for")
        if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            return response
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Counted(stream, self._limit),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close the transport below."""
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._left -= len(chunk)
            if self._left < 0:
                raise httpx2.ReadError("the answer is longer than it may be")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
