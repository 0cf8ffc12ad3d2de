"""The plain policy: which actions an agent may take when nobody has written rules of his own.

Rules
- An agent uses the tools on its list and no others.
- Nothing writes below `.git` (at any depth) or below the workspace's `.quarterdeck`.
- Everything else is allowed: the sandbox is what keeps an agent in, this policy keeps it from obvious mistakes.
- An error in deciding is a denial.
- What a person has to approve (`[approve] tools`) is asked about where it would be allowed otherwise. One that has no
  effect outside of the deck's own records is asked about only where it is named in full.
- A tool of an outside server is meant by each name that it goes by: what a model calls it, and what definitions do.
"""

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from quarterdeck.govern.port import Action, Decision, Policy

_PATH_KEYS: Final = ("path", "paths", "file", "target", "source", "destination")
_WORKSPACE: Final = "/workspace"
_WILD: Final = re.compile(r"[*?\[]")


def protected(path: str) -> str | None:
    """What protects the path from being written (`.git`, `.quarterdeck`), or None. Pure.

    Letter case is ignored, because some file systems do.
    """
    plain = posixpath.normpath(posixpath.join(_WORKSPACE, path.replace("\0", "")))
    parts = [part.lower() for part in plain.split("/") if part]
    if ".git" in parts:
        return ".git"
    below = parts[1:] if parts[:1] == [_WORKSPACE.strip("/")] else []
    return ".quarterdeck" if below[:1] == [".quarterdeck"] else None


def _paths(arguments: Mapping[str, Any]) -> Iterator[str]:
    for key in _PATH_KEYS:
        value = arguments.get(key)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, str))


class DefaultPolicy:
    """A `Policy` without configuration.

    allowed: tool names by agent; None = every tool. An agent that is not in it may do nothing. Without `allowed`, every
    agent may use what its definition gives it: no other tool is in its toolbox.
    """

    def __init__(self, allowed: Mapping[str, frozenset[str] | None] | None = None) -> None:
        self._allowed = None if allowed is None else dict(allowed)

    def decide(self, action: Action) -> Decision:
        if self._allowed is not None and action.agent not in self._allowed:
            return Decision("deny", ("agent-known",), f"There is no agent {action.agent} in this run.")
        tools = self._allowed[action.agent] if self._allowed is not None else None
        if tools is not None and action.tool not in tools:
            listed = ", ".join(sorted(tools)) or "none"
            return Decision("deny", ("tool-listed",), f"{action.tool} is not one of your tools ({listed}).")
        if action.effect == "write":
            for path in _paths(action.arguments):
                if (by := protected(path)) is not None:
                    return Decision("deny", ("protected-path",), f"{path} is below {by}, which no agent may change.")
        return Decision("allow", ("default",))


def to_be_asked(globs: Sequence[str], tool: str, effect: str, also: Sequence[str] = ()) -> bool:
    """Whether a person has to approve each use of that tool, which goes by the names `also` too. Pure."""
    if effect == "control":
        return tool in globs
    return any(fnmatch.fnmatchcase(name, glob) for glob in globs for name in (tool, *also))


def names_nothing(globs: Sequence[str], tools: Sequence[str], servers: Sequence[str]) -> tuple[str, ...]:
    """Which of the globs mean none of these tools and no tool of these outside servers, whatever they offer. Pure."""
    return tuple(
        glob
        for glob in globs
        if not any(fnmatch.fnmatchcase(name, glob) for name in (*tools, *_whole(servers)))
        and not any(_may_begin(glob, f"{name}{sign}") for name in _whole(servers) for sign in ("/", "__"))
        and not any(_may_begin(glob, f"{server}__") for server in servers)
    )


def _whole(servers: Sequence[str]) -> Iterator[str]:
    """The names of servers as rules know them."""
    for server in servers:
        yield from (f"mcp:{server}", f"mcp__{server}")


def _may_begin(glob: str, beginning: str) -> bool:
    """Whether something that begins so may be meant."""
    plain = _WILD.split(glob, maxsplit=1)[0]
    return plain.startswith(beginning) or (plain != glob and beginning.startswith(plain))


class AskFirst:
    """A policy that has people asked about some tools, where `policy` would allow them."""

    def __init__(self, policy: Policy, tools: Sequence[str]) -> None:
        """`tools`: globs of their names."""
        self._policy = policy
        self._tools = tuple(tools)

    def decide(self, action: Action) -> Decision:
        decision = self._policy.decide(action)
        if decision.verdict != "allow" or not self._to_be_asked(action):
            return decision
        return Decision("ask", ("approve-tools",), f"each use of {action.tool} is approved by a person")

    def _to_be_asked(self, action: Action) -> bool:
        return to_be_asked(self._tools, action.tool, action.effect, action.also)


def decide_safely(policy: Policy, action: Action) -> Decision:
    """The policy's decision; an exception in it is a denial that says so."""
    try:
        return policy.decide(action)
    except Exception as error:  # noqa: BLE001 - recorded as the reason of the denial
        reason = f"The policy could not decide: {type(error).__name__}: {error}"
        return Decision("deny", ("policy-error",), reason[:1000])
