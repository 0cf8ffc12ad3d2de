"""The MCP server for agents as the conformance tool meets it: on a port of the loopback, with one desk.

Rules
- Only what the tool asks for by name is added: it knows no tool of ours, so some of its own go through the same door.
- The conformance tool has no key to give: who comes without one is given that of the only desk.
- The address is the first line of the output. It ends with its input.
"""

import asyncio
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from conformance.place import place
from quarterdeck.doors.mcp_door import App, McpDoor, Receive, Scope, Send, key_of
from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import parameters
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult

KEY = "qd-conformance"


class Says:
    """A tool that the conformance tool calls by name."""

    effect: Effect = "read"
    replay: Replay = "rerun"

    def __init__(self, name: str, result: ToolResult, schema: Mapping[str, Any] | None = None) -> None:
        given = dict(schema) if schema is not None else parameters({})
        self.spec = ToolSpec(name=name, description="For the conformance tool.", parameters=given)
        self._result = result

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return self._result

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""What the scenario `json-schema-2020-12` wants to see again, word for word."""

_HEADER: dict[str, Any] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}

TOOLS = (
    Says("test_simple_text", ToolResult("This is a simple text response for testing.")),
    Says("test_error_handling", ToolResult("This tool intentionally returns an error for testing", ok=False)),
    Says("json_schema_2020_12_tool", ToolResult("ok"), _SCHEMA),
    Says("test_header", ToolResult("ok"), _HEADER),
)


def with_key(door: McpDoor) -> App:
    """The door, for who has no key."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not key_of(scope):
            scope = {**scope, "headers": [*scope["headers"], (b"x-api-key", KEY.encode())]}
        await door(scope, receive, send)

    return app


@asynccontextmanager
async def served(door: McpDoor, listener: socket.socket) -> AsyncIterator[None]:
    """The door, served on that socket."""
    config = uvicorn.Config(
        with_key(door), http="h11", ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0)
    try:
        yield
    finally:
        await door.close()
        server.should_exit = True
        await serving


async def main() -> None:
    """Serve until the input ends."""
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as listener:
        async with place(Path(directory), TOOLS) as here:
            await here.seat(KEY)
            door = McpDoor(here.desks)
            async with served(door, listener):
                await door.warm()
                print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
                await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
