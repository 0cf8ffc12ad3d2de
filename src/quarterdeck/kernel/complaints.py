"""What is wrong with a value, in the words of whoever wrote it. Pure.

Rules
- pydantic's complaints name Python's types; here they are said as a person would who looks at the file.
- A misspelt word is answered with the known one that is closest.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

_BELONGS: Final = {
    "string": "text belongs here",
    "int": "a whole number belongs here",
    "float": "a number belongs here",
    "decimal": "a number belongs here",
    "finite": "a finite number belongs here",
    "bool": "true or false belongs here",
    "tuple": "a list belongs here",
    "list": "a list belongs here",
    "dict": "keys with values belong here",
    "model": "keys with values belong here",
}
_SAYS: Final = {
    "greater_than_equal": "it must be at least {ge}",
    "greater_than": "it must be more than {gt}",
    "less_than_equal": "it must be at most {le}",
    "less_than": "it must be less than {lt}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
    "too_short": "it must have at least {min_length} parts",
    "too_long": "it must have at most {max_length} parts",
    "string_unicode": "it is not UTF-8 text",
    "string_pattern_mismatch": "it must look like {pattern}",
    "enum": "it must be {expected}",
    "literal_error": "it must be {expected}",
    "missing": "this key is missing",
    "extra_forbidden": "this key is not known",
}


def complaint(error: Mapping[str, Any]) -> str:
    """One entry of pydantic's `ValidationError.errors()` in plain words, without the value and its place."""
    kind = str(error["type"])
    context = {key: _number(value) for key, value in (error.get("ctx") or {}).items()}
    if kind in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "it must not be empty"
    if kind in _SAYS:
        return _SAYS[kind].format_map(context)
    if kind != "value_error" and (said := _BELONGS.get(kind.partition("_")[0])):
        return said
    return str(error["msg"]).removeprefix("Value error, ")


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None = none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean `gate`?`, or nothing."""
    close = nearest(word, known)
    return f", did you mean `{close}`?" if close else ""
