"""What a response says about how much more the provider takes. Pure.

Rules
- Where nothing is left of a limit (requests, tokens, ...), the provider is left alone until that limit begins anew.
- A `retry-after` beside it says it better and counts alone: it is heard where the failure is read.
- A moment is compared with the provider's own clock, where it tells it: ours may be wrong.
- What cannot be read says nothing.
Sources: the rate limit pages of platform.claude.com/docs (`anthropic-ratelimit-*`, RFC 3339) and
developers.openai.com/docs (`x-ratelimit-*`, durations like `6m0s`).
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_ANTHROPIC: Final = "anthropic-ratelimit-"
_OPENAI: Final = "x-ratelimit-remaining-"
_NONE: Final = re.compile(r"0+(\.0+)?|-\d+(\.\d+)?", re.ASCII)
_SPAN: Final = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9}(?:\.\d{1,9})?)s)?", re.ASCII)
_SMALL: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|us|µs|ns)", re.ASCII)
_PLAIN: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_PARTS: Final = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def hold(headers: Mapping[str, str], now: float) -> float:
    """Seconds for which the provider is to be left alone; 0 = not at all.

    `headers`: of a response, names in lower case. `now`: seconds since the epoch, by our clock.
    """
    if "retry-after" in headers or "retry-after-ms" in headers:
        return 0.0
    waits = [0.0]
    for name, value in headers.items():
        if not _NONE.fullmatch(value):
            continue
        if name.startswith(_ANTHROPIC) and name.endswith("-remaining"):
            moment = headers.get(f"{name.removesuffix('-remaining')}-reset", "")
            waits.append(until(moment, _told(headers, now)))
        elif name.startswith(_OPENAI):
            waits.append(span(headers.get(f"x-ratelimit-reset-{name.removeprefix(_OPENAI)}", "")))
    return max(waits)


def span(text: str) -> float:
    """Seconds of a duration like `12ms`, `6m0s`, `1h2m3.5s` or `30`; 0 where it is none."""
    if found := _SMALL.fullmatch(text):
        return float(found[1]) * _PARTS[found[2]]
    if _PLAIN.fullmatch(text):
        return float(text)
    if not text or (parts := _SPAN.fullmatch(text)) is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def until(text: str, now: float) -> float:
    """Seconds from `now` until a moment of RFC 3339; 0 where it is none, or over."""
    if not _MOMENT.fullmatch(text):
        return 0.0
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of February, or a year that no calendar has
        return 0.0
    return max(0.0, moment.timestamp() - now)


def _told(headers: Mapping[str, str], now: float) -> float:
    """The time by the provider's clock, where it tells it."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return now
