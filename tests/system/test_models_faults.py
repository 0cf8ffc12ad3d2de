"""Every wire format under every fault: the class of the failure, what was asked for, what the server saw."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models.anthropic_messages import MessagesFold
from quarterdeck.models.factory import Models, make_factory
from quarterdeck.models.port import Deadlines, Message, Model, Request, StopReason, Text, ToolSpec
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.ledger import End
from quarterdeck.models.scripted.scenario import Rule, Scenario, Served, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer

NAMES = ("anthropic:claude-sonnet-5", "openai:gpt-5.4", "chat:local", "google:gemini-3.8-flash", "ollama:local")
SSE = NAMES[:4]
IN_TEXT = NAMES[:3]
"""They send a call's arguments as text, which may be no JSON."""
PATIENT = Deadlines(connect=2, first_byte=5, idle=5, total=10)
HASTY = Deadlines(connect=2, first_byte=0.25, idle=0.25, total=1.0)

RUN = ToolSpec(
    name="run",
    description="Run a command",
    parameters={"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
)
ASK = Request(
    system="You write code.",
    tools=(RUN,),
    messages=(Message(role="user", blocks=(Text(text="List the files."),)),),
    max_output=500,
    cache_until=1,
    tag="attempt-1",
)
TURN = Turn(text="I look at what is there, in every folder.", actions=(act("run", command="ls -la src tests docs"),))


def scenario(*faults: Fault, key: str | None = None) -> Scenario:
    return Scenario(rules=(Rule(turns=(TURN,), faults=faults),), models={"local": Served(context=8192)}, key=key)


def factory(server: ScriptedServer, deadlines: Deadlines = PATIENT) -> Models:
    root = server.at("default")
    urls = {"anthropic": root, "openai": f"{root}/v1", "chat": f"{root}/v1", "google": root, "ollama": root}
    return make_factory(keys=dict.fromkeys(("anthropic", "openai", "google"), "k"), base_urls=urls, deadlines=deadlines)


@asynccontextmanager
async def serving(
    name: str, *faults: Fault, deadlines: Deadlines = PATIENT
) -> AsyncIterator[tuple[ScriptedServer, Model]]:
    async with ScriptedServer(scenario(*faults)) as server:
        models = factory(server, deadlines)
        try:
            yield server, models(name)
        finally:
            await models.close()


async def fail(name: str, fault: Fault, deadlines: Deadlines = PATIENT) -> tuple[ModelFailed, ScriptedServer]:
    async with serving(name, fault, deadlines=deadlines) as (server, model):
        with pytest.raises(ModelFailed) as caught:
            await model.complete(ASK)
        await server.served(1)
        assert [asked.tag for asked in server.requests] == ["attempt-1"], "an adapter never tries again"
        return caught.value, server


REPLACED = {
    Kind.RATE_LIMIT: FailureClass.TRANSIENT,
    Kind.SLOW_DOWN: FailureClass.TRANSIENT,
    Kind.SPEND_LIMIT: FailureClass.QUOTA,
    Kind.OWN_LIMIT: FailureClass.QUOTA,
    Kind.BILLING: FailureClass.QUOTA,
    Kind.OVERLOADED: FailureClass.TRANSIENT,
    Kind.SERVER_ERROR: FailureClass.TRANSIENT,
    Kind.TIMEOUT_ERROR: FailureClass.TRANSIENT,
    Kind.UNAUTHORIZED: FailureClass.AUTH,
    Kind.FORBIDDEN: FailureClass.AUTH,
    Kind.UNKNOWN_MODEL: FailureClass.CONFIGURATION,
    Kind.TOO_LARGE: FailureClass.CONTEXT,
    Kind.CONTEXT_EXCEEDED: FailureClass.CONTEXT,
    Kind.CONTENT_FILTER: FailureClass.REFUSED,
    Kind.BAD_GATEWAY: FailureClass.TRANSIENT,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", REPLACED)
async def test_an_error_response_has_its_class_and_costs_nothing(name: str, kind: Kind) -> None:
    failure, server = await fail(name, Fault(kind=kind))
    unkeyed = name.startswith("ollama:") and REPLACED[kind] is FailureClass.AUTH  # none is set, so none can be wrong
    assert failure.kind is (FailureClass.CONFIGURATION if unkeyed else REPLACED[kind])
    assert ("api_key_env" in failure.fix) == unkeyed
    assert not failure.billed
    assert server.requests[0].fault is kind
    assert server.requests[0].status >= 400
    assert server.total.requests == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.OVERLOADED])
async def test_what_the_provider_asks_for_is_heard(name: str, kind: Kind) -> None:
    failure, _ = await fail(name, Fault(kind=kind, retry_after=7.5))
    assert failure.retry_after == 7.5


@pytest.mark.parametrize("name", NAMES)
async def test_a_spend_limit_names_no_time(name: str) -> None:
    failure, _ = await fail(name, Fault(kind=Kind.SPEND_LIMIT, retry_after=5))
    assert failure.retry_after is None


@pytest.mark.parametrize("name", IN_TEXT)
async def test_malformed_arguments_are_a_call_that_cannot_be_made(name: str) -> None:
    async with serving(name, Fault(kind=Kind.MALFORMED_JSON)) as (_, model):
        (call,) = (await model.complete(ASK)).message.calls
    assert call.arguments == {}
    assert call.flaw is not None
    assert call.flaw.rule == "malformed-arguments"
    assert '{"broken"' in call.flaw.why


@pytest.mark.parametrize("name", SSE)
async def test_an_id_that_came_before_is_a_call_that_cannot_be_made(name: str) -> None:
    async with serving(name, Fault(kind=Kind.DUPLICATE_ID)) as (_, model):
        first, second = (await model.complete(ASK)).message.calls
    assert first.flaw is None
    assert second.flaw is not None
    assert second.flaw.rule == "duplicate-id"
    assert first.id != second.id, "no provider takes the same id twice"


@pytest.mark.parametrize("name", NAMES)
async def test_no_tool_call_survives_the_output_limit(name: str) -> None:
    async with serving(name, Fault(kind=Kind.MAX_TOKENS)) as (_, model):
        reply = await model.complete(ASK)
    assert reply.stop is StopReason.LENGTH
    assert reply.message.calls == ()


def test_a_stream_is_complete_with_its_last_event() -> None:
    fold = MessagesFold("m")
    for event in ({"type": "message_start"}, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}):
        fold.add(event)
    assert fold.draft().stop is None
    fold.add({"type": "message_stop"})
    assert fold.draft().stop is StopReason.END


async def test_a_full_window_asks_for_a_shorter_prompt() -> None:
    failure, server = await fail(NAMES[0], Fault(kind=Kind.WINDOW_EXCEEDED))
    assert failure.kind is FailureClass.CONTEXT
    assert failure.usage == server.total.usage


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [0, 1, 3, 5, 1000])
@pytest.mark.parametrize("clean", [True, False])
async def test_a_cut_stream_is_a_failure_wherever_it_is_cut(name: str, after: int, clean: bool) -> None:
    failure, server = await fail(name, Fault(kind=Kind.CUT, after=after, clean=clean))
    begun = clean and after > 0
    assert failure.kind is (FailureClass.TRUNCATED if begun else FailureClass.TRANSIENT)
    assert failure.billed
    assert server.requests[0].end is End.FAULTED


@pytest.mark.parametrize("name", NAMES)
async def test_overload_in_the_middle_of_a_stream(name: str) -> None:
    failure, server = await fail(name, Fault(kind=Kind.OVERLOADED_MIDSTREAM, after=2))
    assert failure.kind is FailureClass.TRANSIENT
    assert failure.billed
    assert failure.usage is not None
    assert server.requests[0].status == 200


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Kind.RESET, Kind.CUT_JSON])
async def test_a_broken_connection_is_transient(name: str, kind: Kind) -> None:
    failure, _ = await fail(name, Fault(kind=kind))
    assert failure.kind is FailureClass.TRANSIENT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Kind.HANG, Kind.SLOW])
async def test_silence_ends_at_its_deadline_and_the_server_sees_the_client_go(name: str, kind: Kind) -> None:
    failure, server = await fail(name, Fault(kind=kind, seconds=0.05), deadlines=HASTY)
    assert failure.kind is FailureClass.TRANSIENT
    assert failure.billed
    assert "first sign of life" in failure.why
    assert server.requests[0].end is End.ABORTED


async def test_a_stream_that_never_ends_ends_at_the_total_deadline() -> None:
    deadlines = Deadlines(connect=2, first_byte=0.5, idle=0.5, total=0.6)
    slow = Scenario(rules=(Rule(turns=(Turn(text="word " * 200),)),), latency={"per_token": 0.02})
    async with ScriptedServer(slow) as server:
        models = factory(server, deadlines)
        with pytest.raises(ModelFailed) as caught:
            await models("anthropic:claude-sonnet-5").complete(ASK)
        await server.served(1)
        assert "no end after" in caught.value.why
        billed = server.total.usage.output
        assert 1 <= billed < 250, "only what was sent until then is billed"
        await models.close()


@pytest.mark.parametrize("name", NAMES)
async def test_nobody_listens(name: str) -> None:
    async with ScriptedServer(scenario()) as server:
        models = factory(server)
    with pytest.raises(ModelFailed) as caught:
        await models(name).complete(ASK)
    assert caught.value.kind is FailureClass.TRANSIENT
    assert not caught.value.billed
    await models.close()


@pytest.mark.parametrize("name", NAMES)
async def test_strange_events_are_passed_over(name: str) -> None:
    async with serving(name, Fault(kind=Kind.STRANGE_EVENTS, after=2)) as (server, model):
        reply = await model.complete(ASK)
        assert reply.message.text == TURN.text
        assert reply.message.calls[0].arguments == {"command": "ls -la src tests docs"}
        await server.served(1)
        assert reply.usage == server.total.usage


@pytest.mark.parametrize("name", NAMES)
async def test_an_unknown_tool_is_left_to_the_loop(name: str) -> None:
    async with serving(name, Fault(kind=Kind.UNKNOWN_TOOL)) as (_, model):
        reply = await model.complete(ASK)
        assert [call.name for call in reply.message.calls] == ["no_such_tool"]


@pytest.mark.parametrize("name", NAMES)
async def test_an_empty_turn_is_a_reply_without_content(name: str) -> None:
    async with serving(name, Fault(kind=Kind.EMPTY)) as (_, model):
        reply = await model.complete(ASK)
        assert reply.stop is StopReason.END
        assert reply.message.blocks == ()


@pytest.mark.parametrize("name", SSE)
@pytest.mark.parametrize("kind", [Kind.REFUSAL, Kind.FILTERED])
async def test_a_refusal_is_a_reply_that_says_so(name: str, kind: Kind) -> None:
    async with serving(name, Fault(kind=kind)) as (_, model):
        reply = await model.complete(ASK)
        assert reply.stop is StopReason.REFUSED
        assert not reply.message.calls


async def test_a_paused_turn_is_to_be_sent_back() -> None:
    async with serving(NAMES[0], Fault(kind=Kind.PAUSE)) as (_, model):
        assert (await model.complete(ASK)).stop is StopReason.PAUSED


@pytest.mark.parametrize("name", NAMES)
async def test_usage_that_never_came_is_estimated_and_flagged(name: str) -> None:
    async with serving(name, Fault(kind=Kind.NO_USAGE)) as (_, model):
        reply = await model.complete(ASK)
        assert reply.estimated
        assert reply.usage.input > 20
        assert reply.usage.output > 5


@pytest.mark.parametrize("name", NAMES)
async def test_the_limit_reached_in_plain_text_is_said(name: str) -> None:
    text = Scenario(rules=(Rule(turns=(Turn(text="a long story"),), faults=(Fault(kind=Kind.MAX_TOKENS),)),))
    served = text.model_copy(update={"models": {"local": Served()}})
    async with ScriptedServer(served) as server:
        models = factory(server)
        reply = await models(name).complete(ASK)
        assert reply.stop is StopReason.LENGTH
        assert reply.message.text == "a long story"
        await models.close()


@pytest.mark.parametrize("name", NAMES)
async def test_faults_come_one_after_the_other_and_then_end(name: str) -> None:
    faults = (Fault(kind=Kind.OVERLOADED, times=2), Fault(kind=Kind.CUT, clean=False))
    async with serving(name, *faults) as (server, model):
        for _ in range(3):
            with pytest.raises(ModelFailed):
                await model.complete(ASK)
        assert (await model.complete(ASK)).stop is StopReason.TOOLS
        await server.served(4)
        assert [asked.fault for asked in server.requests] == [Kind.OVERLOADED, Kind.OVERLOADED, Kind.CUT, None]
        assert [asked.attempt for asked in server.requests] == [1, 2, 3, 4]


@pytest.mark.parametrize("name", ["anthropic:claude-sonnet-5", "openai:gpt-5.4", "google:gemini-3.8-flash"])
async def test_a_rotated_key_is_read_again_once(name: str) -> None:
    read: list[str] = []

    def reload_key(provider: str) -> str:
        read.append(provider)
        return "new"

    async with ScriptedServer(scenario(key="new")) as server:
        root = server.at("default")
        urls = {"anthropic": root, "openai": f"{root}/v1", "google": root}
        old = dict.fromkeys(urls, "old")
        models = make_factory(keys=old, base_urls=urls, deadlines=PATIENT, reload_key=reload_key)
        with pytest.raises(ModelFailed) as caught:
            await models(name).complete(ASK)
        assert caught.value.kind is FailureClass.AUTH
        assert caught.value.renewed
        assert (await models(name).complete(ASK)).stop is StopReason.TOOLS
        assert read == [name.partition(":")[0]]
        await models.close()
