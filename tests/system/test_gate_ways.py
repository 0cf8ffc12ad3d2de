"""Changes that meet on the same files, in the real gate: by which way they are merged, what their trees have to pass,
and what comes back where nothing passes."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from gate_kit import BRANCH, RUN, Deck, decks, git, grounds, write

from quarterdeck.delivery import feedback
from quarterdeck.delivery.gate import candidates, merging
from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.delivery.gate.orders import Merged
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.merging import MergeSection
from quarterdeck.merge.values import Sides, Way
from quarterdeck.workplace import resolving
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.merging_trees import FileSides

APP = """\
import os

__all__ = ["first"]


def first() -> str:
    return os.sep
"""
SECOND = """\
import os
import re

__all__ = ["first", "second"]


def first() -> str:
    return os.sep


def second() -> str:
    return re.escape("second")
"""
THIRD = """\
import os
import sys

__all__ = ["first", "third"]


def first() -> str:
    return os.sep


def third() -> str:
    return sys.executable
"""
USES_SECOND = "python3 -c 'import app; app.second()'"
USES_THIRD = "python3 -c 'import app; app.third()'"
LINES = "".join(f"line {number}\n" for number in range(30))


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    yield from grounds(tmp_path)


@pytest.fixture
async def deck(tmp_path: Path, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Deck]:
    # Whether a merge driver is installed on this machine must not decide what is tested.
    monkeypatch.setattr(resolving, "DRIVER", "no-such-driver")
    async for made in decks(
        tmp_path, ground, {"app.py": APP, "lines.txt": LINES, "more.txt": LINES, "x.bin": "\0base"}
    ):
        yield made


async def resolved(deck: Deck, journal: Log) -> list[e.MergeResolved]:
    return [event for event in await deck.events(journal, e.MergeResolved) if isinstance(event, e.MergeResolved)]


async def returned(deck: Deck, journal: Log) -> e.ChangeReturned:
    (event,) = await deck.events(journal, e.ChangeReturned)
    assert isinstance(event, e.ChangeReturned)
    return event


def shown(deck: Deck, path: str) -> str:
    return git(deck.repository, "show", f"{BRANCH}:{path}")


async def test_imports_and_functions_of_two_tasks_are_put_together(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "second", {"app.py": SECOND}, verify=(USES_SECOND,))
    await deck.queue(journal, engine, "third", {"app.py": THIRD}, verify=(USES_THIRD,))
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do second", "Do third"]
    (event,) = await resolved(deck, journal)
    assert event.way == "entity"
    assert [(each.way, each.reason) for each in event.lost] == [
        ("git", "conflict in app.py"),
        ("driver", "no-such-driver is not installed"),
    ]
    assert event.paths == ("app.py",)
    merged = shown(deck, "app.py")
    assert all(part in merged for part in ("import re", "import sys", "def second", "def third", '"second", "third"'))
    started = await deck.events(journal, e.GateCheckStarted)
    asked = [event.verify_blob for event in started if isinstance(event, e.GateCheckStarted)]
    assert asked[0] is None, "nothing was there to meet"
    assert asked[1] is not None
    assert (await journal.get(asked[1])).decode() == f'["{USES_THIRD}", "{USES_SECOND}"]'
    assert "merged by: entity" in git(deck.repository, "notes", "--ref=quarterdeck", "show", BRANCH)
    message = git(deck.repository, "show", "-s", "--format=%B", BRANCH)
    assert message == f"Do third\n\nQuarterdeck-Run: {RUN}\nQuarterdeck-Task: third\nAssisted-by: implementer"
    await deck.assert_sound(journal)


@pytest.mark.parametrize("point", ["gate.checked", "gate.resolved", "gate.intended", "gate.moved"])
async def test_killed_on_the_way_the_same_candidate_lands(deck: Deck, point: str) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "second", {"app.py": SECOND}, verify=(USES_SECOND,))
    await deck.queue(journal, engine, "third", {"app.py": THIRD}, verify=(USES_THIRD,))
    journal = await deck.outlive(point, engine, gate, 3)
    assert deck.subjects() == ["Do second", "Do third"]
    (event,) = await resolved(deck, journal)
    intents = [i for i in await deck.events(journal, e.LandingIntended) if isinstance(i, e.LandingIntended)]
    assert {i.new for i in intents if i.attempt == event.attempt} == {deck.tip}, "another commit was to land"
    assert event.tree == git(deck.repository, "rev-parse", f"{BRANCH}^{{tree}}")
    await deck.assert_sound(journal)


async def test_where_nothing_passes_both_intents_and_all_that_was_tried_go_back(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    only_one = ("test $(wc -l < a.txt) -eq 3 || { echo too long; exit 1; }",)
    ours, theirs = {"a.txt": "one\nTWO\nthree\n"}, {"a.txt": "one\nzwei\nthree\n"}
    await deck.queue(journal, engine, "ours", ours, gate=only_one, intent="Shout the second.")
    await deck.queue(journal, engine, "theirs", theirs, gate=only_one, intent="Say it in German.", verify=("true",))
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do ours"]
    event = await returned(deck, journal)
    assert event.outcome is Outcome.CONFLICT
    assert event.against == (ids.attempt_id(RUN, "ours", 1),)
    assert [each.way for each in event.lost] == ["git", "driver", "entity", "union", "entity+union"]
    news = await deck.outcome(journal, "theirs")
    (piece,) = await feedback.load(journal, news.feedback_blob)
    assert piece.source == "conflict"
    for part in ("Shout the second.", "Say it in German.", "+TWO", "+zwei", "- git: conflict in a.txt", "too long"):
        assert part in piece.detail
    await deck.assert_sound(journal)


async def test_a_clean_merge_that_breaks_a_landed_task_is_refused(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    without_ten = ("! grep TEN lines.txt",)
    await deck.queue(journal, engine, "ours", {"lines.txt": f"ONE\n{LINES}"}, verify=without_ten)
    await deck.queue(journal, engine, "theirs", {"lines.txt": f"{LINES}TEN\n"}, verify=("grep TEN lines.txt",))
    await deck.queue(journal, engine, "free", {"free.txt": "TEN\n"}, verify=("false",))
    await deck.serve(engine, gate)
    assert sorted(deck.subjects()) == ["Do free", "Do ours"], "what meets nobody has been verified already"
    event = await returned(deck, journal)
    assert event.outcome is Outcome.CONFLICT
    assert "`! grep TEN lines.txt` failed" in event.reason
    assert event.against == (ids.attempt_id(RUN, "ours", 1),)
    news = await deck.outcome(journal, "theirs")
    (piece,) = await feedback.load(journal, news.feedback_blob)
    assert "+ONE" in piece.detail
    assert "+TEN" in piece.detail


async def test_verify_commands_that_somebody_else_broke_do_not_count(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    await deck.queue(journal, engine, "ours", {"lines.txt": f"ONE\n{LINES}"}, verify=("test ! -e else.txt",))
    await deck.serve(engine, gate)
    deck.push({"else.txt": "e"})
    await deck.queue(journal, engine, "theirs", {"lines.txt": f"{LINES}TEN\n"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do ours", "from somebody else", "Do theirs"]


async def waiting(deck: Deck, task: str, files: Mapping[str, str | None], reverts: str = "") -> Queued:
    """A change as it waits, with a verify command that has its name."""
    commit = deck.author(files, deck.base)
    mirror = await deck.shop.mirror(str(deck.repository))
    await mirror.fetch(deck.base)
    git(mirror.path, "fetch", "-q", str(deck.root / "author"), f"+{commit}:refs/quarterdeck/change/{RUN}/{task}")
    change = Change(
        run=RUN, task=task, attempt=task, base=deck.base, commit=commit, tree=await mirror.tree(commit), files=()
    )
    return Queued(change, task, "a", "k", "c", None, 0.0, reverts, verify_blob=task)


async def test_what_only_waits_to_be_taken_back_is_still_to_be_kept(deck: Deck) -> None:
    await deck.process()
    mirror = await deck.shop.mirror(str(deck.repository))
    ours = await waiting(deck, "ours", {"lines.txt": f"ONE\n{LINES}"})
    theirs = await waiting(deck, "theirs", {"lines.txt": f"{LINES}TEN\n"})
    landed = await merging.commit(mirror, ours, deck.base, ours.change.tree)
    undo = await waiting(deck, "undo", {"lines.txt": f"NO ONE\n{LINES}"}, reverts=landed)
    undone = await merging.commit(mirror, undo, landed, undo.change.tree)

    async def commands(blob: str | None) -> tuple[str, ...]:
        return (blob or "",)

    state = GateState(tip=landed, settled={ours.task: ours}, queue=(theirs, undo))
    bench = candidates.Bench(mirror, state, theirs, landed, MergeSection(), (), commands)
    found = await candidates.first(bench)
    assert isinstance(found, Merged)
    assert found.others == ("ours",)
    found = await candidates.first(replace(bench, onto=undone))
    assert isinstance(found, Merged)
    assert found.others == ("undo",)


NO_TEXTS: Mapping[str, tuple[Mapping[str, str | None], Mapping[str, str | None], str]] = {
    "deleted": ({"lines.txt": None}, {"lines.txt": f"{LINES}TEN\n"}, "CONFLICT (modify/delete)"),
    "binary": ({"x.bin": "\0ours"}, {"x.bin": "\0theirs"}, "CONFLICT (binary)"),
    "new": ({"new.bin": "\0ours"}, {"new.bin": "\0theirs"}, "CONFLICT (binary)"),
    "moved": (
        {"more.txt": f"ONE\n{LINES}"},
        {"more.txt": None, "z.txt": f"TWO\n{LINES}"},
        "z.txt: deleted or renamed on one side",
    ),
}


async def test_what_is_no_text_on_both_sides_stays_a_conflict(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    for name, (ours, theirs, _) in NO_TEXTS.items():
        await deck.queue(journal, engine, f"{name}-ours", ours)
        await deck.queue(journal, engine, f"{name}-theirs", theirs)
    await deck.serve(engine, gate)
    assert sorted(deck.subjects()) == sorted(f"Do {name}-ours" for name in NO_TEXTS)
    back = [each for each in await deck.events(journal, e.ChangeReturned) if isinstance(each, e.ChangeReturned)]
    lost = {each.attempt.split(".")[1].removesuffix("-theirs"): each.lost for each in back}
    assert {name: {each.reason for each in lost[name][1:]} for name in NO_TEXTS} == {
        name: {reason if reason.startswith("z.txt") else f"not a conflict between texts: {reason}"}
        for name, (_, _, reason) in NO_TEXTS.items()
    }


async def test_what_attributes_keep_apart_and_ways_that_are_not_allowed(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    kept = {".gitattributes": "app.py -merge\n"}
    await deck.queue(journal, engine, "attributes", kept)
    await deck.serve(engine, gate)
    onto = str(deck.tip)
    await deck.queue(journal, engine, "second", {"app.py": SECOND}, onto=onto)
    await deck.queue(journal, engine, "third", {"app.py": THIRD}, onto=onto)
    ours, theirs = {"b.txt": "b\nours\n"}, {"b.txt": "b\ntheirs\n"}
    await deck.queue(journal, engine, "ours", ours, onto=onto)
    await deck.queue(journal, engine, "theirs", theirs, onto=onto, merge={"ways": ["git"]})
    await deck.serve(engine, gate)
    assert sorted(deck.subjects()) == ["Do attributes", "Do ours", "Do second"]
    back = [each for each in await deck.events(journal, e.ChangeReturned) if isinstance(each, e.ChangeReturned)]
    lost = {each.attempt.split(".")[1]: each.lost for each in back}
    assert any("gitattributes" in each.reason or "binary" in each.reason for each in lost["third"])
    assert [each.way for each in lost["theirs"]] == ["git"]


# --- an external driver -----------------------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A merge driver that is installed; a test writes what it does."""
    place = tmp_path / "bin" / "our-driver"
    place.parent.mkdir()
    write(place.parent, {place.name: "#!/bin/sh\nexit 1\n", f"{place.name}.merged": MERGED})
    place.chmod(0o755)
    monkeypatch.setattr(resolving, "DRIVER", place.name)
    monkeypatch.setenv("PATH", str(place.parent), prepend=":")
    monkeypatch.setenv("A_SECRET", "of ours")
    return place


MERGED = """\
import os
import re
import sys

__all__ = ["first", "second", "third"]


def first() -> str:
    return os.sep


def second() -> str:
    return re.escape("second")


def third() -> str:
    return sys.executable
"""


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ('cat "$0.merged"', MERGED),
        ("cat $3; echo '<<<<<<< ours'", "app.py: the driver gave no merged text"),
        ("cat $3", "app.py: "),
        ("exit 1", "app.py: the driver left a conflict"),
        ("env | grep -q 'A_SECRET\\|QUARTERDECK' && exit 1; cat \"$0.merged\"", MERGED),
        ("cat /dev/zero", "app.py: the driver gave no merged text"),
        ("while :; do :; done", "it took longer than 0.5 s"),
    ],
    ids=["merges", "leaves marks", "forgets a side", "gives up", "sees nothing of ours", "floods", "hangs"],
)
async def test_an_installed_driver_is_bounded_and_not_believed(
    driver: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    write(driver.parent, {driver.name: f"#!/bin/sh\n{does}\n"})
    if "while" in does:
        monkeypatch.setattr(resolving, "SECONDS", 0.5)
    made = await resolving.resolve(Way.DRIVER, [FileSides(Sides("app.py", APP, SECOND, THIRD), "100644")])
    if said == MERGED:
        assert made == resolving.Texts({"app.py": MERGED})
    else:
        assert isinstance(made, str)
        assert made.startswith(said)


async def test_the_next_way_is_tried_when_the_tree_of_the_one_before_is_red(deck: Deck, driver: Path) -> None:
    write(driver.parent, {driver.name: '#!/bin/sh\ncat "$0.merged"; echo BROKEN = True\n'})
    journal, engine, gate = await deck.process()
    checks = ("! grep BROKEN app.py",)
    await deck.queue(journal, engine, "second", {"app.py": SECOND}, gate=checks)
    await deck.queue(journal, engine, "third", {"app.py": THIRD}, gate=checks)
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do second", "Do third"]
    (event,) = await resolved(deck, journal)
    assert event.way == "entity"
    assert "driver: red: `! grep BROKEN app.py` failed" in event.words
    await deck.assert_sound(journal)


async def test_where_the_entities_clash_both_sides_lines_may_pass(deck: Deck) -> None:
    journal, engine, gate = await deck.process()
    ours, theirs = {"a.txt": "one\nleft\nthree\n"}, {"a.txt": "one\nright\nthree\n"}
    await deck.queue(journal, engine, "ours", ours, verify=("grep -qx left a.txt",))
    await deck.queue(journal, engine, "theirs", theirs, verify=("grep -qx right a.txt",))
    await deck.queue(journal, engine, "silent", {"a.txt": "one\nnobody\nthree\n"})
    await deck.serve(engine, gate)
    assert deck.subjects() == ["Do ours", "Do theirs"]
    assert shown(deck, "a.txt").split() == ["one", "left", "right", "three"]
    (event,) = await resolved(deck, journal)
    assert event.way == "union"
    assert [each.way for each in event.lost] == ["git", "driver", "entity"]
    back = await returned(deck, journal)
    assert "has no verify command" in back.lost[-1].reason, "nothing speaks for what nobody verifies"
