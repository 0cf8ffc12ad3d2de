"""Writes web/src/api/shapes.ts from what the deck answers: the dashboard and the server mean the same (`make docs`).

Rules
- Read from the values themselves: names, types, unions, what may be missing. A unit test fails where it is out of date.
- What the server always says is never optional; `None` is null.
"""

import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from quarterdeck.board import answers, port

PAGE: Final = Path(__file__).resolve().parents[1] / "web" / "src" / "api" / "shapes.ts"
SOURCES: Final = (port, answers)
_HEAD: Final = "// What the deck's server says. Written by `make docs` from the server's own values: change those.\n"
_PLAIN: Final = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", Any: "unknown"}
_WIDTH: Final = 118


def shapes() -> str:
    """The page, whole."""
    blocks = [block for module in SOURCES for block in _module(module)]
    return _HEAD + "\n" + "\n\n".join(blocks) + "\n"


def stale() -> bool:
    """Whether the page that is there says something else."""
    return not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != shapes()


def _module(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if get_origin(value) is Literal:
            yield f"export type {name} = {_type(value)};"
        elif isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum:
            yield f"export type {name} = {_union(repr_(member.value) for member in value)};"
        elif isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__:
            yield _interface(value)


def _interface(model: type[BaseModel]) -> str:
    parameters = [parameter.__name__ for parameter in getattr(model, "__parameters__", ())]
    name = model.__name__ + (f"<{', '.join(parameters)}>" if parameters else "")
    about = _about(inspect.cleandoc(model.__doc__ or ""), "")
    fields = "".join(_field(model, field) for field in model.model_fields)
    return f"{about}export interface {name} {{\n{fields}}}"


def _field(model: type[BaseModel], field: str) -> str:
    hint = typing.get_type_hints(model)[field]
    return f"  readonly {field}: {_type(hint)};\n"


def _about(text: str, indent: str) -> str:
    first = text.split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return "".join(f"{indent}// {line}\n" for line in textwrap.wrap(first, _WIDTH - len(indent)))


def _type(hint: Any) -> str:
    if isinstance(hint, TypeVar):
        return hint.__name__
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        metadata = hint.__pydantic_generic_metadata__
        if metadata["origin"] is not None:
            return f"{metadata['origin'].__name__}<{', '.join(map(_type, metadata['args']))}>"
        return hint.__name__
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint.__name__
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _union(repr_(value) for value in inside)
    if origin in (Union, types.UnionType):
        return " | ".join(map(_type, inside))
    if origin is tuple:
        element = _type(inside[0])
        return f"readonly ({element})[]" if "|" in element else f"readonly {element}[]"
    if origin is dict:
        return f"Readonly<Record<{_type(inside[0])}, {_type(inside[1])}>>"
    return _PLAIN[hint]


def _union(parts: Iterator[str]) -> str:
    return " | ".join(parts)


def repr_(value: object) -> str:
    """As TypeScript writes it."""
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> None:
    """Write the page."""
    PAGE.write_text(shapes(), encoding="utf-8")


if __name__ == "__main__":
    main()
