"""What `init` writes and `config` prints: deck.toml as text. Pure.

Rules
- What is written can be read again and means the same.
- A starter file sets only what was detected; everything else stands there as a comment with its default.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarterdeck.delivery.detect import Detected
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.servers import McpServer

AGENTS_README: Final = """\
Agents of this repository: one file NAME.md each, YAML front matter and a prompt.

    ---
    name: implementer
    description: Writes code and its tests.
    tier: hands            # which models; see [tiers] in deck.toml
    owns: ["src/**"]       # tasks there go to it, and it may change nothing else
    delegates_to: [scout]  # who may help it inside its attempt
    escalates_to: debugger # who tries after it; or human, who is asked
    limits: {turns: 60, wall: 30m, usd: 1.0}
    ---
    You implement one task at a time. ...

Any program can be an agent:

    ---
    name: formatter
    description: Formats the code.
    harness: command
    command: ["make", "format"]
    ---

A file here replaces the built-in agent of the same name. `quarterdeck agents` lists what a run will have.
"""

_HEAD: Final = """\
# Quarterdeck reads this file from the commit that a run starts from, so commit it.
# Every key is optional; commented ones show their default. A repository may only narrow money, network and sandbox.
"""

_SHOWN: Final = {
    "deck": ("max_parallel",),
    "review": ("agent", "rounds"),
    "budget": ("run",),
    "limits": ("turns", "wall", "attempts"),
    "sandbox": ("network", "setup", "memory_mb", "disk_mb"),
}
"""What a starter file mentions; `quarterdeck config` shows everything."""

_TIERS: Final = """\
[tiers]
# For agents that are models, together with a key (`quarterdeck doctor` looks for it). The first model is preferred, the
# rest is failover; brain plans and reviews, hands implements.
# brain = ["anthropic:claude-sonnet-5-5", "openai:gpt-6-sol"]
# hands = ["anthropic:claude-haiku-5-5", "openai:gpt-6-luna"]"""

_EXAMPLE: Final = {("review", "agent"): "reviewer", ("sandbox", "setup"): ["uv sync"]}
"""What stands in a comment for a key whose default is nothing."""

_DURATIONS: Final = {
    *("timeout", "wall", "setup_timeout", "connect", "first_byte", "idle", "total", "expires", "interval")
}
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60))


def starter(found: Detected) -> str:
    """The deck.toml for a repository of which that is known."""
    out = [_HEAD, "[checks]", "# Run on every merged tree; a change lands only when all of them pass."]
    out += [f"# {line}" for line in found.lines]
    if found.gate:
        out.append(f"gate = {toml_value(list(found.gate))}")
    else:
        out.append("# Nothing was detected, and without a gate no run is started. For example:")
        out.append('# gate = ["make test"]')
    default = DeckConfig()
    out.append(f"# timeout = {_text('timeout', default.checks.timeout)}")
    for section, keys in _SHOWN.items():
        out += ["", f"[{section}]"]
        for key in keys:
            value = getattr(getattr(default, section), key)
            shown = _EXAMPLE.get((section, key), value) if value is None else value
            out.append(f"# {key} = {_text(key, shown)}")
    out += ["", _TIERS]
    return "\n".join(out) + "\n"


def effective(config: DeckConfig, origin: Iterable[str]) -> str:
    """A whole configuration as deck.toml, with where each value comes from."""
    notes = _notes(origin)
    out: list[str] = []
    for section in DeckConfig.model_fields:
        value = getattr(config, section)
        table = isinstance(value, Mapping)
        entries = value if table else {key: getattr(value, key) for key in type(value).model_fields}
        out += ["", f"[{section}]"]
        for key, entry in entries.items():
            name = json.dumps(key, ensure_ascii=False) if table else key
            plain = _plain(entry)
            line = f"# {name} is not set" if plain is None else f"{name} = {_text(key, plain)}"
            why = notes.pop(f"{section}.{name}", [])
            out.append(f"{line}{'  # ' + '; '.join(why) if why else ''}")
    out += [f"# {key}: {text}" if text else f"# {key}" for key, texts in notes.items() for text in texts]
    return "\n".join(out[1:])


def _plain(entry: Any) -> Any:
    """A value or a table of values as TOML can hold it."""
    if isinstance(entry, Mapping):
        return {name: _plain(each) for name, each in entry.items()}
    if isinstance(entry, McpServer):  # as it was written: its hash is of that
        return entry.model_dump(mode="json", exclude_defaults=True)
    return entry.model_dump(exclude_none=True) if isinstance(entry, Value) else entry


def _notes(origin: Iterable[str]) -> dict[str, list[str]]:
    """Lines `key: where from` by key; a key may hold `:` inside quotes."""
    notes: dict[str, list[str]] = {}
    for line in origin:
        key, _, text = line.partition(": ")
        notes.setdefault(key, []).append(text)
    return notes


def _text(key: str, value: Any) -> str:
    if key in _DURATIONS and isinstance(value, float):
        whole = (f"{value / unit:g}{name}" for name, unit in _UNITS if value % unit == 0)
        return json.dumps(next(whole, f"{value:g}s"))
    return toml_value(value)


def toml_value(value: Any) -> str:
    """A TOML value on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {toml_value(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(each) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML's basic strings take JSON's escapes, but DEL has to be escaped too.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
