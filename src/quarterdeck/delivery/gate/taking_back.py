"""Taking back what landed: which commits, in which order, and the change that does it.

Rules
- The change is "from the landed commit back to its parent". Merged onto a target that moved on, it takes back what the
  commit did and nothing else.
- What stands is read from the target's own history: a commit that another one names in its `Reverts` trailer is taken
  back, unless that other one is taken back itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quarterdeck.delivery.gate.merging import REVERTS_TRAILER, RUN_TRAILER, TASK_TRAILER
from quarterdeck.kernel.entities import Landed, Plan, Task
from quarterdeck.workplace.history import COMMITTER, LogEntry
from quarterdeck.workplace.mirror import Mirror

BY = "git"
"""Stands for the agent where none works."""

_TITLE = 200
_ID = 64


# --- what stands ------------------------------------------------------------------------------------------


def taken_back(history: Sequence[LogEntry]) -> frozenset[str]:
    """The commits that are taken back in this history (oldest first)."""
    gone: set[str] = set()
    for entry in reversed(history):
        reverts = entry.trailers.get(REVERTS_TRAILER)
        if reverts is not None and entry.commit not in gone:
            gone.add(reverts)
    return frozenset(gone)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a run's tasks became on one branch."""

    landed: Mapping[str, Landed]
    """By task, in the order in which they landed: what the branch holds."""
    taken_back: frozenset[str]
    """Tasks that landed and are taken back."""


def standing(history: Sequence[LogEntry], run: str, commits: Mapping[str, str]) -> Standing:
    """What became of a run's tasks in the history of a branch, oldest commit first.

    `commits`: task to the commit that it landed as. Where the branch was rewritten since, a commit is known by its
    trailers.
    """
    tasks = {commit: task for task, commit in commits.items()}
    gone = taken_back(history)
    landed: dict[str, Landed] = {}
    back: set[str] = set()
    for entry in history:
        named = entry.trailers.get(TASK_TRAILER) if entry.trailers.get(RUN_TRAILER) == run else None
        task = tasks.get(entry.commit) or (named if named in commits else None)
        if task is None or len(entry.parents) != 1:
            continue
        if entry.commit in gone or commits[task] in gone:
            back.add(task)
        else:
            landed.pop(task, None)  # of two copies the later one counts, at its place
            landed[task] = Landed(run=run, task=task, commit=entry.commit, parent=entry.parents[0])
    return Standing(landed, frozenset(back - landed.keys()))


def dependents(plan: Plan, task: str, among: Iterable[str]) -> tuple[str, ...]:
    """Those of `among` that need the task, directly or through others, in the plan's order."""
    needing = {task}
    grown = True
    while grown:
        more = {each.id for each in plan.tasks if needing.intersection(each.needs)} - needing
        grown = bool(more)
        needing |= more
    wanted = (needing - {task}).intersection(among)
    return tuple(each.id for each in plan.tasks if each.id in wanted)


# --- the run that does it ---------------------------------------------------------------------------------


def revert_plan(goal: str, landed: Sequence[Landed], titles: Mapping[str, str], *, again: bool) -> Plan:
    """The plan that takes these commits back, in this order, one after the other.

    `titles`: by task. `again`: what is taken back is itself a revert.
    """
    tasks: list[Task] = []
    for item in landed:
        needs = (tasks[-1].id,) if tasks else ()
        title = revert_title(titles.get(item.task) or item.task, again=again)
        # No agent reads the paths: the change is what it is, and the gate judges it.
        tasks.append(Task(id=task_id(item, again=again), title=title, paths=("**",), needs=needs))
    return Plan(goal=goal, tasks=tuple(tasks))


def task_id(landed: Landed, *, again: bool) -> str:
    """Id of the task that takes a commit back."""
    name = f"revert-{landed.task}"
    if again and landed.task.startswith("revert-"):
        name = f"reapply-{landed.task.removeprefix('revert-')}"
    elif again and landed.task.startswith("reapply-"):
        name = f"revert-{landed.task.removeprefix('reapply-')}"
    return name if len(name) <= _ID else f"revert-{landed.commit[:12]}"


def revert_title(title: str, *, again: bool) -> str:
    """First line of the commit that takes another one back. `again`: that one took something back itself."""
    for old, new in (('Revert "', 'Reapply "'), ('Reapply "', 'Revert "')) if again else ():
        if title.startswith(old):
            return new + title.removeprefix(old)
    return f'Revert "{title[: _TITLE - len("Revert ") - 2]}"'


async def inverse(mirror: Mirror, landed: Landed, title: str, when: int) -> str:
    """The commit on top of a landed one that takes it back. The same arguments give the same commit."""
    return await mirror.commit(
        await mirror.tree(landed.parent), (landed.commit,), f"{title}\n", author=COMMITTER, when=when
    )
