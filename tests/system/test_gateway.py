"""The gateway between a client and a provider: what passes, what is recorded, what it costs, what is refused."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import store_kit
from gateway_kit import (
    CLAUDE,
    GEMINI,
    GPT,
    LOCAL,
    MODELS,
    PRICES,
    REAL_KEY,
    RUN,
    bench,
    body,
    client,
    path,
    pdf,
    png,
    showing,
)

from quarterdeck.doors import gathering, model_calls
from quarterdeck.gateway import inline
from quarterdeck.gateway.allowance import Allowance
from quarterdeck.gateway.inline import Piece
from quarterdeck.gateway.wires import Wire
from quarterdeck.govern.chain import DayCaps
from quarterdeck.govern.port import Link
from quarterdeck.journal import log
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.limiter import Limiters
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Latency, Match, Rule, Scenario, Served, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer

TURN = Turn(text="I look at what is there, in every folder.", actions=(act("run", command="ls -la src tests docs"),))
TALK = Turn(text="There is nothing to do. " * 20)
PRICED = {name.partition(":")[2]: price for name, price in PRICES.items()}
BILLED = store_kit.first_on_both("what differs is what is estimated before it is asked", MODELS)


def scenario(*faults: Fault, turn: Turn = TALK) -> Scenario:
    return Scenario(
        rules=(Rule(turns=(turn,), faults=faults, repeat=True),),
        models={"local": Served(context=8192)},
        key=REAL_KEY,
        prices=PRICED,
    )


@pytest.mark.parametrize("name", store_kit.first_on_both("what differs is how the model is spoken to", MODELS))
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_passes_untouched_and_is_metered_to_the_nano(tmp_path: Path, name: str, stream: bool) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            answer = await inside.post(path(name, stream=stream), json=body(name, stream=stream))
        assert answer.status_code == 200
        assert "There is nothing to do." in answer.text
        asked, answered = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(answered, e.ModelAnswered)
        assert asked.model == answered.model == name
        assert not answered.estimated
        assert answered.usage == server.requests[0].usage
        assert answered.cost_nusd == server.total.nusd > 0
        assert asked.reserved_nusd >= answered.cost_nusd
        assert await at.purse() == (server.total.nusd, 0)
        assert at.gateway.metering(opened.key).nusd == server.total.nusd


async def test_a_client_sees_the_bytes_of_the_provider(tmp_path: Path) -> None:
    async with ScriptedServer(scenario(turn=TURN)) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            through = await inside.post(path(CLAUDE), json=body(CLAUDE))
        async with httpx2.AsyncClient(base_url=server.at("default"), headers={"x-api-key": REAL_KEY}) as direct:
            straight = await direct.post(path(CLAUDE), json=body(CLAUDE))
        assert through.content == straight.content
        assert through.headers["content-type"] == straight.headers["content-type"]


@pytest.mark.parametrize("carry", ["x-api-key", "authorization", "x-goog-api-key", "query"])
async def test_a_key_comes_in_every_vendor_s_way_and_the_real_one_goes_out(tmp_path: Path, carry: str) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            del inside.headers["x-api-key"]
            headers = {} if carry == "query" else {carry: opened.key}
            if carry == "authorization":
                headers = {carry: f"Bearer {opened.key}"}
            query = f"?key={opened.key}" if carry == "query" else ""
            answer = await inside.post(path(CLAUDE) + query, json=body(CLAUDE), headers=headers)
        assert answer.status_code == 200, answer.text
        assert REAL_KEY not in answer.text


async def test_no_key_a_wrong_one_and_a_revoked_one_get_nowhere(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            wrong = await inside.post(path(CLAUDE), json=body(CLAUDE), headers={"x-api-key": "qd-wrong"})
            none = await inside.post(path(CLAUDE), json=body(CLAUDE), headers={"x-api-key": ""})
            real = await inside.post(path(CLAUDE), json=body(CLAUDE), headers={"x-api-key": REAL_KEY})
            await at.gateway.revoke(opened.key, "a person stopped it")
            late = await inside.post(path(CLAUDE), json=body(CLAUDE))
        assert [wrong.status_code, none.status_code, real.status_code, late.status_code] == [401, 401, 401, 400]
        assert "a person stopped it" in late.json()["error"]["message"]
        assert server.total.requests == 0
        assert await at.events() == []


async def test_nothing_is_kept_for_a_key_that_is_not_good_nor_too_much_for_one_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_calls, "MOST_OF_KEY", 2000)
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at, client(await at.grant()) as inside:
        bad = {"x-api-key": "qd-wrong", "content-encoding": "unknown"}
        assert (await inside.post(path(CLAUDE), content=b"x" * 5000, headers=bad)).status_code == 401
        large = await inside.post(path(CLAUDE), json=body(CLAUDE, text="word " * 1000))
        assert large.status_code == 429
        for _ in range(2):  # what a call held is free once it is on record
            async with asyncio.timeout(20):
                while (await inside.post(path(CLAUDE), json=body(CLAUDE, text="w" * 1500))).status_code != 200:
                    continue


async def test_what_a_body_of_many_values_takes_once_it_is_read_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_calls, "MOST_OF_KEY", 1_000_000)
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at, client(await at.grant()) as inside:
        values = await inside.post(path(CLAUDE), json=body(CLAUDE) | {"metadata": [{}] * 30_000})
        assert (values.status_code, server.total.requests) == (429, 0)
        text = await inside.post(path(CLAUDE), json=body(CLAUDE) | {"metadata": "word " * 18_000})
        assert text.status_code == 200


async def test_a_model_that_is_not_the_key_s_is_refused_with_those_that_are(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant(models=(CLAUDE, "ollama:whatever"))
        async with client(opened) as inside:
            other = await inside.post(path(CLAUDE), json=body(CLAUDE) | {"model": "claude-opus-5"})
            unknown = await inside.post(path(GPT), json=body(GPT))
            listed = await inside.get("/v1/models")
        assert other.status_code == unknown.status_code == 400
        assert "claude-sonnet-5" in other.json()["error"]["message"]
        assert [item["id"] for item in listed.json()["data"]] == ["claude-sonnet-5"]
        assert server.total.requests == 0


@pytest.mark.parametrize("name", MODELS)
async def test_exhausted_money_is_said_in_a_sentence_and_nothing_leaves(tmp_path: Path, name: str) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant(usd=0.000001)
        async with client(opened) as inside:
            answer = await inside.post(path(name), json=body(name))
        assert answer.status_code == 400
        assert "budget is exhausted" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert server.total.requests == 0
        assert await at.events() == []
        stopped = at.gateway.metering(opened.key).stopped
        assert stopped is not None
        assert (stopped.limit, stopped.run) == ("usd", False)


async def test_an_answer_is_held_to_what_the_money_covers(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant(usd=0.05)
        async with client(opened) as inside:
            answer = await inside.post(path(GPT), json=body(GPT, limit=None))
        assert answer.status_code == 200
        asked, _ = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert 0 < asked.reserved_nusd <= 50_000_000


@pytest.mark.parametrize(("attempt", "run"), [(0.5, 0.3), (0.3, 0.5), (None, 0.3), (0.5, 0.02)])
async def test_an_answer_is_held_to_what_the_poorest_purse_covers(
    tmp_path: Path, attempt: float | None, run: float
) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server, run_usd=run) as at:
        async with client(await at.grant(usd=attempt)) as inside:
            answer = await inside.post(path(CLAUDE), json=body(CLAUDE, limit=64_000))
        assert answer.status_code == 200, answer.text
        asked, _ = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        least = min(run, attempt or run) * 1e9
        assert least * 0.9 < asked.reserved_nusd <= least


async def test_what_one_agent_sends_makes_nobody_else_s_calls_look_dearer(tmp_path: Path) -> None:
    """The first agent's text is one token a letter; the other's is as most text is."""
    plan = scenario().model_copy(update={"chars_per_token": 1})
    async with ScriptedServer(plan) as server, bench(tmp_path, server) as at:
        odd, plain = f"{RUN}.odd.1", f"{RUN}.plain.1"
        keys = await at.grant(odd), await at.grant(plain)
        sent = body(CLAUDE, text="7" * 20_000, limit=500)
        async with client(keys[0]) as inside, client(keys[1]) as beside:
            for _ in range(2):
                assert (await inside.post(path(CLAUDE), json=sent)).status_code == 200
            assert (await beside.post(path(CLAUDE), json=sent)).status_code == 200
        first, second = [one.reserved_nusd for one in await at.events(4, odd) if isinstance(one, e.ModelAsked)]
        (other,) = [one.reserved_nusd for one in await at.events(2, plain) if isinstance(one, e.ModelAsked)]
        assert second > first * 1.5, "its own calls are reckoned as they were measured"
        assert other == first


async def test_the_bound_of_calls_holds(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant(turns=2)
        async with client(opened) as inside:
            codes = [(await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code for _ in range(3)]
        assert codes == [200, 200, 400]
        assert server.total.requests == 2


@pytest.mark.parametrize("name", MODELS)
async def test_what_passes_by_itself_is_tried_again_before_the_client_sees_it(tmp_path: Path, name: str) -> None:
    fault = Fault(kind=Kind.OVERLOADED, times=1, retry_after=0)
    async with ScriptedServer(scenario(fault)) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(name), json=body(name))
        assert answer.status_code == 200
        kinds = [event.kind for event in await at.events(4)]
        assert kinds == ["model.asked", "model.erred", "model.asked", "model.answered"]
        assert await at.purse() == (server.total.nusd, 0)


@pytest.mark.parametrize("name", MODELS)
async def test_a_refused_key_of_the_provider_reaches_the_client_at_once(tmp_path: Path, name: str) -> None:
    async with (
        ScriptedServer(scenario(Fault(kind=Kind.UNAUTHORIZED))) as server,
        bench(tmp_path, server) as at,
    ):
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(name), json=body(name))
        assert answer.status_code == (400 if name == GEMINI else 401)
        assert answer.headers["x-should-retry"] == "false"
        _, erred = await at.events(2)
        assert isinstance(erred, e.ModelErred)
        assert (erred.failure, erred.cost_nusd) == (FailureClass.AUTH, 0)
        assert await at.purse() == (0, 0)


@pytest.mark.parametrize("name", MODELS)
async def test_a_cut_stream_is_cut_for_the_client_too_and_costs_an_estimate(tmp_path: Path, name: str) -> None:
    fault = Fault(kind=Kind.CUT, after=6, hidden=400)  # of the 500 that it may have
    async with ScriptedServer(scenario(fault)) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(name), json=body(name))
        assert not _ended(answer.text)
        await server.idle()
        erred = (await at.events(2))[-1]
        assert isinstance(erred, e.ModelErred)
        assert erred.estimated
        assert erred.cost_nusd >= server.total.nusd > 0
        assert await at.purse() == (erred.cost_nusd, 0)


def _ended(text: str) -> bool:
    return any(end in text for end in ("message_stop", "response.completed", "[DONE]", "finishReason"))


@pytest.mark.parametrize("times", [1, 10_000])
async def test_a_client_that_leaves_closes_the_call(tmp_path: Path, times: int) -> None:
    """Also one that has sent so much that the server stopped reading for a while."""
    text = "List the files. " * times
    async with ScriptedServer(scenario(Fault(kind=Kind.HANG))) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            call = asyncio.create_task(inside.post(path(CLAUDE), json=body(CLAUDE, text=text)))
            await server.seen(1)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await server.served(1)
        asked, erred = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(erred, e.ModelErred)
        assert erred.cost_nusd == asked.reserved_nusd, "nobody knows what it cost"
        assert await at.purse() == (asked.reserved_nusd, 0)


@pytest.mark.parametrize("revoked", [False, True])
async def test_a_stream_that_is_left_in_its_middle_is_closed_and_settled(tmp_path: Path, revoked: bool) -> None:
    long = scenario(turn=Turn(text="And so on. " * 4_000)).model_copy(update={"latency": Latency(per_token=0.002)})
    async with ScriptedServer(long) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            with contextlib.suppress(httpx2.RemoteProtocolError):  # cut, where its key is revoked
                async with inside.stream("POST", path(CLAUDE), json=body(CLAUDE, limit=20_000)) as answer:
                    parts = answer.aiter_bytes()
                    for _ in range(3):
                        assert await anext(parts)
                    if revoked:
                        await at.gateway.revoke(opened.key, "cancelled")
                        async for _ in parts:
                            continue
                        raise AssertionError("the stream was whole")
        await server.served(1)
        asked, erred = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(erred, e.ModelErred)
        assert 0 < erred.cost_nusd <= asked.reserved_nusd
        assert await at.purse() == (erred.cost_nusd, 0)


async def test_a_client_that_reads_slowly_holds_the_provider_up_and_gets_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, write = list[int](), gathering._write

    def written(answer: Any, part: bytes) -> bool:
        at_once.append(len(part))
        return write(answer, part)

    monkeypatch.setattr(gathering, "_write", written)
    said = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 4_000)
    usage = b'{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}'
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":%b}\n\ndata: [DONE]\n\n' % usage
    count, sent, stuck = 4_000, 0, asyncio.Event()  # 16 MB: more than all buffers on the way

    async def told(writer: asyncio.StreamWriter) -> None:
        """`stuck` is set when nothing moved for many turns of the loop, which is everybody's here."""
        drained = asyncio.ensure_future(writer.drain())
        turns = 0
        while not drained.done():
            await asyncio.sleep(0)
            turns += 1
            if turns == 5_000:
                stuck.set()
        await drained

    async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        head = await reader.readuntil(b"\r\n\r\n")
        size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(size.partition(b":")[2]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(count):
            writer.write(said)
            await told(writer)
            sent += 1
        writer.write(last)
        writer.close()

    asked = {**body(LOCAL), "stream_options": {"include_usage": True}}
    async with await asyncio.start_server(provide, "127.0.0.1") as listening, ScriptedServer(scenario()) as server:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with (
            bench(tmp_path, server, base=url) as at,
            client(await at.grant()) as inside,
            inside.stream("POST", path(LOCAL), json=asked) as answer,
        ):
            await asyncio.wait_for(stuck.wait(), 20)
            assert sent * len(said) < 8 * 1024 * 1024, "somebody kept what nobody read"
            found = b"".join([part async for part in answer.aiter_bytes()])
            assert found == said * count + last
            events = await at.events(2)
    assert isinstance(events[1], e.ModelAnswered)
    assert (events[1].usage.output, events[1].estimated) == (20, False)
    assert len(at_once) > 10, "what it could take it had without anybody being woken"


async def test_no_money_stays_behind_of_calls_that_were_left_at_any_moment(tmp_path: Path) -> None:
    async with ScriptedServer(scenario(Fault(kind=Kind.HANG, times=0))) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            for number in range(40):
                call = asyncio.create_task(inside.post(path(CLAUDE), json=body(CLAUDE, text=f"This is {number}.")))
                await asyncio.wait([call], timeout=number / 2000)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        await at.gateway.revoke(opened.key, "over")  # it returns when all calls of the key have ended
        assert (await at.purse())[1] == 0
        events = await at.events()
        asked = [event.step for event in events if isinstance(event, e.ModelAsked)]
        assert sorted(event.step for event in events if isinstance(event, e.ModelErred)) == asked


class Crowd:
    """Processes that share a provider: a place is never there at once."""

    left = 0
    """Calls that were taken out of what may leave."""

    async def wait(self) -> float:
        return 0.0

    async def leave(self) -> float:
        self.left += 1
        return 0.0

    @asynccontextmanager
    async def place(self, at_most: float) -> AsyncIterator[bool]:
        await asyncio.sleep(0)
        yield True

    def heard(self, seconds: float) -> None:
        raise AssertionError("nobody said so")


@pytest.mark.parametrize("alone", [True, False])
async def test_many_at_once_do_not_pass_the_bound_of_calls(tmp_path: Path, alone: bool) -> None:
    limiters = None if alone else Limiters(SystemClock(), sharing=lambda provider, place: Crowd())
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server, limiters=limiters) as at:
        opened = await at.grant(turns=2)
        async with client(opened) as inside:
            bodies = [body(CLAUDE, text=f"This is number {number}.") for number in range(12)]
            answers = await asyncio.gather(*(inside.post(path(CLAUDE), json=one) for one in bodies))
        assert sorted(one.status_code for one in answers) == [200] * 2 + [400] * 10
        assert server.total.requests == 2


class OnePlace(Crowd):
    """Processes that share a provider: one call at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Lock()
        self.taken = asyncio.Event()

    @asynccontextmanager
    async def place(self, at_most: float) -> AsyncIterator[bool]:
        async with self._free:
            self.taken.set()
            yield True


async def test_a_call_that_waits_for_money_keeps_nobody_else_from_calling(tmp_path: Path) -> None:
    """There is one place for both attempts, and a call under way holds the money of one of them."""
    one, poor, rich = OnePlace(), f"{RUN}.poor.1", f"{RUN}.rich.1"
    limiters = Limiters(SystemClock(), sharing=lambda provider, place: one)
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server, limiters=limiters) as at:
        keys = await at.grant(poor, usd=0.02), await at.grant(rich)
        link = Link(f"attempt/{poor}", 20_000_000)
        await at.store.write(lambda tx: at.treasury.reserve(tx, (link,), f"{poor}/9/1", 19_000_000))
        async with client(keys[0]) as waits, client(keys[1]) as passes, asyncio.timeout(20):
            waiting = asyncio.create_task(waits.post(path(CLAUDE), json=body(CLAUDE)))
            await one.taken.wait()
            assert (await passes.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
            assert not waiting.done()
            await at.store.write(lambda tx: at.treasury.settle(tx, f"{poor}/9/1", 0))
            assert (await waiting).status_code == 200
        await at.events(2, poor)
        assert (await at.purse(f"attempt/{poor}"))[1] == 0
        assert one.left == 2, "each call counts once in the provider's rate"


@pytest.mark.parametrize("name", [GPT, CLAUDE])
async def test_an_answer_without_usage_costs_its_bound(tmp_path: Path, name: str) -> None:
    fault = Fault(kind=Kind.NO_USAGE, hidden=300)
    async with ScriptedServer(scenario(fault)) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            assert (await inside.post(path(name), json=body(name))).status_code == 200
        asked, answered = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(answered, e.ModelAnswered)
        assert answered.estimated
        assert answered.usage.output == 500
        assert server.total.nusd <= answered.cost_nusd <= asked.reserved_nusd


async def test_what_a_proxy_gave_up_may_have_been_billed(tmp_path: Path) -> None:
    fault = Fault(kind=Kind.TIMEOUT_ERROR)
    async with ScriptedServer(scenario(fault)) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            assert (await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
        asked, erred, *_ = await at.events(4)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(erred, e.ModelErred)
        assert (erred.cost_nusd, erred.estimated) == (asked.reserved_nusd, True)


async def test_revoking_a_key_cuts_what_is_under_way_and_closes_it(tmp_path: Path) -> None:
    async with ScriptedServer(scenario(Fault(kind=Kind.HANG))) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            bodies = [body(CLAUDE, text=f"This is number {number}.") for number in range(3)]
            calls = [asyncio.create_task(inside.post(path(CLAUDE), json=one)) for one in bodies]
            await server.seen(3)
            await at.gateway.revoke(opened.key, "cancelled")
            events = await at.events()
            results = await asyncio.gather(*calls)
        assert sum(isinstance(event, e.ModelErred) for event in events) == 3
        assert [(one.status_code, "cancelled" in one.text) for one in results] == [(400, True)] * 3
        assert (await at.purse())[1] == 0


async def test_what_a_dead_process_left_open_counts_as_spent(tmp_path: Path) -> None:
    async with ScriptedServer(scenario(Fault(kind=Kind.HANG, times=1))) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            call = asyncio.create_task(inside.post(path(CLAUDE), json=body(CLAUDE)))
            await server.seen(1)
            again = await at.grant()  # the same attempt, as a process that took over would
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        reserved = next(event.reserved_nusd for event in await at.events() if isinstance(event, e.ModelAsked))
        assert await at.purse() == (reserved, 0)
        async with client(again) as inside:
            assert (await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
        steps = [event.step for event in await at.events() if isinstance(event, e.ModelAsked)]
        assert steps == [1, 2]


async def test_a_hundred_callers_never_pass_any_cap_by_what_was_billed(tmp_path: Path) -> None:
    cap = 0.40
    cut = Rule(match=Match(prompt=r"^\d*[05] "), turns=(TALK,), faults=(Fault(kind=Kind.CUT, after=5),), repeat=True)
    plan = scenario().model_copy(update={"rules": (cut, *scenario().rules)})
    async with (
        ScriptedServer(plan) as server,
        bench(tmp_path, server, run_usd=cap) as at,
    ):
        keys = [await at.grant(f"{RUN}.task.{number}", days=DayCaps(1, 1)) for number in range(1, 101)]

        async def caller(number: int) -> int:
            done = 0
            async with client(keys[number]) as inside:
                for turn in range(30):
                    name = MODELS[(number + turn) % 4]
                    try:
                        answer = await inside.post(path(name), json=body(name, text=f"{number} {turn} " * 40))
                    except httpx2.HTTPError:
                        continue
                    if answer.status_code == 400:
                        assert "budget is exhausted" in answer.text
                        return done
                    done += 1
            return done

        done = await asyncio.gather(*(caller(number) for number in range(100)))
        await server.idle()
        assert sum(done) > 50, "the money was used, not only guarded"
        assert server.total.nusd <= cap * 1e9
        settled_, reserved = await at.purse()
        assert server.total.nusd <= settled_ <= cap * 1e9
        assert reserved == 0
        assert settled_ > cap * 1e9 * 0.5


def roomy() -> Scenario:
    """With a local model that has room for pictures."""
    return scenario().model_copy(update={"models": {"local": Served(context=200_000)}})


@pytest.mark.parametrize("name", BILLED)
async def test_pictures_and_documents_are_set_aside_for_by_what_they_are_billed(tmp_path: Path, name: str) -> None:
    """Small files, large bills: many pictures of one colour, and pages with nothing on them."""
    shown = [png(1568, 1568)] * 12 + [pdf(9)]
    async with ScriptedServer(roomy()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(name), json=showing(name, shown))
            assert answer.status_code == 200, answer.text
        asked, answered = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(answered, e.ModelAnswered)
        assert server.total.nusd > 12 * 1_000 * 3_000 + 9 * 4_000 * 3_000, "they were billed"
        assert server.total.nusd == answered.cost_nusd <= asked.reserved_nusd
        assert asked.reserved_nusd < 8 * answered.cost_nusd, "and not for nothing"


@pytest.mark.parametrize("name", BILLED)
async def test_a_screenshot_is_neither_too_long_nor_a_fortune(tmp_path: Path, name: str) -> None:
    async with ScriptedServer(roomy()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant(usd=0.2)) as inside:
            answer = await inside.post(path(name), json=showing(name, [png(1920, 1080, more=8_000_000)]))
        assert answer.status_code == 200, answer.text
        asked, _ = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert server.total.nusd <= asked.reserved_nusd < 100_000_000


async def test_callers_with_pictures_never_pass_a_cap_by_what_was_billed(tmp_path: Path) -> None:
    cap, plan = 1.5, roomy().model_copy(update={"cache": False})
    async with ScriptedServer(plan) as server, bench(tmp_path, server, run_usd=cap) as at:
        keys = [await at.grant(f"{RUN}.task.{number}") for number in range(1, 21)]

        async def caller(number: int) -> int:
            async with client(keys[number]) as inside:
                for turn in range(30):
                    name = MODELS[(number + turn) % 4]
                    sent = showing(name, [png(1568, 1568)] * 4, text=f"{number} {turn}")
                    answer = await inside.post(path(name), json=sent)
                    if answer.status_code == 400:
                        assert "budget is exhausted" in answer.text
                        return turn
            return 30

        done = await asyncio.gather(*(caller(number) for number in range(20)))
        await server.idle()
        assert sum(done) > 15, "the money was used, not only guarded"
        settled_, reserved = await at.purse()
        assert cap * 0.5e9 < server.total.nusd <= settled_ <= cap * 1e9
        assert reserved == 0


SAID = b" 31.2,99,1.78\n" * 4_000
LIKE = {
    "pdf": b"%PDF-1.4 /Type /Page\n" + SAID,
    "gif": b"GIF89a\x01\x00\x01\x00\x00\x00\x00," + b"\0" * 9 + SAID,
    "bmp": b"BMI,weight,height\n" + SAID,
}


@pytest.mark.parametrize("like", store_kit.first_on_both("what differs is what is estimated before it is asked", LIKE))
@pytest.mark.parametrize("name", BILLED)
async def test_a_text_that_begins_like_something_else_is_set_aside_for_as_the_text_that_is_billed(
    tmp_path: Path, name: str, like: str
) -> None:
    async with ScriptedServer(roomy()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(name), json=showing(name, [LIKE[like]], mime="text/csv"))
            assert answer.status_code == 200, answer.text
        asked, answered = await at.events(2)
        assert isinstance(asked, e.ModelAsked)
        assert isinstance(answered, e.ModelAnswered)
        assert server.total.nusd > len(SAID) / 4 * 1_000, "as a text"
        assert server.total.nusd == answered.cost_nusd <= asked.reserved_nusd


async def test_whoever_may_not_ask_any_more_makes_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, pieces = list[Wire](), inline.pieces

    def seen(wire: Wire, body: Mapping[str, Any], may: Allowance) -> tuple[Piece, ...]:
        looked.append(wire)
        return pieces(wire, body, may)

    monkeypatch.setattr(inline, "pieces", seen)
    async with (
        ScriptedServer(roomy()) as server,
        bench(tmp_path, server) as at,
        client(await at.grant(turns=1)) as inside,
    ):
        answers = [await inside.post(path(CLAUDE), json=showing(CLAUDE, [pdf(2)])) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert "the limit of 1 model calls" in answers[2].text
    assert len(looked) == 1


async def test_a_large_document_is_counted_beside_everything_else(tmp_path: Path) -> None:
    """Several at once, of one key and of another."""
    large = pdf(3) + b" " * 1_500_000
    async with ScriptedServer(roomy()) as server, bench(tmp_path, server) as at:
        one, other = await at.grant(f"{RUN}.task.1"), await at.grant(f"{RUN}.task.2")
        async with client(one) as inside, client(other) as beside:
            asking = [each.post(path(CLAUDE), json=showing(CLAUDE, [large])) for each in (inside, inside, beside)]
            assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 3
        for asked in await at.events():
            if isinstance(asked, e.ModelAsked):
                assert asked.reserved_nusd < 200_000_000, "three pages, and no whole window"


async def test_a_body_of_any_depth_leaves_nothing_set_aside(tmp_path: Path) -> None:
    """Also one that is only just read, and has to be written again for a model of another name."""
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            said = body(CLAUDE) | {"model": "quarterdeck"}
            for levels in (3, 150, *range(850, 1_000)):
                sent = json.dumps(said)[:-1] + ',"x":' + "[" * levels + "]" * levels + "}"
                answer = await inside.post(path(CLAUDE), content=sent.encode())
                assert answer.status_code == (200 if levels < 200 else 400), (levels, answer.text)
        await server.idle()
        assert (await at.purse())[1] == 0


async def test_an_outcome_is_written_with_the_next_intent_and_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "_PATIENCE", 3600.0)
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant(usd=0.015)  # for what two calls cost, not for what two may cost
        async with client(opened) as inside:
            for _ in range(2):
                assert (await inside.post(path(CLAUDE), json=body(CLAUDE))).status_code == 200
        first = await at.events(3)
        await at.gateway.revoke(opened.key, "over")
        assert [type(event) for event in first] == [e.ModelAsked, e.ModelAnswered, e.ModelAsked]
        assert isinstance(first[0], e.ModelAsked)
        assert first[0].reserved_nusd * 2 > 15_000_000
        assert isinstance((await at.events())[-1], e.ModelAnswered)
        assert (await at.purse())[1] == 0


async def test_what_is_not_understood_is_answered_not_passed(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answers = [
                await inside.post("/v1/files", content=b"x"),
                await inside.post(path(CLAUDE), content=b"no json"),
                await inside.post(path(CLAUDE), content=b"\x1f\x8b junk", headers={"content-encoding": "gzip"}),
                await inside.post(path(CLAUDE), content=b"x", headers={"content-encoding": "br"}),
                await inside.post(path(GPT), json=body(GPT) | {"tools": [{"type": "web_search"}]}),
            ]
        assert [answer.status_code for answer in answers] == [404, 400, 400, 415, 400]
        assert server.total.requests == 0


async def test_a_prompt_beyond_the_window_is_refused_in_the_providers_words(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant()) as inside:
            answer = await inside.post(path(CLAUDE), json=body(CLAUDE, text="word " * 1_200_000))
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("prompt is too long")
        assert server.total.requests == 0


async def test_counting_tokens_is_free(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server) as at:
        async with client(await at.grant(usd=0)) as inside:
            counted = await inside.post("/v1/messages/count_tokens", json=body(CLAUDE))
        assert json.loads(counted.text)["input_tokens"] > 0
        assert await at.events() == []


class Told(Crowd):
    """Processes that share a provider: what they are told, and how many calls they let through."""

    def __init__(self) -> None:
        self.left = 0
        self.told: list[float] = []

    async def leave(self) -> float:
        self.left += 1
        return 0.0

    def heard(self, seconds: float) -> None:
        self.told.append(seconds)


async def test_a_count_is_a_request_to_the_provider_like_any_other(tmp_path: Path) -> None:
    told = Told()
    limiters = Limiters(SystemClock(), sharing=lambda provider, place: told)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        said = b'{"type":"error","error":{"type":"rate_limit_error","message":"slower"}}'
        head = f"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: {len(said)}\r\n"
        writer.write(head.encode() + b"content-type: application/json\r\nconnection: close\r\n\r\n" + said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as listening, ScriptedServer(scenario()) as server:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        async with (
            bench(tmp_path, server, base=url, limiters=limiters) as at,
            client(await at.grant()) as inside,
        ):
            counted = await inside.post("/v1/messages/count_tokens", json=body(CLAUDE))
        assert (counted.status_code, counted.headers["x-should-retry"]) == (429, "false")
        assert "slower" in counted.text
        assert told.left == 1, "it left as a call leaves"
        assert 7.0 in told.told, "what it was told holds for every call"


async def test_what_is_not_configured_is_said_and_nothing_leaves(tmp_path: Path) -> None:
    async with ScriptedServer(scenario()) as server, bench(tmp_path, server, keys={"openai": REAL_KEY}) as at:
        unpriced = "openai:gpt-of-tomorrow"
        async with client(await at.grant(models=(CLAUDE, unpriced))) as inside:
            answers = [
                await inside.post(path(GPT), json=body(GPT) | {"model": "gpt-of-tomorrow"}),
                await inside.post(path(CLAUDE), json=body(CLAUDE)),
                await inside.post("/v1/messages/count_tokens", json=body(CLAUDE)),
                await inside.post(path(GPT), json=body(GPT) | {"model": "gpt-other"}),
                await inside.post(path(GPT), json=body(GPT) | {"model": "gpt-of-tomorrow", "background": True}),
            ]
        said = [answer.json()["error"]["message"] for answer in answers]
        assert [answer.status_code for answer in answers] == [400] * 5
        assert all(sentence.startswith("Quarterdeck: ") for sentence in said), said
        assert f"the price of {unpriced} is not known" in said[0]
        assert "[prices]" in said[0]
        assert "key" in said[1]
        assert said[2] == said[1]
        assert server.total.requests == 0
        assert (await at.events(), await at.purse()) == ([], (0, 0))


async def test_a_call_waits_for_money_that_only_calls_under_way_hold(tmp_path: Path) -> None:
    """One worst case fits at a time, and each call costs a fraction of it: nobody is told that the money is gone."""
    plan = scenario().model_copy(update={"latency": Latency(per_token=0.001)})
    async with ScriptedServer(plan) as server, bench(tmp_path, server, run_usd=0.024) as at:
        opened = await at.grant()
        async with client(opened) as inside:
            bodies = [body(CLAUDE, text=f"number {number}", limit=900) for number in range(3)]
            answers = await asyncio.gather(*(inside.post(path(CLAUDE), json=one) for one in bodies))
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        reserved = [event.reserved_nusd for event in await at.events(6) if isinstance(event, e.ModelAsked)]
        assert min(reserved) * 2 > 0.024 * 1e9, "two of them did not fit"
