"""JSON as it comes over the wire. Pure.

Rules
- Streams bring a small document for every few words of an answer: it is read the fast way. What that refuses (half of
  a surrogate pair, another encoding than UTF-8) is for Python's own reader to take, or to refuse.
- The fast way ends at about two hundred levels; where Python's ends depends on how deep the stack is already.
"""

import json
from typing import Any

from pydantic_core import from_json


def read(data: bytes, deepest: int | None = None) -> Any:
    """The value of a document. Raises ValueError; RecursionError also where it has more levels than `deepest`, which is
    not asked of what could be read the fast way."""
    try:
        return from_json(data)
    except ValueError:
        found = json.loads(data)
    if deepest is not None and _deeper(found, deepest):
        raise RecursionError(f"more than {deepest} levels")
    return found


def _deeper(found: Any, levels: int) -> bool:
    """Whether it has more levels of objects and lists."""
    level = [found]
    for _ in range(levels + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
    return True
