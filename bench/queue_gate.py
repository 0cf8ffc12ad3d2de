"""The merge gate over a made-up world, by discrete events (`bench_queue`): the real decision, nothing else."""

import heapq
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.queue_world import Fleet, Outcome, clock
from quarterdeck.delivery.gate.checking import started_by
from quarterdeck.delivery.gate.ledger import GateState
from quarterdeck.delivery.gate.orders import (
    Clash,
    DropCheck,
    Land,
    Merged,
    NeedMerge,
    RecordLanded,
    RecordMove,
    Return,
    StartCheck,
    View,
    Wait,
)
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.delivery.gate.queue import decide
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change

BASE: Final = "c0"


class Merging(Mapping[tuple[str, str], Merged | Clash]):
    """Merges that are made when they are asked for. Everything merges."""

    def __init__(self) -> None:
        self.trees: dict[str, frozenset[str]] = {BASE: frozenset()}
        self._made: dict[tuple[str, str], Merged] = {}
        self._names: dict[frozenset[str], str] = {frozenset(): "t0"}
        self.queued: list[str] = []

    def tree(self, names: frozenset[str]) -> str:
        return self._names.setdefault(names, f"t{len(self._names)}")

    def __getitem__(self, key: tuple[str, str]) -> Merged:
        if key not in self._made:
            names = self.trees[key[0]] | {key[1]}
            commit = f"c{len(self.trees)}"
            self.trees[commit] = names
            self._made[key] = Merged(commit, self.tree(names))
        return self._made[key]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((BASE, name) for name in self.queued)

    def __len__(self) -> int:
        return len(self.queued)


class Simulation:
    """The gate over a made-up world."""

    def __init__(self, what: Fleet, slots: int) -> None:
        self.what, self.slots = what, slots
        self.now, self.seq = 0.0, 0
        self.tip = BASE
        self.merging = Merging()
        self.state = GateState()
        self.times = clock(what)
        self.ends: list[tuple[float, str]] = []
        self.begun: dict[str, float] = {}
        self.passed: set[str] = set()
        self.out = Outcome()
        self.append(e.GateOpened(repository="/r", branch="b", base=BASE))

    def append(self, *events: e.EventBase) -> None:
        records = [Record("gate/x", self.seq + n, self.now, 1, event, "") for n, event in enumerate(events, start=1)]
        self.seq += len(records)
        self.state = fold(records, self.state)

    def run(self) -> Outcome:
        """To the end."""
        coming = list(zip(self.what.arrivals, self.what.names, strict=True))[::-1]
        while coming or self.ends or self.state.queue:
            while coming and coming[-1][0] <= self.now:
                self._queue(coming.pop()[1])
            self._advance()
            self._pass_time(coming[-1][0] if coming else None)
        return self.out

    def _queue(self, name: str) -> None:
        change = Change(run="r", task=name, attempt=name, base=BASE, commit=name, tree=name)
        self.merging.queued.append(name)
        self.append(e.ChangeQueued(change=change, title=name, config_blob="c", checks="k"))

    def _pass_time(self, arrival: float | None) -> None:
        if self.ends and (arrival is None or self.ends[0][0] <= arrival):
            self.now, check = heapq.heappop(self.ends)
            if check in self.state.running:
                self._finish(check)
        elif arrival is not None:
            self.now = arrival
        elif self.state.queue:
            raise AssertionError(f"{len(self.state.queue)} changes wait for nothing")

    def _finish(self, check: str) -> None:
        started = self.state.running[check]
        tree = self.merging.trees[started.commits[-1] if started.commits else started.tip]
        passed = self.what.good(tree)
        if passed:
            self.passed.add(started.tree)
        self.out.cost += self.now - self.begun.pop(check)
        reason = "" if passed else "red"
        self.append(e.GateCheckFinished(check=check, tree=started.tree, passed=passed, reason=reason))

    def _advance(self) -> None:
        while True:
            view = View(
                self.now,
                self.tip,
                self.merging.tree(self.merging.trees[self.tip]),
                True,
                self.slots,
                self.merging,
                self.what.graph,
            )
            began = time.process_time()
            commands = decide(self.state, view)
            if len(self.state.queue) >= 0.9 * len(self.what.names):
                self.out.decisions.append(time.process_time() - began)
            if not commands:
                return
            for command in commands:
                self._perform(command)

    def _perform(self, command: object) -> None:
        match command:
            case StartCheck():
                self._start(command)
            case DropCheck(check):
                self.out.cost += self.now - self.begun.pop(check)
                tree = self.state.running[check].tree
                self.append(e.GateCheckFinished(check=check, tree=tree, passed=False, cancelled=True))
            case Land(stack, commits, old, tree):
                self._land(stack, commits, old or "", tree)
            case Return(attempt, outcome, reason):
                self.out.evicted[attempt] = self.now
                self._over()
                self.append(e.ChangeReturned(attempt=attempt, outcome=outcome, reason=reason))
            case NeedMerge() | RecordLanded() | RecordMove() | Wait() | _:
                raise AssertionError(command)

    def _over(self) -> None:
        self.out.makespan = self.now

    def _start(self, command: StartCheck) -> None:
        check = f"x.{self.state.checks + 1}"
        self.out.checks += 1
        self.begun[check] = self.now
        heapq.heappush(self.ends, (self.now + next(self.times), check))
        self.append(started_by(command, check, None, ()))
        assert len(self.state.running) <= self.slots, "more checks than slots"

    def _land(self, stack: Sequence[str], commits: Sequence[str], old: str, tree: str) -> None:
        assert tree in self.passed, "the target was moved to an untested tree"
        assert self.merging.tree(self.merging.trees[commits[-1]]) == tree
        assert self.tip == old
        self.append(
            e.LandingIntended(
                attempt=stack[-1], old=old, new=commits[-1], tree=tree, stack=tuple(stack), commits=tuple(commits)
            )
        )
        for attempt, commit in zip(stack, commits, strict=True):
            self.append(e.ChangeLanded(attempt=attempt, old=old, new=commit))
            self.out.landed[attempt] = self.now
            old = commit
        self.tip = old
        self._over()


def lanes(what: Fleet, slots: int) -> Outcome:
    """The gate."""
    return Simulation(what, slots).run()
