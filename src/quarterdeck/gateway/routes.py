"""Which model a request goes to. Pure.

Rules
- A virtual key names the models that it may ask, in order. A request may write one as `model`, `provider:model`, or
  `quarterdeck`: the first that speaks the request's format. A dated name (`…-20251001`) means the undated one.
- Anything else is refused with the names that are allowed.
- Where a model fails in a way that another one may not, the next one of the same format takes its place.
"""

import re
from collections.abc import Sequence
from typing import Final

from quarterdeck.gateway.wires import SPEAKERS, Wire

ALIAS: Final = "quarterdeck"
_DATE: Final = re.compile(r"-(20\d{6}|20\d\d-\d\d-\d\d|latest)$")


def servable(models: Sequence[str]) -> tuple[str, ...]:
    """Those of the models that can be asked for in some format: Ollama's own is none of them."""
    return tuple(name for name in models if any(speaking(wire, (name,)) for wire in Wire))


def speaking(wire: Wire, models: Sequence[str]) -> tuple[str, ...]:
    """Those of the models (`provider:model`) whose provider speaks the format."""
    return tuple(name for name in models if name.partition(":")[0] in SPEAKERS[wire])


def candidates(wire: Wire, asked: str, models: Sequence[str]) -> tuple[str, ...]:
    """The models to try in order for a request that names `asked`; empty where none is allowed."""
    able = speaking(wire, models)
    if asked in ("", ALIAS):
        return able
    plain = asked.removeprefix("models/")
    meant = next((name for name in able if plain in (name, name.partition(":")[2])), None)
    if meant is None:
        meant = next((name for name in able if undated(name.partition(":")[2]) == undated(plain)), None)
    if meant is None:
        return ()
    return (meant, *(name for name in able if name != meant))


def undated(model: str) -> str:
    """The name without its date."""
    return _DATE.sub("", model)


def is_known(asked: str, models: Sequence[str]) -> bool:
    """Whether a key with those models may ask for that one in any format."""
    return any(candidates(wire, asked, models) for wire in Wire)
