"""What attempts change beside each other, as one line for a person.

Rules
- Pure, as `lines`, which asks here for what stands in `attempt/…` and is no step of the agent.
"""

from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase

_SHOWN = 4

_STATES = {
    "working": "is being changed by",
    "coming": "is changed by",
    "landed": "was changed, since it began, by",
}


def words(event: EventBase) -> tuple[str, bool] | None:
    """(what happened, whether only a log shows it); None for an event of another kind."""
    match event:
        case e.AttemptTouched():
            return _touched(event), True
        case e.AttemptWarned():
            where = f"`{event.entity}` in {event.path}" if event.entity else event.path
            _, _, other = event.other.partition(".")
            told = "its next attempt will be told" if event.how == "feedback" else "is told"
            return f"{told} that {where} {_STATES[event.state]} {other} ({event.title}) too", False
        case _:
            return None


def _touched(event: e.AttemptTouched) -> str:
    if not event.entities:
        return f"{event.path} is as it was again"
    names = [name for name in event.entities if name]
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"changes {event.path}" + (f": {shown}{more}" if names else "")
