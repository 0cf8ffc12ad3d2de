"""The merge gate by property: its ledger under any events, and its decisions in any state and any view of the world.

The random walk in test_queue.py stays in worlds that can be; here states and views need not fit together, as after a
lost cache, a forged ref or a bug elsewhere: what may never happen must not happen then either.
"""

import copy
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.delivery.gate.ledger import PAUSE, TRIES, Colour, GateState, Trouble
from quarterdeck.delivery.gate.orders import (
    Accuse,
    Clash,
    Command,
    DropCheck,
    FindCulprit,
    GiveUp,
    Land,
    Merged,
    NeedMerge,
    RecordLanded,
    RecordMove,
    Return,
    StartCheck,
    TakeBack,
    View,
    Wait,
)
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.delivery.gate.queue import IN_A_ROW, PATIENCE, decide, delayed
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Outcome
from quarterdeck.merge.values import Way

ATTEMPTS = st.sampled_from("abcd")
COMMITS = st.sampled_from(["c0", "c1", "c2", "c3"])
TREES = st.sampled_from(["t0", "t1", "t2"])
CHECKS = st.sampled_from(["k", "other"])
NUMBERS = st.sampled_from(["x.1", "x.2", "x.3"])


def queued(attempt: str, checks: str) -> e.ChangeQueued:
    change = Change(run="r", task=attempt, attempt=attempt, base="c0", commit=attempt, tree="t")
    return e.ChangeQueued(change=change, title=attempt, config_blob="c", checks=checks)


def started(check: str, tip: str, stack: tuple[str, ...], tree: str, checks: str, under: str) -> e.GateCheckStarted:
    commits = tuple(f"c{number}" for number in range(len(stack)))
    return e.GateCheckStarted(
        check=check, tip=tip, stack=stack, commits=commits, tree=tree, config_blob="c", checks=checks, under=under
    )


def intended(stack: tuple[str, ...], old: str, new: str, tree: str) -> e.LandingIntended:
    commits = (*(f"c{number}" for number in range(len(stack) - 1)), new) if stack else ()
    return e.LandingIntended(attempt="a", old=old, new=new, tree=tree, stack=stack, commits=commits)


def taking_back(attempt: str, commit: str) -> e.ChangeQueued:
    name = f"r._revert-{attempt}.1"
    change = Change(run="r", task=name, attempt=name, base=commit, commit="c3", tree="t")
    return e.ChangeQueued(change=change, title=name, config_blob="c", checks="k", reverts=commit)


def red(tip: str, tree: str, checks: str, suspects: list[e.Suspect]) -> e.TipFoundRed:
    return e.TipFoundRed(tip=tip, tree=tree, checks=checks, config_blob="c", suspects=tuple(suspects))


STACKS = st.lists(ATTEMPTS, max_size=3, unique=True).map(tuple)
SUSPECTS = st.builds(e.Suspect, commit=COMMITS, tree=TREES, attempt=ATTEMPTS | st.just(""))
EVENTS: st.SearchStrategy[e.EventBase] = st.one_of(
    st.just(e.GateOpened(repository="/r", branch="b", base="c0")),
    st.builds(queued, ATTEMPTS, CHECKS),
    st.builds(started, NUMBERS, COMMITS, STACKS, TREES, CHECKS, TREES | st.just("")),
    st.builds(
        e.GateCheckFinished,
        check=NUMBERS,
        tree=TREES,
        passed=st.booleans(),
        infrastructure=st.sampled_from([False, False, True]),
        cancelled=st.sampled_from([False, False, True]),
        reason=st.just("red"),
    ),
    st.builds(intended, STACKS, COMMITS, COMMITS, TREES),
    st.builds(e.ChangeLanded, attempt=ATTEMPTS, old=COMMITS, new=COMMITS),
    st.builds(e.ChangeReturned, attempt=ATTEMPTS, outcome=st.sampled_from(Outcome), reason=st.just("")),
    st.builds(e.TipMoved, old=COMMITS, new=COMMITS),
    st.builds(e.GateDelayed, reason=st.just("git"), seconds=st.just(2.0), number=st.integers(1, 3)),
    st.builds(e.NoteFailed, attempt=ATTEMPTS, commit=COMMITS, reason=st.just("")),
    st.builds(e.NoteWritten, attempt=ATTEMPTS, commit=COMMITS),
    st.builds(e.FlakeSeen, tree=TREES, check=NUMBERS),
    st.builds(red, COMMITS, TREES, CHECKS, st.lists(SUSPECTS, max_size=4)),
    st.builds(
        e.CulpritFound,
        tip=COMMITS,
        run=st.just("r"),
        commit=COMMITS,
        attempt=ATTEMPTS,
        action=st.sampled_from(["revert", "ask", "tell"]),
        reason=st.just("red"),
    ),
    st.builds(taking_back, ATTEMPTS, COMMITS),
    st.builds(e.ChangeReverted, attempt=ATTEMPTS, commit=COMMITS, by=COMMITS),
    st.builds(e.ChangeClashed, attempt=ATTEMPTS, against=st.lists(ATTEMPTS, max_size=2).map(tuple)),
    st.builds(e.TipMended, tip=COMMITS, run=st.just("r")),
)


def recorded(happened: list[e.EventBase]) -> list[Record]:
    return [Record("gate/x", seq, 100.0 * seq, 1, event, "") for seq, event in enumerate(happened, 1)]


def opened(found: list[e.EventBase]) -> list[Record]:
    return recorded([e.GateOpened(repository="/r", branch="b", base="c0"), *found])


def checked(stack: tuple[str, ...], tree: str, checks: str, passed: bool, times: int) -> list[e.EventBase]:
    ended = e.GateCheckFinished(check="y", tree=tree, passed=passed, reason="red")
    return [started("y", "c0", stack, tree, checks, "t0"), ended] * times


HISTORIES = st.lists(EVENTS, max_size=25).map(opened)
VERDICTS = st.lists(st.builds(checked, STACKS, TREES, CHECKS, st.booleans(), st.integers(1, 2)), min_size=2, max_size=8)
QUEUES = st.lists(st.builds(queued, ATTEMPTS, st.sampled_from("kkk") | CHECKS), min_size=1, max_size=4)
BUSY = st.builds(
    lambda before, queue, verdicts, after: opened([*before, *queue, *(v for pair in verdicts for v in pair), *after]),
    st.lists(EVENTS, max_size=4),
    QUEUES,
    VERDICTS,
    st.lists(EVENTS, max_size=2),
)
"""Histories after which there is something to decide."""

PAIRS = [(f"c{number}", attempt) for number in range(4) for attempt in "abcd"]


def merged(choice: int) -> Merged | Clash | None:
    """One of the outcomes of a merge; None = not tried yet."""
    if choice < 40:
        return None if choice < 12 else Clash(("p",))
    if choice > 200:
        return Merged(f"c{choice % 4}", f"t{choice % 3}", Way.ENTITY, more=True)
    return Merged(f"c{choice % 4}", f"t{choice % 3}")


MERGES = st.binary(min_size=len(PAIRS), max_size=len(PAIRS)).map(
    lambda choices: {pair: m for pair, c in zip(PAIRS, choices, strict=True) if (m := merged(c)) is not None}
)
VIEWS = st.builds(
    View,
    now=st.floats(0, 10_000),
    tip=COMMITS,
    tree=TREES,
    exists=st.booleans(),
    slots=st.integers(1, 3),
    merges=MERGES,
    intent_landed=st.booleans(),
)


# --- the ledger -------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(HISTORIES, st.data())
def test_the_ledger_is_the_same_at_once_or_taken_up_anywhere(records: list[Record], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(records)))
    assert fold(records[at:], fold(records[:at])) == fold(records)
    assert fold(records).seq == len(records)


@settings(max_examples=60)
@given(HISTORIES)
def test_verdicts_are_what_the_checks_said(records: list[Record]) -> None:
    """Against a second reckoning, check by check: green until the tip is red twice, red after two failures, forgotten
    with the queue."""
    state, running = GateState(), dict[str, tuple[str, str]]()
    green, failed = set[tuple[str, str]](), dict[tuple[str, str], int]()
    waiting: list[str] = []
    tips = set[str]()
    for record in records:
        state = fold([record], state)
        match record.event:
            case e.GateCheckStarted(check=check, tree=tree, checks=checks, stack=stack):
                running[check] = (tree, checks)
                tips = tips - {check} if stack else tips | {check}
            case e.GateCheckFinished() as ended if (key := running.pop(ended.check, None)) is not None:
                if not (ended.cancelled or ended.infrastructure):
                    green |= {key} if ended.passed else set()
                    failed = {k: n for k, n in failed.items() if k != key} | (
                        {} if ended.passed else {key: failed.get(key, 0) + 1}
                    )
                    green -= {key} if ended.check in tips and failed.get(key, 0) >= TRIES else set()
            case e.ChangeQueued(change=change):
                waiting.append(change.attempt)
            case e.ChangeLanded(attempt=attempt) | e.ChangeReturned(attempt=attempt):
                waiting = [other for other in waiting if other != attempt]
                failed = failed if waiting else {}
            case _:
                pass
        assert [item.attempt for item in state.queue] == waiting
        assert {*state.running} == {*running}
        for key in [(tree, checks) for tree in ("t0", "t1", "t2") for checks in ("k", "other")]:
            times = failed.get(key, 0)
            expected = Colour.RED if times >= TRIES else Colour.DOUBTFUL if times else Colour.UNKNOWN
            assert state.colour(key) is (Colour.GREEN if key in green else expected)


@given(st.floats(0, 1e6), st.floats(0, 1e5), st.floats(-1e3, 1e5))
def test_no_pause_is_shorter_than_nothing_or_longer_than_the_longest(since: float, row: float, later: float) -> None:
    assert 0.0 <= Trouble(since, since + row, "").due(since + row + later) <= PAUSE[1]


# --- decisions --------------------------------------------------------------------------------------------


def blames(state: GateState, view: View, key: tuple[str, str], attempt: str) -> bool:
    """Whether this tree is red, nothing else in it waits, and it is green without the change."""
    tested, checks = state.tested[key], key[1]
    others = {*tested.stack} - {attempt}
    if attempt not in tested.stack or state.colour(key) is not Colour.RED:
        return False
    if any(other not in state.landed or state.find(other) for other in others):
        return False
    base = tested.under or (view.tree if tested.tip == view.tip else "")
    if not others:
        return state.colour((base, checks)) is Colour.GREEN
    return any(
        {*each.stack} == others and of[1] == checks and each.tip == tested.tip and state.colour(of) is Colour.GREEN
        for of, each in state.tested.items()
    )


def judged(state: GateState, view: View, commands: tuple[Command, ...]) -> None:
    """What may never be decided, whatever the state and the view."""
    waiting = [item.attempt for item in state.queue]
    checks = {item.attempt: item.checks for item in state.queue}
    starts = [command for command in commands if isinstance(command, StartCheck)]
    drops = [command.check for command in commands if isinstance(command, DropCheck)]
    for command in commands:
        match command:
            case Land(stack, commits, old, tree):
                assert commands == (command,), "nothing is done beside a landing"
                onto, last = view.tip, ""
                for attempt, commit in zip(stack, commits, strict=True):
                    assert state.colour((tree, checks[attempt])) is Colour.GREEN, "an untested tree would land"
                    landing = view.merges[onto, attempt]
                    assert isinstance(landing, Merged)
                    assert landing.commit == commit, "it would not land on the tip"
                    onto, last = commit, landing.tree
                assert last == tree
                assert {*stack} <= {*waiting}
                assert old == (view.tip if view.exists else None)
                assert view.tip == state.tip, "somebody else's move was not recorded first"
            case Return(attempt, Outcome.FAILED):
                merged = view.merges[view.tip, attempt]
                assert isinstance(merged, Merged)
                assert not merged.more, "another way of merging is left"
                direct = state.colour((merged.tree, checks[attempt])) is Colour.RED
                assert (direct and state.colour((view.tree, checks[attempt])) is Colour.GREEN) or any(
                    blames(state, view, key, attempt) for key in state.tested
                ), "blamed without knowing what it stands on"
            case Return(attempt, Outcome.CONFLICT):
                assert isinstance(view.merges[view.tip, attempt], Clash), "it waits for those ahead of it"
            case Return(attempt, Outcome.CANCELLED):
                assert ids.is_revert(attempt), "nobody asked for that"
            case FindCulprit(tree, of):
                assert commands == (command,)
                assert tree == view.tree
                assert state.colour((tree, of)) is Colour.RED, "a tip that is not red is doubted"
                assert state.landed, "nothing of ours has landed"
            case Accuse():
                assert commands == (command,)
                assert state.search is not None
            case TakeBack(attempt, commit):
                assert commands == (command,)
                assert state.search is not None
                assert state.search.found is not None
                found = state.search.found
                assert (found.action, found.attempt, found.commit) == ("revert", attempt, commit)
            case GiveUp(attempt):
                assert ids.is_revert(attempt)
            case Return(attempt, outcome):
                assert outcome is Outcome.HELD
                trouble = state.trouble is not None and state.trouble.last - state.trouble.since > PATIENCE
                assert trouble or state.colour((view.tree, checks[attempt])) is Colour.RED
            case StartCheck():
                doubted = not command.stack and (state.row >= IN_A_ROW or command.why)
                assert state.colour(command.key) in (Colour.UNKNOWN, Colour.DOUBTFUL) or doubted, "a verdict is known"
                assert command.tip == view.tip or command.number > 1 or not command.stack, "on a tip of before"
                assert len(command.stack) == len(command.commits) == len({*command.stack})
            case NeedMerge(onto, attempt, beyond) if beyond is not None:
                red = view.merges[onto, attempt]
                assert isinstance(red, Merged)
                assert (onto, red.way, red.more) == (view.tip, beyond, True)
                assert state.colour((red.tree, checks[attempt])) is Colour.RED, "a way is left that is not lost"
                assert state.colour((view.tree, checks[attempt])) is Colour.GREEN, "the tip may be at fault"
            case NeedMerge(onto, attempt):
                assert (onto, attempt) not in view.merges, "merged twice"
                assert attempt in waiting
            case Wait(delay):
                assert 0 < delay <= PAUSE[1]
            case RecordLanded():
                assert all(isinstance(other, RecordLanded) for other in commands)
            case RecordMove():
                assert commands == (command,)
            case _:
                pass
    left = {(s.tree, s.checks) for check, s in state.running.items() if check not in drops}
    assert len(left) + len(starts) <= view.slots or not starts, "more checks than there is room for"
    keys = [start.key for start in starts]
    assert len({*keys}) == len(keys), "checked twice at the same time"
    assert not left & {*keys}, "checked twice at the same time"
    returned = [command.attempt for command in commands if isinstance(command, Return)]
    assert len({*returned}) == len(returned)
    assert {*returned} <= {*waiting}


def unique(records: list[Record]) -> list[Record]:
    """Without a second queueing of what waits: the gate queues an attempt once."""
    waiting, kept = set[str](), list[Record]()
    for record in records:
        match record.event:
            case e.ChangeQueued(change=change):
                if change.attempt in waiting:
                    continue
                waiting.add(change.attempt)
            case e.ChangeLanded(attempt=attempt) | e.ChangeReturned(attempt=attempt):
                waiting.discard(attempt)
            case _:
                pass
        kept.append(record)
    return kept


@settings(max_examples=150)
@given(BUSY.map(unique), VIEWS, st.integers(0, 5))
def test_what_may_never_be_decided_is_not_decided_in_any_state(records: list[Record], view: View, foreign: int) -> None:
    state = fold(records)
    if foreign:  # else nearly every decision is to record somebody else's move
        view = replace(view, tip=state.tip)
    before = copy.deepcopy(state)
    commands = decide(state, view)
    assert decide(state, view) == commands, "the same facts, another decision"
    assert state == before, "deciding changed the state"
    judged(state, view, commands)


@given(HISTORIES, st.floats(0, 20_000), st.booleans())
def test_a_delay_of_the_gate_is_bounded_and_counts_on(records: list[Record], now: float, worked: bool) -> None:
    state = fold(records)
    event = delayed(state, now, "git is broken", worked=worked)
    if event is None:
        assert state.stall is not None
        assert not worked
        assert now - state.stall.since > PATIENCE
    else:
        assert PAUSE[0] <= event.seconds <= PAUSE[1]
        assert event.number == 1 or (state.stall is not None and event.number == state.stall.number + 1)
