"""Providers that answer oddly: whatever they say, the call is closed on record and its money is settled."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from gateway_kit import CLAUDE, LOCAL, MODELS, bench, body, client, path

from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.entities import Usage
from quarterdeck.models.scripted.scenario import Scenario
from quarterdeck.models.scripted.server import ScriptedServer


@asynccontextmanager
async def saying(
    sent: bytes, kind: bytes = b"application/json", status: bytes = b"200", more: bytes = b""
) -> AsyncIterator[str]:
    """A server that says that to whoever asks; its address. `more`: further headers, each with its line break."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 %s X\r\ncontent-type: %s\r\n%sconnection: close\r\n\r\n" % (status, kind, more)
        writer.write(head + sent)
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


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("status", [b"301", b"307"])
async def test_nobody_is_sent_on_to_another_server(tmp_path: Path, name: str, status: bytes) -> None:
    """A client would follow, with the virtual key: the vendors' own do."""
    async with (
        saying(b"", status=status, more=b"location: https://elsewhere.example/take\r\n") as url,
        ScriptedServer(Scenario()) as server,
        bench(tmp_path, server, base=url) as at,
        client(await at.grant(models=(name,))) as inside,
    ):
        answer = await inside.post(path(name), json=body(name))
        assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
        assert "location" not in answer.headers
        said = answer.json()["error"]["message"]
        assert said.startswith(f"Quarterdeck: {name} failed with HTTP {status.decode()}")
        assert "sends calls on to https://elsewhere.example/take (correct the address of the model's server)" in said
        _, erred = await at.events(2)
        assert isinstance(erred, e.ModelErred)
        assert await at.purse() == (0, 0), "nobody worked on it"


async def test_counting_tokens_sends_nobody_on_either(tmp_path: Path) -> None:
    async with (
        saying(b"", status=b"308", more=b"location: https://elsewhere.example/take\r\n") as url,
        ScriptedServer(Scenario()) as server,
        bench(tmp_path, server, base=url) as at,
        client(await at.grant()) as inside,
    ):
        answer = await inside.post("/v1/messages/count_tokens", json=body(CLAUDE))
        assert (answer.status_code, "location" in answer.headers) == (400, False)
        assert "correct the address" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", MODELS)
async def test_a_server_of_ones_own_that_wants_a_key_says_where_it_is_set(tmp_path: Path, name: str) -> None:
    async with (
        saying(b'{"error":{"message":"who are you?","type":"x"}}', status=b"401") as url,
        ScriptedServer(Scenario()) as server,
        bench(tmp_path, server, sections={name: ModelSection(base_url=f"{url}/v1")}) as at,
        client(await at.grant(models=(name,))) as inside,
    ):
        answer = await inside.post(path(name), json=body(name))
        assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")
        said = answer.json()["error"]["message"]
        assert f'[models."{name}"] api_key_env' in said
        assert "who are you?" in said


async def test_why_nothing_can_be_recorded_is_said_once_however_often_a_client_tries(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ScriptedServer(Scenario()) as server, bench(tmp_path, server) as at:
        opened = await at.grant()
        await at.store.close()
        async with client(opened) as inside:
            for _ in range(4):
                answer = await inside.post(path(CLAUDE), json=body(CLAUDE, stream=False))
                assert (answer.status_code, "cannot work at the moment" in answer.text) == (503, True)
        assert len([text for text in caplog.messages if "the gateway cannot serve" in text]) == 1
        assert not server.total.requests
