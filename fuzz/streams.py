"""A model's stream as a target: the bytes of a provider's answer, through its client, to a reply or to a failure.

Rules
- The first byte decides: the rest is the body as it is, or choices that mangle well-formed events, or an error page.
- Declared: ModelFailed. Any other exception is a bug.
- What was charged is never negative, and fits where money is counted.
- A reply can be stored and read back, and the request that carries it back to the provider is valid JSON.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from fuzz.shapes import Choices, as_json
from quarterdeck.agents.transcript import decode, encode
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import ModelFailed
from quarterdeck.kernel.price_list import LIST
from quarterdeck.kernel.prices import cost
from quarterdeck.models.http.line import Line
from quarterdeck.models.port import Deadlines, Message, Model, Reply, Request, Text, ToolOutcome, ToolSpec
from quarterdeck.models.streaming import Dialect, StreamingModel

STATUSES: Final = (400, 401, 402, 403, 404, 413, 418, 429, 500, 503, 529, 200)
MAX_COST: Final = 2**63
"""What a column of the store holds."""

Event = tuple[str, dict[str, Any]]
"""Name (empty = none) and data of one event of a stream."""
Connect = Callable[[Deadlines], tuple[Any, Dialect]]

_TOOL: Final = ToolSpec(name="read", description="Read.", parameters={"type": "object", "properties": {}})
_REQUEST: Final = Request(
    system="You are.",
    tools=(_TOOL,),
    messages=(Message(role="user", blocks=(Text(text="Do it."),)),),
    max_output=100,
    tag="r.t.1",
)


class Wire(asyncio.Transport):
    """A connection without a network: what is written is answered, and then it is closed."""

    def __init__(self, line: Line, answer: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._line = line
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._line.data_received, self._answer(bytes(data)))
        self._loop.call_soon(self._line.eof_received)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._line.connection_lost, None)


class Provider:
    """A provider that answers what it is told, without a network."""

    def __init__(self, name: str, connect: Connect, *, lines: bool = False) -> None:
        """`name`: of the model; `lines`: its stream is lines of JSON, not server-sent events."""
        self._lines = lines
        self._status, self._headers, self._body = 200, dict[str, str](), b""
        self._asked: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._stray: list[str] = []
        self._loop.set_exception_handler(lambda _loop, context: self._stray.append(str(context)))
        self._model: Model = self._loop.run_until_complete(self._connected(name, connect))

    async def _connected(self, name: str, connect: Connect) -> Model:
        transport, dialect = connect(Deadlines())
        # Only the socket is replaced: everything from the bytes of the answer on is ours.
        transport.upstream._client._rested = self._line
        return StreamingModel(name, transport, dialect, Deadlines(), configured=100_000)

    def _line(self) -> Line:
        line = Line()
        line.connection_made(Wire(line, self._answer))
        return line

    def _answer(self, request: bytes) -> bytes:
        self._asked.append(request.partition(b"\r\n\r\n")[2])
        headers = {**self._headers, "content-length": str(len(self._body)), "connection": "close"}
        head = f"HTTP/1.1 {self._status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return head.encode("latin-1") + b"\r\n" + self._body

    def one(self, data: bytes, template: Sequence[Event]) -> None:
        """Answer what `data` says: bytes as they are, the template mangled, or an error."""
        choices = Choices(data)
        self._status, self._headers = 200, {"content-type": "text/event-stream"}
        match choices.number() % 4:
            case 0:
                self._body = choices.rest()
            case 1:
                self._status = choices.pick(STATUSES)
                wish = choices.chunk().decode("latin-1").translate({10: None, 13: None, 0: None})
                self._headers = {"content-type": "application/json", choices.pick(_WISHES): wish}
                self._body = choices.rest() if choices.number() % 2 else as_json(choices.mangled(_ERROR))
            case _:
                self._body = self._mangled(choices, template)
        reply = self._ask(_REQUEST)
        if reply is not None:
            self._send_back(reply)

    def _mangled(self, choices: Choices, template: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        events = list(template)
        while events and len(out) < 64:
            how = choices.number()
            name, event = events.pop(0)
            if how >= 240:
                continue
            if how >= 224:
                events.insert(0, (name, event))
            out.append(self._framed(name, as_json(choices.mangled(event) if how % 2 else event)))
        return b"".join(out) + choices.rest()

    def _framed(self, name: str, body: bytes) -> bytes:
        if self._lines:
            return body + b"\n"
        return (f"event: {name}\n".encode() if name else b"") + b"data: " + body + b"\n\n"

    def _ask(self, request: Request) -> Reply | None:
        self._asked.clear()
        try:
            reply = self._loop.run_until_complete(self._model.complete(request))
        except ModelFailed as failure:
            str(failure).encode("utf-8", "replace")
            _charged(failure.usage or Usage())
            assert failure.retry_after is None or failure.retry_after >= 0
            reply = None
        assert len(self._asked) == 1, "nothing was sent, or more than once"
        json.loads(self._asked[0], parse_constant=_no_constant)
        assert not self._stray, self._stray
        return reply

    def _send_back(self, reply: Reply) -> None:
        _charged(reply.usage)
        stored = encode(reply.message)
        assert encode(decode(stored)) == stored
        ids = [call.id for call in reply.message.calls]
        assert len(set(ids)) == len(ids), "two calls have the same id"
        outcomes = tuple(ToolOutcome(id=call, text="done") for call in ids) or (Text(text="Go on."),)
        after = (*_REQUEST.messages, decode(stored), Message(role="user", blocks=outcomes))
        self._status, self._headers, self._body = 500, {}, b"{}"
        self._ask(Request("", (_TOOL,), after, max_output=100, cache_until=len(after)))


_WISHES: Final = ("retry-after", "retry-after-ms", "content-encoding", "content-type", "x-should-retry")
_ERROR: Final[dict[str, Any]] = {
    "type": "error",
    "error": {"type": "rate_limit_error", "code": "slow_down", "message": "Too fast.", "details": {"error_code": "x"}},
}


def _charged(usage: Usage) -> None:
    counts = (usage.input, usage.cache_read, usage.cache_write, usage.output)
    assert min(counts) >= 0, f"negative usage: {usage}"
    assert cost(usage, LIST["anthropic:claude-opus-5-5"]) < MAX_COST, f"a cost that cannot be stored: {usage}"


def _no_constant(name: str) -> None:
    raise AssertionError(f"`{name}` was sent to the provider, which is no JSON")


def provider(name: str, connect: Connect, *, lines: bool = False) -> Callable[[], Provider]:
    """The provider of a target, made when it is first needed."""
    return cache(lambda: Provider(name, connect, lines=lines))


def stream_seeds(template: Sequence[Event], lines: bool) -> list[bytes]:
    """A well-formed stream as it is and as choices, cut ones, and errors of both kinds."""
    whole = b"".join(_frame(name, event, lines) for name, event in template)
    found = [
        b"\0" + whole,
        b"\0" + whole[: len(whole) // 2],
        b"\0",
        b"\0data: [1, 2]\n\ndata: {\n\n",
        b"\2" + b"\1\1" * len(template),
        b"\2" + b"\0\0" * len(template),
        b"\2" + b"\xe0\0" * 4,
        b"\1\7\2" + b"\x0212" + b"\1" + as_json(_ERROR),
        b"\1\7\0\x1dSun, 06 Nov 1994 08:49:37 GMT\0\0",
        b"\1\0\0\0\1<html>bad gateway</html>",
    ]
    return list(dict.fromkeys(found))


def _frame(name: str, event: dict[str, Any], lines: bool) -> bytes:
    body = as_json(event)
    if lines:
        return body + b"\n"
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + body + b"\n\n"
