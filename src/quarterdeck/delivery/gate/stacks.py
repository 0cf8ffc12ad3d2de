"""Changes merged on the tip one after the other: what such a tree needs, and what one by itself comes to. Pure.

Rules
- Who does not merge onto those below it is left out and waits until they have landed or left. One that does not merge
  onto the tip itself goes back to its author.
- A tree has to pass the checks of the gate, and the verify commands that its merges ask for. Those of tasks that landed
  do not count on a tip that fails them itself.
- A change by itself on the tip lands when its tree is green. When it is red, the next way of merging it is made; where
  none is left it is blamed if the tip is green, and held if the tip is red. Until that is known the tip is checked; one
  that passed only in the check by which it landed is checked once more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.delivery.gate.lanes import Board, under
from quarterdeck.delivery.gate.ledger import Colour, Failing, GateState, Key, Queued, with_commands
from quarterdeck.delivery.gate.orders import Clash, Land, Merged, NeedMerge, Return, StartCheck
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Outcome

SUSPECTED: Final = "a change fails on it"
"""Why a tip that has passed is checked once more."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Changes on the tip, and what their tree has to pass."""

    names: tuple[str, ...]
    commits: tuple[str, ...]
    tree: str
    gate: str
    """Key of the checks of the gate."""
    verify: tuple[str, ...]
    config_blob: str

    @property
    def key(self) -> Key:
        return self.tree, with_commands(self.gate, self.verify)


@dataclass(slots=True)
class Work:
    """What one decision has found to do."""

    board: Board
    land: Land | None = None
    returns: dict[str, Return] = field(default_factory=dict)
    held: dict[str, Queued] = field(default_factory=dict)
    merges: dict[tuple[str, str], NeedMerge] = field(default_factory=dict)
    wanted: dict[Key, StartCheck] = field(default_factory=dict)
    """Trees whose colour has to be found out, the most useful first."""
    kept: set[Key] = field(default_factory=set)
    """Trees whose check goes on if it is running."""
    going: list[e.GateCheckStarted] = field(default_factory=list)
    """The running checks that go on."""

    def need(self, need: NeedMerge) -> None:
        self.merges.setdefault((need.onto, need.attempt), need)

    def want(self, stack: Stack, why: str = "") -> None:
        """Have this tree checked."""
        view = self.board.view
        number = tries(self.board.state, stack.key)
        start = StartCheck(
            view.tip,
            stack.names,
            stack.commits,
            *stack.key,
            stack.config_blob,
            number,
            stack.verify,
            stack.gate,
            view.tree,
            why,
        )
        self.wanted.setdefault(start.key, start)

    def want_tip(self, gate: str, config_blob: str, others: tuple[str, ...] = (), why: str = "") -> None:
        """Have the tip checked by itself, and with the verify commands of others. `why`: it has passed before."""
        self.want(Stack((), (), self.board.view.tree, gate, others, config_blob), why)

    def want_under(self, started: e.GateCheckStarted) -> None:
        """Have the tip that a checked tree stands on checked, unless its colour is known."""
        state = self.board.state
        key = (under(started, self.board.view), started.checks)
        if state.colour(key) in (Colour.GREEN, Colour.RED):
            return
        start = StartCheck(
            started.tip, (), (), *key, started.config_blob, tries(state, key), gate=started.gate_checks, under=key[0]
        )
        self.wanted.setdefault(key, start)

    def want_again(self, started: e.GateCheckStarted) -> None:
        """Have a tree checked once more that was judged by the checks of the gate alone."""
        key = (started.tree, started.checks)
        start = StartCheck(
            started.tip,
            started.stack,
            started.commits,
            *key,
            started.config_blob,
            tries(self.board.state, key),
            gate=started.gate_checks,
            under=started.under,
        )
        self.wanted.setdefault(key, start)

    def want_base(self, started: e.GateCheckStarted, suspect: str) -> bool:
        """Have a tree checked that lacks the last change of a checked one; False = it is not known how to make it."""
        *others, last = started.stack
        if last != suspect or not others:
            return False
        onto = (started.tip, *started.commits)[-3]
        merged = self.board.view.merges.get((onto, others[-1]))
        if not isinstance(merged, Merged) or merged.commit != started.commits[-2]:
            return False
        key = (merged.tree, started.checks)
        start = StartCheck(
            started.tip,
            tuple(others),
            started.commits[:-1],
            *key,
            started.config_blob,
            tries(self.board.state, key),
            gate=started.gate_checks,
            under=started.under,
        )
        self.wanted.setdefault(key, start)
        return True

    def keep_base(self, started: e.GateCheckStarted, suspect: str) -> bool:
        """Let the check of the same tree without this change go on; False = there is none."""
        others = set(started.stack) - {suspect}
        for other in self.board.state.running.values():
            if other.tip == started.tip and set(other.stack) == others:
                self.kept.add((other.tree, other.checks))
                return True
        return False

    def settle(self, stack: Stack) -> None:
        """Land this stack, whose tree is green."""
        view = self.board.view
        if self.land is None:
            self.land = Land(stack.names, stack.commits, view.tip if view.exists else None, stack.tree)


def tries(state: GateState, key: Key) -> int:
    """Which try on this tree the next one is, from 1."""
    return state.failing[key].times + 1 if key in state.failing else 1


def build(work: Work, names: Sequence[str]) -> Stack | None:
    """Those of `names` that merge onto the tip and onto each other, in this order; None = merges are missing, or none
    of them does."""
    board = work.board
    onto, tree = board.view.tip, board.view.tree
    have: list[str] = []
    commits: list[str] = []
    verify: list[str] = []
    for name in names:
        found = board.view.merges.get((onto, name))
        if found is None:
            work.need(NeedMerge(onto, name))
            return None
        if isinstance(found, Clash):
            if not _left_out(work, name):
                return None
            continue
        own, others = demands(board.state, board.view.tree, board.queued[name], found)
        verify += [command for command in (*own, *others) if command not in verify]
        onto, tree = found.commit, found.tree
        have.append(name)
        commits.append(onto)
    if not have:
        return None
    last = board.queued[have[-1]]
    return Stack(tuple(have), tuple(commits), tree, last.checks, tuple(verify), last.config_blob)


def _left_out(work: Work, name: str) -> bool:
    """Whether it is known what becomes of a change that does not merge onto those below it."""
    tip = work.board.view.tip
    found = work.board.view.merges.get((tip, name))
    if found is None:
        work.need(NeedMerge(tip, name))
        return False
    if isinstance(found, Clash):
        work.returns[name] = conflict(work.board.queued[name], found)
    return True


def demands(state: GateState, tip_tree: str, queued: Queued, merged: Merged) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The verify commands that a merged tree has to pass: the change's own, and those of tasks that landed."""
    tip = (tip_tree, with_commands(queued.checks, merged.others))
    fails_them = bool(merged.others) and state.colour(tip) is Colour.RED
    return merged.own, () if fails_them else merged.others


# --- a change by itself -----------------------------------------------------------------------------------


def judge(work: Work, attempt: str) -> None:
    """A change by itself on the tip: land it, give it back, hold it, or find out."""
    board = work.board
    stack = build(work, (attempt,))
    if stack is None:
        return
    match board.state.colour(stack.key):
        case Colour.GREEN:
            work.settle(stack)
        case Colour.RED:
            _blame(work, board.queued[attempt], stack)
        case _:
            work.want(stack)


def _blame(work: Work, queued: Queued, stack: Stack) -> None:
    """A change by itself on the tip is red: the fault of how it is merged, its own, the tip's, or not yet known."""
    state, view = work.board.state, work.board.view
    merged = view.merges[view.tip, queued.attempt]
    assert isinstance(merged, Merged)
    _, others = demands(state, view.tree, queued, merged)
    match state.colour((view.tree, with_commands(queued.checks, others))):
        case Colour.GREEN if merged.more:
            # Always made anew: what is known is the way that has just lost.
            work.merges[view.tip, queued.attempt] = NeedMerge(view.tip, queued.attempt, beyond=merged.way)
        case Colour.GREEN if not work.board.sure(queued.checks):
            work.want_tip(stack.gate, stack.config_blob, why=SUSPECTED)
        case Colour.GREEN:
            work.returns[queued.attempt] = failed(queued, merged, state.failing[stack.key])
        case Colour.RED:
            work.held[queued.attempt] = queued
        case _:
            work.want_tip(stack.gate, stack.config_blob, others)


def failed(queued: Queued, merged: Merged, failing: Failing) -> Return:
    """A change that merges cleanly is red: by itself, or together with what landed on the same files."""
    if failing.verify:
        outcome, what = Outcome.CONFLICT, "merges, but a task's verify command failed on the merged tree"
    else:
        outcome, what = Outcome.FAILED, "the gate's checks failed on the merged tree"
    reason = f"{what}: {failing.reason}"[:2000]
    blob = failing.results_blob
    return Return(queued.attempt, outcome, reason, merged.paths, results_blob=blob, lost=merged.lost)


def conflict(queued: Queued, clash: Clash) -> Return:
    """A change that does not merge onto the tip."""
    reason = (
        f"does not merge with what landed meanwhile: {', '.join(clash.paths[:20])}" if clash.paths else clash.detail
    )
    return Return(queued.attempt, Outcome.CONFLICT, reason[:2000], clash.paths, clash.detail, lost=clash.lost)


def hold(work: Work, queued: Queued) -> Return:
    """A change that cannot be judged because the tip is red."""
    state, view = work.board.state, work.board.view
    failing = state.failing[(view.tree, queued.checks)]
    known = state.told if state.told is not None and state.told.tip == view.tip else None
    culprit = f" ({known.reason}; {known.fix})" if known is not None else ""
    reason = f"not judged: the target itself is red at {view.tip[:12]}{culprit}: {failing.reason}"
    return Return(queued.attempt, Outcome.HELD, reason[:2000], results_blob=failing.results_blob)
