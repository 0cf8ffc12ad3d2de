"""Lanes and stages of the merge gate over real git: the graph of possible conflicts, and landing in one step."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from gate_kit import BRANCH, RUN, Deck, Killed, decks, git, grounds

from quarterdeck.delivery import jobs
from quarterdeck.delivery.gate import overlaps
from quarterdeck.delivery.gate.advance import Gate
from quarterdeck.delivery.gate.ledger import Queued
from quarterdeck.delivery.gate.overlaps import CLASHING, SAME_ENTITY, SAME_FILE, Graph
from quarterdeck.engine.port import Engine, Job
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.merging_trees import parse_clashes

MANY = {f"t{number}": {f"t{number}.txt": "x"} for number in range(8)}
"""More tasks than are one lane."""

LATE = {f"u{number}": {f"u{number}.txt": "x"} for number in range(3)}
"""Tasks that come when those are done."""

CODE = "def one():\n    return 1\n\n\ndef two():\n    return 2\n\n\ndef three():\n    return 3\n"


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    yield from grounds(tmp_path)


@pytest.fixture
async def deck(tmp_path: Path, ground: Ground) -> AsyncIterator[Deck]:
    async for made in decks(tmp_path, ground, {"code.py": CODE}):
        yield made


async def fill(
    deck: Deck, journal: Log, engine: Engine, gate: Gate, tasks: Mapping[str, Mapping[str, str | None]]
) -> None:
    """All of these are in the queue before anything is decided."""

    async def later(_job: Job) -> None:
        pass

    for task, files in tasks.items():
        await deck.queue(journal, engine, task, files, parallel=8)
    await engine.serve({jobs.GATE_SUBMIT: gate.submit, jobs.GATE_ADVANCE: later}, until_idle=True)
    await journal.commit(also=lambda tx: engine.defer(tx, jobs.gate_advance(deck.target)))


async def steps(deck: Deck, journal: Log) -> list[list[str]]:
    """The tasks of each step that was intended."""
    found = [step for step in await deck.events(journal, e.LandingIntended) if isinstance(step, e.LandingIntended)]
    return [[ids.split_attempt(attempt)[1] for attempt, _ in step.landing] for step in found]


# --- landing in one step ----------------------------------------------------------------------------------


async def test_what_passed_side_by_side_lands_in_one_step_with_a_commit_and_a_note_each(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await fill(deck, journal, engine, gate, MANY)
    await deck.serve(engine, gate)
    assert deck.subjects() == [f"Do {task}" for task in await order(deck, journal)]
    assert sorted(deck.subjects()) == [f"Do {task}" for task in MANY]
    assert max(map(len, await steps(deck, journal))) > 1
    first = (await order(deck, journal))[0]  # whose check ended first; it made the branch
    for task in MANY:
        news = await deck.outcome(journal, task)
        assert news.commit is not None
        assert git(deck.repository, "show", "-s", "--format=%s", news.commit) == f"Do {task}"
        assert news.base == git(deck.repository, "rev-parse", f"{news.commit}~1") or task == first
    await deck.assert_sound(journal)


async def order(deck: Deck, journal: Log) -> list[str]:
    """The tasks in the order in which they landed."""
    found = await deck.events(journal, e.ChangeLanded)
    return [ids.split_attempt(event.attempt)[1] for event in found if isinstance(event, e.ChangeLanded)]


async def test_of_a_pair_that_no_graph_shows_only_the_one_that_came_to_the_target_later_is_sent_back(
    deck: Deck,
) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "check", {"check.sh": "! test -e t2.txt || ! test -e t5.txt\n"})
    await deck.serve(engine, gate)
    await fill(deck, journal, engine, gate, MANY)
    await deck.serve(engine, gate)
    outcomes = {task: (await deck.outcome(journal, task)).outcome for task in MANY}
    [evicted] = [task for task, outcome in outcomes.items() if outcome is Outcome.FAILED]
    assert evicted in ("t2", "t5"), "checked side by side: whichever passed first has landed"
    assert sum(outcome is Outcome.OK for outcome in outcomes.values()) == len(MANY) - 1
    await deck.assert_sound(journal)


async def test_a_branch_that_is_checked_out_holds_all_that_would_land_in_the_step(deck: Deck) -> None:
    git(deck.repository, "worktree", "add", "-q", "-b", BRANCH, str(deck.root / "tree"))
    journal, engine, gate = await deck.process()
    await fill(deck, journal, engine, gate, MANY)
    await deck.serve(engine, gate)
    for task in MANY:
        news = await deck.outcome(journal, task)
        assert news.outcome is Outcome.HELD
        assert "is checked out in" in news.reason
    assert deck.tip == deck.base


@pytest.mark.parametrize("point", ["gate.checked", "gate.intended", "gate.moved", "gate.landed"])
async def test_killed_at_a_probe_point_a_step_is_neither_lost_nor_made_twice(deck: Deck, point: str) -> None:
    journal, engine, gate = await deck.process()
    await fill(deck, journal, engine, gate, {**MANY, "t3": {"BAD": "x"}})
    deaths, left = 0, 0

    def kill(at: str) -> None:
        nonlocal left, deaths
        if at == point:
            left -= 1
            if left == 0:
                deaths += 1
                raise Killed(at)

    probes.install(kill)
    for life in range(1, 6):
        left = life  # each life gets further: also between the records of one step
        with suppress(Killed):
            await deck.serve(engine, gate)
        journal, engine, gate = await deck.process()
    left = 0
    await deck.serve(engine, gate)
    # In how many steps those landed depends on which checks ended first. There is at least one more.
    await fill(deck, journal, engine, gate, LATE)
    left = 1
    with pytest.raises(Killed):
        await deck.serve(engine, gate)
    journal, engine, gate = await deck.process()
    left = 0
    await deck.serve(engine, gate)
    assert deaths >= 2
    assert (await deck.outcome(journal, "t3")).outcome is Outcome.FAILED
    assert sorted(deck.subjects()) == [f"Do {task}" for task in sorted({**MANY, **LATE}) if task != "t3"]
    await deck.assert_sound(journal)


# --- the graph --------------------------------------------------------------------------------------------


async def queued(deck: Deck, task: str, text: str) -> Queued:
    """A change of code.py as it waits."""
    commit = deck.author({"code.py": text}, deck.base)
    mirror = await deck.shop.mirror(str(deck.repository))
    await mirror.fetch(deck.base)
    git(mirror.path, "fetch", "-q", str(deck.root / "author"), f"+{commit}:refs/quarterdeck/change/{RUN}/{task}")
    tree = await mirror.tree(commit)
    change = Change(run=RUN, task=task, attempt=task, base=deck.base, commit=commit, tree=tree)
    return Queued(change, task, "a", "k", "c", None, 0.0)


async def test_the_graph_knows_what_git_cannot_merge_and_who_changes_the_same_function(deck: Deck) -> None:
    await deck.process()
    mirror = await deck.shop.mirror(str(deck.repository))
    ones = [
        await queued(deck, "a", CODE.replace("return 1", "return 10")),
        await queued(deck, "b", CODE.replace("return 1", "return 11")),
        await queued(deck, "c", CODE.replace("return 3", "return 30")),
        await queued(deck, "d", CODE.replace("def one():", "def one(\n):")),
    ]
    graph = Graph()
    found = await graph.look(mirror, ones)
    assert found["a"]["b"] == found["b"]["a"] == CLASHING
    assert found["a"]["c"] == found["c"]["b"] == SAME_FILE
    assert found["b"]["d"] in (CLASHING, SAME_ENTITY)
    assert await graph.look(mirror, ones[1:3]) == {"b": {"c": SAME_FILE}, "c": {"b": SAME_FILE}}
    assert await graph.look(mirror, ()) == {}


async def test_what_one_look_has_no_room_for_is_looked_at_later(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlaps, "MOST_PAIRS", 2)
    await deck.process()
    mirror = await deck.shop.mirror(str(deck.repository))
    ones = [await queued(deck, name, CODE.replace("return 1", f"return {name!r}")) for name in "abc"]
    graph = Graph()
    first = await graph.look(mirror, ones)
    assert sorted(odds for others in first.values() for odds in others.values()) == [SAME_FILE] * 2 + [CLASHING] * 4
    assert {odds for others in (await graph.look(mirror, ones)).values() for odds in others.values()} == {CLASHING}


def test_the_answers_of_git_are_read_one_by_one() -> None:
    answer = b"0\0" + b"a" * 40 + b"\0f\0g\0\0" + b"1\0" + b"b" * 40 + b"\0\0"
    assert parse_clashes(answer, 2) == (True, False)
    with pytest.raises(GitFailed, match="1 of 2"):
        parse_clashes(answer[: answer.index(b"1\0")], 2)
