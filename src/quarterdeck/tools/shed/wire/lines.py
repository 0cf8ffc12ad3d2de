"""A process's standard streams as a transport of the SDK: one JSON-RPC message a line.

Rules
- Of a line that is too long the beginning may tell whose answer it is: that call fails with a word about it. Else the
  connection ends.
- A server that goes on sending without being asked is cut off: time and memory here are not its to use up.
- What is not a message is skipped: programs print greetings to their standard output.
"""

import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Final

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import INTERNAL_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.tools.shed.framing import Lines
from quarterdeck.tools.shed.port import MAX_MESSAGE, MAX_UNASKED, Pipe

_log = logging.getLogger(__name__)

_ID: Final = re.compile(rb'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,15})\s*,')


Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]


class Flood(Exception):
    """It sends and sends without being asked."""


class PipeTransport:
    """Implements the SDK's `Transport` over a pipe. Entered once."""

    def __init__(self, pipe: Pipe, gone: Callable[[str], None]) -> None:
        """`gone` is told when nothing more will come, with the reason where it was not the server's own end."""
        self._pipe = pipe
        self._gone = gone
        self._lines = Lines(MAX_MESSAGE)
        self._unasked = (0, 0)
        self._entered = self._running()
        self._why = ""

    async def __aenter__(self) -> Streams:
        return await self._entered.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._entered.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Streams]:
        heard, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        writing, said = anyio.create_memory_object_stream[SessionMessage](0)
        async with heard, reading, writing, said, anyio.create_task_group() as group:
            group.start_soon(self._hear, heard)
            group.start_soon(self._say, said)
            try:
                yield reading, writing
            finally:
                group.cancel_scope.cancel()

    async def _hear(self, heard: ObjectSendStream[SessionMessage | Exception]) -> None:
        try:
            async with heard:
                while data := await self._pipe.read():
                    self._count(0, len(data))
                    for line in self._lines.feed(data):
                        self._count(1, 0)
                        if (message := self._message(line)) is not None:
                            await heard.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._why = self._why or "the connection was closed"
        except Flood as flood:
            self._why = str(flood)
        except (QuarterdeckError, OSError) as error:
            self._why = str(error)
        finally:
            self._gone(self._why)

    def _message(self, line: bytes | None) -> JSONRPCMessage | None:
        if line is None:
            found = _ID.match(self._lines.head)
            if found is None:
                raise Flood(f"it sent a message of more than {MAX_MESSAGE} bytes")
            error = ErrorData(code=INTERNAL_ERROR, message=f"the answer is longer than {MAX_MESSAGE} bytes")
            return JSONRPCError(jsonrpc="2.0", id=int(found[1]), error=error)
        if not line.strip():
            return None
        try:
            return jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            _log.debug("a tool server printed a line that is no message: %r", line[:200])
            return None

    def _count(self, messages: int, size: int) -> None:
        self._unasked = (self._unasked[0] + messages, self._unasked[1] + size)
        if self._unasked[0] > MAX_UNASKED[0] or self._unasked[1] > MAX_UNASKED[1]:
            raise Flood("it sent more than it may without being asked")

    async def _say(self, said: ObjectReceiveStream[SessionMessage]) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with said:
                async for item in said:
                    self._unasked = (0, 0)
                    text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                    # JSON has no line breaks of its own, but the text in it may hold those that other readers know.
                    line = json.dumps(json.loads(text)) if not text.isascii() else text
                    try:
                        await self._pipe.write(line.encode() + b"\n")
                    except (QuarterdeckError, OSError) as error:
                        self._why = self._why or str(error)
                        return
