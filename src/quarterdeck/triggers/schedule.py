"""When a schedule is due, next and in the past. Pure: time is given.

Rules
- Five fields, as in Debian's cron, read in the trigger's time zone.
- A fixed hour that the clocks skip in spring is due once, right after the change; one that they repeat in autumn is due
  once. A schedule with `*` in its minutes or hours follows the clock that passes, so it is due in both.
- Moments are whole minutes. Of missed ones there is one run or none, however many there were, and it is the last one's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from quarterdeck.kernel.failures import BadConfiguration

LATE: Final = 90.0
"""Seconds after which a moment counts as missed rather than as due now."""
_COUNTED: Final = 1_000
"""Missed moments that are counted one by one."""


@dataclass(frozen=True, slots=True)
class Due:
    """What became due since the last look."""

    moment: float | None
    """The moment to start a run for, seconds since the epoch; None = none."""
    missed: int
    """Moments that passed while nothing served the deck, without the one above."""
    upto: float
    """Everything up to this moment has been dealt with."""


def moments(schedule: str, timezone: str, after: float) -> Iterator[float]:
    """The moments later than `after`, soonest first, seconds since the epoch. Raises BadConfiguration."""
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise BadConfiguration(
            f"there is no time zone {timezone!r}", fix="write one such as UTC or Europe/Berlin"
        ) from error
    try:
        found = CronSim(schedule, datetime.fromtimestamp(after, UTC).astimezone(zone))
    except CronSimError as error:
        raise BadConfiguration(
            f"the schedule {schedule!r} cannot be read",
            why=str(error),
            fix="write minute, hour, day of the month, month, day of the week",
        ) from error
    return (at for at in (moment.timestamp() for moment in found) if at > after)


def next_after(schedule: str, timezone: str, after: float) -> float | None:
    """The first moment later than `after`; None = it never comes. Raises BadConfiguration."""
    return next(moments(schedule, timezone, after), None)


def has(schedule: str, timezone: str, moment: float) -> bool:
    """Whether it is one of the schedule's moments. Raises BadConfiguration."""
    return next_after(schedule, timezone, moment - 60.0) == moment


def due(schedule: str, timezone: str, since: float, now: float, missed: Literal["once", "skip"]) -> Due:
    """What became due in (since, now]. Raises BadConfiguration."""
    passed: list[float] = []
    for at in islice(moments(schedule, timezone, since), _COUNTED):
        if at > now:
            break
        passed.append(at)
    if not passed:
        return Due(None, 0, since)
    last = passed[-1]
    if len(passed) == _COUNTED:  # there may be more: none of them is looked at one by one
        last = _last(schedule, timezone, last, now)
    if now - last <= LATE or missed == "once":
        return Due(last, len(passed) - 1, last)
    return Due(None, len(passed), last)


def _last(schedule: str, timezone: str, known: float, now: float) -> float:
    """The last moment up to now; `known`: an earlier one. Raises BadConfiguration."""
    beyond = now
    while beyond - known >= 60.0:
        middle = (known + beyond) / 2
        found = next_after(schedule, timezone, middle)
        if found is not None and found <= now:
            known = found
        else:
            beyond = middle
    return known
