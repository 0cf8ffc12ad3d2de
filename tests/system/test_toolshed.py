"""Tools of outside servers, for real: programs in sandboxes of their own, with every fault that they may have."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_kit import Kit, deck, kit, scenario
from shed_kit import Desk, call, program, servers, shed

from quarterdeck.agents.mail import Mail
from quarterdeck.agents.outside import OutsideDesks
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import BadConfiguration, ToolServerFailed
from quarterdeck.models.scripted.scenario import Turn, act
from quarterdeck.tools.shed.port import ServerGone
from quarterdeck.tools.shed.shed import Shed
from quarterdeck.tools.shed.ways import Process
from quarterdeck.workplace.port import Spec

pytestmark = pytest.mark.sandbox

SECRET = "hunter2-hunter2"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with shed(tmp_path, p={"SECRET_TOKEN": SECRET}, q={}) as made:
        yield made


# --- what a server sees -----------------------------------------------------------------------------------


async def test_a_server_runs_alone_and_is_given_what_it_was_promised(desk: Desk) -> None:
    given = program(env={"SECRET_TOKEN": "${SECRET_TOKEN}", "MODE": "test"})
    outside = await desk.outside(desk.needs("mcp:p", p=given))
    assert (await call(outside, "p__echo", text="hello")).text == 'hello\n{\n "said": "hello"\n}'
    seen = (await call(outside, "p__secret")).text
    assert '"SECRET_TOKEN": "[SECRET_TOKEN]"' in seen
    assert '"MODE": "test"' in seen
    assert SECRET not in seen
    assert (await call(outside, "p__files")).text == "[]"
    assert (await call(outside, "p__network")).text.startswith("refused")
    assert desk.told[-1].state == "running"
    assert desk.told[-1].revision == "2026-07-28"


async def test_what_a_server_says_of_its_tools_holds_no_secret_either(desk: Desk) -> None:
    needs = desk.needs("mcp:p", p=program("tells", env={"SECRET_TOKEN": "${SECRET_TOKEN}"}))
    given = (await desk.shed.gather(needs)).encode().decode()
    assert "Logged in with [SECRET_TOKEN]." in given
    assert '"description":"[SECRET_TOKEN]"' in given
    assert SECRET not in given


async def test_what_was_not_named_is_not_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", SECRET)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-planted-key")
    outside = await desk.outside(desk.needs("mcp:p", p=program()))
    seen = (await call(outside, "p__secret")).text
    assert "SECRET_TOKEN" not in seen
    assert "planted" not in seen


async def test_beside_an_agent_it_sees_the_workspace(desk: Desk) -> None:
    sandbox = await desk.providers["bubblewrap"].create(Spec(id="work"))
    try:
        await sandbox.write("a.txt", b"hi")
        needs = desk.needs("mcp:q", sandbox=sandbox, q=program("older", workspace=True))
        outside = await desk.outside(needs)
        assert (await call(outside, "q__files", sandbox)).text == '["a.txt"]'
        await desk.shed.release(needs.attempt)
        assert (await sandbox.exec('pgrep -f "[m]cp_program" || true', timeout=10)).stdout == b""
    finally:
        await sandbox.close()


# --- who is not approved is not started -------------------------------------------------------------------


async def test_without_approval_nothing_is_started(desk: Desk) -> None:
    with pytest.raises(BadConfiguration, match="not approved; quarterdeck tools approve evil"):
        await desk.shed.gather(desk.needs("mcp:evil", evil=program()))
    given = await desk.shed.gather(desk.needs("mcp:evil?", "mcp:*", evil=program(), q=program()))
    assert {entry.server for entry in given.shown} == {"q"}
    assert any("tools approve evil" in text for text in given.unavailable)
    assert [name for name, _ in desk.ways.started] == ["q"]


async def test_an_approval_that_is_taken_back_ends_the_next_start(desk: Desk) -> None:
    needs = desk.needs("mcp:q", q=program())
    outside = await desk.outside(needs)
    desk.allowed.pop("q")
    assert (await call(outside, "q__echo", text="x")).ok  # what runs goes on
    with pytest.raises(ServerGone):
        await call(outside, "q__die")
    again = await call(outside, "q__echo", text="x")
    assert "not approved any more" in again.text
    assert len(desk.ways.started) == 1


async def test_the_shed_is_closed_once_those_have_ended_that_were_ending(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending, real = asyncio.Event(), Process.close

    async def close(process: Process) -> None:
        ending.set()
        await real(process)

    monkeypatch.setattr(Process, "close", close)
    await desk.outside(desk.needs("mcp:q", q=program()))
    await desk.shed.release("r.t.1")
    await ending.wait()
    await desk.shed.close()
    assert desk.told[-1].state == "ended"


# --- faults -----------------------------------------------------------------------------------------------


async def test_a_server_that_dies_under_a_call_is_started_again(desk: Desk) -> None:
    outside = await desk.outside(desk.needs("mcp:q", q=program("older")))
    with pytest.raises(ServerGone, match="I am dying") as caught:
        await call(outside, "q__die")
    assert "may have taken effect" in str(caught.value)
    assert (await call(outside, "q__echo", text="again")).text.startswith("again")
    assert len(desk.ways.started) == 2
    assert [round(pause) for pause in desk.clock.slept] == [1]


async def test_what_hangs_floods_or_sends_too_much_is_an_answer(desk: Desk) -> None:
    outside = await desk.outside(desk.needs("mcp:q", q=program()))
    huge = await call(outside, "q__huge")
    assert not huge.ok
    assert "longer than" in huge.text
    lie = await call(outside, "q__lie")
    assert lie.text.startswith("no number")
    assert "not given to servers" in (await call(outside, "q__ask_me")).text
    hung = await call(outside, "q__hang", timeout=0.5)
    assert hung.flags == ("timeout",)
    assert not hung.ok
    await call(outside, "q__hang", timeout=0.5)  # the second in a row: it is ended
    assert desk.told[-1].state == "ended"
    with pytest.raises(ServerGone, match="without being asked"):
        await call(outside, "q__flood")
    assert (await call(outside, "q__echo", text="still here")).ok


async def test_an_older_server_asks_in_vain(desk: Desk) -> None:
    outside = await desk.outside(desk.needs("mcp:q", q=program("older", "greets")))
    asked = await call(outside, "q__ask")
    assert not asked.ok
    assert "not supported" in asked.text


@pytest.mark.parametrize("revision", ["older", "newer"])
async def test_its_word_that_its_tools_changed_is_followed(desk: Desk, revision: str) -> None:
    declared = program(revision)
    outside = await desk.outside(desk.needs("mcp:q", q=declared))
    before = len(desk.told)
    await call(outside, "q__change")
    await desk.heard(lambda: len(desk.told) > before)
    gone = await call(outside, "q__echo", text="x")
    assert "no longer has a tool `echo`" in gone.text
    assert "q__late" not in outside.shown
    assert "q__late" in (await desk.outside(desk.needs("mcp:q", attempt="r.t.2", q=declared))).shown


async def test_one_that_says_so_whenever_it_is_asked_is_asked_ever_less(desk: Desk) -> None:
    pauses: asyncio.Queue[float] = asyncio.Queue()
    over = asyncio.Semaphore(0)

    async def waits(seconds: float) -> None:
        pauses.put_nowait(seconds)
        await over.acquire()

    desk.shed = Shed(desk.ways, lambda name, server: desk.allowed.get(name), desk.clock, tell=desk.tell, sleep=waits)
    await desk.outside(desk.needs("mcp:q", q=program("older", "restless")))
    async with asyncio.timeout(20):
        for pause in (1.0, 2.0, 4.0):
            assert await pauses.get() == pause
            over.release()
    assert [known.state for known in desk.told] == ["running"]  # nothing was new


async def test_a_server_that_cannot_start_is_tried_and_then_given_up(desk: Desk) -> None:
    with pytest.raises(ToolServerFailed, match="no such license"):
        await desk.shed.gather(desk.needs("mcp:q", q=program("dies")))
    assert len(desk.ways.started) == 3
    given = await desk.shed.gather(desk.needs("mcp:q?", q=program("dies")))
    assert not given.shown
    assert "is started again in 8 s" in given.unavailable[0]
    for fault in ("mute", "unlisted"):
        with pytest.raises(ToolServerFailed, match=r"does not answer|not listed its tools"):
            await desk.shed.gather(desk.needs("mcp:p", p=program(fault, start=0.3)))


async def test_hostile_descriptions_and_schemas_do_no_harm(desk: Desk) -> None:
    given = await desk.shed.gather(desk.needs("mcp:q", q=program("hostile")))
    names = {entry.tool for entry in given.shown + given.found}
    assert {"inject", "bomb", "odd names/ä", "echo"} <= names
    assert not {"wide", "bad key"} & names
    assert all(len(entry.spec.description) < 2_000 for entry in given.shown)
    with pytest.raises(ToolServerFailed, match="its list of tools is not one"):
        await desk.shed.gather(desk.needs("mcp:p", p=program("liar")))


# --- an agent with them -----------------------------------------------------------------------------------


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path / "kit") as made:
        yield made


def agent(*tools: str) -> Agent:
    return Agent(name="implementer", tools=("read", *tools), prompt="Do it.")


async def test_an_agent_finds_and_uses_a_tool_and_the_list_stays(bench: Kit, desk: Desk) -> None:
    script = scenario(
        Turn(actions=(act("tool", name="find_tools", args={"query": "make thing number 7 of the widgets"}),)),
        Turn(actions=(act("tool", name="use_tool", args={"name": "q__make_7", "arguments": {"txt": "x"}}),)),
        Turn(actions=(act("tool", name="use_tool", args={"name": "q__make_7", "arguments": {"text": "x"}}),)),
        Turn(actions=(act("tool", name="q__echo", args={"text": "direct"}),)),
        Turn(actions=(act("tool", name="submit", args={"summary": "Done."}),)),
    )
    config = RunConfig(deck=deck(**servers(q=program("many"))))
    async with bench.native(script, shed=desk.shed) as wire:
        finished = await wire.work(agent("mcp:q", "mcp:q/echo"), config=config)
    assert finished.outcome is Outcome.OK
    events = await bench.events()
    given = next(event for event in events if isinstance(event, e.ToolsGiven))
    assert (given.shown, given.found) == (20, 980)
    done = [event for event in events if isinstance(event, e.ToolDone)]
    assert [(event.tool, event.ok) for event in done] == [
        ("find_tools", True),
        ("q__make_7", False),
        ("q__make_7", True),
        ("q__echo", True),
        ("submit", True),
    ]
    refused = (await bench.journal.get(done[1].result_blob)).decode()
    assert "txt: is not known" in refused
    assert "Its schema" in refused


async def test_an_attempt_goes_on_with_the_tools_that_it_was_given(bench: Kit, desk: Desk) -> None:
    """Its server may not be started any more by then: what is sent to the model is the same to the byte."""
    script = scenario(
        Turn(actions=(act("tool", name="q__echo", args={"text": "x"}),)),
        Turn(actions=(act("submit", summary="Done."),)),
    )
    config = RunConfig(deck=deck(**servers(q=program("older"))))
    async with bench.native(script, shed=desk.shed) as wire:
        probes.install(_Kill("model.replied"))
        try:
            with pytest.raises(_Kill):
                await wire.work(agent("mcp:q"), config=config)
        finally:
            probes.install(None)
        await desk.shed.close()
        desk.allowed.clear()
        finished = await wire.work(agent("mcp:q"), config=config)
    assert finished.outcome is Outcome.OK
    events = await bench.events()
    asked = [event for event in events if isinstance(event, e.ModelAsked)]
    assert [event.step for event in asked] == [1, 1, 2]
    assert asked[0].request_hash == asked[1].request_hash
    done = next(event for event in events if isinstance(event, e.ToolDone))
    assert (done.tool, done.ok, done.flags) == ("q__echo", False, ("server-down",))
    assert sum(isinstance(event, e.ToolsGiven) for event in events) == 1


async def test_an_agent_that_is_not_our_loop_gets_them_at_its_desk(bench: Kit, desk: Desk) -> None:
    config = RunConfig(deck=deck(**servers(q=program("many"))))
    async with bench.native(scenario(Turn()), shed=desk.shed) as wire:
        desks = OutsideDesks(lambda config: wire.harness, Mail())
        assignment = await bench.assignment(agent("mcp:q", "mcp:q/echo"), config=config)
        seat = await desks.open("key", assignment)
        assert {"task", "submit", "find_tools", "use_tool", "q__echo"} <= set(seat.tools())
        assert "q__make_7" not in seat.tools()
        used = await seat.call("use_tool", {"name": "q__make_7", "arguments": {"text": "x"}})
        assert (used.ok, used.text) == (True, "make_7 done")
        await desks.close("key", keep=True)
        again = await desks.open("key", await bench.again(assignment))
        assert again.tools().keys() == seat.tools().keys()
        assert (await again.call("q__echo", {"text": "hi"})).ok
        await desks.close_all()
    done = [event.tool for event in await bench.events() if isinstance(event, e.ToolDone)]
    assert done == ["q__make_7", "q__echo"]


class _Kill(BaseException):
    """Stands for SIGKILL at a probe point."""

    def __call__(self, name: str) -> None:
        if name == self.args[0]:
            raise self
