"""The merge gate's decisions where a change meets another one on the same files: which way counts, and which verify
commands its tree has to pass."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from test_queue import World, never

from quarterdeck.delivery.gate.ledger import Colour, with_commands
from quarterdeck.delivery.gate.orders import Clash, Command, LostWay, Merged, NeedMerge, Return, StartCheck
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.delivery.gate.queue import decide
from quarterdeck.delivery.gate.stacks import SUSPECTED
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Outcome
from quarterdeck.merge.values import Way

WAYS = (Way.ENTITY, Way.UNION, Way.ENTITY_UNION)


@dataclass
class Meeting(World):
    """A world in which changes that conflict may be merged in other ways, and tasks have verify commands."""

    ways: dict[str, tuple[Way, ...]] = field(default_factory=dict)
    """Change to the ways that have a result where git's own merge has none."""
    red_ways: set[tuple[str, Way]] = field(default_factory=set)
    clean: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    """Changes that merge cleanly but meet another one: the verify commands that count, own and others'."""
    broken_by: set[tuple[str, str]] = field(default_factory=set)
    """(command, change): the command fails on a tree that holds the change."""
    asked: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Check to its verify commands."""

    def perform(self, command: Command, crash: Callable[[str], bool]) -> None:
        match command:
            case NeedMerge(onto, attempt, beyond):
                self.merges[onto, attempt] = self.candidate(onto, attempt, beyond)
            case _:
                super().perform(command, crash)

    def candidate(self, onto: str, name: str, beyond: Way | None) -> Merged | Clash:
        made = self.merge(onto, name)
        if isinstance(made, Merged):
            own, others = self.clean.get(name, ((), ()))
            return Merged(made.commit, made.tree, own=own, others=others, paths=("p",) if name in self.clean else ())
        ways = self.ways.get(name, ())
        lost = [LostWay(Way.GIT, "conflict")]
        for way in ways:
            if beyond is not None and ways.index(way) <= ways.index(beyond):
                lost.append(LostWay(way, "red"))
                continue
            names = self.commits[onto][1] | {name, f"{name}~{way}"}
            if (name, way) in self.red_ways:
                self.bad.add(f"{name}~{way}")
            commit = f"{onto}>{name}~{way}"
            self.commits[commit] = (onto, names, name)
            return Merged(commit, self.tree(commit), way, tuple(lost), more=True, conflicts=made.paths)
        return Clash(made.paths, "", tuple(lost))

    def start(self, command: StartCheck) -> None:
        super().start(command)
        check = f"x.{self.state.checks}"
        self.asked[check] = command.verify
        started = self.state.running[check]
        assert started.checks == with_commands(command.gate or started.checks, command.verify)

    def finish(self, check: str, *, flake: bool = False, broken: bool = False) -> None:
        started = self.state.running[check]
        names = self.commits[started.commits[-1] if started.commits else started.tip][1]
        failing = [each for each in self.asked[check] if any((each, name) in self.broken_by for name in names)]
        if not failing or not self.good(names):
            super().finish(check, flake=flake, broken=broken)
            return
        self.jobs.discard(check)
        reason = f"`{failing[0]}` failed: exit 1"
        self.append(e.GateCheckFinished(check=check, tree=started.tree, passed=False, reason=reason, verify=True))

    def give_back(self, command: Return) -> None:
        if command.outcome is Outcome.CONFLICT and command.attempt in self.clean:
            self.append(e.ChangeReturned(attempt=command.attempt, outcome=command.outcome, reason=command.reason))
            self.returned[command.attempt] = command
        else:
            super().give_back(command)


def meeting(*names: str, **settings: object) -> Meeting:
    made = Meeting(**settings)  # type: ignore[arg-type]  # keyword arguments of a test's own dataclass
    for name in names:
        made.submit(name)
    return made


def tried(world: Meeting, name: str) -> list[str]:
    """The trees with that change on top that were checked, in order, each once."""
    trees = [r.event.tree for r in world.records if isinstance(r.event, e.GateCheckStarted) and r.event.stack]
    return [tree for tree in dict.fromkeys(trees) if name in tree.split("+")]


def test_the_first_way_that_passes_counts() -> None:
    two = meeting("a", "b", conflicts={frozenset("ab")}, ways={"b": WAYS}, red_ways={("b", Way.ENTITY)})
    two.settle()
    assert two.landed == ["a", "b"]
    assert two.tip == "base>a>b~union"
    assert tried(two, "b") == ["a+b+b~entity", "a+b+b~union"]


def test_no_way_is_tried_after_one_that_passes() -> None:
    two = meeting("a", "b", conflicts={frozenset("ab")}, ways={"b": WAYS})
    assert two.settle() == 1, "what may land is checked on top of what is ahead of it"
    assert two.tip == "base>a>b~entity"


def test_where_no_way_is_left_the_change_is_in_conflict_with_all_that_was_tried() -> None:
    two = meeting("a", "b", conflicts={frozenset("ab")}, ways={"b": WAYS}, red_ways={("b", way) for way in WAYS})
    two.settle()
    assert two.landed == ["a"]
    assert two.returned["b"].outcome is Outcome.CONFLICT
    assert [each.way for each in two.returned["b"].lost] == [Way.GIT, *WAYS]


def test_a_red_tip_speaks_against_no_way() -> None:
    one = meeting("b", bad={"z"}, conflicts={frozenset("bz")}, ways={"b": WAYS})
    one.foreign("z")
    one.settle()
    assert one.returned["b"].outcome is Outcome.HELD
    assert tried(one, "b") == ["b+b~entity+z"]


def test_a_change_that_merges_and_breaks_a_landed_task_is_in_conflict() -> None:
    two = meeting("a", "b", clean={"b": (("own b",), ("test a",))}, broken_by={("test a", "b")})
    two.settle()
    assert two.landed == ["a"]
    assert two.returned["b"].outcome is Outcome.CONFLICT
    assert "`test a` failed" in two.returned["b"].reason
    assert two.returned["b"].paths == ("p",)


def test_verify_commands_that_the_tip_fails_itself_do_not_count() -> None:
    two = meeting("a", "b", clean={"b": (("own b",), ("test a",))}, broken_by={("test a", "a")})
    two.settle()
    assert two.landed == ["a", "b"]


def test_the_tasks_own_verify_commands_count_even_then() -> None:
    two = meeting("a", "b", clean={"b": (("own b",), ("test a",))}, broken_by={("test a", "a"), ("own b", "a")})
    two.settle()
    assert two.landed == ["a"]
    assert "`own b` failed" in two.returned["b"].reason


def test_a_tree_that_passed_more_passed_the_gate_alone() -> None:
    two = meeting("a", "b", "c", clean={"b": (("own b",), ())}, bad={"c"})
    two.settle()
    assert two.landed == ["a", "b"]
    checked = [r.event for r in two.records if isinstance(r.event, e.GateCheckStarted)]
    assert {event.why for event in checked if not event.stack} == {SUSPECTED}, "the tip was known to be green"
    assert two.state.colour(("a+b", "k")) is Colour.GREEN
    assert two.state.colour(("a+b", with_commands("k", ("own b",)))) is Colour.GREEN


def test_a_failed_verify_command_says_that_the_gate_itself_passed() -> None:
    one = meeting("b", clean={"b": (("own b",), ())}, broken_by={("own b", "b")})
    one.advance()
    one.finish("x.1")
    assert one.state.colour(("b", "k")) is Colour.GREEN
    assert one.state.colour(("b", with_commands("k", ("own b",)))) is Colour.DOUBTFUL


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_red_and_whenever_it_dies_a_change_lands_by_its_first_good_way(data: st.DataObject) -> None:
    """A process that dies forgets its candidates: what it decides is the same."""
    names = [f"c{number}" for number in range(data.draw(st.integers(2, 5), label="changes"))]
    conflicts = {frozenset((a, b)) for a in names for b in names if a < b and data.draw(st.integers(0, 2)) == 0}
    ways = {name: data.draw(st.sampled_from([(), WAYS[:1], WAYS[1:], WAYS])) for name in names}
    red = {(name, way) for name in names for way in WAYS if data.draw(st.booleans())}
    world = meeting(*names, conflicts=conflicts, ways=ways, red_ways=red, slots=data.draw(st.integers(1, 4)))
    for _ in range(200):
        if data.draw(st.integers(0, 3)) == 0:
            world.merges = {}
            world.state = fold(world.records)
        world.advance(never)
        if not world.jobs:
            break
        world.finish(data.draw(st.sampled_from(sorted(world.jobs))))
    world.settle()
    standing: set[str] = set()
    for name in world.landed:
        met = any(frozenset((name, other)) in conflicts for other in standing)
        first = next((way for way in ways[name] if (name, way) not in red), None)
        assert not met or first is not None
        marks = {mark for mark in world.commits[world.tip or ""][1] if mark.startswith(f"{name}~")}
        assert marks == ({f"{name}~{first}"} if met else set())
        standing.add(name)
    for name, command in world.returned.items():
        assert command.outcome is Outcome.CONFLICT
        assert all((name, way) in red for way in ways[name])
    assert not decide(world.state, world.view())
