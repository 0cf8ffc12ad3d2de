"""What the interpreter says it does, told to whoever asked for that kind of event.

Rules
- There is one audit hook: each is called thousands of times a second, for every file, import and call of the system.
"""

import sys
from collections.abc import Callable
from typing import Any, Final

Heard = Callable[[str, tuple[Any, ...]], None]

_ASKED: Final[dict[str, Heard]] = {}


def hear(heard: Heard, *events: str) -> None:
    """Have that called with each of these events. Nobody else may have asked for one of them."""
    for event in events:
        assert event not in _ASKED, f"somebody hears {event} already"
        _ASKED[event] = heard


def _hook(event: str, arguments: tuple[Any, ...], asked: Callable[[str], Heard | None] = _ASKED.get) -> None:
    heard = asked(event)
    if heard is not None:
        heard(event, arguments)


sys.addaudithook(_hook)
