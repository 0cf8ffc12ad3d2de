"""What an id that a person typed stands for.

Rules
- A full id is what it says; the beginning of one is enough where only one thing begins so.
- Nothing begins with nothing: the unset variable of a script must not name a run.
"""

from typing import Final

from quarterdeck.journal.views import Views
from quarterdeck.kernel.failures import Conflicting, NotFound

_DIGITS: Final = 10


async def resolve(views: Views, id: str) -> tuple[str, str]:
    """(`run`, `task` or `attempt`, full id) of a full id or a unique beginning. Raises NotFound, Conflicting."""
    if not id:  # else it would be the beginning of every id: an unset variable of a script must not cancel a run
        raise NotFound("the id is empty", fix="quarterdeck ps")
    found: list[tuple[str, str]] = []
    for run in [view.run for view in await views.runs()]:
        if run == id or (run.startswith(id) and "." not in id):
            found.append(("run", run))
        if id == run or not (id.startswith(f"{run}.") or "." not in id):
            continue
        found += await _inside(views, run, id)
    exact = [item for item in found if item[1] == id]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        await _not_begun(views, id)
        raise NotFound(f"there is no run, task or attempt {id}", fix="quarterdeck ps")
    some = ", ".join(full for _, full in found[:5])
    raise Conflicting(f"{id} could be {len(found)} things", why=some, fix="write more of the id")


async def _not_begun(views: Views, id: str) -> None:
    """Raises NotFound for an attempt that its task was given and that never came to work: it has no record."""
    task, _, number = id.rpartition(".")
    run = task.partition(".")[0]
    rows = await views.tasks(run) if number.isdecimal() and len(number) < _DIGITS and run != task else []
    for row in rows:
        if f"{run}.{row.task}" == task and 0 < int(number) <= row.attempts:
            raise NotFound(f"the attempt {id} never began", why=row.reason, fix=f"quarterdeck show {task}")


async def _inside(views: Views, run: str, id: str) -> list[tuple[str, str]]:
    attempts = [item.attempt for item in await views.attempts(run)]
    tasks = [f"{run}.{item.task}" for item in await views.tasks(run)]
    if "." not in id:  # a bare task id
        return [("task", task) for task in tasks if task == f"{run}.{id}"]
    hits = [("task", task) for task in tasks if task == id] or [("attempt", item) for item in attempts if item == id]
    starts = [("task", task) for task in tasks if task.startswith(id)]
    return hits or starts or [("attempt", item) for item in attempts if item.startswith(id)]
