"""Which value holds where several files set one.

Rules
- The operator's file wins. Values detected in the repository fill what nobody set.
- The repository's file may only narrow money, network, sandbox and how many agents start, and only have people asked
  more often; it may not say where keys are sent. Where the operator is silent, the default is what may be narrowed.
  Everything else of it fills what the operator left open.
- Ways of merging it may take away, not add; an external merge driver it may refuse, not allow. That a change which made
  the target red is taken back it may have asked about, or refuse, not allow.
- Tool servers may be declared by both; that one may be used is the operator's word alone.
- What is told to whom outside (`[telemetry]`), and where work is pushed, is the operator's word alone too.
- What was not taken over is said in a line, never silently dropped.
"""

import math
from typing import Any, Final

from quarterdeck.kernel.config import DeckConfig, LongPrice, Price
from quarterdeck.kernel.price_list import LIST
from quarterdeck.kernel.servers import McpServer
from quarterdeck.settings.files import Partial

_MINIMUM: Final = (
    ("budget", "run"),
    ("budget", "user_day"),
    ("budget", "deck_day"),
    ("limits", "spawn_per_minute"),
    ("limits", "runs_per_hour"),
    ("limits", "agents_at_once"),
    ("limits", "one_agent_at_once"),
    ("limits", "repository_at_once"),
    ("limits", "delegation_depth"),
    ("limits", "fan_out"),
    ("approve", "inbox"),
    ("approve", "expires"),
    ("sandbox", "memory_mb"),
    ("sandbox", "disk_mb"),
    ("sandbox", "processes"),
    ("sandbox", "cpu_seconds"),
    ("sandbox", "setup_timeout"),
)
_STRICTER: Final = (("approve", "plan"), ("approve", "merge"))
_ASKING: Final = ("never", "risky", "always")
_TAKING: Final = ("never", "ask", "auto")
_SUBSET: Final = (("sandbox", "network"), ("sandbox", "setup_network"), ("merge", "ways"))
_TABLES: Final = ("tiers", "prices", "models")
_SERVERS: Final = "mcp"
_OPERATORS: Final = ("telemetry",)
"""Sections of which a repository's file sets nothing."""
_OPERATORS_KEYS: Final = (("deck", "remote"),)
"""And keys: work is pushed there with the operator's credentials."""

_NARROW: Final = "a repository may only narrow it"
_STRICT: Final = "a repository may only ask for more"


def merge(
    operator: Partial, repository: Partial | None, detected: Partial, declared: Partial | None = None
) -> tuple[DeckConfig, tuple[str, ...]]:
    """The effective configuration, and for people where each part came from and what was not taken over.

    `declared`: tool servers that the repository declares elsewhere, in its `.mcp.json`.
    Example of a line: `checks.gate: from .quarterdeck/deck.toml`.
    """
    layers = [layer for layer in (operator, repository, detected) if layer is not None]
    chosen: dict[str, dict[str, Any]] = {}
    origin: list[str] = []
    for section in DeckConfig.model_fields:
        if section == _SERVERS:
            chosen[section], lines = _merge_servers(operator, (repository, declared))
            origin += lines
            continue
        keep, lines = (_merge_table if section in _TABLES else _merge_section)(section, layers, operator, repository)
        chosen[section] = keep
        origin += lines
    return DeckConfig.model_validate(chosen), tuple(origin)


_Merged = tuple[dict[str, Any], list[str]]


def _merge_section(section: str, layers: list[Partial], operator: Partial, repository: Partial | None) -> _Merged:
    chosen: dict[str, Any] = {}
    lines: list[str] = []
    for key in type(getattr(DeckConfig(), section)).model_fields:
        setters = [layer for layer in layers if _sets(layer, section, key)]
        if not setters:
            continue
        winner = setters[0]
        value = _get(winner, section, key)
        theirs = section in _OPERATORS or (section, key) in _OPERATORS_KEYS
        if repository is not None and repository in setters and theirs:
            lines.append(f"{section}.{key}: of the repository not used, only the operator sets it")
            setters.remove(repository)
            if not setters:
                continue
            winner, value = setters[0], _get(setters[0], section, key)
        elif repository is not None and repository in setters:
            allowed, refused = _narrowed(section, key, _get(operator, section, key), _get(repository, section, key))
            if refused:
                lines.append(f"{section}.{key}: {refused}")
            if allowed is not _OPEN:
                taken = allowed == _get(repository, section, key)
                winner, value = (repository if taken else operator), allowed
                if not taken and not _sets(operator, section, key):
                    chosen[key] = value
                    continue
        chosen[key] = value
        lines.append(f"{section}.{key}: from {winner.origin}")
    return chosen, lines


_OPEN: Final = object()
"""The repository's value is not restricted: who wins is decided as for any other key."""


def _narrowed(section: str, key: str, bound: Any, asked: Any) -> tuple[Any, str]:
    """The value that holds where the repository asked for `asked` under the operator's (or the default) `bound`,
    and what was refused."""
    if (section, key) in _MINIMUM:
        more = _endless(asked) > _endless(bound)
        refused = f"{_brief(asked)} of the repository is not used, {_NARROW} (at most {_brief(bound)})" if more else ""
        return (bound if more else asked), refused
    if (section, key) in _SUBSET:
        extra = [each for each in asked if each not in bound]
        refused = f"{', '.join(extra)} of the repository not used, {_NARROW}" if extra else ""
        return tuple(each for each in asked if each in bound), refused
    if (section, key) in _STRICTER:
        looser = _ASKING.index(asked) < _ASKING.index(bound)
        refused = f'"{asked}" of the repository is not used, {_STRICT} ("{bound}" holds)' if looser else ""
        return (bound if looser else asked), refused
    if (section, key) == ("approve", "tools"):
        return (*bound, *(tool for tool in asked if tool not in bound)), ""
    if (section, key) == ("sandbox", "backend") and asked == "none" and bound != "none":
        return bound, f'"none" of the repository is not used, {_NARROW}'
    if (section, key) == ("merge", "driver"):
        refused = (
            f'"auto" of the repository is not used, {_NARROW} ("off" holds)'
            if (asked, bound) == ("auto", "off")
            else ""
        )
        return ("off" if "off" in (asked, bound) else "auto"), refused
    if (section, key) == ("merge", "revert"):
        freer = _TAKING.index(asked) > _TAKING.index(bound)
        refused = f'"{asked}" of the repository is not used, {_NARROW} ("{bound}" holds)' if freer else ""
        return (bound if freer else asked), refused
    return _OPEN, ""


def _endless(bound: float | str) -> float:
    """A number that may be no bound at all."""
    return math.inf if isinstance(bound, str) else bound


def _brief(bound: float | str) -> str:
    return bound if isinstance(bound, str) else f"{bound:g}"


def wider(used: DeckConfig, today: DeckConfig) -> tuple[str, ...]:
    """Where an earlier configuration allows more money, network or sandbox than the one that holds today."""
    lines: list[str] = []
    for section in DeckConfig.model_fields:
        if section in (*_TABLES, _SERVERS):
            continue
        for key in type(getattr(used, section)).model_fields:
            then, now = getattr(getattr(used, section), key), getattr(getattr(today, section), key)
            allowed, _ = _narrowed(section, key, now, then)
            if allowed is not _OPEN and allowed != then:
                lines.append(f"{section}.{key} was {_plain(then)}, today it is {_plain(now)}")
    return tuple(lines)


def _plain(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)


def _merge_table(section: str, layers: list[Partial], operator: Partial, repository: Partial | None) -> _Merged:
    chosen: dict[str, Any] = {}
    lines: list[str] = []
    for layer in layers:
        for name, entry in getattr(layer.config, section).items():
            if layer is repository:
                # the operator's prices bind whether they were already chosen or come from the list
                bound = chosen.get(name, LIST.get(name) if section == "prices" else None)
                entry, refused = _entry_of_repository(section, entry, bound)
                if refused:
                    lines.append(f'{section}."{name}": {refused}')
                if entry is None:
                    continue
            elif name in chosen:
                continue
            if chosen.get(name) != entry:
                chosen[name] = entry
                lines.append(f'{section}."{name}": from {layer.origin}')
    return chosen, lines


def _merge_servers(operator: Partial, theirs: tuple[Partial | None, ...]) -> _Merged:
    """Servers by name, the operator's first. Nothing that a repository says approves one."""
    given = [layer for layer in (operator, *theirs) if layer is not None and _SERVERS in layer.config.model_fields_set]
    chosen: dict[str, Any] = {"approved": operator.config.mcp.approved}
    servers: dict[str, McpServer] = {}
    lines: list[str] = []
    for layer in given:
        section = layer.config.mcp
        if "schemas" in section.model_fields_set and "schemas" not in chosen:
            chosen["schemas"] = section.schemas
            lines.append(f"mcp.schemas: from {layer.origin}")
        if layer is not operator and section.approved:
            lines.append("mcp.approved: of the repository not used, only the operator approves")
        for name, server in section.servers.items():
            if name not in servers:
                servers[name] = server
                lines.append(f"mcp.servers.{name}: from {layer.origin}")
            elif servers[name] != server:
                lines.append(f"mcp.servers.{name}: the one of {layer.origin} is not used, there is one of that name")
    return {**chosen, "servers": servers}, lines


def _entry_of_repository(section: str, asked: Any, bound: Any) -> tuple[Any, str]:
    """What may be taken over from the repository's entry of a table where `bound` holds already; None = nothing."""
    if section == "prices":
        if bound is None:
            return None, "not used, a repository may not price a model that the operator has not priced"
        dearer = _dearer(bound, asked)
        return dearer, "" if dearer == asked else f"lower prices of the repository not used, {_NARROW}"
    if bound is not None:
        return None, ""
    if section == "models" and (asked.base_url is not None or asked.api_key_env is not None):
        # else a repository could have the operator's keys sent to a server of its choice
        safe = asked.model_copy(update={"base_url": None, "api_key_env": None})
        return safe, "base_url and api_key_env of the repository not used, only the operator says where keys are sent"
    return asked, ""


def _dearer(bound: Price, asked: Price) -> Price:
    price = Price.model_validate(_dearer_rates(bound, asked))
    if bound.long is None and asked.long is None:
        return price
    # Where only one of them has a price for long prompts, the other's holds for prompts of any length.
    first, second = bound.long or bound, asked.long or asked
    marks = [long for long in (bound.long, asked.long) if long is not None]
    bounds = {"above": min(mark.above for mark in marks), "until": max(mark.until for mark in marks)}
    return price.model_copy(update={"long": LongPrice.model_validate(_dearer_rates(first, second) | bounds)})


def _dearer_rates(bound: Price | LongPrice, asked: Price | LongPrice) -> dict[str, float | None]:
    def rate(name: str) -> float | None:
        ours, theirs = getattr(bound, name), getattr(asked, name)
        if ours is None and theirs is None:
            return None
        return max(bound.input if ours is None else ours, asked.input if theirs is None else theirs)

    return {
        "input": max(bound.input, asked.input),
        "output": max(bound.output, asked.output),
        "cache_read": rate("cache_read"),
        "cache_write": rate("cache_write"),
    }


def _sets(layer: Partial, section: str, key: str) -> bool:
    return key in getattr(layer.config, section).model_fields_set


def _get(layer: Partial, section: str, key: str) -> Any:
    return getattr(getattr(layer.config, section), key)
