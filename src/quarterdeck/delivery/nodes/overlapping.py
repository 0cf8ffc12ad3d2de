"""Who else changes the same files: what an agent is told of it at its start, and what is on record at its end.

Rules
- At the start: the tasks of the plan whose paths meet this one's and that neither wait for it nor it for them, and what
  is changed at this moment in files that it may change, by tasks of other runs too where the target is the same.
- A task that has ended is not named: what it did is in the base, or nowhere.
- At the end what was changed is known for certain, from the commit: it replaces what was seen on the way.
- An agent that can be told nothing while it works is told with the next attempt at its task.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from quarterdeck.agents import touching, warning
from quarterdeck.agents.beside import Beside
from quarterdeck.agents.port import Meeting
from quarterdeck.agents.touching import ALL_OF_IT, MAX_TEXT, Trace
from quarterdeck.delivery.plans.globs import allowed
from quarterdeck.delivery.plans.graph import needs_of, ordered_with, shared
from quarterdeck.journal.touches import INTENT, Spot, Touched, Touches
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import Feedback, Plan, Task
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.workplace.history import GITLINK, SYMLINK, FileChange
from quarterdeck.workplace.mirror import Mirror

MEETINGS: Final = 20
"""Other tasks that an agent is told of at its start."""
PLACES: Final = 8
"""Paths and places of each."""
FILES: Final = 60
"""Files of a change that are taken apart; the others are known as changed."""


def meetings(
    run: str, task: Task, plan: Plan, status: Mapping[str, TaskStatus], under_way: Sequence[Touched]
) -> tuple[Meeting, ...]:
    """The other tasks to name at the start. Pure. `under_way`: what is changed now, the newest first."""
    doing: dict[tuple[str, str], list[Touched]] = {}
    for other in under_way:
        if allowed(task.paths, other.path, ()):
            doing.setdefault((other.run, other.task), []).append(other)
    apart = ordered_with(needs_of(plan), task.id)
    found = []
    for planned in plan.tasks:
        if planned.id in apart or status.get(planned.id, TaskStatus.PENDING).finished:
            continue
        paths = shared(task, planned)[:PLACES]
        now = doing.pop((run, planned.id), [])
        if paths or now:
            stands = str(status.get(planned.id, TaskStatus.PENDING))
            about = warning.intent(planned.instructions[:INTENT], ())
            found.append(Meeting(planned.id, planned.title, stands, paths, about, _places(now)))
    for (_, name), now in doing.items():
        first = now[0]
        if first.run != run:
            found.append(Meeting(name, first.title, str(first.status), (), "", _places(now)))
    return tuple(sorted(found, key=lambda meeting: not meeting.doing)[:MEETINGS])


def _places(now: Sequence[Touched]) -> tuple[str, ...]:
    return tuple(
        warning.place(touched.path, spot.name, spot.first, spot.last) for touched in now for spot in touched.spots
    )[:PLACES]


async def exact(mirror: Mirror, base: str, commit: str, changes: Sequence[FileChange]) -> dict[str, tuple[Spot, ...]]:
    """What a change touches, by path. Raises GitFailed."""
    found: dict[str, tuple[Spot, ...]] = {}
    for number, change in enumerate(changes):
        if change.old_path and change.old_path != change.path and change.status == "R":
            found[change.old_path] = (ALL_OF_IT,)
        plain = number < FILES and not {change.old_mode, change.new_mode} & {SYMLINK, GITLINK}
        before = await mirror.show(base, change.old_path or change.path, MAX_TEXT + 1) if plain else None
        after = await mirror.show(commit, change.path, MAX_TEXT + 1) if plain else None
        found[change.path] = _between(change.path, before or b"", after or b"") if plain else (ALL_OF_IT,)
    return {path: spots for path, spots in found.items() if spots and path.isprintable()}


def _between(path: str, before: bytes, after: bytes) -> tuple[Spot, ...]:
    try:
        return touching.changed(path, before.decode(), after.decode())
    except UnicodeDecodeError:
        return (ALL_OF_IT,)


async def settled(
    touches: Touches, attempt: str, mirror: Mirror, base: str, commit: str, changes: Sequence[FileChange]
) -> list[e.AttemptTouched]:
    """What to record of a change that is complete. Raises GitFailed, StoreUnavailable."""
    known = await touches.of(attempt)
    return touching.settled(known, await exact(mirror, base, commit, changes))


async def untold(touches: Touches, attempt: str, base: str, clock: Clock) -> tuple[e.AttemptWarned, ...]:
    """What an agent would have been warned of that can be told nothing while it works. Raises StoreUnavailable."""
    trace = Trace(touched=await touches.of(attempt), events=1)
    return await Beside(attempt, base, touches, clock).look(trace, "feedback")


def feedback(warned: Sequence[e.AttemptWarned]) -> tuple[Feedback, ...]:
    """The same for the task's next attempt."""
    if not warned:
        return ()
    places = ", ".join(dict.fromkeys(f"`{each.entity}`" if each.entity else f"`{each.path}`" for each in warned))
    reason = f"while this was done, another task changed the same: {places}"
    return (Feedback(source="others", reason=reason[:2000], detail=warning.words(warned)[:24_000]),)
