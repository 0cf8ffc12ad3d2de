"""JSON as it comes over the wire. Pure.

Rules
- Streams bring a small document for every few words of an answer: it is read the fast way. What that refuses (half of
  a surrogate pair, another encoding than UTF-8) is for Python's own reader to take, or to refuse.
"""

import json
from typing import Any

from pydantic_core import from_json


def read(data: bytes) -> Any:
    """The value of a document. Raises ValueError, RecursionError."""
    try:
        return from_json(data)
    except ValueError:
        return json.loads(data)
