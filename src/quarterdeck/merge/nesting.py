"""How deep a Python text nests, at a glance.

Rules
- No word is shorter than a character: where no stretch between two marks is long, no chain of words is.
- What this is not sure of, `python_tree` decides word by word.
"""

import re
from typing import Final

DEEPEST_BRACKET: Final = 40
LONGEST_CHAIN: Final = 2_000
"""Words in a row without a bracket or a comma on one logical line: the compiler's own recursion follows them."""
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
