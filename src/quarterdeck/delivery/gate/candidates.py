"""Candidates: the ways in which a change is put onto a commit, one after the other.

Rules
- git's own merge comes first. Another way is made when git's leaves a conflict, or when the tree of the way before it
  is red and both sides changed a file; it differs in those files alone.
- A way counts where it merges every one of these files, but for those that both sides made the same. What it lost by is
  on record with it.
- Where both sides changed a file, the tree has to pass the task's verify commands and those of the tasks that landed on
  its files since the change's base, as they stood when they were queued. What was taken back again does not count; what
  only waits to be taken back does.
- A union counts only for a task with verify commands: else nothing would tell that it still does what it is for.
- A change that takes something back is merged by git alone: the other ways keep both sides, which is not what is asked.
- The same change on the same commit gives the same candidates in the same order.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.gate.ledger import GateState, Queued, with_commands
from quarterdeck.delivery.gate.orders import Clash, Land, LostWay, Merged
from quarterdeck.delivery.gate.stacks import demands
from quarterdeck.kernel import events as e
from quarterdeck.kernel.merging import MergeSection, WayName
from quarterdeck.merge.values import ORDER, Way
from quarterdeck.workplace import resolving
from quarterdeck.workplace.history import Merge
from quarterdeck.workplace.merging_trees import FileSides
from quarterdeck.workplace.mirror import Mirror

MOST_PATHS: Final = 500
"""Changed files of a change that are compared with what landed; no change has more."""

MOST_TASKS: Final = 10
"""Tasks that landed on the same files, the newest, whose verify commands count."""

_UNITING: Final = (Way.UNION, Way.ENTITY_UNION)
"""They put lines beside each other that may contradict each other."""

_CONTENTS: Final = "CONFLICT (contents)"
"""git's name for texts that do not merge."""

_NAMES: Final[Mapping[Way, WayName]] = {
    Way.GIT: "git",
    Way.DRIVER: "driver",
    Way.ENTITY: "entity",
    Way.UNION: "union",
    Way.ENTITY_UNION: "entity+union",
}

Commands = Callable[[str | None], Awaitable[tuple[str, ...]]]
"""Reads a list of verify commands from where it is stored."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What candidates of one change onto one commit are made with."""

    mirror: Mirror
    state: GateState
    queued: Queued
    onto: str
    section: MergeSection
    gate: tuple[str, ...]
    """The checks of the gate, which need not be repeated among verify commands."""
    commands: Commands


async def first(bench: Bench) -> Merged | Clash:
    """git's own merge; where it leaves a conflict, the first of the other ways that has a result. Raises GitFailed."""
    found = await merging.git_merge(bench.mirror, bench.queued, bench.onto)
    meeting = await _meeting(bench)
    if found.tree is None:
        conflict = LostWay(Way.GIT, merging.readable(f"conflict in {', '.join(found.conflicts[:20])}")[:900])
        return await _next(bench, meeting, found, (conflict,))
    if bench.queued.reverts and found.tree == await bench.mirror.tree(bench.onto):
        return Clash((), merging.GONE)
    return await _merged(bench, meeting, found.tree, Way.GIT, more=bool(_after(bench, Way.GIT)))


async def after(bench: Bench, before: Merged, tip_tree: str) -> Merged | Clash:
    """The next candidate, now that the tree of `before` is red on the tip; what is left where there is none: git's own
    merge, with nothing after it, or a conflict."""
    found = await merging.git_merge(bench.mirror, bench.queued, bench.onto)
    meeting = await _meeting(bench)
    following = await _next(bench, meeting, found, (*before.lost, _red(bench, before, tip_tree)))
    if isinstance(following, Merged) or found.tree is None:
        return following
    own = await _merged(bench, meeting, found.tree, Way.GIT, more=False)
    return replace(own, lost=following.lost)


def resolved(state: GateState, command: Land, merges: Mapping[tuple[str, str], Merged | Clash]) -> list[e.EventBase]:
    """What is new about which ways count, of the changes that land where there was more than one way."""
    found: list[e.EventBase] = []
    onto = state.tip
    for attempt, commit in zip(command.stack, command.commits, strict=True):
        merged = merges.get((onto, attempt))
        if isinstance(merged, Merged) and (merged.lost or merged.conflicts):
            event = _resolved(attempt, onto, merged)
            if state.resolved.get(attempt) != event:
                found.append(event)
        onto = commit
    return found


def _resolved(attempt: str, onto: str, merged: Merged) -> e.MergeResolved:
    return e.MergeResolved(
        attempt=attempt,
        way=_NAMES[merged.way],
        lost=losses(merged.lost),
        onto=onto,
        tree=merged.tree,
        paths=tuple(merging.readable(path) for path in merged.conflicts[:50]),
        notes=tuple(merging.readable(note)[:500] for note in merged.notes[:20]),
    )


def losses(lost: Sequence[LostWay]) -> tuple[e.LostWay, ...]:
    """Ways that came to nothing, as events hold them."""
    return tuple(e.LostWay(way=_NAMES[each.way], reason=each.reason[:1000]) for each in lost[:10])


# --- what both sides changed ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Meeting:
    """Where a change meets what landed since its base."""

    paths: tuple[str, ...] = ()
    """Changed on both sides."""
    tasks: tuple[Queued, ...] = ()
    """What landed on files of the change, oldest first."""


async def _meeting(bench: Bench) -> _Meeting:
    change = bench.queued.change
    if bench.onto == change.base:
        return _Meeting()
    own = (await bench.mirror.trees.touched(change.base, change.commit))[:MOST_PATHS]
    entries = await bench.mirror.log(change.base, bench.onto, own) if own else ()
    if not entries:
        return _Meeting()
    theirs = set(await bench.mirror.trees.touched(change.base, bench.onto))
    paths = tuple(path for path in own if path in theirs)
    known = {**bench.state.settled, **{queued.task: queued for queued in bench.state.queue}}
    there = [(entry.commit, known.get(merging.task_of(entry))) for entry in entries]
    # What waits to be taken back still stands: only what lies below the change counts.
    taken_back = {queued.reverts for _, queued in there if queued is not None}
    tasks = tuple(
        queued
        for commit, queued in there
        if queued is not None and queued.attempt != bench.queued.attempt and commit not in taken_back
    )
    return _Meeting(paths, tasks)


# --- the ways -------------------------------------------------------------------------------------------------


def _after(bench: Bench, way: Way) -> tuple[Way, ...]:
    """The ways that may be tried after this one."""
    if bench.queued.reverts:
        return ()
    allowed = {Way(name) for name in bench.section.ways}
    if bench.section.driver == "off":
        allowed.discard(Way.DRIVER)
    return tuple(each for each in ORDER[ORDER.index(way) + 1 :] if each in allowed)


async def _next(bench: Bench, meeting: _Meeting, found: Merge, lost: tuple[LostWay, ...]) -> Merged | Clash:
    """The first way after those that are lost that has a result."""
    ways = _after(bench, lost[-1].way)
    files = await _files(bench, meeting, found) if ways else ""
    if isinstance(files, str):
        lost = (*lost, *(LostWay(way, files) for way in ways))
        return Clash(found.conflicts, found.detail, lost)
    unproven = not await bench.commands(bench.queued.verify_blob)
    for way in ways:
        if unproven and way in _UNITING:
            lost = (*lost, LostWay(way, "the task has no verify command, so that nothing would speak for the result"))
            continue
        made = await resolving.resolve(way, files)
        if isinstance(made, str):
            lost = (*lost, LostWay(way, merging.readable(made)))
            continue
        tree = await bench.mirror.trees.with_texts(found.tree or found.left, files, made.by_path)
        same = next((each for each in lost if each.tree == tree), None)
        if same is not None:
            lost = (*lost, LostWay(way, f"the same as {same.way}"))
            continue
        merged = await _merged(bench, meeting, tree, way, more=True)
        return replace(merged, lost=lost, conflicts=found.conflicts, notes=made.notes)
    return Clash(found.conflicts, found.detail, lost)


async def _files(bench: Bench, meeting: _Meeting, found: Merge) -> tuple[FileSides, ...] | str:
    """What has to be merged file by file; or why that cannot be."""
    odd = [kind for kind in found.kinds if kind != _CONTENTS]
    if odd:
        return f"not a conflict between texts: {', '.join(odd)}"
    paths = meeting.paths if found.tree is not None else found.conflicts
    if not paths:
        return "no file to be merged"
    change = bench.queued.change
    files = await bench.mirror.trees.sides(change.base, bench.onto, change.commit, paths, found.added)
    return files or "no file to be merged"


async def _merged(bench: Bench, meeting: _Meeting, tree: str, way: Way, *, more: bool) -> Merged:
    commit = await merging.commit(bench.mirror, bench.queued, bench.onto, tree)
    if not meeting.paths and way is Way.GIT:
        return Merged(commit, tree)
    own = _besides(await bench.commands(bench.queued.verify_blob), bench.gate)
    others: tuple[str, ...] = ()
    for task in meeting.tasks[-MOST_TASKS:]:
        others = (*others, *_besides(await bench.commands(task.verify_blob), (*bench.gate, *own, *others)))
    return Merged(commit, tree, way, more=more, paths=meeting.paths, own=own, others=others)


def _besides(commands: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(command for command in dict.fromkeys(commands) if command not in others)


def _red(bench: Bench, merged: Merged, tip_tree: str) -> LostWay:
    """Why the tree of a candidate does not count."""
    own, others = demands(bench.state, tip_tree, bench.queued, merged)
    failing = bench.state.failing.get((merged.tree, with_commands(bench.queued.checks, (*own, *others))))
    reason = f"red: {failing.reason}" if failing is not None else "red"
    return LostWay(merged.way, reason[:900], failing.results_blob if failing is not None else None, merged.tree)
