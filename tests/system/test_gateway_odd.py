"""Providers that answer oddly: whatever they say, the call is closed on record and its money is settled."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_kit import CLAUDE, LOCAL, bench, body, client, path

from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Usage
from quarterdeck.models.scripted.scenario import Scenario
from quarterdeck.models.scripted.server import ScriptedServer


@asynccontextmanager
async def saying(sent: bytes, kind: bytes = b"application/json", status: bytes = b"200") -> AsyncIterator[str]:
    """A server that says that to whoever asks; its address."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s X\r\ncontent-type: %s\r\nconnection: close\r\n\r\n" % (status, kind) + sent)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1") as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def test_an_answer_in_a_form_of_its_own_is_metered_and_settled(tmp_path: Path) -> None:
    """As some servers between us and a model write it: a text where the format has a list."""
    said = {"type": "message", "content": "Hi", "stop_reason": "end_turn"}
    sent = json.dumps({**said, "usage": {"input_tokens": 3, "output_tokens": 2}}).encode()
    async with (
        saying(sent) as url,
        ScriptedServer(Scenario()) as server,
        bench(tmp_path, server, base=url) as at,
        client(await at.grant()) as inside,
    ):
        answer = await inside.post(path(CLAUDE), json=body(CLAUDE, stream=False))
        assert (answer.status_code, answer.content) == (200, sent)
        _, answered = await at.events(2)
        assert isinstance(answered, e.ModelAnswered)
        assert (answered.usage, answered.estimated) == (Usage(input=3, output=2), False)
        assert await at.purse() == (answered.cost_nusd, 0), "nothing stays set aside"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_failure_in_words_that_nothing_can_store_is_closed_on_record(tmp_path: Path, streams: bool) -> None:
    """Servers repeat what they could not read: half a surrogate pair, as JSON spells it."""
    said = rb'{"error":{"type":"x","code":"\udfff","message":"not allowed: \ud83d"}}'
    kind, status = (b"text/event-stream", b"200") if streams else (b"application/json", b"400")
    sent = b"data: " + said + b"\n\n" if streams else said
    async with (
        saying(sent, kind, status) as url,
        ScriptedServer(Scenario()) as server,
        bench(tmp_path, server, base=url) as at,
        client(await at.grant()) as inside,
    ):
        answer = await inside.post(path(LOCAL), json=body(LOCAL))
        assert answer.content == sent
        _, erred = await at.events(2)
        assert isinstance(erred, e.ModelErred)
        assert "not allowed: \ufffd" in erred.reason
        assert await at.purse() == (erred.cost_nusd, 0), "nothing stays set aside"
