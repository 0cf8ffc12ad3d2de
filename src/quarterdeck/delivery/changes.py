"""What a change is called in the mirror, and how much of it an event names. Pure."""

from typing import Final

CHANGES: Final = "refs/quarterdeck/changes"
"""Below it: the change of each attempt that handed one in."""
UNFINISHED: Final = "refs/quarterdeck/unfinished"
"""Below it: what an attempt had changed when it ended otherwise."""

_FILES: Final = 500
_FILE_BYTES: Final = 48 * 1024
"""How much of an event the list of files takes."""


def shown(files: tuple[str, ...]) -> tuple[str, ...]:
    """As many as an event can hold; the change itself is read from the mirror."""
    left, shown = _FILE_BYTES, []
    for name in files[:_FILES]:
        left -= len(name.encode("utf-8", "surrogateescape")) * 6  # a control character takes six in JSON
        if left < 0:
            break
        shown.append(name)
    return tuple(shown)
