"""What a repository says of tool servers, and what those say: `.mcp.json`, lists of tools, answers, lines.

Rules
- Declared: nothing is raised. What of `.mcp.json` cannot be used is left out and said, in words that can be printed.
- What was declared can be stored, has the same hash when it is read back, and asks for the variables that it names.
- Of a list of tools every tool is used or left out with a reason; what is used can be sent to a model, searched for,
  recorded and read back, and arguments can be checked against it.
- However bytes arrive, they are cut into the same lines.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from quarterdeck.kernel.servers import McpServer
from quarterdeck.models.port import ToolSpec
from quarterdeck.settings import Partial, merge, parse_mcp_json
from quarterdeck.tools.schema import problems
from quarterdeck.tools.shed.answers import Answer, Part, result_of
from quarterdeck.tools.shed.catalogue import MAX_NAME, MAX_TOOLS, Listing, Offered, listing
from quarterdeck.tools.shed.choosing import choose, wanted, words_of
from quarterdeck.tools.shed.finding import Index
from quarterdeck.tools.shed.framing import Lines
from quarterdeck.tools.shed.shed import Given

INSTRUMENTED = ("quarterdeck.tools", "quarterdeck.settings", "quarterdeck.kernel")
WORDS = (
    *(
        '{"mcpServers":{"a":',
        '"command":',
        '"args":',
        '"env":',
        '"url":',
        '"headers":',
        '"type":"http"',
        '"quarterdeck":',
    ),
    *("${TOKEN}", "${TOKEN:-", "}", '"network":', '"workspace":', '"timeout":', "Authorization", "http://", "[{", "}]"),
    *('"name":', '"description":', '"inputSchema":', '"properties":', '"$ref":"#/', '"$defs":', '"anyOf":', '"enum":'),
    *('"required":', '"items":', '"additionalProperties":', '"type":["', "\\u0000", "\\ud83d", "\\u202e", "1e999"),
)

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ARGUMENTS: Final[tuple[Any, ...]] = ({}, {"a": 1}, {"a": "x", "b": [None]}, {"a": {"a": {"a": []}}})
_LIMIT: Final = 64


def one(data: bytes) -> None:
    """Read it as each of them."""
    _declarations(data.decode("utf-8", "replace"))
    _lines(data)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    _tools(value if isinstance(value, list) else [value])
    _answer(value)


def _declarations(text: str) -> None:
    found, lines = parse_mcp_json(text)
    config, origin = merge(Partial("operator"), None, Partial("detected"), found)
    assert config.mcp.servers == found.config.mcp.servers
    assert config.mcp.approved == {}, "a repository approved itself"
    for line in (*lines, *origin):
        assert line.isprintable(), line
    for name, server in config.mcp.servers.items():
        again = McpServer.model_validate_json(server.model_dump_json())
        assert (again, again.fingerprint) == (server, server.fingerprint)
        wanted(f"mcp:{name}")
        server.expanded(dict.fromkeys(server.variables, "${A}"))


def _tools(values: list[Any]) -> None:
    offered = [_offered(value) for value in values[: MAX_TOOLS + 2] if isinstance(value, dict)]
    found = listing("s", offered)
    assert len({entry.name for entry in found.entries}) == len(found.entries)
    for entry in found.entries:
        assert _NAME.fullmatch(entry.name) and len(entry.name) <= MAX_NAME
        _sendable(entry.spec)
        for arguments in _ARGUMENTS:
            problems(entry.parameters, arguments)
    _given(found)


def _offered(value: dict[str, Any]) -> Offered:
    def text(key: str) -> str:
        return value[key] if isinstance(value.get(key), str) else ""

    hints = value.get("annotations") if isinstance(value.get("annotations"), dict) else {}
    assert isinstance(hints, dict)
    return Offered(
        text("name"), text("description"), value.get("inputSchema"), read_only=bool(hints.get("readOnlyHint"))
    )


def _sendable(spec: ToolSpec) -> None:
    sent = json.dumps(spec.model_dump(), allow_nan=False)
    assert ToolSpec.model_validate_json(sent) == spec
    assert len(sent) < 64 * 1024


def _given(found: Listing) -> None:
    chosen = choose(words_of(("mcp:s",)), found.entries, 3)
    given = Given(chosen.shown, chosen.found)
    assert Given.decode(given.encode()).encode() == given.encode()
    index = Index(chosen.found)
    for entry in chosen.found[:3]:
        index.search(f"{entry.tool} {entry.description}", 5)


def _answer(value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    result = result_of(Answer((Part("text", text),), structured=value), 2_000, {"TOKEN": "secret-secret"})
    assert len(result.text.encode()) <= 2_000
    assert "secret-secret" not in result.text


def _lines(data: bytes) -> None:
    whole = Lines(_LIMIT).feed(data)
    cut, pieces = Lines(_LIMIT), 1 + data[0] % 7 if data else 1
    found = [line for at in range(0, len(data), pieces) for line in cut.feed(data[at : at + pieces])]
    assert found == whole
    assert all(line is None or len(line) <= _LIMIT for line in whole)


def seeds() -> Sequence[bytes]:
    """Files and lists as they are found, and broken ones."""
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "description": "first", "enum": ["x", "y"]},
            "b": {"type": ["array", "null"], "items": {"$ref": "#/$defs/c"}, "minItems": 1},
            "d": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}], "default": "all"},
        },
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"c": {"type": "object", "properties": {"again": {"$ref": "#/$defs/c"}}}},
    }
    servers = {
        "git": {"command": "npx", "args": ["-y", "server"], "env": {"GIT_TOKEN": "${GIT_TOKEN}", "MODE": "x"}},
        "web": {"type": "http", "url": "https://x.test:8/mcp", "headers": {"Authorization": "Bearer ${T:-none}"}},
        "own": {"command": "a", "quarterdeck": {"network": ["x.test"], "workspace": False, "timeout": "5s"}},
        "bad": {"type": "sse", "url": "x"},
        "worse": [],
    }
    tools = [
        {"name": "create_issue", "description": "Makes one.", "inputSchema": schema},
        {"name": "odd name/ä", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
        {"name": "bad", "inputSchema": {"type": "array"}},
    ]
    found: list[Any] = [{"mcpServers": servers}, tools, {"mcpServers": {"a": {"command": "x" * 70}}}, tools[:1] * 3]
    return [json.dumps(value, ensure_ascii=False).encode() for value in found] + [b"[" * 60, b'{"a":\n' * 40, b"\n" * 9]
