"""The gate's work in the mirror: git's own merge of a change, its commit, how it is recognised in a history.

Rules
- A change is merged as what it did since its own base, whatever else its base's history holds.
- One task = one commit, with its trailers. The same change on the same commit always gives the same commit, so a
  repeated command makes nothing new.
- A note that cannot be written stands in nobody's way: it is owed.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.failures import BadRepository, GitFailed
from quarterdeck.tools.bounds import printable
from quarterdeck.workplace.afar import is_remote
from quarterdeck.workplace.history import COMMITTER, LogEntry, Merge
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.repository import examine

_log = logging.getLogger(__name__)

RUN_TRAILER: Final = "Quarterdeck-Run"
TASK_TRAILER: Final = "Quarterdeck-Task"
AGENT_TRAILER: Final = "Assisted-by"
REVERTS_TRAILER: Final = "Reverts"

GONE: Final = "nothing is left to take back: the target does not hold it any more"

NOTE_SECONDS: Final = 6.0
"""Time for writing one note; a lock that stands longer than git itself waits for one is a stale one."""

_LANDED_LIMIT: Final = 300
_TITLE: Final = 1000
"""Newest landed commits that are looked at for the other side of a conflict."""


async def git_merge(mirror: Mirror, queued: Queued, onto: str) -> Merge:
    """git's own merge of the change with the commit `onto`. Raises GitFailed."""
    change = queued.change
    await mirror.need(change.base, change.commit)
    ours = onto
    if not await mirror.ancestor(change.base, onto):
        # The history was rewritten below the change: give git the change's own base as the common ancestor, or it
        # would bring back what was taken out.
        ours = await mirror.commit(
            await mirror.tree(onto), (change.base,), "for merging", author=COMMITTER, when=int(queued.at)
        )
    return await mirror.merge(ours, change.commit)


async def commit(mirror: Mirror, queued: Queued, onto: str, tree: str) -> str:
    """The change on top of the commit `onto`, as one commit with this tree. Raises GitFailed."""
    author = (queued.agent, f"{queued.agent}@localhost") if queued.agent else COMMITTER
    return await mirror.commit(tree, (onto,), message(queued), author=author, when=int(queued.at))


def message(queued: Queued) -> str:
    """The commit message of a landed change."""
    trailers = [f"{RUN_TRAILER}: {queued.change.run}", f"{TASK_TRAILER}: {queued.change.task}"]
    if queued.agent:
        trailers.append(f"{AGENT_TRAILER}: {queued.agent}")
    if queued.reverts:
        trailers.append(f"{REVERTS_TRAILER}: {queued.reverts}")
    return f"{_one_line(queued.title)}\n\n" + "\n".join(trailers) + "\n"


def note(queued: Queued, how: e.MergeResolved | None) -> str:
    """The git note that leads from a commit back to its thread."""
    change = queued.change
    way = f"merged by: {how.way}\n" if how is not None else ""
    thread = change.attempt
    if ids.is_revert(thread):
        thread, way = ids.reverted_attempt(thread), "taken back by the merge gate\n"
    return f"run {change.run}\ntask {change.task}\nattempt {change.attempt}\n{way}thread: quarterdeck show {thread}\n"


async def annotate(mirror: Mirror, state: GateState) -> list[e.EventBase]:
    """Write the notes of what landed last, and those that are owed; returns what is new about them."""
    fresh = {queued.attempt: (queued, commit) for queued, commit in state.last_landed}
    found: list[e.EventBase] = []
    stuck = ""
    for attempt, (queued, commit) in {**fresh, **state.unnoted}.items():
        # Where one fails the others would fail like it, and each takes its time.
        stuck = stuck or await _annotate(mirror, queued, commit, state)
        if stuck and attempt not in state.unnoted:
            found.append(e.NoteFailed(attempt=attempt, commit=commit, reason=stuck))
        elif not stuck and attempt in state.unnoted:
            found.append(e.NoteWritten(attempt=attempt, commit=commit))
    return found


async def _annotate(mirror: Mirror, queued: Queued, commit: str, state: GateState) -> str:
    """Write one note; why that failed, or nothing."""
    try:
        async with asyncio.timeout(NOTE_SECONDS):
            await mirror.note(commit, note(queued, state.resolved.get(queued.attempt)))
    except (GitFailed, BadRepository, OSError) as error:
        _log.warning("the note of %s is not written: %s", commit, error)
        return readable(str(error) or f"it took longer than {NOTE_SECONDS:g} s")[:2000]
    return ""


async def unusable(repository: str) -> str:
    """Why the user's repository cannot be used; empty = it can, or that cannot be told now."""
    if is_remote(repository):
        return ""
    try:
        await examine(Path(repository))
    except BadRepository as error:
        return str(error)
    except (GitFailed, OSError) as error:
        _log.warning("%s cannot be looked at: %s", repository, error)
    return ""


async def arrival(mirror: Mirror, state: GateState, tip: str) -> tuple[str, str] | None:
    """(attempt, commit) of the first queued change whose trailers stand between the known tip and `tip`."""
    waiting = {queued.task: queued.attempt for queued in state.queue}
    if not waiting:
        return None
    # Another worker's mirror may have held the tip as it was, and a branch that was rewritten does not bring it back.
    known = state.tip if mirror.depot is None or await mirror.has(state.tip) else state.base
    for entry in await mirror.log(known, tip):
        attempt = waiting.get(task_of(entry))
        if attempt is not None:
            return attempt, entry.commit
    return None


async def touching(mirror: Mirror, base: str, tip: str, paths: Sequence[str]) -> list[LogEntry]:
    """The newest commits of `tip` since `base` that changed one of `paths`, oldest of them first."""
    wanted = set(paths)
    found = []
    for entry in (await mirror.log(base, tip))[-_LANDED_LIMIT:]:
        if len(entry.parents) == 1:
            changes = await mirror.changes(entry.parents[0], entry.commit)
            if any({change.path, change.old_path} & wanted for change in changes):
                found.append(entry)
    return found


def readable(text: str) -> str:
    """`text` as it can be stored: a path name that is no UTF-8 is shown with question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def task_of(entry: LogEntry) -> tuple[str, str]:
    """The run and the task that a landed commit names."""
    return entry.trailers.get(RUN_TRAILER, ""), entry.trailers.get(TASK_TRAILER, "")


def _one_line(text: str) -> str:
    # A title comes from a model: nothing of it may steer the terminal of whoever reads the log.
    return " ".join(printable(text, _TITLE).split()) or "Untitled"
