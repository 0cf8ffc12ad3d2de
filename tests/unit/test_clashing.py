"""Which queued changes wait for others ahead of them, as it is recorded."""

from dataclasses import replace

from quarterdeck.delivery.gate.clashing import clashing, news
from quarterdeck.delivery.gate.ledger import GateState
from quarterdeck.delivery.gate.orders import Clash, Merged
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change


def state(**files: tuple[str, ...]) -> GateState:
    """A queue of these changes with their files, on the tip `t`."""
    events: list[e.EventBase] = [e.GateOpened(repository="/r", branch="main", base="t")]
    for name, paths in files.items():
        change = Change(run="r", task=name, attempt=f"r.{name}.1", base="t", commit=name, tree=name, files=paths)
        events.append(e.ChangeQueued(change=change, title=name, config_blob="c"))
    return fold(Record("gate/t", seq, 0.0, 1, event, "") for seq, event in enumerate(events, 1))


def told(before: GateState, events: list[e.ChangeClashed]) -> GateState:
    return fold((Record("gate/t", before.seq + 1, 0.0, 1, event, "") for event in events), before)


def merged(commit: str) -> Merged:
    return Merged(commit, f"tree of {commit}")


MERGES: dict[tuple[str, str], Merged | Clash] = {
    ("t", "r.a.1"): merged("ta"),
    ("ta", "r.b.1"): merged("tab"),
    ("tab", "r.c.1"): Clash(("a.py",)),
    ("t", "r.c.1"): merged("tc"),
}


def test_a_change_waits_for_those_ahead_of_it_that_changed_its_files() -> None:
    gate = state(a=("a.py",), b=("b.py",), c=("a.py", "c.py"))
    assert clashing(gate, MERGES) == {"r.c.1": ("r.a.1",)}
    renamed = state(a=("x.py",), b=("b.py",), c=("c.py",))
    assert clashing(renamed, MERGES) == {"r.c.1": ("r.a.1", "r.b.1")}


def test_who_clashes_with_the_tip_goes_back_and_who_merges_elsewhere_does_not_wait() -> None:
    gate = state(a=("a.py",), b=("b.py",), c=("a.py",))
    assert clashing(gate, {**MERGES, ("t", "r.c.1"): Clash(("a.py",))}) == {}
    assert clashing(replace(gate, tip="elsewhere"), MERGES) == {}


def test_it_is_recorded_once_and_again_when_it_is_over() -> None:
    gate = state(a=("a.py",), b=("b.py",), c=("a.py",))
    first = news(gate, MERGES)
    assert [(event.attempt, event.against) for event in first] == [("r.c.1", ("r.a.1",))]
    gate = told(gate, first)
    assert news(gate, MERGES) == []
    alone = {key: found for key, found in MERGES.items() if key[1] != "r.a.1"}
    over = news(gate, alone)
    assert [(event.attempt, event.against) for event in over] == [("r.c.1", ())]
    assert told(gate, over).clashing == {}
    left = fold([Record("gate/t", gate.seq + 1, 0.0, 1, e.ChangeLanded(attempt="r.c.1", old="t", new="n"), "")], gate)
    assert left.clashing == {}
