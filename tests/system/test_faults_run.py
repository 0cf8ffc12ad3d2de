"""Faults of models in whole runs: what was asked, what is on record, and which files the target holds in the end.

Each task of a run meets a fault of its own; its agent appends one line to one file, so that a call made twice, or one
that was cut off and made all the same, would be seen in the merged tree. The single reactions, on every wire format,
are the rows of `test_faults_model.py`.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import store_kit
from deck_kit import Place, events, one, place_at
from test_faults_host import at, delays, descriptors, waited_out

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import RunResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit, FailureClass
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.ledger import Asked
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer

pytestmark = pytest.mark.sandbox

HOME: Final = """\
[tiers]
hands = ["{first}", "{second}"]
[prices]
"{first}" = {{ input = 3, output = 15 }}
"{second}" = {{ input = 3, output = 15 }}
[models."{first}"]
context = 100000
max_output = 4096
[models."{second}"]
context = 100000
max_output = 4096
"""
SECOND: Final = {"anthropic": "openai", "openai": "chat", "chat": "anthropic"}
"""The provider that a tier fails over to."""

SUBMIT: Final = Turn(actions=(act("submit", summary="done"),))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


def at_first(kind: Kind, **fields: Any) -> Fault:
    return Fault(kind=kind, step=0, **fields)


def once(name: str) -> Turn:
    """Whether it is done at all, and how often, is seen in the file."""
    return Turn(text="I work.", actions=(act("run", command=f"echo once >> {name}.txt"),))


def work(name: str, **fields: Any) -> dict[str, Any]:
    """A task for the native implementer."""
    verify = [f"test -s {name}.txt"]
    return {"id": name, "title": name, "instructions": "Do it.", "paths": [f"{name}.txt"], "verify": verify, **fields}


def script(faults: dict[str, tuple[Fault, ...]], key: str | None = None) -> Scenario:
    """One conversation a task. Faults are the first model's alone."""
    rules: list[Rule] = []
    for name, found in faults.items():
        first = f"Task: {name}\n"
        again = (once(name),) if found and found[0].kind in DENIED else ()
        rules.append(Rule(match=Match(first=first, model="second"), turns=(once(name), SUBMIT)))
        rules.append(Rule(match=Match(first=first), turns=(once(name), *again, SUBMIT), faults=found))
    price = Price(input=3.0, output=15.0)
    return Scenario(rules=tuple(rules), prices={"scripted": price, "second": price}, key=key)


def begin(place: Place, server: ScriptedServer, provider: str, deck: str = "") -> None:
    place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"}
    home = HOME.format(first=f"{provider}:scripted", second=f"{SECOND[provider]}:second")
    place.operator(home + deck)
    place.begin(gate="true")


def of(server: ScriptedServer, run: str, name: str) -> list[Asked]:
    """The requests of a task, in order."""
    return [asked for asked in server.requests if asked.tag.startswith(f"{run}.{name}.")]


async def record(deck: Deck, result: RunResult, name: str, kind: type[e.EventBase]) -> list[Any]:
    found = await events(deck, ids.attempt_stream(f"{result.run}.{name}.1"))
    return [event for event in found if isinstance(event, kind)]


DENIED: Final = (Kind.MALFORMED_JSON, Kind.UNKNOWN_TOOL)
"""Such a call is answered with an error, and the model goes on with its next turn."""


@dataclass(frozen=True)
class Passing:
    """A fault that passes, at the first step of its task."""

    fault: Fault
    failure: FailureClass | None = None
    """On record; None = the call is not a failed one."""
    requests: int = 3
    second: bool = False
    """The tier's second model finishes the task."""


PASSING: Final[dict[str, dict[str, Passing]]] = {
    "anthropic": {
        "limited": Passing(at_first(Kind.RATE_LIMIT, retry_after=0.2), FailureClass.TRANSIENT),
        "stopped": Passing(at_first(Kind.OVERLOADED_MIDSTREAM), FailureClass.TRANSIENT),
        "cut": Passing(at_first(Kind.CUT, after=1000), FailureClass.TRUNCATED),
        "twice": Passing(at_first(Kind.DUPLICATE_ID), requests=2),
        "empty": Passing(at_first(Kind.EMPTY)),
        "refused": Passing(at_first(Kind.REFUSAL, times=0), FailureClass.REFUSED, second=True),
    },
    "openai": {
        "reset": Passing(at_first(Kind.RESET), FailureClass.TRANSIENT),
        "junk": Passing(at_first(Kind.CUT_JSON), FailureClass.TRANSIENT),
        "long": Passing(at_first(Kind.MAX_TOKENS), FailureClass.TRUNCATED),
        "garbled": Passing(at_first(Kind.MALFORMED_JSON)),
        "uncounted": Passing(at_first(Kind.NO_USAGE), requests=2),
    },
}


@pytest.mark.parametrize("provider", store_kit.first_on_both("what differs is how the model is spoken to", PASSING))
async def test_what_passes_costs_no_attempt_and_does_nothing_twice(place: Place, provider: str) -> None:
    rows = PASSING[provider]
    async with ScriptedServer(script({name: (row.fault,) for name, row in rows.items()})) as server:
        begin(place, server, provider)
        async with open_deck(place.settings) as deck:
            run = await deck.create(place.order(*map(work, rows), max_parallel=6))
            await deck.work(run)
            result = await deck.result(run)
            await server.idle()
            assert (result.status, result.reason) == (RunStatus.DONE, "")
            assert place.tree(result) == {f"{name}.txt": "once" for name in rows}
            assert {task.attempts for task in result.tasks} == {1}
            for name, row in rows.items():
                asked = of(server, run, name)
                assert [seen.fault for seen in asked] == [row.fault.kind, *[None] * (row.requests - 1)], name
                assert {seen.model for seen in asked[1:]} == {"second" if row.second else "scripted"}, name
                erred = await record(deck, result, name, e.ModelErred)
                assert [event.failure for event in erred] == ([row.failure] if row.failure else []), name
            assert (await deck.verify()).faults == ()


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_a_machine_without_descriptors_for_a_call_delays_it_and_blames_no_model(place: Place) -> None:
    async with ScriptedServer(script({"a": ()})) as server:
        begin(place, server, "anthropic")
        async with open_deck(place.settings) as deck:
            run = await deck.create(place.order(work("a")))
            short = descriptors(0)
            with at("model.intended", short.__enter__):
                result = await waited_out(deck, run, e.NodeDelayed, lambda: short.__exit__(None, None, None))
            (reason, *_) = await delays(deck, run)
            assert "Too many open files" in reason
            assert (
                "the client of anthropic cannot be loaded" in reason or "anthropic:scripted cannot be called" in reason
            )
            erred = await record(deck, result, "a", e.ModelErred)
            assert {(event.failure, event.cost_nusd) for event in erred} == {(FailureClass.INFRASTRUCTURE, 0)}
            assert {asked.model for asked in of(server, run, "a")} == {"scripted"}, "the other model is not asked"
            assert len(of(server, run, "a")) == 2
            assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, 1)
            assert place.tree(result) == {"a.txt": "once"}


@pytest.mark.embedded("what is asked of models, and what is said of it, is the same on both databases")
async def test_models_that_there_are_not_end_a_task_at_once_and_say_what_to_correct(place: Place) -> None:
    """Neither another attempt, nor an abler model, nor another agent would find them."""
    missing = at_first(Kind.UNKNOWN_MODEL, times=0)
    rule = Rule(match=Match(first="Task: a\n"), turns=(once("a"), SUBMIT), faults=(missing,))
    async with ScriptedServer(script({}).model_copy(update={"rules": (rule,)})) as server:
        begin(place, server, "anthropic")
        async with open_deck(place.settings) as deck:
            run = await deck.create(place.order(work("a")))
            await deck.work(run)
            result = await deck.result(run)
            task = one(result, "a")
            assert (result.status, result.exit_code, task.attempts) == (RunStatus.FAILED, Exit.FAILED, 1)
            assert [asked.model for asked in of(server, run, "a")] == ["scripted", "second"]
            assert "correct the model's name" in task.reason
            (incident,) = await record(deck, result, "a", e.IncidentOpened)
            assert (incident.failure, incident.subject) == (FailureClass.CONFIGURATION, "openai:second")


@pytest.mark.parametrize(
    ("provider", "kind"),
    store_kit.first_on_both(
        "what differs is what the model's server says", [("anthropic", Kind.SPEND_LIMIT), ("openai", Kind.FORBIDDEN)]
    ),
)
async def test_what_only_a_person_can_mend_stops_its_task_at_once_and_is_taken_up_by_retry(
    place: Place, provider: str, kind: Kind
) -> None:
    """The first task is merged by then and stays so; the one that waits for the failed one is never begun."""
    faults = {"a": (), "b": (at_first(kind, times=0),), "c": ()}
    async with ScriptedServer(script(faults)) as server:
        begin(place, server, provider)
        async with open_deck(place.settings) as deck:
            tasks = (work("a"), work("b", needs=["a"]), work("c", needs=["b"]))
            run = await deck.create(place.order(*tasks))
            await deck.work(run)
            result = await deck.result(run)
            assert (result.status, result.exit_code) == (RunStatus.PARTIAL, Exit.FAILED)
            assert [task.status for task in result.tasks] == [TaskStatus.MERGED, TaskStatus.FAILED, TaskStatus.BLOCKED]
            assert place.tree(result) == {"a.txt": "once"}
            assert [asked.fault for asked in of(server, run, "b")] == [kind], "asked once, and no other model"
            assert of(server, run, "c") == []
            (incident,) = await record(deck, result, "b", e.IncidentOpened)
            assert incident.failure is (FailureClass.AUTH if kind is Kind.FORBIDDEN else FailureClass.QUOTA)
            assert f"quarterdeck resume {run} --retry" in incident.fix
            assert incident.fix in one(result, "b").reason
            server.put(script({"a": (), "b": (), "c": ()}))  # somebody has mended it
            await deck.control(run, "resume")
            await deck.work(run)
            again = await deck.result(run)
            assert again.status is RunStatus.DONE, again
            assert place.tree(again) == {f"{name}.txt": "once" for name in "abc"}
            assert len(of(server, run, "a")) == 2, "what was merged is not done again"
            assert (await deck.verify()).faults == ()
