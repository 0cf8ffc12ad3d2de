"""Writes docs/reference from the code: `make docs`. A unit test fails where the written pages are out of date.

Rules
- What can be read from the code is read from it: commands and options, keys, types, bounds and defaults, events,
  failure classes, and what their docstrings say of them.
- What only a person can say stands in `docs/templates`; `{{name}}` there is where a generated part goes.
- The same code gives the same pages, on every machine and version of Python.
"""

import ast
import json
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from docs.sources import Row, Source, code, one_line, table
from pydantic import BaseModel
from typer.main import get_command

from quarterdeck.cli import registry
from quarterdeck.cli.main import app
from quarterdeck.cli.starter import toml_value
from quarterdeck.delivery.validation import findings
from quarterdeck.doors.api.app import description as described
from quarterdeck.doors.api.app import make_app
from quarterdeck.kernel import config, entities, events, failures, merging
from quarterdeck.kernel.config import DeckConfig, OperatorConfig
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.events import (
    attempt,
    attempt_acp,
    attempt_work,
    beside,
    gate,
    outside,
    packs,
    run,
    steering,
)
from quarterdeck.kernel.events import deck as of_deck

HERE: Final = Path(__file__).parent
TEMPLATES: Final = HERE / "templates"
PAGES: Final = HERE / "reference"
FIELDS: Final = TEMPLATES / "event-fields.toml"
"""Fields that several events share, explained once."""
_TYPES: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
EVENTS: Final = (of_deck, run, attempt, attempt_acp, attempt_work, beside, gate, steering, packs, outside)
"""Where events are defined."""
BODIES: Final = {
    entities: ("Change", "CheckResult", "Feedback", "Landed", "Usage"),
    merging: ("LostWay",),
    findings: ("Remark",),
}
"""Objects in events and in their larger bodies, which the page explains below."""
_VALUES: Final = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "Blob": "digest"}
_NAMED: Final = (events, entities, failures, findings)
"""Where the lists of words stand that fields of events are of."""
_EVERYWHERE: Final = ("json", "no_input", "help")
"""Options of every command, which the page names once."""
_WIDTH: Final = 120


def pages() -> dict[str, str]:
    """Every page of the reference, by file name."""
    parts: dict[str, Callable[[], str]] = {
        "commands": commands,
        "exit_codes": exit_codes,
        "plan": lambda: keys(Plan, entities, required="required"),
        "task": lambda: keys(Task, entities, required="required"),
        "deck": deck,
        "events": event_list,
        "bodies": bodies,
        "classes": failure_classes,
        "errors": errors,
    }

    def part(found: re.Match[str]) -> str:
        return parts[found[1]]().strip()

    filled = {
        template.name: re.sub(r"\{\{(\w+)\}\}", part, template.read_text(encoding="utf-8"))
        for template in sorted(TEMPLATES.glob("*.md"))
    }
    return {**filled, "openapi.json": openapi()}


def stale(made: Mapping[str, str]) -> list[str]:
    """Names of the pages that are missing or out of date, or that nothing makes any more. `made`: `pages`."""
    written = {path.name: path.read_text(encoding="utf-8") for path in PAGES.iterdir()}
    return sorted(name for name in {*written, *made} if written.get(name) != made.get(name))


def main() -> None:
    """Write every page that is out of date."""
    made = pages()
    for name in stale(made):
        path = PAGES / name
        if name in made:
            path.write_text(made[name], encoding="utf-8")
        else:
            path.unlink()
        sys.stdout.write(f"{path.relative_to(HERE.parent)}\n")


def openapi() -> str:
    """The description of the HTTP API."""
    return json.dumps(described(make_app(None)), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


# --- keys of files ------------------------------------------------------------------------------------------


def keys(model: type[BaseModel], module: ModuleType, *, required: str = "") -> str:
    """A table of a model's keys: what each may be, its default, what it means."""
    source, schema = Source(module), model.model_json_schema()
    rows: list[Row] = []
    for name, annotation, said in source.attributes(model.__name__):
        field = model.model_fields[name]
        values = "list of tasks" if name == "tasks" else kind(schema["properties"][name], annotation)
        default = required if field.is_required() else _default(field.get_default(call_default_factory=True), values)
        rows.append((code(name), values, default, said))
    return table(("key", "what it may be", "default", "meaning"), rows)


def kind(schema: Mapping[str, Any], annotation: str) -> str:
    """What a value may be, in words: from its JSON schema, and its type as written."""
    if "Duration" in annotation:
        return "duration"
    if "anyOf" in schema:
        return " or ".join(kind(each, annotation) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema or "const" in schema:
        return ", ".join(code(toml_value(each)) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        inner = "text" if schema.get("items", {}).get("type") == "string" else "values"
        return f"list of {inner}{', at least one' if schema.get('minItems') else ''}"
    return _TYPES.get(str(schema.get("type")), "table") + _bounds(schema)


def _bounds(schema: Mapping[str, Any]) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if "maxLength" in schema:
        return f", at most {schema['maxLength']:,} characters"
    if "pattern" in schema and re.search(r"\{0,(\d+)\}", schema["pattern"]):
        return ", at most 64 characters"
    if lowest is not None and highest is not None:
        return f", {lowest:,} to {highest:,}"
    return f", at least {lowest:,}" if lowest is not None else ""


def _default(value: Any, values: str) -> str:
    if value is None or value in ("", {}):
        return ""
    if values == "duration":
        whole = value >= 60 and value % 60 == 0
        return code(f'"{value / 60:g}m"' if whole else f'"{value:g}s"')
    return code(toml_value(value))


def deck() -> str:
    """The sections of deck.toml."""
    out: list[str] = []
    whole, own = Source(config), [name for name, _, _ in Source(config).attributes(OperatorConfig.__name__)]
    for name, annotation, said in (*whole.attributes(DeckConfig.__name__), *whole.attributes(OperatorConfig.__name__)):
        inner = re.search(r"\b([A-Z]\w+)\]?$", annotation)
        section = getattr(config, inner[1]) if inner else None
        module = sys.modules[section.__module__] if section is not None else config
        source = Source(module)
        listed = annotation.startswith("dict")
        out.append(f"## `[{name}]`\n")
        about = said or (source.doc(section.__name__) if section is not None else "")
        out.append(f"{about}{' The operator sets it, no repository does.' if name in own else ''}\n")
        if section is None:
            continue
        if listed:
            out.append(f"Each entry is a table. {source.doc(section.__name__)}\n")
        out.append(f"{keys(section, module, required='required')}\n")
        for key, inner_annotation, _ in source.attributes(section.__name__):
            entry = re.fullmatch(r"dict\[\w+, (\w+)\]", inner_annotation)
            if entry is not None and hasattr(module, entry[1]):
                out.append(f"### `[{name}.{key}.NAME]`\n\n{source.doc(entry[1])}\n")
                out.append(f"{keys(getattr(module, entry[1]), module)}\n")
    return "\n".join(out)


# --- events -------------------------------------------------------------------------------------------------


def event_list() -> str:
    """Every kind of event, by stream."""
    out: list[str] = []
    for module in EVENTS:
        parts = list(_events_of(module))
        # A stream may take several modules, one after the other.
        out += parts[1:] if parts[0] in out else parts
    return "\n".join(out)


def _events_of(module: ModuleType) -> Iterator[str]:
    source = Source(module)
    meant = tomllib.loads(FIELDS.read_text(encoding="utf-8"))
    for head, names in source.groups():
        known = [name for name in names if issubclass(getattr(module, name), events.EventBase)]
        if not known:
            continue
        yield f"## {head if '/' not in head else code(head)}\n"
        for name in known:
            kind = getattr(module, name).model_fields["kind"].default
            yield f"### `{kind}`\n"
            said = source.doc(name)
            if said:
                yield f"{said}\n"
            rows: list[Row] = [
                (code(field), value(annotation), _null(meaning or meant.get(f"{kind}.{field}") or meant.get(field, "")))
                for field, annotation, meaning in source.attributes(name)
                if field != "kind"
            ]
            if rows:
                yield f"{table(('field', 'what it is', 'meaning'), rows)}\n"


def bodies() -> str:
    """The objects that stand in fields of events and in larger bodies."""
    out: list[str] = []
    meant = tomllib.loads(FIELDS.read_text(encoding="utf-8"))
    for source, name in ((Source(module), name) for module, names in BODIES.items() for name in names):
        rows: list[Row] = [
            (code(field), value(annotation), _null(said or meant.get(f"{name}.{field}") or meant.get(field, "")))
            for field, annotation, said in source.attributes(name)
        ]
        out.append(f"### `{name}`\n\n{source.doc(name)}\n\n{table(('field', 'what it is', 'meaning'), rows)}\n")
    return "\n".join(out)


def _null(said: str) -> str:
    """Python's word for nothing as JSON has it."""
    return re.sub(r"\bNone\b", "null", said)


def value(annotation: str) -> str:
    """What an event's field holds, in words, from its type as written."""
    if annotation.endswith(" | None"):
        return f"{value(annotation.removesuffix(' | None'))}, or null"
    if listed := re.fullmatch(r"tuple\[(\w+), \.\.\.\]", annotation):
        return f"list of {value(listed[1])}"
    if annotation.startswith("Literal["):
        return ", ".join(code(each) for each in ast.literal_eval(annotation.removeprefix("Literal")))
    if re.fullmatch(r"[A-Z]\w+", annotation) and annotation in {name for names in BODIES.values() for name in names}:
        return code(annotation)
    named = next((getattr(where, annotation) for where in _NAMED if hasattr(where, annotation)), None)
    if isinstance(named, type) and issubclass(named, StrEnum):
        return ", ".join(code(each) for each in named)
    return _VALUES.get(annotation, "object")


# --- failures -----------------------------------------------------------------------------------------------


def failure_classes() -> str:
    """The table of failure classes with their recovery."""
    said = {name: text for name, _, text in Source(failures).attributes("FailureClass")}
    rows: list[Row] = []
    for failure, recovery in failures.RECOVERY.items():
        tries = f"{recovery.retries}{', with backoff' if recovery.backoff else ''}" if recovery.retries else ""
        ends = "the run" if recovery.stops_run else "the attempt" if recovery.ends_attempt else ""
        rows.append((code(failure), said[failure.name], recovery.says, tries, ends))
    return table(("class", "what it is", "what follows", "retries", "ends"), rows)


def errors() -> str:
    """Every error with its class and exit code."""
    rows: list[Row] = []
    for name in Source(failures).classes:
        error = getattr(failures, name)
        if issubclass(error, failures.QuarterdeckError) and error is not failures.QuarterdeckError:
            said = one_line((error.__doc__ or "").strip().partition("\n")[0])
            declared = any("failure" in each.__dict__ for each in error.__mro__[:-4])  # below the common base
            failure = "its own" if error is failures.ModelFailed else code(error.failure) if declared else ""
            rows.append((code(name), said, failure, code(str(error.exit_code))))
    return table(("error", "what happened", "class", "exit code"), rows)


# --- the command line ---------------------------------------------------------------------------------------


def exit_codes() -> str:
    """What each exit code means."""
    said = {name: text for name, _, text in Source(failures).attributes("Exit")}
    rows: list[Row] = [(code(str(getattr(failures.Exit, name))), text) for name, text in said.items()]
    return table(("code", "meaning"), rows)


def commands() -> str:
    """Every command with its arguments and options."""
    group: Any = get_command(app)
    out: list[str] = []
    heading = ""
    for listed in registry.COMMANDS:
        if listed.group != heading:
            heading = listed.group
            out.append(f"## {heading}\n")
        out += _command(group.get_command(None, listed.name), f"quarterdeck {listed.name}", listed.help)
    return "\n".join(out)


def _command(command: Any, path: str, said: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        if command.invoke_without_command:
            yield from _one(command, path, said)
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}", said)
        return
    yield from _one(command, path, said)


def _one(command: Any, path: str, said: str) -> Iterator[str]:
    arguments = [each for each in command.params if type(each).__name__.endswith("Argument")]
    options = [each for each in command.params if each not in arguments and not each.hidden]
    usage = " ".join([path, *(_argument(each) for each in arguments)])
    yield f"### `{usage}`\n"
    yield f"{_paragraphs(command.help) or said}\n"
    rows: list[Row] = [(code(each.metavar or each.name), "", one_line(each.help)) for each in arguments]
    for each in options:
        if each.name not in _EVERYWHERE:
            said, _, stated = one_line(each.help).partition("[default: ")
            rows.append((_names(each), stated.removesuffix("]") or _shown(each), said.strip()))
    yield f"{table(('', 'default', 'meaning'), rows)}\n" if rows else ""


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(textwrap.fill(one_line(part), _WIDTH) for part in (text or "").split("\n\n"))


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name)
    return name if parameter.required else f"[{name}]"


def _names(option: Any) -> str:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _shown(option: Any) -> str:
    default = option.default
    if option.is_flag or default is None or callable(default) or not option.show_default:
        return ""
    return code(str(default))


if __name__ == "__main__":
    main()
