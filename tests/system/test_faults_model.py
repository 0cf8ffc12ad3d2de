"""What goes wrong between an agent and its model, row by row: what the server saw, what is on record, what is left.

The table is `ROWS`: the fault, on which wire formats; the requests the server saw; the attempt's journal; how the
attempt ended and what stands in the workspace. Each row runs the native loop against real HTTP.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from agent_kit import Kit, Still, Wire, deck, kit, scenario

from quarterdeck.agents.port import Finished
from quarterdeck.agents.reminders import ENDS_REPEATS, TOLD_REPEATS
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.port import Deadlines
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.ledger import End
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act

pytestmark = pytest.mark.embedded("what fails is the model; test_native_loop and test_native_resume are on both")

WIRES = {"messages": "anthropic", "responses": "openai", "chat": "chat"}
ALL = tuple(WIRES)
AGENT = Agent(name="implementer", prompt="You implement.")

ONCE = Turn(text="I work.", actions=(act("run", command="echo once >> log"),))
LONG = Turn(text="I work.", actions=(act("run", command="echo once >> log; seq 1 3000"),))
SUBMIT = Turn(text="I am done.", actions=(act("submit", summary="done"),))

WORK = ("asked", "answered tools", "intended run allow", "done run ok")
HAND_IN = ("asked", "answered tools", "intended submit allow", "done submit ok")
DONE = WORK + HAND_IN


@dataclass(frozen=True)
class Row:
    """One row of the table. `faults` hit where their `step` says, on the tier's first model alone."""

    name: str
    faults: tuple[Fault, ...]
    requests: tuple[Kind | None, ...]
    """The fault that each request met, in order: so many requests, and no more."""
    events: tuple[str, ...]
    wires: tuple[str, ...] = ALL
    turns: tuple[Turn, ...] = (ONCE, SUBMIT)
    log: str = "once\n"
    """What the agent's command left in the workspace; it is run once, whatever happens to the calls around it."""
    failure: FailureClass | None = None
    """None = the attempt succeeds."""
    gaps: tuple[float, ...] = ()
    """Least seconds between the first requests, by the loop's own clock, which moves only when somebody waits."""
    told: tuple[tuple[int, str], ...] = ()
    """(request, what its last message says)."""
    second: bool = False
    """The tier has a second model."""
    deadlines: Deadlines | None = None
    keys: tuple[str, ...] = ()
    """The key that the provider accepts, then the one that reading it again gives."""
    why: str = ""
    """What the record of the first failure says."""
    too_long: str = ""
    """The fault hits every prompt that ends like this, instead of the tries at one place."""

    def __str__(self) -> str:
        return self.name


def hit(kind: Kind, times: int = 1, step: int = 0, **fields: float) -> tuple[Fault, ...]:
    return (Fault(kind=kind, times=times, step=step, **fields),)


def erred(failure: str, times: int = 1, *, at: str = "asked") -> tuple[str, ...]:
    return (at, f"erred {failure}") * times


QUICK = Deadlines(connect=5, first_byte=2, idle=2, total=20)
BRIEF = Deadlines(connect=5, first_byte=20, idle=20, total=2)
OTHER = tuple(event.replace("asked", "asked second") for event in DONE)
FAILS = ("asked", "erred transient")
DROPPED = ("asked", "erred transient estimated")
AGAIN = (None, None)
MALFORMED = (
    "asked",
    "answered tools",
    "intended run deny malformed-arguments",
    "done run failed malformed-arguments",
)

ROWS = (
    Row(
        "429 rate: waits as long as it is told",
        hit(Kind.RATE_LIMIT, retry_after=7.0),
        (Kind.RATE_LIMIT, *AGAIN),
        ("asked", "erred transient, wait 7", *DONE),
        gaps=(7.0,),
    ),
    Row(
        "429 rate, twice: waits twice",
        hit(Kind.RATE_LIMIT, times=2, retry_after=11.0),
        (Kind.RATE_LIMIT, Kind.RATE_LIMIT, *AGAIN),
        (*erred("transient, wait 11", 2), *DONE),
        gaps=(11.0, 11.0),
    ),
    Row(
        "429 not retryable: the provider's limit on spending ends it at the first request",
        hit(Kind.SPEND_LIMIT, times=0),
        (Kind.SPEND_LIMIT,),
        ("asked", "erred quota", "incident quota"),
        log="",
        failure=FailureClass.QUOTA,
        second=True,
    ),
    Row(
        "own limit on spending: the same",
        hit(Kind.OWN_LIMIT, times=0),
        (Kind.OWN_LIMIT,),
        ("asked", "erred quota", "incident quota"),
        log="",
        failure=FailureClass.QUOTA,
    ),
    Row(
        "billing: the same",
        hit(Kind.BILLING, times=0),
        (Kind.BILLING,),
        ("asked", "erred quota", "incident quota"),
        log="",
        failure=FailureClass.QUOTA,
    ),
    Row(
        "429 ramp: starts again slowly, closer after each answer",
        hit(Kind.SLOW_DOWN),
        (Kind.SLOW_DOWN, *AGAIN),
        (*FAILS, *DONE),
        gaps=(1.0, 0.75),
    ),
    Row(
        "overloaded: backs off",
        hit(Kind.OVERLOADED, times=2),
        (Kind.OVERLOADED, Kind.OVERLOADED, *AGAIN),
        (*FAILS, *FAILS, *DONE),
        gaps=(0.5, 1.0),
    ),
    Row(
        "overloaded in the middle of a stream: nothing of it is used, its cost is estimated",
        hit(Kind.OVERLOADED_MIDSTREAM),
        (Kind.OVERLOADED_MIDSTREAM, *AGAIN),
        (*DROPPED, *DONE),
    ),
    Row(
        "overloaded for long: the tier's next model goes on",
        hit(Kind.OVERLOADED, times=0),
        (*[Kind.OVERLOADED] * 5, *AGAIN),
        (*FAILS * 5, *OTHER),
        second=True,
        gaps=(0.5, 1.0, 2.0, 4.0),
    ),
    Row(
        "500: retried",
        hit(Kind.SERVER_ERROR, times=4),
        (*[Kind.SERVER_ERROR] * 4, *AGAIN),
        (*FAILS * 4, *DONE),
    ),
    Row(
        "500 for ever: retried so often and no more",
        hit(Kind.SERVER_ERROR, times=0),
        (Kind.SERVER_ERROR,) * 5,
        FAILS * 5,
        log="",
        failure=FailureClass.TRANSIENT,
    ),
    Row("504: retried", hit(Kind.TIMEOUT_ERROR), (Kind.TIMEOUT_ERROR, *AGAIN), (*FAILS, *DONE)),
    Row(
        "auth: a rotated key is read again, once",
        (),
        (None, *AGAIN),
        ("asked", "erred auth", *DONE),
        keys=("new", "new"),
    ),
    Row(
        "auth: a key that stays the same is not tried again",
        (),
        (None,),
        ("asked", "erred auth", "incident auth"),
        log="",
        failure=FailureClass.AUTH,
        keys=("new", "key"),
        second=True,
    ),
    Row(
        "auth: a new key that is refused as well is not tried again",
        (),
        (None, None),
        (*erred("auth", 2), "incident auth"),
        log="",
        failure=FailureClass.AUTH,
        keys=("new", "another"),
    ),
    Row(
        "403: not tried again",
        hit(Kind.FORBIDDEN, times=0),
        (Kind.FORBIDDEN,),
        ("asked", "erred auth", "incident auth"),
        log="",
        failure=FailureClass.AUTH,
    ),
    Row(
        "a model that its server does not have: the other one is asked",
        hit(Kind.UNKNOWN_MODEL, times=0),
        (Kind.UNKNOWN_MODEL, *AGAIN),
        ("asked", "erred configuration", *OTHER),
        second=True,
    ),
    Row(
        "a model that its server does not have, and no other: a person has to act",
        hit(Kind.UNKNOWN_MODEL, times=0),
        (Kind.UNKNOWN_MODEL,),
        ("asked", "erred configuration", "incident configuration"),
        log="",
        failure=FailureClass.CONFIGURATION,
    ),
    Row(
        "too large: made shorter, not sent again as it was",
        hit(Kind.TOO_LARGE, times=0, step=1),
        (None, Kind.TOO_LARGE, None),
        (*WORK, "asked", "erred context", "compacted", *HAND_IN),
        turns=(LONG, SUBMIT),
        too_long=r"\n1500\n",
    ),
    Row(
        "context exceeded: made shorter, asked once more",
        hit(Kind.CONTEXT_EXCEEDED, times=0, step=1),
        (None, Kind.CONTEXT_EXCEEDED, None),
        (*WORK, "asked", "erred context", "compacted", *HAND_IN),
        turns=(LONG, SUBMIT),
        too_long=r"\n1500\n",
    ),
    Row(
        "context exceeded while answering: nothing of the answer is done",
        hit(Kind.WINDOW_EXCEEDED, times=0, step=1),
        (None, Kind.WINDOW_EXCEEDED, None),
        (*WORK, "asked", "erred context", "compacted", *HAND_IN),
        wires=("messages",),
        turns=(LONG, SUBMIT),
        too_long=r"\n1500\n",
    ),
    Row(
        "context exceeded for ever: made shorter once, then it ends",
        hit(Kind.CONTEXT_EXCEEDED, times=0, step=1),
        (None, Kind.CONTEXT_EXCEEDED, Kind.CONTEXT_EXCEEDED),
        (*WORK, "asked", "erred context", "compacted", "asked", "erred context"),
        turns=(LONG, SUBMIT),
        failure=FailureClass.CONTEXT,
    ),
    Row(
        "truncated output: the call in it is not made, the model is asked for less",
        hit(Kind.MAX_TOKENS),
        (Kind.MAX_TOKENS, *AGAIN),
        ("asked", "erred truncated", "told truncated", *DONE),
        told=((1, "smaller steps"),),
    ),
    Row(
        "truncated output again and again: asked for less twice, then the tier's next model goes on",
        hit(Kind.MAX_TOKENS, times=0),
        (*[Kind.MAX_TOKENS] * 3, *AGAIN),
        (*("asked", "erred truncated", "told truncated") * 3, *OTHER),
        second=True,
        told=((1, "smaller steps"), (2, "smaller steps")),
    ),
    Row(
        "truncated output for ever: it ends",
        hit(Kind.MAX_TOKENS, times=0),
        (Kind.MAX_TOKENS,) * 3,
        ("asked", "erred truncated", "told truncated") * 3,
        log="",
        failure=FailureClass.TRUNCATED,
    ),
    Row(
        "empty turn: told once, in new words",
        hit(Kind.EMPTY, step=1),
        (None, Kind.EMPTY, None),
        (*WORK, "asked", "answered end", "told reminder:nudge", *HAND_IN),
        told=((2, "Your last answer was empty"),),
    ),
    Row(
        "empty turn again: it ends",
        hit(Kind.EMPTY, times=0, step=1),
        (None, Kind.EMPTY, Kind.EMPTY),
        (*WORK, "asked", "answered end", "told reminder:nudge", "asked", "answered end"),
        failure=FailureClass.HANDOFF,
    ),
    Row(
        "refusal: the tier's next model is asked",
        hit(Kind.REFUSAL, times=0),
        (Kind.REFUSAL, *AGAIN),
        ("asked", "erred refused", *OTHER),
        second=True,
    ),
    Row(
        "filtered on its way: the same",
        hit(Kind.FILTERED, times=0),
        (Kind.FILTERED, *AGAIN),
        ("asked", "erred refused", *OTHER),
        second=True,
    ),
    Row(
        "filtered as an error: the same",
        hit(Kind.CONTENT_FILTER, times=0),
        (Kind.CONTENT_FILTER, *AGAIN),
        ("asked", "erred refused", *OTHER),
        second=True,
    ),
    Row(
        "refusal without another model: it ends",
        hit(Kind.REFUSAL, times=0),
        (Kind.REFUSAL,),
        ("asked", "erred refused"),
        log="",
        failure=FailureClass.REFUSED,
    ),
    Row(
        "pause: the content is sent back",
        hit(Kind.PAUSE),
        (Kind.PAUSE, *AGAIN),
        ("asked", "answered paused", *DONE),
        wires=("messages",),
        told=((1, "I work."),),
    ),
    Row(
        "malformed arguments: an error for the agent",
        hit(Kind.MALFORMED_JSON),
        (Kind.MALFORMED_JSON, *AGAIN),
        (*MALFORMED, *DONE),
        turns=(ONCE, ONCE, SUBMIT),
        told=((1, "not a JSON object"),),
    ),
    Row(
        "malformed arguments again and again: counted, told, and in the end it is over",
        (Fault(kind=Kind.MALFORMED_JSON, times=0),),
        (Kind.MALFORMED_JSON,) * ENDS_REPEATS,
        (*MALFORMED * TOLD_REPEATS, *("told reminder:repeated", *MALFORMED) * (ENDS_REPEATS - TOLD_REPEATS)),
        turns=(ONCE,) * ENDS_REPEATS,
        told=((1, "not a JSON object"), (TOLD_REPEATS, "the same call 3 times")),
        log="",
        failure=FailureClass.TOOL,
    ),
    Row(
        "unknown tool: an error for the agent",
        hit(Kind.UNKNOWN_TOOL),
        (Kind.UNKNOWN_TOOL, *AGAIN),
        (
            "asked",
            "answered tools",
            "intended no_such_tool deny unknown-tool",
            "done no_such_tool failed unknown-tool",
            *DONE,
        ),
        turns=(ONCE, ONCE, SUBMIT),
        told=((1, "There is no tool `no_such_tool`"),),
    ),
    Row(
        "duplicate id: the first call is made, the second is not",
        hit(Kind.DUPLICATE_ID),
        (Kind.DUPLICATE_ID, None),
        (*WORK, "intended run deny duplicate-id", "done run failed duplicate-id", *HAND_IN),
        told=((1, "same id"),),
    ),
    Row(
        "truncated stream, ended like a complete one: dropped",
        hit(Kind.CUT, after=1000),
        (Kind.CUT, *AGAIN),
        ("asked", "erred truncated estimated", *DONE),
    ),
    Row(
        "truncated stream, connection lost: dropped",
        hit(Kind.CUT, after=1000, clean=False),
        (Kind.CUT, *AGAIN),
        (*DROPPED, *DONE),
    ),
    Row(
        "truncated stream again and again: the tier's next model goes on",
        hit(Kind.CUT, times=0, after=1000),
        (*[Kind.CUT] * 3, *AGAIN),
        (*("asked", "erred truncated estimated") * 3, *OTHER),
        second=True,
    ),
    Row(
        "a stream without its last event: dropped, and its usage is known",
        hit(Kind.LAST_MISSING),
        (Kind.LAST_MISSING, *AGAIN),
        ("asked", "erred truncated", *DONE),
        wires=("messages",),
    ),
    Row(
        "a stream without its last event, which is all that tells its end: dropped",
        hit(Kind.LAST_MISSING),
        (Kind.LAST_MISSING, *AGAIN),
        ("asked", "erred truncated estimated", *DONE),
        wires=("responses",),
    ),
    Row(
        "a stream without its `[DONE]`, but with its stop reason: nothing of it is missing",
        hit(Kind.LAST_MISSING),
        (Kind.LAST_MISSING, None),
        DONE,
        wires=("chat",),
    ),
    Row(
        "unknown events and pings: passed over",
        hit(Kind.STRANGE_EVENTS, after=2),
        (Kind.STRANGE_EVENTS, None),
        DONE,
    ),
    Row("reset: tried again", hit(Kind.RESET, times=2), (Kind.RESET, Kind.RESET, *AGAIN), (*DROPPED * 2, *DONE)),
    Row(
        "hang: left at the deadline for the first sign of life",
        hit(Kind.HANG),
        (Kind.HANG, *AGAIN),
        (*DROPPED, *DONE),
        deadlines=QUICK,
        why="the first sign of life took over 2 s",
    ),
    Row(
        "slow-loris: a byte now and then is no sign of life",
        hit(Kind.SLOW, seconds=0.1),
        (Kind.SLOW, *AGAIN),
        (*DROPPED, *DONE),
        deadlines=QUICK,
        why="the first sign of life took over 2 s",
    ),
    Row(
        "silence in the middle of a stream: left at the idle deadline",
        hit(Kind.STALL, after=2),
        (Kind.STALL, *AGAIN),
        (*DROPPED, *DONE),
        deadlines=QUICK,
        why="the next event took over 2 s",
    ),
    Row(
        "no end: left at the total deadline",
        hit(Kind.HANG),
        (Kind.HANG, *AGAIN),
        (*DROPPED, *DONE),
        deadlines=BRIEF,
        why="no end after 2 s",
    ),
    Row("502 of a proxy: tried again", hit(Kind.BAD_GATEWAY), (Kind.BAD_GATEWAY, *AGAIN), (*FAILS, *DONE)),
    Row("200 with half a body: tried again", hit(Kind.CUT_JSON), (Kind.CUT_JSON, *AGAIN), (*DROPPED, *DONE)),
    Row(
        "no usage: estimated and flagged",
        hit(Kind.NO_USAGE),
        (Kind.NO_USAGE, None),
        ("asked", "answered tools estimated", *DONE[2:]),
    ),
)


def told(event: e.EventBase) -> str | None:
    """One event of the journal in a few words; None = of no interest here."""
    match event:
        case e.ModelAsked():
            return "asked second" if event.model.endswith(":second") else "asked"
        case e.ModelAnswered():
            return f"answered {event.stop}{' estimated' if event.estimated else ''}"
        case e.ModelErred():
            wait = "" if event.retry_after is None else f", wait {event.retry_after:g}"
            return f"erred {event.failure}{wait}{' estimated' if event.estimated else ''}"
        case e.ToolIntended():
            return " ".join(("intended", event.tool, event.decision, *(set(event.rules) - {"default"})))
        case e.ToolDone():
            flags = [flag for flag in event.flags if flag not in ("ends", "truncated")]
            return " ".join(("done", event.tool, "ok" if event.ok else "failed", *flags))
        case e.ToolFellBack():
            return f"fell back {event.tool} to {event.to} {event.failure}"
        case e.ContextCompacted():
            return "compacted"
        case e.TranscriptExtended():
            return None if event.why == "task" else f"told {event.why}"
        case e.IncidentOpened():
            return f"incident {event.failure}"
        case _:
            return event.kind


async def journal(bench: Kit, attempt: str = "r-test.greet.1") -> tuple[str, ...]:
    return tuple(words for event in await bench.events(attempt) if (words := told(event)) is not None)


async def log(bench: Kit) -> str:
    return (await bench.sandbox.exec("cat log 2>/dev/null", timeout=30)).stdout.decode()


def script(row: Row) -> Scenario:
    """The row's conversation; the second model of the tier meets no fault."""
    if row.too_long:
        healthy = Rule(name="healthy", turns=row.turns)
        rules: tuple[Rule, ...] = (Rule(match=Match(last=row.too_long), turns=row.turns, faults=row.faults), healthy)
    else:
        rules = (
            Rule(match=Match(model="second"), turns=row.turns),
            Rule(turns=row.turns, faults=row.faults),
        )
    return scenario(rules=rules).model_copy(update={"key": row.keys[0] if row.keys else None})


def config(wire: str, second: bool = False) -> RunConfig:
    provider = WIRES[wire]
    tier = (f"{provider}:scripted", *((f"{provider}:second",) if second else ()))
    return RunConfig(deck=deck(tiers={"hands": tier}))


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row(tmp_path_factory: pytest.TempPathFactory, row: Row) -> None:
    await asyncio.gather(*(on_wire(tmp_path_factory.mktemp(wire), row, wire) for wire in row.wires))


async def on_wire(path: Path, row: Row, wire: str) -> None:
    try:
        await carried_out(path, row, wire)
    except AssertionError as error:
        error.add_note(f"on the wire format {wire}")
        raise


async def carried_out(path: Path, row: Row, wire: str) -> None:
    async with (
        kit(path) as bench,
        bench.native(
            script(row),
            clock=Still(),
            deadlines=row.deadlines,
            reload_key=lambda source: row.keys[1] if row.keys else None,
        ) as made,
    ):
        finished = await made.work(AGENT, config=config(wire, row.second))
        await made.server.idle()
        requests(row, made)
        assert await journal(bench) == row.events
        erred = [event.reason for event in await bench.events() if isinstance(event, e.ModelErred)]
        assert row.why in "".join(erred[:1])
        ended(row, finished)
        assert await log(bench) == row.log
        await money(bench)


def requests(row: Row, made: Wire) -> None:
    """The server saw these requests, in this order and so far apart."""
    seen = list(made.server.requests)
    assert tuple(asked.fault for asked in seen) == row.requests
    for index, gap in enumerate(row.gaps):
        assert seen[index + 1].at - seen[index].at >= gap - 1e-6
    for index, text in row.told:
        assert text in seen[index].last
    if row.too_long:
        assert seen[2].size < seen[1].size, "not sent again as it was"
    if row.deadlines is not None:
        assert seen[0].end is End.ABORTED, "the client closed the connection"
    if row.keys:
        assert [asked.status for asked in seen if asked.status != 200] == [401] * (
            len(seen) - (2 if row.failure is None else 0)
        )


def ended(row: Row, finished: Finished) -> None:
    if row.failure is None:
        assert finished.outcome is Outcome.OK
        assert finished.handoff is not None
    else:
        assert finished.outcome is Outcome.FAILED
        assert finished.failure is row.failure
        assert finished.handoff is None


async def money(bench: Kit) -> None:
    """Nothing stays reserved, and what the journal says was spent was spent."""
    spent = sum(event.cost_nusd for event in await bench.events() if isinstance(event, e.ModelAnswered | e.ModelErred))
    assert await bench.money() == (spent, 0)
