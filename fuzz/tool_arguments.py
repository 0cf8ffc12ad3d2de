"""What a model passes to a tool: from the text of its arguments to the tool's result.

Rules
- Declared: nothing is raised. What is wrong with a call is a refusal or a result, in words that can be stored.
- The arguments that are hashed for an approval are the ones that are stored, and they read back as the same.
- The file tools write below the workspace only, never into a git directory, and nothing that the policy protects.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, cast

from fuzz.shapes import Choices, as_json
from quarterdeck.agents import handoffs
from quarterdeck.agents.gate import action_hash, canonical
from quarterdeck.govern.policy import DefaultPolicy, decide_safely, protected
from quarterdeck.govern.port import Action
from quarterdeck.kernel.entities import TodoItem
from quarterdeck.models.port import Message, Request, StopReason, Text
from quarterdeck.models.reply import Draft, DraftCall, conclude
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import Desk, Surroundings, Tool, ToolResult
from quarterdeck.tools.schema import problems
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.port import ExecResult, Sandbox

INSTRUMENTED = ("quarterdeck.tools", "quarterdeck.govern", "quarterdeck.agents", "quarterdeck.models")
WORDS = (
    *('"path":', '"content":', '"old":', '"new":', '"all":', '"pattern":', '"glob":', '"command":', '"timeout":'),
    *('"offset":', '"limit":', '"items":', '"text":', '"status":', '"question":', '"agent":', '"task":', '"summary":'),
    *("/workspace/", "../", ".git/", ".quarterdeck/", ".GIT", "a.py", "\\u0000", "\\ud83d", "NaN", "1e999", "\\r\\n"),
)

_FILES: Final[Mapping[str, bytes]] = {
    "/workspace/a.py": b"def a():\n    return 1\n\n\ndef b():\n    return 1\n",
    "/workspace/crlf.txt": b"one\r\ntwo\r\n",
    "/workspace/binary": b"\0\1\2",
    "/workspace/latin": b"caf\xe9\n",
    "/workspace/empty": b"",
    "/workspace/.git/config": b"[core]\n",
}
_TEMPLATES: Final[Mapping[str, Mapping[str, Any]]] = {
    "read": {"path": "a.py", "offset": 1, "limit": 2},
    "write": {"path": "new/b.py", "content": "x = 1\n"},
    "edit": {"path": "a.py", "old": "def a", "new": "def c", "all": True},
    "search": {"pattern": "def", "glob": "*.py", "path": ".", "ignore_case": True},
    "run": {"command": "true", "timeout": 3},
    "todo": {"items": [{"text": "one", "status": "doing"}, {"text": "two"}]},
    "note": {"text": "It is called `a`."},
    "ask": {"question": "Which?"},
    "delegate": {"agent": "scout", "task": "Look."},
    "submit": {"summary": "Done.", "limitations": []},
}
_REQUEST: Final = Request("", (), (Message(role="user", blocks=(Text(text="Do it."),)),), max_output=10)


class _Workspace:
    """A sandbox whose files are in memory: what a tool does with arguments is its own work, not the sandbox's."""

    id = "memory"

    def __init__(self) -> None:
        self.written: dict[str, bytes] = {}

    async def read(self, path: str, *, offset: int = 0, limit: int = 1024 * 1024) -> bytes:
        _plain(path)
        data = self.written.get(path, _FILES.get(path))
        if data is None:
            raise IsADirectoryError(21, "is a directory", path) if path == "/workspace" else FileNotFoundError(path)
        return data[offset : offset + limit]

    async def write(self, path: str, data: bytes, *, mode: int | None = None) -> None:
        _plain(path)
        self.written[path] = data

    async def exec(self, command: str | Sequence[str], **given: Any) -> ExecResult:
        assert isinstance(command, str)
        _plain(command)
        assert 0 < given["timeout"] <= 300.0
        return ExecResult(0, command.encode()[: given["output_limit"]], b"", 0.1)

    async def call(self, operation: str, /, **arguments: object) -> dict[str, object]:
        as_json(arguments)
        _plain(str(arguments["path"]))
        if operation == "list":
            return {"entries": [{"path": "/workspace/a.py", "kind": "file", "size": 3}], "truncated": False}
        return {"matches": [{"path": "/workspace/a.py", "line": 1, "text": "def a"}], "truncated": True}


def _plain(text: str) -> None:
    """What goes to the worker is refused by it where it is no text (ValueError), as a NUL byte in a path is."""
    if "\0" in text:
        raise ValueError("embedded null byte")
    json.dumps(text).encode("ascii")


class _Desk:
    """Takes what it is given, as the real desk does before it records it."""

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult:
        return ToolResult("; ".join(item.text for item in items))

    async def note(self, text: str) -> ToolResult:
        return ToolResult(text)

    async def ask(self, question: str) -> ToolResult:
        return ToolResult(question, ends=True)

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult:
        return ToolResult(f"{agent}: {task}")

    async def submit(self, handoff: Mapping[str, Any]) -> ToolResult:
        found = handoffs.parse("submission", handoff)
        return ToolResult(found.reason if isinstance(found, handoffs.Refused) else repr(found), ends=True)


@cache
def _tools() -> dict[str, Tool]:
    schema = handoffs.schema("submission")
    return Toolbox().select(None, expects="submission", handoff_schema=schema, delegates={"scout": "looks"})


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def one(data: bytes) -> None:
    """A choice of the tool and of the form; then the text of the arguments, or a template mangled."""
    choices = Choices(data)
    name = choices.pick(tuple(_TEMPLATES))
    how = choices.number()
    text = as_json(choices.mangled(dict(_TEMPLATES[name]))) if how % 2 else choices.rest()
    draft = Draft((DraftCall("c1", name, text.decode("utf-8", "replace")),), StopReason.TOOLS, begun=True)
    (call,) = conclude("some", _REQUEST, draft).message.calls
    if call.flaw is not None:
        call.flaw.why.encode()
        return
    stored = canonical(call.arguments)
    assert canonical(json.loads(stored)) == stored
    assert action_hash(name, call.arguments) == action_hash(name, json.loads(stored))
    tool = _tools()[name]
    wrong = problems(tool.spec.parameters, call.arguments)
    bounded("\n".join(wrong))[0].encode()
    action = Action("r", "t", "r.t.1", "implementer", name, call.arguments, tool.effect)
    decision = decide_safely(DefaultPolicy(), action)
    bounded(decision.reason)[0].encode()
    assert decision.rules != ("policy-error",), decision.reason
    if not wrong and decision.verdict == "allow":
        _call(tool, call.arguments)


def _call(tool: Tool, arguments: Mapping[str, Any]) -> None:
    workspace = _Workspace()
    where = Surroundings(cast(Sandbox, workspace), cast(Desk, _Desk()), "1.0")
    result = _loop().run_until_complete(tool.call(arguments, where))
    bounded(result.text)[0].encode()
    for path in workspace.written:
        assert path.startswith("/workspace/"), path
        assert not {".", "..", "", ".git"} & set(path.split("/")[2:]), path
        assert protected(path) is None, path
    _loop().run_until_complete(tool.happened(arguments, where))


def seeds() -> Sequence[bytes]:
    """Each tool with its arguments, as text and as choices, and calls that go wrong."""
    found = []
    for number, template in enumerate(_TEMPLATES.values()):
        found += [bytes([number, 0]) + as_json(template), bytes([number, 1]) + b"\1\1" * 20]
    wrong: tuple[tuple[int, Mapping[str, Any]], ...] = (
        (0, {"path": "../etc/passwd"}),
        (0, {"path": "crlf.txt", "offset": 9}),
        (1, {"path": ".git/hooks/x", "content": ""}),
        (1, {"path": "/workspace/./a/../.GIT/x", "content": "\ud83d"}),
        (2, {"path": "a.py", "old": "1\tdef", "new": ""}),
        (2, {"path": "a.py", "old": "  return 1  ", "new": "x"}),
        (2, {"path": "a.py", "old": "return 1", "new": "x"}),
        (2, {"path": "crlf.txt", "old": "one\ntwo", "new": "\n"}),
        (3, {"glob": "**/*"}),
        (9, {"summary": ""}),
    )
    return [*found, *(bytes([number, 0]) + as_json(arguments) for number, arguments in wrong), b"\0\0" + b"[" * 3000]
