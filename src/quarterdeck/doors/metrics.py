"""`GET /metrics`: what Prometheus scrapes.

Rules
- Reading changes nothing and asks nobody; switched off, it is not there (404).
- Who may read it is decided where it is mounted.
"""

from collections.abc import Callable
from typing import Final

from quarterdeck.doors.api.guard import Receive, Scope, Send

Text = Callable[[], tuple[bytes, str]]
"""The present values, and their content type."""

_PLAIN: Final = "text/plain; charset=utf-8"
_OFF: Final = b"switched off: set prometheus = true under [telemetry] in the operator's deck.toml\n"


class MetricsDoor:
    """An ASGI application for one path. `text`: None = switched off."""

    def __init__(self, text: Text | None) -> None:
        self._text = text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, _PLAIN, b"", (b"allow", b"GET, HEAD"))
        elif self._text is None:
            await _answer(send, 404, _PLAIN, _OFF)
        else:
            body, kind = self._text()
            await _answer(send, 200, kind, b"" if scope["method"] == "HEAD" else body)


async def _answer(
    send: Send,
    status: int,
    kind: str,
    body: bytes,
    *more: tuple[bytes, bytes],
) -> None:
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store"), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
