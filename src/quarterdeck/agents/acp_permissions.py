"""An agent asks whether it may: what that means to the policy, and which answer says it. Pure.

Rules
- The policy is asked about the same tools as for the native loop, whatever the agent calls them; arguments are brought
  into one form (`path`, `paths`, `command`). Every file that it will write by its own account is one of the paths,
  wherever it says so, and a request that shows such a file is an edit, unless it is a command's.
- The action holds all that is asked for, what will be written included: a person's word is bound to it.
- A definition's `tools` hold here too: what is not on the list is denied. Tools of our own MCP server have a gate of
  their own and are let through, where it is certain that they are ours (`acp_asked`).
- The answer is chosen by its kind, and once rather than for always: the next request is decided anew.
- A request that comes after the work was cancelled is answered, with `cancelled`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from quarterdeck.agents.acp_asked import SERVER, changes, own_tool, texts, written
from quarterdeck.agents.acp_values import Option, Permission
from quarterdeck.agents.port import Assignment
from quarterdeck.govern.port import Action, Decision
from quarterdeck.tools.port import Effect
from quarterdeck.workplace.port import WORKSPACE

_TOOLS: Final[Mapping[str, tuple[str, Effect]]] = {
    "read": ("read", "read"),
    "search": ("search", "read"),
    "edit": ("edit", "write"),
    "delete": ("delete", "write"),
    "move": ("move", "write"),
    "execute": ("run", "execute"),
    "fetch": ("fetch", "execute"),
    "think": ("think", "control"),
    "switch_mode": ("switch_mode", "control"),
}
_LISTED: Final[Mapping[str, str]] = {"delete": "edit", "move": "edit", "think": "", "switch_mode": ""}
"""Under which of our tools a definition lists them; "" = they need not be listed."""
_PATH_KEYS: Final = ("path", "file_path", "filePath", "abs_path", "absolute_path", "filename", "file", "notebook_path")
_LIST_KEYS: Final = ("paths", "file_paths", "filePaths", "files")
_COMMAND_KEYS: Final = ("command", "cmd", "script")
_ALLOWS: Final = ("allow_once", "allow_always")
_REJECTS: Final = ("reject_once", "reject_always")
_RUN: Final = "run"
_OTHER: Final = "other"
_CHANGES, _DIGEST = "changes", "changes_sha256"
_GIVEN: Final = "given"
"""What of an input stands in the action in another form, as it came."""

DONE_OUTSIDE: Final = (*dict.fromkeys(name for name, _ in _TOOLS.values()), _OTHER)
"""What outside agents' own tools are to the policy."""


def action_of(
    assignment: Assignment, asked: Permission, workspace: str, tools: Collection[str] = (), *, fields: bool = False
) -> Action:
    """The request as the policy knows actions. `workspace`: where the agent sees its workspace; `tools`: what our own
    MCP server offers it; `fields`: see `acp_asked.own_tool`."""
    tool, effect = _TOOLS.get(asked.kind, (_OTHER, "execute"))
    if tool != _RUN and effect != "write" and any(written(asked.content)):
        tool, effect = _TOOLS["edit"]
    if own_tool(asked, tools, fields=fields) is not None:
        tool, effect = SERVER, "control"
    return Action(
        run=assignment.run,
        task=assignment.task_id,
        attempt=assignment.attempt,
        agent=assignment.agent.name,
        tool=tool,
        arguments=_arguments(asked, tool, workspace),
        effect=effect,
    )


def unknown(asked: Permission) -> Decision | None:
    """The denial of what nobody can tell the content of; None = it may be asked about."""
    if not asked.lost:
        return None
    return Decision(
        "deny",
        ("not-held",),
        "Nobody can tell what it is: its call has ended, or it is larger than what is held until it is decided on, or "
        "too many calls are under way. Do it anew, in parts, one after the other.",
    )


def unlisted(assignment: Assignment, action: Action) -> Decision | None:
    """The denial of a tool that the agent's definition does not list; None = it may be asked about."""
    tools = assignment.agent.tools
    name = _LISTED.get(action.tool, action.tool)
    if tools is None or action.tool == SERVER or not name or name in tools:
        return None
    if name == "edit" and "write" in tools:
        return None
    return Decision("deny", ("tool-listed",), f"{action.tool} is not one of your tools ({', '.join(tools) or 'none'}).")


def choose(decision: Decision | None, options: tuple[Option, ...]) -> str | None:
    """The id of the option that says it; None = `cancelled`, also where no option fits. No decision = cancelled."""
    if decision is None:
        return None
    kinds = _ALLOWS if decision.verdict == "allow" else _REJECTS
    for kind in kinds:
        for option in options:
            if option.kind == kind:
                return option.id
    return None


def _arguments(asked: Permission, tool: str, workspace: str) -> dict[str, Any]:
    found: dict[str, Any] = dict(asked.input) if isinstance(asked.input, dict) else {}
    if not isinstance(asked.input, dict) and asked.input is not None:
        found["input"] = asked.input
    paths = [str(found[key]) for key in _PATH_KEYS if isinstance(found.get(key), str)]
    paths += [path for key in _LIST_KEYS for path in _listed_paths(found.get(key))]
    paths = list(dict.fromkeys((*paths, *asked.paths, *written(asked.content))))
    if paths:
        found["paths"] = [_inside(path, workspace) for path in paths]
        found["path"] = found["paths"][0]
    command = next((found[key] for key in _COMMAND_KEYS if key in found), None)
    if isinstance(command, list):
        command = " ".join(str(part) for part in command)
    if command is None and tool == _RUN and asked.title:
        command = asked.title  # a client that sends no input shows the command as the title
    if isinstance(command, str):
        found["command"] = command
    if asked.title:
        found.setdefault("title", asked.title)
    lines, digest = changes(asked.content)
    if digest:
        found |= {_CHANGES: lines, _DIGEST: digest}
    if asked.input in (None, {}) and (said := texts(asked.content)):
        found.setdefault("text", said)
    if isinstance(asked.input, dict) and (replaced := _replaced(asked.input, found)):
        found[_GIVEN] = replaced
    return found


def _replaced(given: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What of an input is in the action in another form that says less."""
    return {
        key: value
        for key, value in given.items()
        if key == _GIVEN or (found[key] != value and not _says_it_all(key, value))
    }


def _says_it_all(key: str, value: Any) -> bool:
    """Whether it is a path, or a list of them: those are among the action's."""
    if key == "path":
        return isinstance(value, str)
    return key == "paths" and isinstance(value, list) and all(isinstance(each, str) for each in value)


def _listed_paths(given: Any) -> Iterator[str]:
    """The paths in a list of an input, by themselves or as fields of what it lists."""
    for each in given if isinstance(given, list) else ():
        fields = each if isinstance(each, dict) else {"path": each}
        yield from (path for key in _PATH_KEYS if isinstance(path := fields.get(key), str))


def _inside(path: str, workspace: str) -> str:
    if path == workspace or path.startswith(f"{workspace}/"):
        return WORKSPACE + path[len(workspace) :]
    return path
