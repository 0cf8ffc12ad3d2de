"""The roster: agents from files, by name.

Rules
- Claude Code's keys (`name`, `description`, `tools`, `model`) mean the same here; its tool names are understood.
- Three sources, the later one wins by name: shipped definitions, `.claude/agents/`, `.quarterdeck/agents/`.
- In our own files an unknown key, tool or handoff is an error with its place. A file that was written for Claude Code
  may hold keys and tools that have no meaning here: they are left out and a warning says so.
- Whom an agent delegates to must exist, and must not be itself. AGENTS.md is a guide for agents, never an agent.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from quarterdeck.agents import frontmatter
from quarterdeck.agents.delegation import SUB_AGENTS
from quarterdeck.agents.frontmatter import refuse
from quarterdeck.agents.profiles import PROFILES
from quarterdeck.kernel.complaints import complaint, did_you_mean
from quarterdeck.kernel.durations import seconds
from quarterdeck.kernel.entities import Agent, AgentLimits, Harness
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.tools.shed.choosing import PREFIX, wanted
from quarterdeck.tools.toolbox import ALWAYS, NAMES

HUMAN: Final = "human"
"""Stands in `escalates_to` for a person."""

EXPECTS: Final = ("submission", "review", "plan", "answer")

CLAUDE_TOOLS: Final[Mapping[str, str]] = {
    "Read": "read",
    "NotebookRead": "read",
    "Write": "write",
    "Edit": "edit",
    "MultiEdit": "edit",
    "Grep": "search",
    "Glob": "search",
    "LS": "search",
    "Bash": "run",
    "TodoWrite": "todo",
    "TodoRead": "todo",
    "Task": "delegate",
    "Agent": "delegate",
}

CLAUDE_MODELS: Final[Mapping[str, str]] = {"opus": "brain", "sonnet": "hands", "haiku": "hands", "inherit": "hands"}
"""Claude Code's model aliases as tiers: which model a tier means is the deck's choice."""

_CLAUDE_SERVER: Final = "mcp__"

_CLAUDE_KEYS: Final = frozenset({"name", "description", "tools", "model"})
_OUR_KEYS: Final = frozenset(
    {
        "harness",
        "command",
        "profile",
        "login",
        "tier",
        "owns",
        "runs_on",
        "delegates_to",
        "escalates_to",
        "limits",
        "expects",
    }
)

_LIMITS: Final = TypeAdapter(AgentLimits)
_LIMIT_KEYS: Final = tuple(AgentLimits.model_fields)


@dataclass(frozen=True, slots=True)
class Roster:
    """The agents of one deck, and what was left out on the way."""

    agents: Mapping[str, Agent]
    warnings: tuple[str, ...] = ()


def shipped_agents() -> dict[str, str]:
    """The texts of the agents that ship with Quarterdeck, by origin."""
    folder = resources.files("quarterdeck.agents") / "definitions"
    files = sorted((item for item in folder.iterdir() if item.name.endswith(".md")), key=lambda item: item.name)
    return {f"shipped:{item.name}": item.read_text(encoding="utf-8") for item in files}


def parse_agent(text: str, origin: str) -> Agent:
    """One agent of our own format. `origin` names the file for people. Raises BadConfiguration."""
    head, prompt = frontmatter.split(text, origin)
    if unknown := sorted(set(head) - _CLAUDE_KEYS - _OUR_KEYS):
        known = sorted(_CLAUDE_KEYS | _OUR_KEYS)
        guess = did_you_mean(unknown[0], known) or f"; known keys: {', '.join(known)}"
        raise refuse(origin, f"unknown key `{unknown[0]}`{guess}")
    tools, foreign = _tools(head.get("tools"), origin)
    if foreign:
        raise refuse(origin, f"tools: there is no tool `{foreign[0]}`; tools: {', '.join(NAMES)}, mcp:server/tool")
    return _agent(head, prompt, tools, origin)


def parse_claude_agent(text: str, origin: str) -> tuple[Agent, tuple[str, ...]]:
    """One agent of `.claude/agents/`, and warnings for what has no meaning here. Raises BadConfiguration."""
    head, prompt = frontmatter.split(text, origin, lenient=True)
    tools, foreign = _tools(head.get("tools"), origin)
    warnings = [f"{origin}: the tool `{name}` does not exist here and is left out" for name in foreign]
    kept = {key: value for key, value in head.items() if key in _CLAUDE_KEYS | _OUR_KEYS}
    warnings += [f"{origin}: the key `{key}` has no meaning here and is left out" for key in head if key not in kept]
    return _agent(kept, prompt, tools, origin), tuple(warnings)


def build_roster(shipped: Mapping[str, str], claude_files: Mapping[str, str], deck_files: Mapping[str, str]) -> Roster:
    """All agents by name. Each mapping: origin (a file name, for people) to text. Raises BadConfiguration."""
    agents: dict[str, Agent] = {}
    warnings: list[str] = []
    agents.update(_by_name({origin: parse_agent(text, origin) for origin, text in shipped.items()}))
    claude: dict[str, Agent] = {}
    for origin, text in claude_files.items():
        try:
            claude[origin], found = parse_claude_agent(text, origin)
        except BadConfiguration as error:  # not written for us: it must not keep a deck from starting
            warnings.append(f"{error}; it is left out")
            continue
        warnings += found
    agents.update(_by_name(claude))
    agents.update(_by_name({origin: parse_agent(text, origin) for origin, text in deck_files.items()}))
    _check_names(agents)
    return Roster(agents, tuple(warnings))


def _by_name(parsed: Mapping[str, Agent]) -> dict[str, Agent]:
    found: dict[str, tuple[str, Agent]] = {}
    for origin, agent in parsed.items():
        if agent.name in found:
            raise refuse(origin, f"name: `{agent.name}` is also the name of {found[agent.name][0]}")
        found[agent.name] = (origin, agent)
    return {name: agent for name, (_, agent) in found.items()}


def _check_names(agents: Mapping[str, Agent]) -> None:
    for name, agent in agents.items():
        fix = f"mend the file of the agent {name}"
        for other in agent.delegates_to:
            if other == name:
                raise BadConfiguration(
                    f"the agent `{name}` cannot be used", why="delegates_to: it names itself", fix=fix
                )
            if other not in agents:
                raise BadConfiguration(
                    f"the agent `{name}` cannot be used",
                    why=f"delegates_to: there is no agent `{other}`; agents: {', '.join(sorted(agents))}",
                    fix=fix,
                )
            if agents[other].harness not in SUB_AGENTS:
                raise BadConfiguration(
                    f"the agent `{name}` cannot be used",
                    why=f"delegates_to: `{other}` runs on the harness {agents[other].harness}; "
                    f"sub-agents run on {', '.join(SUB_AGENTS)} only",
                    fix=fix,
                )
        if agent.escalates_to == name:
            raise BadConfiguration(f"the agent `{name}` cannot be used", why="escalates_to: it names itself", fix=fix)
        if agent.escalates_to not in (None, HUMAN) and agent.escalates_to not in agents:
            raise BadConfiguration(
                f"the agent `{name}` cannot be used",
                why=f"escalates_to: there is no agent `{agent.escalates_to}` (`{HUMAN}` means a person)",
                fix=fix,
            )


def _agent(head: Mapping[str, Any], prompt: str, tools: tuple[str, ...] | None, origin: str) -> Agent:
    name = head.get("name") or origin.rsplit("/", 1)[-1].removesuffix(".md")
    tier, model = _model(head, origin)
    fields: dict[str, Any] = {
        "name": _text(name, "name", origin).strip().lower().replace(" ", "-"),
        "description": _text(head.get("description") or "", "description", origin).strip(),
        "command": _command(head.get("command"), origin),
        "tier": tier,
        "model": model,
        "tools": tools,
        "owns": _words(head.get("owns"), "owns", origin),
        "runs_on": _words(head.get("runs_on"), "runs_on", origin),
        "delegates_to": _words(head.get("delegates_to"), "delegates_to", origin),
        "escalates_to": head.get("escalates_to"),
        "limits": _limits(head.get("limits"), origin),
        "expects": head.get("expects", "submission"),
        "prompt": prompt,
    }
    if tools is not None and fields["delegates_to"] and "delegate" not in tools:
        fields["tools"] = (*tools, "delegate")
    fields |= {key: _text(head[key], key, origin) for key in ("profile", "login") if key in head}
    implied = "acp" if "profile" in fields else "command" if fields["command"] else "native"
    fields["harness"] = head.get("harness", implied)
    try:
        agent = Agent(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        why = "it must be 1 to 63 of a-z, 0-9, `-` and `_`" if place == "name" else complaint(first)
        raise refuse(origin, f"{place}: {why}") from error
    if agent.name == HUMAN:
        raise refuse(origin, f"name: `{HUMAN}` stands for a person in escalates_to; no agent has that name")
    if agent.expects not in EXPECTS:
        raise refuse(origin, f"expects: `{agent.expects}` is no handoff; one of {', '.join(EXPECTS)}")
    if agent.harness is Harness.COMMAND and not agent.command:
        raise refuse(origin, "command: a command agent needs `command: [program, argument, ...]`")
    if agent.harness is Harness.NATIVE and agent.command:
        raise refuse(origin, f"command: has no meaning with `harness: {agent.harness}`")
    _check_acp(agent, origin)
    return agent


def _check_acp(agent: Agent, origin: str) -> None:
    """How an agent on the harness `acp` is started. Raises BadConfiguration."""
    if agent.harness is not Harness.ACP:
        for key in ("profile", "login"):
            if getattr(agent, key) != Agent.model_fields[key].default:
                raise refuse(origin, f"{key}: has no meaning with `harness: {agent.harness}`")
        return
    if not agent.profile and not agent.command:
        raise refuse(origin, "profile: an ACP agent needs `profile: NAME`, or `command: [program, argument, ...]`")
    if agent.profile and agent.profile not in PROFILES:
        guess = did_you_mean(agent.profile, PROFILES) or f"; one of {', '.join(PROFILES)}"
        raise refuse(origin, f"profile: there is no profile `{agent.profile}`{guess}")
    if agent.login == "own" and (not agent.profile or PROFILES[agent.profile].login is None):
        raise refuse(origin, "login: `own` needs a profile of a CLI that can be logged in")


def _model(head: Mapping[str, Any], origin: str) -> tuple[str, str | None]:
    """(tier, fixed model) of the keys `tier` and `model`."""
    tier = _text(head.get("tier") or "hands", "tier", origin)
    model = head.get("model")
    if model is None:
        return tier, None
    text = _text(model, "model", origin).strip()
    if text in CLAUDE_MODELS:
        return (tier if "tier" in head else CLAUDE_MODELS[text]), None
    if ":" in text:
        return tier, text
    if text.startswith("claude-"):
        return tier, f"anthropic:{text}"
    raise refuse(origin, f"model: `{text}` is neither `provider:model` nor one of {', '.join(CLAUDE_MODELS)}")


def _tools(value: Any, origin: str) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """(our tools, names that mean nothing here). None = the role's default."""
    if value is None or value == "*":
        return None, ()
    ours: list[str] = []
    foreign: list[str] = []
    for word in _words(value, "tools", origin):
        plain = word.split("(", 1)[0]  # `Bash(git:*)`: the restriction is the policy's work, the tool is `Bash`
        name = CLAUDE_TOOLS.get(plain) or _outside(plain, origin) or plain
        if name not in NAMES and not name.startswith(PREFIX):
            foreign.append(word)
        elif name not in ours:
            ours.append(name)
    return tuple(ours + [name for name in ALWAYS if name not in ours]), tuple(foreign)


def _outside(word: str, origin: str) -> str | None:
    """A tool of an outside server, in our spelling; Claude Code's `mcp__server__tool` is used where it is there."""
    theirs = word.startswith(_CLAUDE_SERVER)
    if theirs:
        server, _, tool = word.removeprefix(_CLAUDE_SERVER).partition("__")
        word = f"{PREFIX}{server}{'/' if tool else ''}{tool}?"
    if not word.startswith(PREFIX):
        return None
    try:
        return wanted(word).word
    except ValueError as error:
        if theirs:
            return None
        raise refuse(origin, f"tools: {word[:80]!r}: {error}") from error


def _words(value: Any, key: str, origin: str) -> tuple[str, ...]:
    """A list of words, written as a YAML list or with commas."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(item.strip() for item in value)
    raise refuse(origin, f"{key}: must be a list of words")


def _command(value: Any, origin: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise refuse(origin, f"command: {error}") from error
    if isinstance(value, list) and value and all(isinstance(item, str | int | float) for item in value):
        return tuple(str(item) for item in value)
    raise refuse(origin, "command: must be a list: [program, argument, ...]")


def _limits(value: Any, origin: str) -> AgentLimits:
    if value is None:
        return AgentLimits()
    if not isinstance(value, dict):
        raise refuse(origin, "limits: must be a mapping: {turns: 40, wall: 10m, usd: 0.50}")
    try:
        return _LIMITS.validate_python({**value, "wall": seconds(value.get("wall"))})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        guess = did_you_mean(key, _LIMIT_KEYS) if first["type"] == "extra_forbidden" else ""
        raise refuse(origin, f"limits.{key}: {complaint(first)}{guess}") from error
    except ValueError as error:
        raise refuse(origin, f"limits.wall: {error}") from error


def _text(value: Any, key: str, origin: str) -> str:
    if not isinstance(value, str):
        raise refuse(origin, f"{key}: must be text")
    return value
