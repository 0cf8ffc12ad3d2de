"""How deep a Python text nests, at a glance.

Rules
- No word is shorter than a character: where no stretch between two marks is long, no chain of words is.
- What this is not sure of, `python_tree` decides word by word.
- The compiler holds every thread of the process while it reads a text. Where a text may be read beside other work, it
  is short, and holds no long formatted string: CPython 3.11 reads these in the square of their length.
"""

import re
from typing import Final

DEEPEST_BRACKET: Final = 40
LONGEST_CHAIN: Final = 2_000
"""Words in a row without a bracket or a comma on one logical line: the compiler's own recursion follows them."""
SHORT: Final = 64 * 1024
"""Characters that the compiler is done with in a fraction of a second."""
LONGEST_FORMATTED: Final = 2_000
"""Characters of one formatted string, at most."""
_OPAQUE: Final = re.compile(
    r"""
      \#[^\n]*
    | \\\r?\n | \\.  # so that no quote behind a backslash begins a string: each would be searched to the end
    | \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
    | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
    | "[^"\\\n]*(?:\\.[^"\\\n]*)*"
    | '[^'\\\n]*(?:\\.[^'\\\n]*)*'
    """,
    re.VERBOSE | re.DOTALL,
)
"""What of a text has no structure: comments, strings, joined lines."""
_MARK: Final = re.compile(r"[()\[\]{},\n]")
OPENING: Final = frozenset("([{")
CLOSING: Final = frozenset(")]}")


def soon_read(text: str) -> bool:
    """Whether the compiler is surely done with a text soon."""
    return len(text) <= SHORT and not any(
        found.end() - found.start() > LONGEST_FORMATTED
        and "f" in text[max(0, found.start() - 2) : found.start()].lower()
        for found in _OPAQUE.finditer(text)
    )


def surely_flat(text: str) -> bool:
    """Whether brackets and chains of words are surely within their limits."""
    depth = since = 0
    plain = _OPAQUE.sub("s", text)
    for match in _MARK.finditer(plain):
        mark, at = match.group(), match.start()
        if at - since > LONGEST_CHAIN:
            return False
        if mark in OPENING:
            depth, since = depth + 1, at
            if depth > DEEPEST_BRACKET:
                return False
        elif mark in CLOSING:
            depth = max(depth - 1, 0)
        elif mark == "," or depth == 0:
            since = at
    return len(plain) - since <= LONGEST_CHAIN
