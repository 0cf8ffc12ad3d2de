"""What came over a wire as something that can be stored, counted, and sent again. Pure.

Rules
- Text is whole: the halves of a surrogate pair that came apart are put together, half a pair becomes U+FFFD. No
  provider takes it back, so it would spoil every later request of its conversation.
- A value is JSON as the standard has it: no NaN, no infinity, nested no deeper than it can be written again.
- Usage that nobody can have used is no usage: less than nothing, too much, or a prompt without a token. Servers that do
  not count say zero.
"""

import math
from typing import Any, Final

from quarterdeck.kernel.entities import Usage

MAX_NESTING: Final = 100
MAX_TOKENS: Final = 100_000_000
"""Of one kind in one call: far above any context window."""


def text(found: str) -> str:
    """The text, whole."""
    try:
        found.encode()
    except UnicodeEncodeError:
        return found.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return found


def value(found: Any, depth: int = 0) -> Any:
    """A value of `json.loads` whose texts are whole. Raises ValueError where it is no JSON that could be sent again."""
    if depth > MAX_NESTING:
        raise ValueError(f"nested deeper than {MAX_NESTING}")
    match found:
        case str():
            return text(found)
        case dict():
            return {text(key): value(item, depth + 1) for key, item in found.items()}
        case list():
            return [value(item, depth + 1) for item in found]
        case float() if not math.isfinite(found):
            raise ValueError(f"{found} is not a number of JSON")
        case _:
            return found


def usage(found: Usage | None) -> Usage | None:
    """The usage, where it can be true."""
    if (
        found is None
        or not all(0 <= n <= MAX_TOKENS for n in (found.input, found.cache_read, found.cache_write, found.output))
        or not 0 <= found.long_write <= found.cache_write
        or not found.prompt
    ):
        return None
    return found
