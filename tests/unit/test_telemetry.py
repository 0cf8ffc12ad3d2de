"""What is told of the journal: spans and measures with the conventions' words, from a real store, to real libraries."""

import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import error_attributes, gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.trace import SpanKind, StatusCode
from store_kit import open_at

from quarterdeck.doors.metrics import MetricsDoor
from quarterdeck.engine.port import Job
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Record
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, TelemetrySection
from quarterdeck.kernel.entities import Change, Harness, Plan, Task, Usage
from quarterdeck.kernel.failures import BadConfiguration, FailureClass
from quarterdeck.settings import Partial, Settings, load_settings, merge, parse_deck_toml
from quarterdeck.store.port import Store
from quarterdeck.telemetry import instruments, words
from quarterdeck.telemetry.bodies import Bodies
from quarterdeck.telemetry.collector import Collector, headers_of
from quarterdeck.telemetry.earlier import catch_up, record_of
from quarterdeck.telemetry.exposition import Exposition
from quarterdeck.telemetry.feed import Telemetry
from quarterdeck.telemetry.labels import OTHER, Few
from quarterdeck.telemetry.lines import Lines, line_of
from quarterdeck.telemetry.mapping import Fold
from quarterdeck.telemetry.port import Instrument, Measure, Span, trace_id
from quarterdeck.telemetry.position import read_position, write_position
from quarterdeck.telemetry.sender import TRIES, Sender
from quarterdeck.telemetry.where import named
from quarterdeck.testing import stories

RUN, TASK = "r-1", "a"
ONE = ids.attempt_id(RUN, TASK, 1)
TWO = ids.attempt_id(RUN, TASK, 2)
REVIEW = ids.child_attempt(ONE, "review", 1)
SUB = ids.child_attempt(ONE, "sub", 1)
GATE = "gate/t"
BLOB = "0" * 64
USAGE = Usage(input=100, cache_read=30, cache_write=7, output=11)
SECRET = "sk-this-is-a-secret"
CHANGE = Change(run=RUN, task=TASK, attempt=ONE, base="b", commit="c", tree="t")
CREATED = stories.created(
    RUN, goal=f"say {SECRET}", repository="repository", base="b", into="main", budget_nusd=5_000_000_000
)


def started(agent: str, task: str = TASK, incarnation: int = 1, parent: str | None = None) -> e.AttemptStarted:
    return e.AttemptStarted(
        run=RUN,
        task=task,
        number=1,
        agent=agent,
        harness=Harness.NATIVE,
        incarnation=incarnation,
        base="b",
        workspace="w",
        parent=parent,
    )


def asked(step: int, number: int = 1) -> e.ModelAsked:
    return e.ModelAsked(
        step=step, number=number, model="google:gem", messages=1, request_hash="h", prefix_blob=BLOB, reserved_nusd=9
    )


def answered(step: int) -> e.ModelAnswered:
    return e.ModelAnswered(
        step=step, model="google:gem", message_blob=BLOB, stop="end_turn", usage=USAGE, cost_nusd=2_000_000
    )


def intended(step: int, call: str, tool: str = "read") -> e.ToolIntended:
    return e.ToolIntended(step=step, call=call, tool=tool, arguments_blob=BLOB, arguments_hash="h", decision="allow")


def done(step: int, call: str, tool: str = "read", ok: bool = True) -> e.ToolDone:
    return e.ToolDone(step=step, call=call, tool=tool, ok=ok, result_blob=BLOB, seconds=0.5)


def node(name: e.Node, attempt: str | None, outcome: e.Outcome | None = None) -> e.EventBase:
    task = None if attempt is None or "_plan" in attempt else TASK
    if outcome is None:
        return e.NodeStarted(node=name, task=task, attempt=attempt)
    return e.NodeFinished(node=name, task=task, attempt=attempt, outcome=outcome)


def dispatched(attempt: str, number: int) -> e.TaskDispatched:
    return e.TaskDispatched(task=TASK, attempt=attempt, number=number, agent="implementer")


def story(plan_blob: str = BLOB) -> list[tuple[str, e.EventBase]]:
    """A run: planned, tried twice (a kill in between), reviewed, delegated, checked at the gate, merged."""
    run, plan, one, two = f"run/{RUN}", f"{RUN}._plan.1", f"attempt/{ONE}", f"attempt/{TWO}"
    stack = (TWO,)
    check = e.GateCheckStarted(check="t.1", tip="x", stack=stack, commits=("c",), tree="t", config_blob=BLOB)
    return [
        (run, CREATED),
        (run, node(e.Node.PLAN, plan)),
        (f"attempt/{plan}", started("planner", "_plan")),
        (f"attempt/{plan}", asked(1)),
        (f"attempt/{plan}", answered(1)),
        (f"attempt/{plan}", node(e.Node.PLAN, plan, e.Outcome.OK)),
        (run, node(e.Node.PLAN, plan, e.Outcome.OK)),
        (run, e.RunPlanned(plan_blob=plan_blob, tasks=1)),
        (run, dispatched(ONE, 1)),
        (one, started("implementer")),
        (one, asked(1)),
        (one, e.ModelErred(step=1, model="google:gem", failure=FailureClass.TRANSIENT, reason=SECRET)),
        (one, asked(1, 2)),
        (one, answered(1)),
        (one, intended(1, "1.0", "delegate")),
        (one, e.Delegated(call="1.0", child=SUB, agent="scout")),
        (f"attempt/{SUB}", started("scout", parent=ONE)),
        (f"attempt/{SUB}", asked(1)),
        (f"attempt/{SUB}", answered(1)),
        (one, done(1, "1.0", "delegate")),
        (one, asked(2)),
        (one, answered(2)),
        (one, intended(2, "2.0", "run")),
        (one, started("implementer", incarnation=2)),  # the kill
        (one, asked(3)),
        (one, answered(3)),
        (one, node(e.Node.IMPLEMENT, ONE, e.Outcome.FAILED)),
        (run, node(e.Node.IMPLEMENT, ONE, e.Outcome.FAILED)),
        (run, dispatched(TWO, 2)),
        (two, started("implementer")),
        (two, e.AgentActing(call="x", tool_kind="edit", input_blob=BLOB)),
        (two, e.AgentActed(call="x", tool_kind="edit", ok=False, output_blob=BLOB)),
        (two, e.AgentTurned(number=1, stop="end_turn", model="own:cli", usage=USAGE, cost_nusd=5, verified=False)),
        (two, e.HarnessFinished(incarnation=1, ok=True)),
        (run, node(e.Node.IMPLEMENT, TWO, e.Outcome.OK)),
        (run, node(e.Node.CHECK, TWO)),
        (two, e.CheckRan(results_blob=BLOB, passed=True, seconds=0.01)),
        (run, node(e.Node.CHECK, TWO, e.Outcome.OK)),
        (run, node(e.Node.REVIEW, TWO)),
        (f"attempt/{TWO}.review1", started("reviewer", parent=TWO)),
        (f"attempt/{TWO}.review1", node(e.Node.REVIEW, f"{TWO}.review1", e.Outcome.OK)),
        (run, node(e.Node.REVIEW, TWO, e.Outcome.OK)),
        (run, node(e.Node.GATE, TWO)),
        (GATE, e.GateOpened(repository="repository", branch="main", base="b")),
        (GATE, check),
        (GATE, e.GateCheckFinished(check="t.1", tree="t", passed=True)),
        (GATE, e.ChangeLanded(attempt=TWO, old="x", new="y")),
        (run, node(e.Node.GATE, TWO, e.Outcome.OK)),
        (run, e.TaskMerged(task=TASK, attempt=TWO, commit="y")),
        (run, e.RunFinished(status=e.RunStatus.DONE, exit_code=0, sha="y")),
    ]


def numbered(events: Sequence[tuple[str, e.EventBase]]) -> list[Record]:
    seqs = Counter[str]()
    records = []
    for place, (stream, event) in enumerate(events):
        seqs[stream] += 1
        records.append(Record(stream, seqs[stream], 1000.0 + place, 1, event, ""))
    return records


def told(records: Sequence[Record]) -> tuple[list[Span], list[Measure]]:
    fold = Fold()
    all_told = [fold.take(record.stream, record.seq, record.at, record.event) for record in records]
    assert fold.levels() == (Measure(instruments.RUNS_OPEN, 0),)
    return [span for each in all_told for span in each.spans], [one for each in all_told for one in each.measures]


def path(span: Span, spans: Sequence[Span]) -> str:
    above = {each.id: each for each in spans}
    names = [span.name]
    while span.parent:
        span = above[span.parent]
        names.append(span.name)
    return " < ".join(names)


# --- the mapping --------------------------------------------------------------------------------------------


def test_a_run_is_one_tree_with_the_names_of_the_conventions() -> None:
    spans, _ = told(numbered(story()))
    assert len({span.id for span in spans}) == len(spans)
    assert {span.trace for span in spans} == {trace_id(RUN)}
    tail = "implement < attempt < task < run"
    assert Counter(path(span, spans) for span in spans) == {
        "run": 1,
        "plan < run": 1,
        "invoke_agent planner < plan < run": 1,
        "step < invoke_agent planner < plan < run": 1,
        "chat gem < step < invoke_agent planner < plan < run": 1,
        "task < run": 1,
        "attempt < task < run": 2,
        tail: 2,
        f"invoke_agent implementer < {tail}": 3,
        f"step < invoke_agent implementer < {tail}": 3,
        f"chat gem < step < invoke_agent implementer < {tail}": 4,
        f"execute_tool delegate < step < invoke_agent implementer < {tail}": 1,
        f"invoke_agent scout < execute_tool delegate < step < invoke_agent implementer < {tail}": 1,
        f"step < invoke_agent scout < execute_tool delegate < step < invoke_agent implementer < {tail}": 1,
        f"chat gem < step < invoke_agent scout < execute_tool delegate < step < invoke_agent implementer < {tail}": 1,
        f"execute_tool run < step < invoke_agent implementer < {tail}": 1,
        f"execute_tool edit < invoke_agent implementer < {tail}": 1,
        "check < attempt < task < run": 1,
        "verify < check < attempt < task < run": 1,
        "review < attempt < task < run": 1,
        "invoke_agent reviewer < review < attempt < task < run": 1,
        "gate < attempt < task < run": 1,
        "gate check < gate < attempt < task < run": 1,
    }
    for span in spans:
        above = next((each for each in spans if each.id == span.parent), span)
        assert above.start <= span.start <= span.end <= above.end or span.name == "verify"


def test_a_call_has_the_journals_figures_and_an_error_its_class() -> None:
    spans, _ = told(numbered(story()))
    chats = [span for span in spans if span.name.startswith("chat ")]
    assert all(chat.outward for chat in chats)
    good = [chat for chat in chats if not chat.error]
    for chat in good:
        assert chat.attributes["gen_ai.usage.input_tokens"] == 137
        assert chat.attributes["gen_ai.usage.cache_read.input_tokens"] == 30
        assert chat.attributes["gen_ai.usage.output_tokens"] == 11
        assert chat.attributes["quarterdeck.cost_usd"] == 0.002
        assert chat.attributes["gen_ai.provider.name"] == "gcp.gemini"
        assert chat.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert [chat.error for chat in chats if chat.error] == ["transient"]
    cut = [span.name for span in spans if span.attributes.get("quarterdeck.cut_off")]
    assert cut == ["execute_tool run"], "what the kill found under way"


def test_nothing_that_was_said_stands_in_a_span_or_a_label() -> None:
    spans, measures = told(numbered(story()))
    assert SECRET not in repr([(span.name, span.attributes, span.error) for span in spans])
    assert SECRET not in repr(measures)


def test_measures_are_the_sums_of_the_journal() -> None:
    _, measures = told(numbered(story()))
    sums = Counter[str]()
    for measure in measures:
        sums[measure.instrument.name] += measure.value  # type: ignore[assignment]  # a Counter adds floats as well
    assert sums["gen_ai.client.token.usage"] == 6 * (137 + 11)
    assert sums["quarterdeck.cost"] == pytest.approx(5 * 0.002 + 5e-9)
    assert sums["quarterdeck.tasks"] == sums["quarterdeck.changes"] == 1
    assert sums["quarterdeck.events"] == len(story())
    assert sums["quarterdeck.agents.active"] == sums["quarterdeck.runs.open"] == 0
    assert sums["quarterdeck.attempts"] == 5
    for measure in measures:
        assert set(measure.labels) <= set(measure.instrument.labels)
        assert not any(RUN in value for value in measure.labels.values()), "labels come from small sets"


def test_a_run_that_goes_on_after_its_end_stays_in_its_trace() -> None:
    again = [
        *story(),
        (f"run/{RUN}", e.RunResumed(by="ada")),
        (f"run/{RUN}", dispatched(ids.attempt_id(RUN, TASK, 3), 3)),
        (f"run/{RUN}", e.RunFinished(status=e.RunStatus.PARTIAL, exit_code=1, sha="y")),
    ]
    spans, _ = told(numbered(again))
    assert {span.trace for span in spans} == {trace_id(RUN)}
    first, second = [span for span in spans if span.name == "run"]
    assert (first.parent, second.parent) == (0, first.id)
    assert second.error == "partial"


def test_every_word_of_the_conventions_is_one_of_theirs() -> None:
    theirs = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    theirs |= {value for value in vars(gen_ai_metrics).values() if isinstance(value, str)}
    theirs |= {error_attributes.ERROR_TYPE}
    spans, _ = told(numbered(story()))
    ours = {name for span in spans for name in (*span.attributes, *span.bodies)}
    ours |= {label for each in instruments.ALL for label in (each.name, *each.labels)}
    ours |= {value for value in vars(words).values() if isinstance(value, str) and value.startswith("gen_ai.")}
    assert {name for name in ours if name.startswith(("gen_ai.", "error."))} <= theirs
    operations = {member.value for member in gen_ai_attributes.GenAiOperationNameValues}
    assert {
        str(span.attributes["gen_ai.operation.name"]) for span in spans if "gen_ai.operation.name" in span.attributes
    } <= operations


# --- a real store -------------------------------------------------------------------------------------------


class Heard(logging.Handler):
    """Who said something that whoever configured logging hears. (pytest also listens to loggers that tell nobody.)"""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.names.append(record.name)


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@asynccontextmanager
async def recorded(home: Path) -> AsyncIterator[tuple[Store, Log]]:
    """A database that holds the story, each event in a commit of its own."""
    store = await open_at(home / "deck.db")
    journal = Log(store, SystemClock())
    try:
        yield store, journal
    finally:
        await store.close()


async def record(journal: Log, events: Sequence[tuple[str, e.EventBase]]) -> None:
    for stream, event in events:
        await journal.append(await journal.claim(stream), event)


async def planned(journal: Log) -> list[tuple[str, e.EventBase]]:
    plan = Plan(goal="a", tasks=(Task(id=TASK, title="A", paths=("a",)),))
    return story(await journal.put(plan.model_dump_json().encode()))


async def test_whoever_takes_over_goes_on_with_the_same_spans(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (store, journal):
        await record(journal, await planned(journal))
        rows = await store.read("events_all", prefix="", after=0, limit=1000)

        def fold_from(fold: Fold, after: int) -> list[Span]:
            spans: list[Span] = []
            for row in rows[after:]:
                known = record_of(row)
                assert known is not None
                spans += fold.take(known.stream, known.seq, known.at, known.event).spans
            return spans

        whole = fold_from(Fold(), 0)
        for until in range(len(rows)):
            fold = Fold()
            await catch_up(fold, store, Views(store), until)
            rest = fold_from(fold, until)
            assert rest == whole[len(whole) - len(rest) :], until
            if until:
                earlier = Fold()
                before = [record_of(row) for row in rows[:until]]
                count = sum(len(earlier.take(r.stream, r.seq, r.at, r.event).spans) for r in before if r is not None)
                assert count + len(rest) == len(whole), until


def settings(home: Path, **fields: Any) -> Settings:
    return Settings(home=home, user="ada", **fields)


def telemetry(section: TelemetrySection, home: Path, store: Store, journal: Log, **fields: Any) -> Telemetry:
    return Telemetry(section, settings(home, **fields), store, journal, Views(store), "o-test")


async def test_switched_off_it_does_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (store, journal):
        off = telemetry(TelemetrySection(), tmp_path, store, journal)
        await off.mark()
        await off.begin()
        await off.end()
        assert off.exposed is None
        assert read_position(tmp_path) is None


async def test_metrics_are_served_while_the_work_goes_on(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (store, journal):
        on = telemetry(TelemetrySection(prometheus=True), tmp_path, store, journal)
        await on.mark()
        await on.begin()
        await record(journal, await planned(journal))
        await on.end()
        door = MetricsDoor(on.exposed)
        status, body = await ask(door, "GET")
        assert status == 200
        lines = body.decode().splitlines()
        assert 'quarterdeck_tasks_total{status="merged"} 1.0' in lines
        assert "quarterdeck_runs_open 0.0" in lines
        spent = 'quarterdeck_cost_usd_total{gen_ai_agent_name="implementer",gen_ai_provider_name="gcp.gemini"'
        assert any(line.startswith(spent) for line in lines)
        assert "# TYPE gen_ai_client_token_usage histogram" in lines
        assert RUN not in body.decode()
        assert await ask(door, "POST") == (405, b"")
        assert (await ask(MetricsDoor(None), "GET"))[0] == 404


async def ask(door: MetricsDoor, method: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await door({"type": "http", "method": method, "path": "/metrics"}, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def test_a_collector_that_is_not_there_holds_nothing_up_and_gets_it_later(
    tmp_path: Path, free_port: int, heard: Heard
) -> None:
    async with recorded(tmp_path) as (store, journal):
        section = TelemetrySection(otlp=f"http://127.0.0.1:{free_port}")
        on = telemetry(section, tmp_path, store, journal)
        await on.mark()
        await on.begin()
        await record(journal, await planned(journal))
        await on.end()
        kept = read_position(tmp_path)
        newest = (await store.read("event_last"))[0]["last"]
    assert kept is not None
    assert kept < newest, "nothing was delivered, so nothing is settled"
    assert heard.names == ["quarterdeck.telemetry.feed"], "the libraries say nothing"


async def test_what_was_said_is_told_where_that_is_wanted_without_secrets(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (_, journal):
        blob = await journal.put(f"the key is {SECRET}".encode())
        span = Span(1, 1, 0, "chat gem", 0.0, 1.0, bodies={"gen_ai.output.messages": blob, "gone": BLOB})
        assert (await Bodies(journal, False, (SECRET,)).put_in(span)).attributes == {}
        told_then = (await Bodies(journal, True, (SECRET, "the")).put_in(span)).attributes
        assert told_then == {"gen_ai.output.messages": "the key is ***"}


# --- OpenTelemetry's own library ----------------------------------------------------------------------------


def test_spans_and_measures_arrive_at_the_library_as_they_are() -> None:
    spans, measures = told(numbered(story()))
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    collector = Collector(exporter, reader, version="1", instance="o-1")
    assert collector.send(spans)
    few = Few()
    for measure in measures:
        collector.measure(measure.instrument, measure.value, few.labels(measure))
    finished = exporter.get_finished_spans()
    assert len(finished) == len(spans)
    for ours, theirs in zip(spans, finished, strict=True):
        context = theirs.get_span_context()
        assert context is not None
        assert (context.trace_id, context.span_id) == (ours.trace, ours.id)
        assert (theirs.parent.span_id if theirs.parent else 0) == ours.parent
        assert (theirs.name, theirs.start_time, theirs.end_time) == (ours.name, ours.start * 1e9, ours.end * 1e9)
        assert (theirs.kind is SpanKind.CLIENT) == ours.outward
        assert (theirs.status.status_code is StatusCode.ERROR) == bool(ours.error)
        assert dict(theirs.attributes or {}) == {
            **ours.attributes,
            **({"error.type": ours.error} if ours.error else {}),
        }
        assert theirs.resource.attributes["service.name"] == "quarterdeck"
    data = reader.get_metrics_data()
    assert data is not None
    found = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    usage = found["gen_ai.client.token.usage"].data.data_points
    sums = dict.fromkeys(("input", "output"), 0.0)
    for point in usage:
        sums[str((point.attributes or {})["gen_ai.token.type"])] += getattr(point, "sum", 0.0)
    assert sums == {"input": 6 * 137, "output": 6 * 11}
    collector.close()


def test_headers_are_read_as_the_standard_writes_them() -> None:
    assert headers_of("Authorization=Basic%20x%3D, x-team = deck ,") == {"authorization": "Basic x=", "x-team": "deck"}
    with pytest.raises(BadConfiguration) as caught:
        headers_of(SECRET)
    assert SECRET not in str(caught.value)


# --- delivery -----------------------------------------------------------------------------------------------


class Target:
    """A collector that takes what it is told to take."""

    def __init__(self, *answers: bool, hold: bool = False) -> None:
        self.answers = list(answers)
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.busy = threading.Event()
        self.flushed = 0
        if not hold:
            self.free.set()

    def send(self, spans: Sequence[Span]) -> bool:
        self.busy.set()
        self.free.wait(30)
        self.batches.append([span.id for span in spans])
        return self.answers.pop(0) if self.answers else True

    def measure(self, instrument: Instrument, value: float, labels: Mapping[str, str]) -> None:
        """Nothing is measured here."""

    def flush(self, seconds: float) -> bool:
        self.flushed += 1
        return True

    def close(self) -> None:
        self.free.set()


def span(number: int, **attributes: Any) -> Span:
    return Span(1, number, 0, "run", 0.0, 1.0, attributes=attributes)


def test_what_does_not_fit_is_dropped_and_counted_and_putting_never_waits() -> None:
    target = Target(hold=True)
    sender = Sender(target, 60, 0, room=10 * 1024)
    sender.put(span(1), 1)
    sender.reached(1)
    assert target.busy.wait(10)
    for number in range(2, 30):
        sender.put(span(number, text="x" * 512), number)
    assert sender.settled == 0, "nothing is settled while the first batch is under way"
    assert sender.take_dropped() == 22
    assert sender.take_dropped() == 0
    target.free.set()
    assert sender.stop(10)
    assert [number for batch in target.batches for number in batch] == [*range(1, 8)]
    assert sender.settled == 1
    assert target.flushed == 1


def test_a_refused_batch_is_tried_again_and_given_up_at_last(caplog: pytest.LogCaptureFixture) -> None:
    target = Target(*([False] * TRIES))
    sender = Sender(target, 60, 0, wait=lambda refused: 0.0)
    for number in (1, 2):
        sender.put(span(number), 7)
    sender.reached(9)
    while len(target.batches) < TRIES:
        threading.Event().wait(0.01)
    assert sender.stop(10)
    assert target.batches[:TRIES] == [[1, 2]] * TRIES
    assert sender.take_dropped() == 2
    assert sender.settled == 9
    assert [record.args for record in caplog.records] == [("spans",)], "told once"


def test_what_was_refused_at_the_end_is_not_settled() -> None:
    sender = Sender(Target(*([False] * TRIES)), 60, 3, wait=lambda refused: 60.0)
    sender.put(span(1), 4)
    sender.reached(5)
    assert not sender.stop(10)
    assert sender.settled == 3


# --- small things -------------------------------------------------------------------------------------------


def test_a_label_has_a_bounded_number_of_values() -> None:
    few = Few(most=3)
    for number in range(10):
        labels = few.labels(Measure(instruments.TOOL_SECONDS, 1.0, {"gen_ai.tool.name": f"t{number}", "ok": "true"}))
        assert labels == {"gen_ai.tool.name": f"t{number}" if number < 3 else OTHER, "ok": "true"}
    assert few.labels(Measure(instruments.TOOL_SECONDS, 1.0, {"gen_ai.tool.name": "t1"})) == {
        "gen_ai.tool.name": "t1",
        "ok": "",
    }


def test_every_instrument_has_a_series_in_the_exposition() -> None:
    exposition = Exposition()
    for each in instruments.ALL:
        exposition.measure(each, 1.0, dict.fromkeys(each.labels, "x"))
    text, kind = exposition.text()
    assert kind.startswith("text/plain")
    for each in instruments.ALL:
        assert f"\n{each.name.replace('.', '_')}" in text.decode()


def test_a_line_has_ids_and_figures_and_no_words() -> None:
    records = numbered(story())
    lines = [line_of(record, content=False) for record in records]
    assert SECRET not in json.dumps(lines)
    answer = next(line for line in lines if line["event"] == "model.answered" and line["attempt"] == ONE)
    assert (answer["run"], answer["task"], answer["cost_usd"], answer["step"]) == (RUN, TASK, 0.002, 1)
    assert answer["usage"]["cache_read"] == 30
    assert answer["time"] == "1970-01-01T00:16:53.000Z"
    assert {line["level"] for line in lines if line["event"] == "model.erred"} == {"warning"}
    assert SECRET in json.dumps([line_of(record, content=True) for record in records])


async def test_the_processs_own_lines_say_whose_work_it_was() -> None:
    out = StringIO()
    lines = Lines(None, False, lambda text: text.replace(SECRET, "***"), out)
    lines.open()

    async def handler(job: Job) -> None:
        try:
            raise ValueError(SECRET)
        except ValueError:
            logging.getLogger("quarterdeck.test").exception("it went wrong")

    await named({"x": handler})["x"](Job("x", "k", "l", RUN, {"attempt": ONE, "task": TASK}))
    logging.getLogger("quarterdeck.test").warning("outside")
    lines.end(5)
    logging.getLogger("quarterdeck.test").warning("after its end")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert (first["run"], first["task"], first["attempt"], first["level"]) == (RUN, TASK, ONE, "error")
    assert first["error"] == "ValueError"
    assert SECRET not in out.getvalue()
    assert second["message"] == "outside"
    assert "run" not in second


def test_the_position_survives_and_a_broken_one_is_none(tmp_path: Path) -> None:
    assert read_position(tmp_path) is None
    write_position(tmp_path, 12)
    assert read_position(tmp_path) == 12
    (tmp_path / "telemetry.position").write_text("what")
    assert read_position(tmp_path) is None


def test_only_the_operator_says_what_is_told_to_whom() -> None:
    theirs = parse_deck_toml('[telemetry]\notlp = "http://elsewhere:4318"\ncontent = true\n', "theirs")
    config, origin = merge(Partial("ours"), theirs, Partial("detected"))
    assert config.telemetry == TelemetrySection()
    assert "telemetry.otlp: of the repository not used, only the operator sets it" in origin
    ours = Partial("ours", DeckConfig(telemetry=TelemetrySection(prometheus=True)))
    config, origin = merge(ours, theirs, Partial("detected"))
    assert config.telemetry == TelemetrySection(prometheus=True)


@pytest.mark.parametrize("address", ["collector:4318", "http://me:secret@collector", "ftp://x", "http://a b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(BadConfiguration):
        parse_deck_toml(f'[telemetry]\notlp = "{address}"\n', "deck.toml")


def test_the_standards_variables_are_read_with_the_settings(tmp_path: Path) -> None:
    environment = {
        "QUARTERDECK_HOME": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
    }
    read = load_settings(environment)
    assert read.collector == "http://collector:4318"
    assert read.collector_headers == f"authorization={SECRET}"
    assert SECRET not in repr(read)


def test_nothing_of_it_is_loaded_unless_it_is_on() -> None:
    code = (
        "import sys; import quarterdeck.cli.main, quarterdeck.assembly.parts; "
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'opentelemetry', 'prometheus_client', 'google'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
