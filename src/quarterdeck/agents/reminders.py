"""What an agent is told beside the results of its tools. Pure.

Rules
- Short, and only when it is useful: a reminder that comes always is read by nobody.
- Each stands at the end of the newest message, so nothing that was sent before changes.
- `<reminder>` marks what no person said.
"""

from typing import Final

from quarterdeck.agents.limits import Bounds, Limit, Used, shares, words
from quarterdeck.agents.transcript import Transcript

STALE_TURNS: Final = 10
"""Turns without a change of the todo list after which it is probably not true any more."""

NEAR: Final = 0.8

TOLD_REPEATS: Final = 3
ENDS_REPEATS: Final = 6

LISTS: Final = 12
"""Turns without any list after which one is suggested."""

REMADE: Final = (
    "Your work goes on on another machine. The files are as your last finished call left them; what git ignores, what "
    "lay outside of the workspace, commits of your own and running programs are gone. Make again what you need of it."
)


def due(state: Transcript, bounds: Bounds, used: Used) -> dict[str, str]:
    """Reminders to give now: reason to text. A reason begins with `reminder:`."""
    found = _nudges(state)
    if not found:
        found |= _repeated(state) | _stale(state) | _near(state, bounds, used)
    return found


def wrapped(text: str) -> str:
    """The reminder as it is sent."""
    return f"<reminder>\n{text}\n</reminder>"


def _said(state: Transcript, why: str) -> bool:
    """Whether it was said since the last answer."""
    return state.reminded.get(why) == state.turns


def _nudges(state: Transcript) -> dict[str, str]:
    """After an answer that does nothing."""
    if not state.turns or _said(state, "reminder:nudge"):
        return {}
    if state.empty:
        return {"reminder:nudge": "Your last answer was empty. Say what you do next and call a tool for it."}
    if state.silent:
        return {
            "reminder:nudge": "You called no tool. Nobody reads your text: go on with a tool, or, if you are done, "
            "hand in your work with `submit`. Only `submit` ends it."
        }
    return {}


def _repeated(state: Transcript) -> dict[str, str]:
    if state.repeats() < TOLD_REPEATS or _said(state, "reminder:repeated"):
        return {}
    return {
        "reminder:repeated": f"You made the same call {state.repeats()} times with the same result. It will not "
        "change. Take another approach, or say what is in the way with `submit`, or with `ask` where you have it."
    }


def _stale(state: Transcript) -> dict[str, str]:
    last = state.reminded.get("reminder:todo", 0)
    if state.todo:
        if all(item.status == "done" for item in state.todo):
            return {}
        if state.turns - max(state.todo_turn, last) >= STALE_TURNS:
            return {"reminder:todo": "Your todo list has not changed for a while. Bring it up to date with `todo`."}
    elif state.turns - last >= LISTS:
        return {"reminder:todo": "For work of this length keep a list of steps with `todo`."}
    return {}


def _near(state: Transcript, bounds: Bounds, used: Used) -> dict[str, str]:
    found: dict[str, str] = {}
    for limit, (amount, allowed) in shares(bounds, state, used).items():
        why = f"reminder:{limit}"
        if why not in state.reminded and amount >= NEAR * allowed:
            found[why] = _ending(limit, amount, allowed)
    return found


def _ending(limit: Limit, amount: float, allowed: float) -> str:
    return (
        f"You have used {words(limit, amount)} of {words(limit, allowed)}. Finish what matters most, then `submit` and "
        "name what is not done."
    )
