"""The shape of a built-in tool: what the model sees, what it does to the world, how it is repeated."""

from collections.abc import Mapping
from typing import Any

from quarterdeck.tools.port import ToolResult


def parameters(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """JSON Schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


def text(description: str, *, minimum: int = 0, maximum: int | None = None) -> dict[str, Any]:
    """Schema of a string."""
    schema: dict[str, Any] = {"type": "string", "description": description}
    if minimum:
        schema["minLength"] = minimum
    if maximum is not None:
        schema["maxLength"] = maximum
    return schema


def number(description: str, *, minimum: int, maximum: int) -> dict[str, Any]:
    """Schema of a whole number."""
    return {"type": "integer", "description": description, "minimum": minimum, "maximum": maximum}


def failed(text: str, *flags: str) -> ToolResult:
    """A result that says what went wrong and what to do about it."""
    return ToolResult(text, ok=False, flags=flags)
