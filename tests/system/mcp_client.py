"""Real MCP clients in a process of their own: `python mcp_client.py VISITS`, answers as JSON lines.

VISITS is JSON: a list of [where, key, mode, [step, ...]]. `where` is a unix socket, or the http address to which the
program `worker_mcp.py` leads. A step is a list of [tool, arguments], called at once, each by a client of its own.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import mcp.client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from quarterdeck.workplace import worker_mcp


async def used(where: str, key: str, mode: Any, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """One tool, called by a client of its own."""
    if where.startswith("http:"):
        environment = {"QUARTERDECK_MCP_URL": where, "QUARTERDECK_MCP_KEY": key}
        program = ["-I", "-S", str(Path(worker_mcp.__file__))]
        server = StdioServerParameters(command=sys.executable, args=program, env=environment)
        return await called(mcp.client.Client(server, mode=mode), tool, arguments)
    transport, headers = httpx2.AsyncHTTPTransport(uds=where), {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(transport=transport, headers=headers, timeout=30) as http:
        door = streamable_http_client("http://localhost/mcp", http_client=http)
        return await called(mcp.client.Client(door, mode=mode), tool, arguments)


async def called(client: mcp.client.Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    async with client:
        tools = [each.name for each in (await client.list_tools()).tools]
        result = await client.call_tool(tool, arguments)
        return {
            "revision": client.protocol_version,
            "tools": tools,
            "ok": not result.is_error,
            "answer": result.structured_content,
        }


async def main(visits: str) -> None:
    for where, key, mode, steps in json.loads(visits):
        for step in steps:
            calls = (used(where, key, mode, tool, arguments) for tool, arguments in step)
            for answer in await asyncio.gather(*calls, return_exceptions=True):
                failed = isinstance(answer, BaseException)
                print(json.dumps({"error": repr(answer)} if failed else answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
