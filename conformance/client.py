"""Our client of tool servers as the conformance tool meets it: it lists what there is, and calls every tool once.

Rules
- The link is the one that agents' tools use: the same negotiation, the same bounds, the same refusals.
- The tool says in its environment which scenario it plays and, where it has wishes, which calls it wants to see. Else a
  call gets the plainest arguments that its schema requires.
- It plays the server of either revision; that our client finds out which one is part of what is tested.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from quarterdeck.kernel.failures import ToolServerFailed
from quarterdeck.tools.shed.catalogue import Offered
from quarterdeck.tools.shed.wire.client import SdkLinker

_SECONDS: Final = 20.0
_PLAIN: Final[Mapping[str, Any]] = {
    "string": "x",
    "integer": 1,
    "number": 1,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


def arguments(schema: Any) -> dict[str, Any]:
    """The plainest arguments that a schema requires. Pure."""
    properties = schema.get("properties", {})
    kinds = {name: properties.get(name, {}).get("type", "string") for name in schema.get("required", ())}
    return {name: _PLAIN.get(kind if isinstance(kind, str) else "string") for name, kind in kinds.items()}


def wanted(scenario: str, context: Mapping[str, Any], offered: Sequence[Offered]) -> Iterator[tuple[str, Any]]:
    """The calls to make: name and arguments. Pure."""
    if "toolCalls" in context:
        yield from ((call["name"], call["arguments"]) for call in context["toolCalls"])
        return
    schemas = {tool.name: tool.schema for tool in offered}
    if scenario == "json-schema-2020-12-preservation":
        (rich,) = (name for name in schemas if name != "json_schema_echo")
        yield "json_schema_echo", {"schema": schemas[rich]}
        return
    yield from ((name, arguments(schema)) for name, schema in schemas.items())


async def main(address: str) -> None:
    """Play the client."""
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    link = await SdkLinker().to_address(address, {}, timeout=_SECONDS)
    try:
        offered = await link.tools()
        for name, given in wanted(scenario, context, offered):
            try:
                print(name, await link.call(name, given, _SECONDS))
            except (ToolServerFailed, TimeoutError) as error:
                print(name, repr(error))
    finally:
        await link.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1]))
