"""What is known about the changes in a merge gate's queue, and how likely each of them lands. Pure.

Rules
- A green tree proves the changes in it, each for its own checks. The newest verdict about a change counts.
- A red tree makes those of its changes suspect that are not proven, unless a smaller red tree explains it. A tree on a
  red tip, or with a change that left the queue, says nothing.
- A change that is red by itself on what has landed is doubtful. Who is doubtful will probably leave.
- Two changes of tasks that did not go together before hardly ever pass together.
- A change's lane: those ahead of it that it may conflict with, and theirs, save those that will probably leave.
- How likely an untested change fails is learned from what this gate landed and returned, beginning at one in ten.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.delivery.gate.ledger import Colour, GateState, Queued
from quarterdeck.delivery.gate.orders import Overlaps, View
from quarterdeck.kernel import events as e

LIKELY: Final = 0.25
"""Nobody is checked on top of changes that all land with a smaller chance than this."""

CERTAIN: Final = 0.99
"""That two changes clash which have clashed before."""

_PROVEN: Final = 0.995
"""Chance that a change lands that has passed in its lane."""

_FLAKE: Final = 0.1
"""Chance that what is red by itself is a flake."""

_PRIOR: Final = (1.0, 10.0)
"""Failures, and changes, that every gate is taken to have seen before its first."""


@dataclass(frozen=True, slots=True)
class Red:
    """A tree that failed, all of whose changes have landed or wait."""

    started: e.GateCheckStarted
    pending: tuple[str, ...]
    """Those that wait, in the order of its stack."""
    colour: Colour

    @property
    def plain(self) -> bool:
        """It was judged by the checks of the gate alone."""
        return gate_of(self.started) == self.started.checks


@dataclass(slots=True)
class Board:
    """The queue with what is known about it. Made by `survey`."""

    state: GateState
    view: View
    place: dict[str, int]
    queued: dict[str, Queued]
    red: set[str]
    """Checks that the tip fails: whoever is judged by them is looked at by itself."""
    proven: set[str] = field(default_factory=set)
    alone: dict[str, Red] = field(default_factory=dict)
    """Changes that are red by themselves."""
    reds: list[Red] = field(default_factory=list)
    """Red trees of several changes that no smaller one explains, the smallest first."""
    chance: dict[str, float] = field(default_factory=dict)
    """That a change lands."""
    overlaps: Overlaps = field(default_factory=dict)
    """The view's, and what was learnt from earlier checks."""

    def stays(self, attempt: str) -> bool:
        """Whether it will probably land."""
        return self.chance[attempt] >= LIKELY

    def ahead(self, attempt: str) -> list[str]:
        """Those directly ahead of it that it may conflict with."""
        mine = self.place[attempt]
        return [other for other in self.overlaps.get(attempt, ()) if self.place.get(other, mine) < mine]

    def clashes(self, attempt: str, others: Iterable[str]) -> bool:
        """Whether it will not pass together with one of these."""
        known = self.overlaps.get(attempt, {})
        return any(known.get(other, 0.0) >= CERTAIN for other in others)

    def lane(self, attempts: Sequence[str]) -> tuple[str, ...]:
        """The lanes of these changes, without themselves, in the queue's order."""
        found: set[str] = set()
        todo = list(attempts)
        while todo:
            for other in self.ahead(todo.pop()):
                if other not in found and self.stays(other):
                    found.add(other)
                    todo.append(other)
        return tuple(sorted(found.difference(attempts), key=self.place.__getitem__))

    def waits(self, attempt: str) -> bool:
        """Somebody ahead that it may conflict with will probably land and is not proven yet."""
        return any(other not in self.proven and self.stays(other) for other in self.ahead(attempt))

    def odds(self, stack: Iterable[str]) -> float:
        """The chance that a tree with these changes passes."""
        odds, seen = 1.0, set[str]()
        for attempt in stack:
            odds *= self.chance[attempt]
            for other, clash in self.overlaps.get(attempt, {}).items():
                if other in seen:
                    odds *= 1.0 - clash
            seen.add(attempt)
        return odds

    def known_red(self, attempts: Iterable[str]) -> bool:
        """Whether a tree with these changes holds one that is red."""
        have = set(attempts)
        return any(have.issuperset(red.pending) for red in self.reds) or not have.isdisjoint(self.alone)

    def base(self, red: Red, attempt: str) -> Colour | None:
        """The colour of the red tree without this change; None = no such tree has passed."""
        started = red.started
        others = frozenset(started.stack) - {attempt}
        if not others:
            return self.state.colour((under(started, self.view), started.checks))
        passed = self.state.stood.get((started.tip, others, started.checks))
        # The others may have been merged in another way than they are in the red tree.
        same = started.stack[-1] != attempt or started.commits[-2] == passed
        return Colour.GREEN if passed is not None and same else None

    def firm(self, red: Red) -> bool:
        """Whether what a red change stands on is not in doubt itself: it has passed more than once, or something that
        passed has landed on it since."""
        started = red.started
        on_tip = (started.tip, *started.commits)[-2] == self.view.tip
        return not on_tip or self.sure(gate_of(started))

    def sure(self, checks: str) -> bool:
        """Whether the tip has passed these checks since it landed."""
        return (self.view.tree, checks) in self.state.sure

    def pending(self, started: e.GateCheckStarted) -> tuple[str, ...]:
        """The changes of a check that wait."""
        return tuple(attempt for attempt in started.stack if attempt in self.place)

    def rest(self, started: e.GateCheckStarted) -> tuple[str, ...]:
        """What a checked stack adds to the tip; () = nothing, or it does not stand on the tip."""
        tip = self.view.tip
        if started.tip == tip:
            rest = started.stack
        elif tip in started.commits:
            rest = started.stack[started.commits.index(tip) + 1 :]
        else:
            return ()
        return rest if all(attempt in self.place for attempt in rest) else ()


def gate_of(started: e.GateCheckStarted) -> str:
    """The key of the gate's own checks in a check."""
    return started.gate_checks or started.checks


def under(started: e.GateCheckStarted, view: View) -> str:
    """The tree of the tip that a checked tree stands on; empty = not known."""
    return started.under or (view.tree if started.tip == view.tip else "")


def failure_rate(state: GateState) -> float:
    """How likely an untested change fails."""
    failed, seen = _PRIOR
    return min(0.5, (failed + state.failed) / (seen + state.failed + state.landings))


def survey(state: GateState, view: View) -> Board:
    """What is known now."""
    queued = {item.attempt: item for item in state.queue}
    classes = {item.checks for item in state.queue}
    red = {checks for checks in classes if state.colour((view.tree, checks)) is Colour.RED}
    board = Board(state, view, {attempt: place for place, attempt in enumerate(queued)}, queued, red)
    board.overlaps = _overlaps(state, view)
    found: list[Red] = []
    for key, started in state.tested.items():
        pending = tuple(attempt for attempt in started.stack if attempt in queued)
        if not pending:
            continue
        colour = state.colour(key)
        if colour is Colour.GREEN:
            for attempt in pending:
                if queued[attempt].checks == gate_of(started):
                    board.proven.add(attempt)
                    board.alone.pop(attempt, None)
        elif colour is not Colour.UNKNOWN and _tells(board, started):
            if len(pending) > 1:
                found.append(Red(started, pending, colour))
            else:
                board.alone[pending[0]] = Red(started, pending, colour)
                board.proven.discard(pending[0])
    board.reds = _unexplained(board, found)
    _estimate(board)
    return board


def _overlaps(state: GateState, view: View) -> Overlaps:
    """What may conflict, and what has."""
    attempts = {queued.task: queued.attempt for queued in state.queue}
    pairs = [[attempts[task] for task in pair if task in attempts] for pair in state.pairs]
    found = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if not found:
        return view.overlaps
    graph = {attempt: dict(others) for attempt, others in view.overlaps.items()}
    for one, other in found:
        graph.setdefault(one, {})[other] = CERTAIN
        graph.setdefault(other, {})[one] = CERTAIN
    return graph


def _tells(board: Board, started: e.GateCheckStarted) -> bool:
    """Whether a red tree says something about those of its changes that wait."""
    tree = under(started, board.view)
    if not tree or board.state.colour((tree, gate_of(started))) is Colour.RED:
        return False
    return all(attempt in board.place or attempt in board.state.landed for attempt in started.stack)


def _unexplained(board: Board, found: list[Red]) -> list[Red]:
    kept: list[Red] = []
    sets: list[frozenset[str]] = []
    for red in sorted(found, key=lambda red: len(red.pending)):
        names = frozenset(red.pending)
        if names.isdisjoint(board.alone) and not any(smaller <= names for smaller in sets):
            kept.append(red)
            sets.append(names)
    return kept


def _estimate(board: Board) -> None:
    rate = failure_rate(board.state)
    for attempt, queued in board.queued.items():
        if queued.checks in board.red:
            board.chance[attempt] = 0.0
        elif attempt in board.alone:
            board.chance[attempt] = _FLAKE
        else:
            board.chance[attempt] = _PROVEN if attempt in board.proven else 1.0 - rate
    for red in board.reds:
        suspects = [attempt for attempt in red.pending if attempt not in board.proven]
        if not suspects:
            continue
        # At least one of them is at fault, or the tree was a flake.
        bad = (1.0 - _FLAKE) * rate / (1.0 - (1.0 - rate) ** len(suspects))
        for attempt in suspects:
            board.chance[attempt] = min(board.chance[attempt], 1.0 - bad)
