"""Abstract actions in the words of the client's own tools. Pure.

Rules
- A tool is found by what clients call it (`Write`, `write_file`, `mcp__deck__submit`, `deck_submit`, ...), its
  parameters by their names in its schema; what the schema requires beyond the action is filled in plainly.
- Where a client has no tool for an action on files but has a shell, the action becomes a shell command.
- An action that no offered tool can do is an error that says so, never a turn that silently does nothing.
"""

import json
import re
import shlex
from typing import Any, Final

from quarterdeck.kernel.failures import BadInput
from quarterdeck.models.scripted.code_mode import program, searching_program
from quarterdeck.models.scripted.heard import Called, Heard, Offered
from quarterdeck.models.scripted.scenario import Action

NAMES: Final[dict[str, tuple[str, ...]]] = {
    "write": ("write", "writefile", "createfile", "filewrite", "savefile"),
    "read": ("read", "readfile", "viewfile", "fileread", "view", "openfile"),
    "edit": ("edit", "editfile", "replace", "strreplace", "searchreplace", "fileedit"),
    "run": ("run", "bash", "shell", "runshellcommand", "execcommand", "runcommand", "shellcommand", "terminal", "exec"),
    "search": ("search", "grep", "grepsearch", "searchfilecontent", "searchfiles", "rg"),
    "todo": ("todo", "todowrite", "writetodos", "updateplan", "todos"),
    "note": ("note", "addnote", "record"),
    "submit": ("submit", "finish", "handin"),
    "ask": ("ask", "askhuman", "askuser", "question"),
    "delegate": ("delegate", "task", "agent", "spawnagent"),
}

PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "path": ("path", "file_path", "filePath", "absolute_path", "filename", "file"),
    "content": ("content", "contents", "text", "file_text"),
    "old": ("old", "old_string", "oldString", "old_str", "search"),
    "new": ("new", "new_string", "newString", "new_str", "replace"),
    "command": ("command", "cmd", "script"),
    "pattern": ("pattern", "query", "regex"),
    "items": ("items", "todos", "plan"),
    "text": ("text", "note", "content", "body"),
    "question": ("question", "text", "prompt"),
    "agent": ("agent", "subagent_type", "agent_name", "name"),
    "task": ("task", "prompt", "instructions", "description"),
}

_STATUS: Final = {"open": "pending", "doing": "in_progress", "done": "completed"}
_ITEM_TEXT: Final = ("text", "content", "step", "title", "description", "task")


def calls(actions: tuple[Action, ...], request: Heard, answer: str) -> tuple[Called, ...]:
    """The tool calls of a turn. `answer`: the answer's id, from which the calls' ids are made. Raises BadInput."""
    return tuple(_called(action, request.tools, f"call_{answer}_{index}") for index, action in enumerate(actions))


def _called(action: Action, tools: tuple[Offered, ...], id: str) -> Called:
    runner = next((tool for tool in tools if tool.within), None)
    known = action.do == "tool" or find(NAMES[action.do], tools) is not None or as_command(action) is not None
    if runner is not None and not known:
        arguments = json.dumps(action.args, ensure_ascii=False)
        return Called(id, runner.within, searching_program(NAMES[action.do], arguments), _group(runner, tools), True)
    patcher = find(("applypatch",), tools)
    if action.do == "write" and patcher is not None and patcher.within:
        patch = json.dumps(_patch(action), ensure_ascii=False)
        return Called(id, patcher.within, program(patcher.name, patch), _group(patcher, tools), True)
    tool, fitted = translate(action, tools)
    text = json.dumps(fitted, ensure_ascii=False)
    if tool.within:
        return Called(id, tool.within, program(tool.name, text), _group(tool, tools), True)
    return Called(id, tool.name, text, tool.group)


def _patch(action: Action) -> str:
    """A new file as the patch that makes it."""
    lines = "".join(f"+{line}\n" for line in str(action.args.get("content", "")).splitlines())
    return f"*** Begin Patch\n*** Add File: {action.args.get('path', '')}\n{lines}*** End Patch\n"


def _group(inner: Offered, tools: tuple[Offered, ...]) -> str:
    """The namespace of the tool whose programs can call `inner`."""
    return next((tool.group for tool in tools if tool.name == inner.within and not tool.within), "")


def translate(action: Action, tools: tuple[Offered, ...]) -> tuple[Offered, dict[str, Any]]:
    """The tool that performs `action`, and its arguments. Raises BadInput."""
    if action.do == "tool":
        wanted = str(action.args.get("name", ""))
        return find((wanted,), tools) or Offered(wanted, {}), dict(action.args.get("args", {}))
    offered = find(NAMES[action.do], tools)
    if offered is not None:
        return offered, fit(action.args, offered.parameters)
    shell = find(NAMES["run"], tools)
    command = as_command(action)
    if shell is not None and command is not None:
        return shell, fit({"command": command}, shell.parameters)
    names = ", ".join(tool.name for tool in tools) or "none"
    raise BadInput(f"no tool for the action `{action.do}` among those offered: {names}")


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find(names: tuple[str, ...], tools: tuple[Offered, ...]) -> Offered | None:
    """The offered tool that goes by one of `names`: exactly, after an MCP prefix, or as the last word."""
    wanted = [_bare(name) for name in names]
    for reading in range(3):
        for want in wanted:
            for tool in tools:
                if _readings(tool.name)[reading] == want:
                    return tool
    return None


def _readings(name: str) -> tuple[str, str, str]:
    return _bare(name), _bare(name.rsplit("__", 1)[-1]), _bare(re.split(r"[_.\-/]", name)[-1])


def fit(args: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`args` under the names and in the types of `schema`, with everything it requires."""
    properties: dict[str, Any] = schema.get("properties") or {}
    fitted: dict[str, Any] = {}
    for key, value in args.items():
        name = next((name for name in (key, *PARAMETERS.get(key, ())) if name in properties), key)
        fitted[name] = _shaped(key, value, properties.get(name) or {})
    for name in schema.get("required") or ():
        if name not in fitted:
            fitted[name] = _plain_value(properties.get(name) or {})
    return fitted


def _shaped(key: str, value: Any, schema: dict[str, Any]) -> Any:
    if key == "command" and isinstance(value, str) and schema.get("type") == "array":
        return ["bash", "-lc", value]
    if key == "items" and isinstance(value, list):
        return [_item(item, schema.get("items") or {}) for item in value]
    return value


def _item(item: Any, schema: dict[str, Any]) -> Any:
    properties: dict[str, Any] = schema.get("properties") or {}
    given = item if isinstance(item, dict) else {"text": str(item)}
    if not properties:
        return given
    shaped: dict[str, Any] = {}
    for key, value in given.items():
        name = key if key in properties else next((n for n in _ITEM_TEXT if n in properties), key)
        allowed = (properties.get(name) or {}).get("enum")
        shaped[name] = _STATUS.get(str(value), value) if allowed and value not in allowed else value
    for name in schema.get("required") or ():
        if name not in shaped:
            shaped[name] = _plain_value(properties.get(name) or {})
    return shaped


def _plain_value(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    plain: dict[Any, Any] = {"boolean": False, "integer": 1, "number": 1, "array": [], "object": {}}
    return plain.get(kind, "scripted")


_EDIT: Final = (
    "import sys; p, old, new = sys.argv[1:]; s = open(p).read(); assert s.count(old) == 1, 'not exactly once'; "
    "open(p, 'w').write(s.replace(old, new))"
)


def as_command(action: Action) -> str | None:
    """The shell command that does what `action` does to files, or None where a shell cannot."""
    args = {key: str(value) for key, value in action.args.items()}
    path = shlex.quote(args.get("path", "."))
    match action.do:
        case "write":
            return f'mkdir -p "$(dirname {path})" && printf %s {shlex.quote(args.get("content", ""))} > {path}'
        case "read":
            return f"cat {path}"
        case "edit":
            old, new = shlex.quote(args.get("old", "")), shlex.quote(args.get("new", ""))
            return f"python3 -c {shlex.quote(_EDIT)} {path} {old} {new}"
        case "search":
            return f"grep -rn -e {shlex.quote(args.get('pattern', ''))} {path}"
        case _:
            return None
