"""Tools that are called from programs: clients that offer one tool which runs JavaScript over their own tools. Pure.

Rules
- Such a tool's description declares what can be called inside; it is read as the tools that are offered.
- A call of one of them becomes a program that makes the call and says what came back.
- What the description leaves out ("deferred" tools, such as those of MCP servers) is looked for by the program itself,
  by the last part of its name.

Source: what Codex sends for the models it drives that way.
"""

import json
import re
from typing import Any, Final

from quarterdeck.models.scripted.heard import Offered

_DECLARED: Final = re.compile(
    r"declare const tools: \{ (?P<name>\w+)\((?:args|input): (?P<shape>string|\{.*?\n?\})\): Promise", re.DOTALL
)
_PARAMETER: Final = re.compile(r"^  (?P<name>\w+)(?P<optional>\??): (?P<type>[^;]+);$", re.MULTILINE)
_TYPES: Final = {"string": "string", "number": "number", "boolean": "boolean"}


def declared(tool: str, description: str) -> tuple[Offered, ...]:
    """The tools that programs of `tool` can call; none where it runs no such programs."""
    return tuple(
        Offered(match["name"], _schema(match["shape"]), within=tool) for match in _DECLARED.finditer(description)
    )


def _schema(shape: str) -> dict[str, Any]:
    found = list(_PARAMETER.finditer(shape))
    properties = {match["name"]: _typed(match["type"]) for match in found}
    required = [match["name"] for match in found if not match["optional"]]
    return {"type": "object", "properties": properties, "required": required}


def _typed(text: str) -> dict[str, Any]:
    if text.startswith("Array<") or text.endswith("[]"):
        return {"type": "array"}
    return {"type": _TYPES[text]} if text in _TYPES else {}


def program(name: str, arguments: str) -> str:
    """The program that calls `name` with `arguments`, a JSON text."""
    return (
        f"const result = await tools[{json.dumps(name)}]({arguments});\n"
        'text(typeof result === "string" ? result : JSON.stringify(result));\n'
    )


def searching_program(names: tuple[str, ...], arguments: str) -> str:
    """The program that calls the tool that goes by one of `names`, wherever it comes from."""
    return (
        f"const names = {json.dumps(names)};\n"
        'const bare = (name) => name.split("__").pop().toLowerCase().replace(/[^a-z0-9]/g, "");\n'
        "const found = ALL_TOOLS.find((tool) => names.includes(bare(tool.name)));\n"
        'if (found === undefined) throw new Error("no tool goes by " + names.join(", "));\n'
        f"const result = await tools[found.name]({arguments});\n"
        'text(typeof result === "string" ? result : JSON.stringify(result));\n'
    )
