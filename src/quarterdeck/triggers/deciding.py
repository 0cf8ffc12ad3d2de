"""What becomes of a message that was received: a run, waiting, or a refusal. Pure.

Rules
- One delivery, one run: what came before is refused, by its name and, where the name is not signed, by its body.
- One thing has one unfinished run: a second message about it is refused while that run goes on.
- Then the trigger's own limits: so many unfinished runs (`concurrent`), so many starts in an hour (`per_hour`). What
  comes from a person waits for its turn; the clock does not wait. More than `waiting` of them are refused.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.kernel.events.outside import RefusalCode
from quarterdeck.kernel.triggers import TriggerSection

LOOK_AGAIN: Final = 20.0
"""Seconds after which it is looked again whether a run has ended."""


@dataclass(frozen=True, slots=True)
class Fire:
    """Order the run."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Look again later."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """No run comes of it."""

    code: RefusalCode
    reason: str


Verdict = Fire | Hold | Refuse


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known when a message is decided about."""

    repeats: str = ""
    """Name of an earlier delivery with the same body; empty = there is none."""
    live: str = ""
    """The unfinished run about the same thing; empty = there is none."""
    unfinished: int = 0
    """Unfinished runs of this trigger."""
    waiting: int = 0
    """Other messages of this trigger that wait for their turn."""
    held: bool = False
    """This one waits already."""


def before_turn(section: TriggerSection, standing: Standing, now: float) -> Verdict:
    """What follows before a turn among this hour's starts is taken; `Fire` = take one."""
    if standing.repeats:
        return Refuse("duplicate", f"the same message came before, as {standing.repeats}")
    if standing.live:
        return Refuse("live", f"{standing.live} is about the same thing, and it is not finished")
    if standing.unfinished >= section.concurrent:
        reason = f"{standing.unfinished} runs of it are unfinished; concurrent = {section.concurrent}"
        return _wait(section, standing, now + LOOK_AGAIN, reason)
    return Fire()


def after_turn(section: TriggerSection, standing: Standing, now: float, turn: float) -> Verdict:
    """What follows where its turn among the starts of an hour is at `turn`."""
    if turn <= now:
        return Fire()
    return _wait(section, standing, turn, f"{section.per_hour} starts in an hour are the most")


def _wait(section: TriggerSection, standing: Standing, until: float, reason: str) -> Verdict:
    if section.kind == "cron":
        return Refuse("rate", f"{reason}; the clock does not wait")
    if not standing.held and standing.waiting >= section.waiting:
        return Refuse("rate", f"{reason}; {standing.waiting} wait already")
    return Hold(until, reason)
