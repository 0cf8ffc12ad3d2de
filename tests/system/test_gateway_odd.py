"""Providers that answer oddly: whatever they say, the call is closed on record and its money is settled."""

import asyncio
from pathlib import Path

import pytest
from gateway_kit import LOCAL, bench, body, client, path

from quarterdeck.kernel import events as e
from quarterdeck.models.scripted.scenario import Scenario
from quarterdeck.models.scripted.server import ScriptedServer


@pytest.mark.parametrize("streams", [False, True])
async def test_a_failure_in_words_that_nothing_can_store_is_closed_on_record(tmp_path: Path, streams: bool) -> None:
    """Servers repeat what they could not read: half a surrogate pair, as JSON spells it."""
    said = rb'{"error":{"type":"x","code":"\udfff","message":"not allowed: \ud83d"}}'
    kind, status = (b"text/event-stream", b"200") if streams else (b"application/json", b"400")
    sent = b"data: " + said + b"\n\n" if streams else said

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %s X\r\ncontent-type: %s\r\nconnection: close\r\n\r\n" % (status, kind) + sent)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as listening, ScriptedServer(Scenario()) as server:
        url = "http://127.0.0.1:{}".format(*listening.sockets[0].getsockname()[1:])
        async with bench(tmp_path, server, base=url) as at, client(await at.grant()) as inside:
            answer = await inside.post(path(LOCAL), json=body(LOCAL))
            assert answer.content == sent
            _, erred = await at.events(2)
            assert isinstance(erred, e.ModelErred)
            assert "not allowed: \ufffd" in erred.reason
            assert await at.purse() == (erred.cost_nusd, 0), "nothing stays set aside"
