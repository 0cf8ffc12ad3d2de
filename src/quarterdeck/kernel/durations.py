"""Durations as people write them, as float seconds."""

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from quarterdeck.kernel.entities import YEAR

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """`"90s"`, `"10m"`, `"1h"` or a plain number of seconds, as float seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if match is None:
            raise ValueError("a duration looks like 90s, 10m or 1h")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=YEAR, allow_inf_nan=False)]
"""Seconds, more than none and at most a year."""
