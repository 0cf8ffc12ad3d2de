"""What the merge gate does about a target that is in doubt, or red. Pure: state and view in, commands out.

Rules
- A landed tip passed before it landed, and that counts. It is checked once more only where there is reason for doubt:
  its tree had failed before it passed, somebody else moved the target, or a change fails on it (`queue.py`). What
  passes on top of it counts as its own check, so this is left until the gate has nothing else to do.
- A tip that failed twice is red. Where something of ours has landed by the same checks, the commit that made it so is
  searched for (`culprits.py`), and nothing else is judged meanwhile.
- Only what this gate landed for a run that goes on is taken back. git makes the change that does it; it is checked by
  what found the target red, and lands like any other change: when its tree has passed.
- Other commits are never taken back: people are told which one it is and what to type. The same where nobody wants it
  taken back, where a person says no, and where it cannot be: it does not merge, or the target is red without it too.
- While a person is asked, changes are judged as on any red tip: one that is green repairs it. None is given back.
- When the target stands elsewhere, all of this is over, and looked at anew.
- A run does not end while it is in doubt what it landed, or while it is not told what became of that; but no longer
  than an hour, unless a person is asked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from quarterdeck.delivery.gate.culprits import Search, Verdict, next_probe
from quarterdeck.delivery.gate.lanes import survey
from quarterdeck.delivery.gate.ledger import Colour, GateState, Queued
from quarterdeck.delivery.gate.orders import Accuse, Command, FindCulprit, GiveUp, Return, StartCheck, TakeBack, View
from quarterdeck.delivery.gate.scheduling import schedule
from quarterdeck.delivery.gate.stacks import Work, judge, tries
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Outcome

PATIENCE: Final = 3600.0
"""Seconds that a run waits for the gate to find out about its target."""

SEARCHED: Final = "which commit made the target red is searched for"
"""Why a commit that has landed is checked."""


def mend(state: GateState, view: View) -> tuple[Command, ...] | None:
    """What to do about a red tip now; None = the queue is looked at as usual."""
    search = state.search
    stale = [queued for queued in state.queue if ids.is_revert(queued.attempt) and not _of(search, queued)]
    if stale:
        reason = "the target does not stand any more where it was red"
        return tuple(Return(queued.attempt, Outcome.CANCELLED, reason) for queued in stale)
    if search is None:
        red = _red(state, view)
        return (red,) if red is not None and state.landed and state.looked != view.tip else None
    if search.found is None:
        probe = next_probe(search)
        return (Accuse(probe.culprit),) if isinstance(probe, Verdict) else _probed(state, view, search, probe)
    return None if search.waits else _taken_back(state, view, search.found)


def verify(work: Work) -> None:
    """Have a tip in doubt checked, when nothing else is to be done."""
    state = work.board.state
    latest = state.last_landed[-1][0] if state.last_landed else None
    if state.doubt and latest is not None and state.looked != work.board.view.tip:
        work.want_tip(latest.checks, latest.config_blob, why=state.doubt)


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A run has to wait for what the gate finds out about its target."""

    asked: e.ApprovalAsked | None = None
    """What a person is asked first."""


def unsettled(state: GateState, attempts: Collection[str], now: float) -> Unsettled | None:
    """Whether a run whose tasks are merged by these attempts has to wait; None = it need not."""
    if not state.reverted.keys().isdisjoint(attempts):
        return Unsettled()  # it is being told
    if state.landed.keys().isdisjoint(attempts):
        return None
    search = state.search
    if search is not None:
        return Unsettled(search.asked) if search.waits or now - search.since < PATIENCE else None
    return Unsettled() if state.doubt and now - state.doubted_at < PATIENCE else None


def over(state: GateState) -> e.TipMended | None:
    """What people were told about a red target does not hold any more."""
    told = state.told
    return e.TipMended(tip=state.tip, run=told.run) if told is not None and told.tip != state.tip else None


def _of(search: Search | None, queued: Queued) -> bool:
    """Whether this change takes back what the search found."""
    mine = ids.is_revert(queued.attempt)
    return mine and search is not None and search.found is not None and search.found.commit == queued.reverts


def _red(state: GateState, view: View) -> FindCulprit | None:
    """What the tip is red for, if it is."""
    judges = {queued.checks for queued in state.settled.values()}
    for queued in (*state.queue, *(queued for queued, _ in state.last_landed[-1:])):
        if queued.checks in judges and state.colour((view.tree, queued.checks)) is Colour.RED:
            return FindCulprit(view.tree, queued.checks, queued.config_blob)
    return None


def _probed(state: GateState, view: View, search: Search, probe: e.Suspect) -> tuple[Command, ...]:
    """Have a commit of the target checked."""
    work = Work(survey(state, view))
    red = search.red
    start = StartCheck(
        probe.commit,
        (),
        (),
        probe.tree,
        red.checks,
        red.config_blob,
        max(search.tries(probe.tree), tries(state, (probe.tree, red.checks))),
        gate=red.checks,
        under=probe.tree,
        why=SEARCHED,
    )
    work.wanted[start.key] = start
    return tuple(schedule(work))


def _taken_back(state: GateState, view: View, found: e.CulpritFound) -> tuple[Command, ...]:
    """Have the change that takes the culprit back queued, checked and landed."""
    queued = next((queued for queued in state.queue if _of(state.search, queued)), None)
    if queued is None:
        return (TakeBack(found.attempt, found.commit),)
    work, attempt = Work(survey(state, view)), queued.attempt
    judge(work, attempt)
    if work.land is not None:
        return (work.land,)
    if attempt in work.returns:
        back = work.returns[attempt]
        return (GiveUp(attempt, back.outcome, back.reason),)
    if attempt in work.held:
        return (GiveUp(attempt, Outcome.HELD, "the target is red without it too"),)
    return tuple(work.merges.values()) or tuple(schedule(work))
