"""The merge gate's decisions: single rules by example, the promises by a random walk through a small world."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from quarterdeck.delivery.gate.checking import started_by
from quarterdeck.delivery.gate.ledger import GateState, Queued, checks_key
from quarterdeck.delivery.gate.merging import message
from quarterdeck.delivery.gate.orders import (
    Accuse,
    Clash,
    Command,
    DropCheck,
    FindCulprit,
    GiveUp,
    Land,
    Mending,
    Merged,
    NeedMerge,
    Overlaps,
    RecordLanded,
    RecordMove,
    Return,
    StartCheck,
    TakeBack,
    View,
    Wait,
)
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.delivery.gate.queue import PATIENCE, decide, delayed
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Outcome

BASE = "base"


class Crash(Exception):
    """The process died."""


def never(_where: str) -> bool:
    return False


@dataclass
class World:
    """A repository in which a tree is the set of names that went into it, and the effects of a gate over it."""

    slots: int = 4
    base_red: bool = False
    bad: set[str] = field(default_factory=set)
    """Names with which every tree is red."""
    repairs: set[str] = field(default_factory=set)
    """Names that mend a red base."""
    conflicts: set[frozenset[str]] = field(default_factory=set)
    """Pairs that do not merge."""
    clashes: set[frozenset[str]] = field(default_factory=set)
    """Pairs that merge and are red together."""
    innocent: bool = True
    """What passed once passes for ever."""
    graph: set[frozenset[str]] = field(default_factory=set)
    """Pairs that are known to be possible conflicts."""
    now: float = 1000.0
    records: list[Record] = field(default_factory=list)
    commits: dict[str, tuple[str | None, frozenset[str], str]] = field(default_factory=dict)
    """Commit to parent, tree, name of the change it brought."""
    tip: str | None = None
    seen_good: set[str] = field(default_factory=set)
    """Trees that a check really passed on."""
    failed_once: set[str] = field(default_factory=set)
    merges: dict[tuple[str, str], Merged | Clash] = field(default_factory=dict)
    undone: dict[str, str] = field(default_factory=dict)
    """Attempts that take a landed change back, with its name."""
    jobs: set[str] = field(default_factory=set)
    returned: dict[str, Return] = field(default_factory=dict)
    state: GateState = field(default_factory=GateState)

    def __post_init__(self) -> None:
        self.commits[BASE] = (None, frozenset(), BASE)
        self.append(e.GateOpened(repository="/r", branch="b", base=BASE))

    # --- the repository

    def tree(self, commit: str) -> str:
        return self.tree_id(self.commits[commit][1])

    def tree_id(self, names: Iterable[str]) -> str:
        return "+".join(sorted(names)) or "-"

    def good(self, names: Iterable[str]) -> bool:
        have = set(names)
        if self.base_red and not self.repairs & have:
            return False
        return not self.bad & have and not any(pair <= have for pair in self.clashes)

    def merge(self, onto: str, name: str) -> Merged | Clash:
        names = self.commits[onto][1]
        if name in self.undone:
            commit = f"{onto}>{name}"
            self.commits[commit] = (onto, names - {self.undone[name]}, name)
            return Merged(commit, self.tree(commit))
        paths = tuple(other for other in sorted(names) if frozenset((name, other)) in self.conflicts)
        if paths:
            return Clash(paths)
        commit = f"{onto}>{name}"
        self.commits[commit] = (onto, names | {name}, name)
        return Merged(commit, self.tree(commit))

    def history(self, commit: str | None) -> list[str]:
        found = []
        while commit is not None:
            found.append(commit)
            commit = self.commits[commit][0]
        return found[::-1]

    def foreign(self, name: str) -> None:
        """Somebody else adds a commit to the target."""
        merged = self.merge(self.tip or BASE, name)
        if isinstance(merged, Merged):
            self.tip = merged.commit

    # --- the journal

    def append(self, *events: e.EventBase) -> None:
        records = [
            Record("gate/x", len(self.records) + n, self.now, 1, event, "") for n, event in enumerate(events, start=1)
        ]
        self.records += records
        self.state = fold(records, self.state)

    def submit(self, name: str, checks: str = "k") -> None:
        change = Change(run="r", task=name, attempt=name, base=BASE, commit=name, tree=name)
        self.append(e.ChangeQueued(change=change, title=name, config_blob="c", checks=checks))

    # --- effects

    def view(self) -> View:
        tip = self.tip or BASE
        known = set(self.history(self.state.tip))
        new = [commit for commit in self.history(tip) if commit not in known]
        queued = {item.attempt for item in self.state.queue}
        arrived = next(((self.commits[c][2], c) for c in new if self.commits[c][2] in queued), None)
        intent = self.state.intent
        return View(
            now=self.now,
            tip=tip,
            tree=self.tree(tip),
            exists=self.tip is not None,
            slots=self.slots,
            merges=self.merges,
            overlaps=self.overlaps(),
            intent_landed=intent is not None and intent.new in self.history(self.tip),
            arrived=arrived,
        )

    def overlaps(self) -> Overlaps:
        found: dict[str, dict[str, float]] = {}
        for pair in self.graph:
            one, other = sorted(pair)
            found.setdefault(one, {})[other] = found.setdefault(other, {})[one] = 0.3
        return found

    def advance(self, crash: Callable[[str], bool] = never) -> float | None:
        """Decide and perform until only waiting is left; returns the pause that was asked for."""
        for _ in range(1000):
            commands = decide(self.state, self.view())
            pauses = [command.delay for command in commands if isinstance(command, Wait)]
            if len(pauses) == len(commands):
                return min(pauses, default=None)
            for command in commands:
                if crash("between"):
                    raise Crash
                self.perform(command, crash)
        raise AssertionError("the gate never comes to rest")

    def perform(self, command: Command, crash: Callable[[str], bool]) -> None:
        match command:
            case NeedMerge(onto, attempt):
                self.merges[onto, attempt] = self.merge(onto, attempt)
            case StartCheck():
                self.start(command)
            case DropCheck(check):
                started = self.state.running[check]
                self.append(e.GateCheckFinished(check=check, tree=started.tree, passed=False, cancelled=True))
                self.jobs.discard(check)
            case Land():
                self.land(command, crash)
            case RecordLanded(attempt, old, new):
                self.landing(attempt, old, new)
            case FindCulprit() | Accuse() | TakeBack() | GiveUp():
                self.mend(command)
            case RecordMove(old, new):
                self.append(e.TipMoved(old=old, new=new))
            case Return():
                self.give_back(command)
            case Wait():
                pass

    def start(self, command: StartCheck) -> None:
        key = (command.tree, command.checks)
        assert key not in {(s.tree, s.checks) for s in self.state.running.values()}, "checked twice at the same time"
        check = f"x.{self.state.checks + 1}"
        self.append(started_by(command, check, None, ()))
        self.jobs.add(check)
        assert len(self.state.running) <= self.slots

    def land(self, command: Land, crash: Callable[[str], bool]) -> None:
        old = command.old or ""
        self.append(
            e.LandingIntended(
                attempt=command.stack[-1],
                old=old,
                new=command.new,
                tree=command.tree,
                stack=command.stack,
                commits=command.commits,
            )
        )
        if crash("intended"):
            raise Crash
        assert command.tree in self.seen_good, "the target was moved to an untested tree"
        assert self.tree(command.new) == command.tree
        assert self.tip == command.old
        assert [self.commits[commit][2] for commit in command.commits] == [*command.stack]
        assert not {self.commits[c][2] for c in self.history(self.tip)}.intersection(command.stack), "landed twice"
        self.tip = command.new
        for attempt, commit in zip(command.stack, command.commits, strict=True):
            if crash("moved"):
                raise Crash
            self.landing(attempt, old, commit)
            old = commit

    def landing(self, attempt: str, old: str, new: str) -> None:
        news: list[e.EventBase] = [e.ChangeLanded(attempt=attempt, old=old, new=new)]
        if name := self.undone.get(attempt):
            news.append(e.ChangeReverted(attempt=name, commit=self.state.landed[name], by=new))
        self.append(*news)

    def mend(self, command: Mending) -> None:
        """What `reverting` does."""
        match command:
            case FindCulprit(tree, checks, config_blob):
                assert not self.good(self.commits[self.tip or BASE][1]) or not self.innocent, "a green tip is doubted"
                names = {commit: name for name, commit in self.state.landed.items() if name not in self.state.reverted}
                history = self.history(self.tip)
                ours = [place for place, commit in enumerate(history) if commit in names]
                suspects = [
                    e.Suspect(commit=commit, tree=self.tree(commit), attempt=names.get(commit, ""))
                    for commit in history[max(0, ours[0] - 1) if ours else len(history) :]
                ]
                self.append(
                    e.TipFoundRed(
                        tip=self.tip or BASE,
                        tree=tree,
                        checks=checks,
                        config_blob=config_blob,
                        suspects=tuple(suspects),
                    )
                )
            case Accuse(culprit):
                attempt = culprit.attempt if culprit is not None else ""
                attempt = "" if ids.is_revert(attempt) else attempt
                assert culprit is None or not self.innocent or self.makes_red(culprit.commit)
                self.append(
                    e.CulpritFound(
                        tip=self.tip or BASE,
                        run="r",
                        commit=culprit.commit if culprit is not None else "",
                        attempt=attempt,
                        action="revert" if attempt else "tell",
                        reason="red",
                    )
                )
            case TakeBack(attempt, commit):
                assert self.state.landed[attempt] == commit
                name = f"r._revert-{attempt}.{len(self.undone)}"
                assert attempt not in self.undone.values() or self.state.find(name) is None, "taken back twice"
                self.undone[name] = attempt
                change = Change(run="r", task=name, attempt=name, base=commit, commit=name, tree=name)
                red = self.state.search
                assert red is not None
                self.append(
                    e.ChangeQueued(change=change, title=name, config_blob="c", checks=red.red.checks, reverts=commit)
                )
            case GiveUp(attempt, outcome, reason):
                search = self.state.search
                assert search is not None
                assert search.found is not None
                told = search.found.model_copy(update={"action": "tell"})
                self.append(e.ChangeReturned(attempt=attempt, outcome=outcome, reason=reason), told)

    def makes_red(self, commit: str) -> bool:
        parent = self.commits[commit][0]
        return parent is not None and self.good(self.commits[parent][1]) and not self.good(self.commits[commit][1])

    def give_back(self, command: Return) -> None:
        names = self.commits[self.tip or BASE][1]
        match command.outcome:
            case Outcome.FAILED:
                assert self.good(names) or not self.innocent, "blamed although the target itself is red"
                assert not self.good(names | {command.attempt}), "a good change was blamed"
            case Outcome.HELD:
                assert "cannot be run" in command.reason or not self.good(names), "held although the target is green"
            case Outcome.CONFLICT:
                assert any(frozenset((command.attempt, other)) in self.conflicts for other in names)
            case _:
                assert command.attempt in self.undone, command.outcome
        self.append(e.ChangeReturned(attempt=command.attempt, outcome=command.outcome, reason=command.reason))
        if command.attempt not in self.undone:
            self.returned[command.attempt] = command

    def finish(self, check: str, *, flake: bool = False, broken: bool = False) -> None:
        """A check ends: as the tree deserves, or by a flake (never twice on one tree), or it could not be run."""
        self.jobs.discard(check)
        started = self.state.running[check]
        names = self.commits[started.commits[-1] if started.commits else started.tip][1]
        assert self.tree_id(names) == started.tree
        passed = self.good(names) and not (flake and started.tree not in self.failed_once) and not broken
        if passed:
            self.seen_good.add(started.tree)
        elif not broken:
            self.failed_once.add(started.tree)
        reason = "" if passed else "`pytest` failed: exit 1"
        self.append(
            e.GateCheckFinished(
                check=check, tree=started.tree, passed=passed, infrastructure=broken, reason=reason, results_blob="b"
            )
        )

    def settle(self) -> int:
        """Run to the end without any more surprises; returns the number of rounds of checks."""
        rounds = 0
        while True:
            pause = self.advance()
            if self.jobs:
                rounds += 1
                for check in sorted(self.jobs):
                    self.finish(check)
            elif pause is not None:
                self.now += pause
            else:
                assert not self.state.queue, "changes wait for nothing"
                assert not self.state.running
                return rounds

    @property
    def landed(self) -> list[str]:
        return [self.commits[commit][2] for commit in self.history(self.tip)[1:]]


# --- rules by example -------------------------------------------------------------------------------------


def world(*names: str, **settings: object) -> World:
    made = World(**settings)  # type: ignore[arg-type]  # keyword arguments of a test's own dataclass
    for name in names:
        made.submit(name)
    return made


def test_independent_changes_land_in_order_and_are_checked_in_parallel() -> None:
    twelve = world(*"abcdefghijkl", slots=4)
    assert twelve.settle() == 2
    assert twelve.landed == list("abcdefghijkl")


def test_few_changes_are_one_lane_and_one_slot_checks_them_together() -> None:
    three = world(*"abc", slots=1)
    assert three.settle() == 1
    assert three.landed == list("abc")
    eight = world(*"abcdefgh", slots=4)
    assert eight.settle() == 1
    assert eight.landed == list("abcdefgh")


def test_a_failing_change_is_blamed_and_the_ones_behind_it_still_land() -> None:
    four = world(*"abcd", bad={"b"})
    four.settle()
    assert four.landed == list("acd")
    assert four.returned["b"].outcome is Outcome.FAILED
    assert "`pytest` failed" in four.returned["b"].reason
    assert four.returned["b"].results_blob == "b"


def test_while_the_blame_is_unclear_the_others_go_on_without_the_suspect() -> None:
    two = world("a", "b", bad={"a"}, slots=3)
    two.advance()
    assert {started.stack for started in two.state.running.values()} == {("a",), ("a", "b")}
    two.finish("x.1")
    two.advance()
    assert {started.stack for started in two.state.running.values()} == {("a",), ("b",), ()}


def test_a_change_that_breaks_only_together_with_the_one_ahead_is_blamed_after_that_has_landed() -> None:
    two = world("a", "b", clashes={frozenset("ab")})
    two.settle()
    assert two.landed == ["a"]
    assert two.returned["b"].outcome is Outcome.FAILED


def test_a_conflict_with_the_tip_goes_back_at_once_one_with_the_queue_waits() -> None:
    three = world("a", "b", "c", conflicts={frozenset("ab")}, slots=3)
    three.advance()
    assert not three.returned
    assert {started.stack for started in three.state.running.values()} == {("a",), ("a", "c")}
    for check in sorted(three.jobs):
        three.finish(check)
    three.advance()
    assert three.landed == ["a", "c"]
    assert three.returned["b"].outcome is Outcome.CONFLICT
    assert three.returned["b"].paths == ("a",)


def test_a_change_that_waited_for_one_that_left_lands() -> None:
    two = world("a", "b", conflicts={frozenset("ab")})
    two.advance()
    two.append(e.ChangeReturned(attempt="a", outcome=Outcome.CANCELLED, reason="cancelled"))
    two.settle()
    assert two.landed == ["b"]


def test_nobody_waits_for_a_change_that_is_red() -> None:
    two = world("a", "b", conflicts={frozenset("ab")}, bad={"a"})
    two.settle()
    assert two.landed == ["b"]
    assert "a" in two.returned


def test_a_conflict_with_the_tip_is_found_beyond_the_window() -> None:
    three = world("a", "b", slots=1)
    three.foreign("z")
    three.conflicts = {frozenset("cz")}
    three.submit("c")
    three.advance()
    assert three.returned["c"].outcome is Outcome.CONFLICT


def test_a_flake_is_retried_once_and_blames_nobody() -> None:
    one = world("a")
    one.advance()
    one.finish("x.1", flake=True)
    one.advance()
    assert [started.number for started in one.state.running.values() if started.stack] == [2]
    one.settle()
    assert one.landed == ["a"]


def test_a_red_target_blames_nobody() -> None:
    three = world(*"abc", base_red=True)
    three.settle()
    assert three.landed == []
    assert {r.outcome for r in three.returned.values()} == {Outcome.HELD}
    assert "`pytest` failed" in three.returned["a"].reason


def test_a_change_that_repairs_a_red_target_lands_and_the_others_after_it() -> None:
    four = world(*"abcd", base_red=True, repairs={"c"}, slots=1)
    four.settle()
    assert sorted(four.landed) == list("abcd")
    assert not four.returned


def test_a_verdict_is_forgotten_when_the_queue_is_empty() -> None:
    one = world("a", base_red=True)
    one.settle()
    assert one.returned["a"].outcome is Outcome.HELD
    one.base_red = False
    one.submit("a")
    one.settle()
    assert one.landed == ["a"]


def test_a_tree_that_passed_is_not_checked_again() -> None:
    one = world("a")
    one.settle()
    one.tip = None  # somebody removed the branch
    one.submit("b")
    one.submit("a")
    one.settle()
    assert one.landed == ["b", "a"]
    started = [r.event.tree for r in one.records if isinstance(r.event, e.GateCheckStarted)]
    assert started.count("a") == 1


def test_other_checks_of_another_run_are_asked_too() -> None:
    two = World()
    two.submit("a", checks="k")
    two.submit("b", checks="other")
    two.settle()
    started = [(r.event.tree, r.event.checks) for r in two.records if isinstance(r.event, e.GateCheckStarted)]
    assert started == [("a", "k"), ("a+b", "other")], "each by its own checks"
    assert two.landed == ["a", "b"]


def test_when_somebody_else_moves_the_target_everything_is_checked_again() -> None:
    two = world("a", "b")
    two.advance()
    two.foreign("z")
    two.advance()
    trees = {started.tree for started in two.state.running.values()}
    assert trees == {"a+z", "a+b+z"}
    two.settle()
    assert two.landed == ["z", "a", "b"]


def test_a_red_commit_of_somebody_else_blames_nobody() -> None:
    two = world("a", "b", bad={"z"})
    two.advance()
    two.foreign("z")
    two.settle()
    assert {r.outcome for r in two.returned.values()} == {Outcome.HELD}


def test_a_change_that_somebody_else_brought_in_has_landed() -> None:
    two = world("a", "b")
    two.foreign("a")
    two.settle()
    assert two.landed == ["a", "b"]
    assert two.state.landed == {"a": "base>a", "b": "base>a>b"}


def test_checks_that_cannot_be_run_are_tried_again_with_growing_pauses() -> None:
    one = world("a")
    pauses = []
    for n in range(1, 8):
        one.advance()
        one.finish(f"x.{n}", broken=True)
        pause = one.advance()
        assert pause is not None
        pauses.append(pause)
        one.now += pause
    assert pauses == [2, 2, 4, 8, 16, 32, 60]
    one.settle()
    assert one.landed == ["a"]


def test_after_an_hour_without_any_check_the_changes_are_held() -> None:
    one = world("a", "b")
    one.advance()
    one.finish("x.1", broken=True)
    one.now += PATIENCE + 1
    one.finish("x.2", broken=True)
    one.advance()
    assert {r.outcome for r in one.returned.values()} == {Outcome.HELD}
    assert "cannot be run" in one.returned["a"].reason


def test_the_checks_of_a_stack_that_nobody_wants_are_dropped() -> None:
    two = world("a", "b", bad={"a"})
    two.advance()
    two.finish("x.1")
    two.advance()
    two.finish("x.3")
    two.advance()
    assert "x.2" not in two.state.running


@pytest.mark.parametrize("where", ["intended", "moved"])
def test_an_intent_without_outcome_is_settled_by_looking_at_the_branch(where: str) -> None:
    two = world("a", "b")
    two.advance()
    for check in sorted(two.jobs):
        two.finish(check)
    with pytest.raises(Crash):
        two.advance(lambda point: point == where)
    two.merges.clear()
    two.settle()
    assert two.landed == ["a", "b"]


def test_the_fold_is_the_same_in_one_go_and_step_by_step() -> None:
    four = world(*"abcd", bad={"b"}, conflicts={frozenset("cd")})
    four.settle()
    assert fold(four.records) == four.state


def test_the_key_depends_on_commands_and_environment_only() -> None:
    def config(**sections: object) -> RunConfig:
        return RunConfig.model_validate({"deck": sections})

    plain = checks_key(config(checks={"gate": ["pytest"]}))
    assert checks_key(config(checks={"gate": ["pytest"]}, budget={"run": 1})) == plain
    assert checks_key(config(checks={"gate": ["ruff"]})) != plain
    assert checks_key(config(checks={"gate": ["pytest"]}, sandbox={"setup": ["uv sync"]})) != plain


@pytest.mark.parametrize(
    ("section", "limit"),
    [
        ("checks", {"timeout": "1s"}),
        ("sandbox", {"memory_mb": 64}),
        ("sandbox", {"disk_mb": 16}),
        ("sandbox", {"processes": 8}),
        ("sandbox", {"cpu_seconds": 1}),
        ("sandbox", {"setup_timeout": "1s"}),
    ],
)
def test_a_verdict_under_tight_limits_is_not_believed_under_others(section: str, limit: dict[str, object]) -> None:
    def key(*sections: tuple[str, dict[str, object]]) -> str:
        return checks_key(RunConfig.model_validate({"deck": dict(sections)}))

    assert key((section, limit)) != key()
    assert key(("sandbox", {"network": ["default"]})) == key()


def test_trouble_of_the_gate_itself_is_waited_out_for_an_hour_with_growing_pauses() -> None:
    one = world("a")
    begin, pauses = one.now, []
    while event := delayed(one.state, one.now, "git is broken", worked=False):
        one.append(event)
        pauses.append(event.seconds)
        one.now += event.seconds
    assert pauses[:6] == [2, 2, 4, 8, 16, 32]
    assert set(pauses[6:]) == {60}
    assert PATIENCE < one.now - begin <= PATIENCE + 60
    assert one.state.stall is not None
    assert one.state.stall.number == len(pauses)


def test_only_failures_in_a_row_use_up_the_patience() -> None:
    one = world("a")
    for _ in range(3):
        event = delayed(one.state, one.now, "git is broken", worked=False)
        assert event is not None
        one.append(event)
        one.now += 60
    anew = e.GateDelayed(reason="again", seconds=2)
    assert delayed(one.state, one.now, "again", worked=True) == anew
    assert delayed(one.state, one.now + 2 * PATIENCE, "again", worked=False) == anew
    one.settle()
    assert one.landed == ["a"]
    assert one.state.stall is None


# --- promises by random walk ------------------------------------------------------------------------------


class Walk(RuleBasedStateMachine):
    """Changes, conflicts, failures, flakes, outages, crashes and other people's commits in any order."""

    @initialize(slots=st.integers(1, 4), base_red=st.booleans())
    def begin(self, slots: int, base_red: bool) -> None:
        self.world = World(slots=slots, base_red=base_red)
        self.names: list[str] = []
        self.foreigners = 0

    @rule(
        kind=st.sampled_from(["good", "good", "good", "bad", "repair"]),
        conflict=st.integers(0, 12),
        clash=st.integers(0, 24),
        checks=st.sampled_from(["k", "k", "other"]),
        seen=st.booleans(),
        imagined=st.integers(0, 24),
    )
    def submit(self, kind: str, conflict: int, clash: int, checks: str, seen: bool, imagined: int) -> None:
        if len(self.names) >= 12:
            return
        name = f"c{len(self.names)}"
        if kind == "bad":
            self.world.bad.add(name)
        if kind == "repair":
            self.world.repairs.add(name)
        if conflict < len(self.names):
            self.world.conflicts.add(frozenset((name, self.names[conflict])))
        if clash < len(self.names):
            self.world.clashes.add(frozenset((name, self.names[clash])))
            if seen:
                self.world.graph.add(frozenset((name, self.names[clash])))
        if imagined < len(self.names):
            self.world.graph.add(frozenset((name, self.names[imagined])))
        self.names.append(name)
        self.world.submit(name, checks)

    @rule(crash=st.integers(0, 12))
    def advance(self, crash: int) -> None:
        left = [crash]

        def dies(_where: str) -> bool:
            left[0] -= 1
            return left[0] == 0

        try:
            self.world.advance(dies)
        except Crash:
            self.world.merges = {}
            self.world.state = fold(self.world.records)

    @rule(which=st.integers(0, 10), flake=st.booleans(), broken=st.integers(0, 9))
    def finish(self, which: int, flake: bool, broken: int) -> None:
        jobs = sorted(self.world.jobs)
        if jobs:
            self.world.finish(jobs[which % len(jobs)], flake=flake, broken=broken == 0)

    @rule(bad=st.integers(0, 4), steal=st.integers(0, 8))
    def somebody_else(self, bad: int, steal: int) -> None:
        queued = [item.attempt for item in self.world.state.queue]
        present = self.world.commits[self.world.tip or BASE][1]
        if steal < len(queued) and queued[steal] not in present:
            self.world.foreign(queued[steal])
            return
        self.foreigners += 1
        name = f"z{self.foreigners}"
        if bad == 0:
            self.world.bad.add(name)
        self.world.foreign(name)

    @rule(seconds=st.sampled_from([1.0, 100.0, 2000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds

    @invariant()
    def nothing_is_lost_and_nothing_lands_twice(self) -> None:
        if not hasattr(self, "world"):
            return
        landed = self.world.landed
        assert len(landed) == len(set(landed))
        queued = {item.attempt for item in self.world.state.queue}
        known = queued | set(self.world.state.landed) | set(self.world.returned)
        assert set(self.names) == known - self.world.undone.keys()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.settle()
        known = set(self.world.state.landed) | set(self.world.returned)
        assert set(self.names) == known - self.world.undone.keys()
        assert not set(self.world.state.landed) & set(self.world.returned)
        assert set(self.world.state.landed) <= set(self.world.landed)


Walk.TestCase.settings = settings(stateful_step_count=40)
TestWalk = Walk.TestCase


def test_nothing_of_a_title_steers_the_terminal_of_whoever_reads_the_log() -> None:
    change = Change(run="r-1", task="a", attempt="r-1.a.1", base="0" * 40, commit="1" * 40, tree="2" * 40)
    queued = Queued(change, "Übung \x1b[31m\x00red\u202e\n\n 名", "x", "", "", None, 0.0)
    subject, empty, *trailers = message(queued).splitlines()
    assert (subject, empty) == ("Übung [31m red 名", "")
    assert trailers[0] == "Quarterdeck-Run: r-1"
