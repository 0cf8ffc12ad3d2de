"""The way to a provider's server: what goes out, what comes back, and what never does."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from quarterdeck import __version__
from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models.factory import Models, make_factory
from quarterdeck.models.http.line import Line
from quarterdeck.models.port import Deadlines
from quarterdeck.models.providers import PROVIDERS
from quarterdeck.models.upstream import Answer

PATIENT = Deadlines(connect=2, first_byte=5, idle=5, total=10)
HASTY = Deadlines(connect=2, first_byte=0.2, idle=0.2, total=1.0)
NAMES = {
    "anthropic:a": "x-api-key",
    "openai:a": "authorization",
    "chat:a": "authorization",
    "ollama:a": "authorization",
}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Keeps the head and the body of each request and answers what it is told."""

    def __init__(self, answer: bytes, hold: bool = False) -> None:
        self.heads: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.bodies: list[bytes] = []
        self.left = asyncio.Event()
        """The client closed a connection before its answer was whole."""
        self._answer = answer
        self._hold = hold

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
            head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            self.targets.append(line)
            self.heads.append(head)
            self.bodies.append(await reader.readexactly(int(head.get("content-length", "0"))))
            writer.write(self._answer)
            await writer.drain()
            if self._hold:
                await reader.read()
                self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    answer: bytes, hold: bool = False, deadlines: Deadlines = PATIENT, base: str = ""
) -> AsyncIterator[tuple[Server, Models]]:
    made = Server(answer, hold)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{base}"
    providers = ("anthropic", "openai", "google", "chat", "ollama")
    models = make_factory(
        keys=dict.fromkeys(providers, "real"),
        base_urls=dict.fromkeys(providers, url),
        deadlines=deadlines,
        reload_key=lambda provider: f"new-{provider}",
    )
    try:
        yield made, models
    finally:
        await models.close()
        server.close()
        await server.wait_closed()


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize("name", NAMES)
async def test_the_real_key_goes_out_and_the_callers_does_not(name: str) -> None:
    sent = [
        *(("Authorization", "Bearer virtual"), ("X-Api-Key", "virtual"), ("x-goog-api-key", "virtual")),
        *(("Host", "elsewhere"), ("Connection", "close"), ("Content-Length", "3"), ("Proxy-Authorization", "virtual")),
        *(("Content-Type", "application/json"), ("anthropic-beta", "b"), ("User-Agent", "a-cli/1")),
    ]
    async with serving(response(b"{}"), base="/base/") as (server, models):
        upstream = await models.upstream(name)
        async with upstream.forward(name, "/v1/x?beta=true", b'{"a": 1 }', sent) as answer:
            assert [chunk async for chunk in answer.chunks()] == [b"{}"]
    head = server.heads[0]
    assert server.targets == ["POST /base/v1/x?beta=true HTTP/1.1"]
    assert server.bodies == [b'{"a": 1 }'], "to the byte"
    assert head[NAMES[name]].removeprefix("Bearer ") == "real"
    assert "virtual" not in str(head)
    assert (head["user-agent"], head["anthropic-beta"]) == ("a-cli/1", "b")
    assert head["host"].startswith("127.0.0.1")
    assert ("anthropic-version" in head) == name.startswith("anthropic")


async def test_who_asks_says_which_version_he_speaks() -> None:
    async with serving(response(b"{}")) as (server, models):
        upstream = await models.upstream("anthropic:a")
        for headers in ([], [("Anthropic-Version", "2023-06-01")]):
            async with upstream.forward("anthropic:a", "/v1/messages", b"{}", headers):
                pass
    first, second = server.heads
    assert first["user-agent"] == f"quarterdeck/{__version__}"
    assert (first["accept-encoding"], first["anthropic-version"]) == ("identity", "2026-10-21")
    assert second["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("status", ["200 OK", "429 Too Many Requests", "500 Oops"])
async def test_what_comes_back_is_not_changed(status: str) -> None:
    body = b"\x1f\x8bnot really packed"
    async with serving(response(body, status, "content-encoding: gzip\r\nRetry-After: 7\r\n")) as (_, models):
        upstream = await models.upstream("chat:a")
        async with upstream.forward("chat:a", "/chat/completions", b"{}") as answer:
            assert b"".join([chunk async for chunk in answer.chunks()]) == body
            assert answer.status == int(status[:3])
            assert ("retry-after", "7") in answer.headers


class Pieces:
    """A body in pieces, the last of which came with its end."""

    def __init__(self, *pieces: bytes) -> None:
        self._left = [*pieces]

    @property
    def over(self) -> bool:
        return not self._left

    async def chunk(self, due: float = math.inf) -> bytes:
        return self._left.pop(0) if self._left else b""

    async def pour(self, sink: Callable[[bytes], bool], due: Callable[[], float] = lambda: math.inf) -> None:
        while len(self._left) > 1 and sink(self._left.pop(0)):
            continue


@pytest.mark.parametrize(
    ("pieces", "known"),
    [
        ((b"data: 1\n\n",), (b"data: 1\n\n", True)),
        ((b"data: 1\n\n", b"data: 2\n\n"), (b"data: 2\n\n", True)),
        ((b"it ends as sk-a-key",), (b"sk-a-key", False)),  # held back until nothing more came
    ],
)
async def test_the_last_part_is_known_as_such_where_it_came_with_the_end(
    pieces: tuple[bytes, ...], known: tuple[bytes, bool]
) -> None:
    answer = Answer("chat:a", "http://h", 200, [], Pieces(*pieces), None, ("sk-a-key-of-some-length",))
    found = [(chunk, answer.over) async for chunk in answer.chunks()]
    assert b"".join(chunk for chunk, _ in found) == b"".join(pieces)
    assert found[-1] == known
    assert not any(over for _, over in found[:-1])


async def test_what_is_poured_is_without_the_key_too() -> None:
    body, found = Pieces(b"it is sk-a-key", b"-of-some-length, ", b"really", b"the end"), list[bytes]()
    answer = Answer("chat:a", "http://h", 200, [], body, None, ("sk-a-key-of-some-length",))

    def sink(piece: bytes) -> bool:
        found.append(piece)
        return True

    await answer.pour(sink)
    assert found == [b"it is ", b"[key], ", b"really"]
    assert await answer.piece() == b"the end"


async def test_silence_while_it_is_poured_is_told_as_such() -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.read()
        writer.close()

    deadlines = Deadlines(connect=5, first_byte=5, idle=0.05, total=60)
    async with await asyncio.start_server(speak, "127.0.0.1") as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        models = make_factory(keys={"chat": None}, base_urls={"chat": url}, deadlines=deadlines)
        upstream = await models.upstream("chat:a")
        async with upstream.forward("chat:a", "/x", b"{}") as answer:
            assert await answer.piece() == b"a"
            with pytest.raises(ModelFailed, match="silent") as failed:
                await answer.pour(lambda piece: True)
        await models.close()
    assert failed.value.billed
    assert failed.value.why == "the next event took over 0.05 s"


async def test_what_an_error_status_means_can_be_asked() -> None:
    body = b'{"error": {"type": "insufficient_quota", "message": "no money"}}'
    async with (
        serving(response(body, "429 Too Many Requests", "retry-after: 7\r\n")) as (_, models),
        (await models.upstream("chat:a")).forward("chat:a", "/x", b"{}") as answer,
    ):
        failure = await answer.refusal()
    assert (failure.kind, failure.retry_after, failure.billed) == (FailureClass.QUOTA, 7.0, False)


@pytest.mark.parametrize(("key", "says"), [("a-real-key", "what is [key]?"), ("k", "what is a-real-key?")])
async def test_an_error_that_repeats_the_key_is_told_without_it(key: str, says: str) -> None:
    answer = Answer("m", "http://here", 400, [], Line(), None, (key,))
    assert answer.redacted(b"what is a-real-key?") == says.encode()
    assert says in answer.meaning(b'{"error": {"message": "what is a-real-key?"}}').why


async def test_a_key_is_not_led_elsewhere() -> None:
    moved = response(b"", "307 Temporary Redirect", "location: http://127.0.0.1:1/steal\r\n")
    async with (
        serving(moved) as (server, models),
        (await models.upstream("anthropic:a")).forward("anthropic:a", "/x", b"{}") as answer,
    ):
        failure = await answer.refusal()
    assert len(server.heads) == 1
    assert failure.kind is FailureClass.CONFIGURATION
    assert "http://127.0.0.1:1/steal" in failure.why


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "first sign of life"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "first sign of life"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "next event"),
    ],
)
async def test_silence_ends_at_its_deadline_and_the_connection_with_it(answer: bytes, says: str) -> None:
    async with serving(answer, hold=True, deadlines=HASTY) as (server, models):
        upstream = await models.upstream("openai:a")
        with pytest.raises(ModelFailed) as caught:
            async with upstream.forward("openai:a", "/responses", b"{}") as passed:
                async for _ in passed.chunks():
                    continue
        await asyncio.wait_for(server.left.wait(), 10)
    assert caught.value.kind is FailureClass.TRANSIENT
    assert caught.value.billed
    assert says in caught.value.why


async def test_whoever_leaves_early_closes_the_connection() -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"
    async with serving(endless, hold=True) as (server, models):
        async with (
            (await models.upstream("openai:a")).forward("openai:a", "/x", b"{}") as answer,
            aclosing(answer.chunks()) as chunks,
        ):
            assert await anext(chunks) == b"abc"
        await asyncio.wait_for(server.left.wait(), 10)


async def test_half_an_answer_is_a_broken_one() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc") as (_, models):
        upstream = await models.upstream("openai:a")
        async with upstream.forward("openai:a", "/x", b"{}") as answer:
            chunks = answer.chunks()
            assert await anext(chunks) == b"abc"
            with pytest.raises(ModelFailed, match="broke off") as caught:
                await anext(chunks)
    assert (caught.value.kind, caught.value.billed) == (FailureClass.TRANSIENT, True)


async def test_a_key_that_was_refused_is_read_again_once_for_all_that_used_it() -> None:
    async with serving(response(b"{}")) as (server, models):
        upstream = await models.upstream("anthropic:a")
        assert upstream is await models.upstream("anthropic:b"), "one way for all models"
        old = upstream.key
        await upstream.reload_key(old)
        await upstream.reload_key("another one")
        async with upstream.forward("anthropic:a", "/x", b"{}"):
            pass
    assert (old, upstream.key, server.heads[0]["x-api-key"]) == ("real", "new-anthropic", "new-anthropic")


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_of_ones_own_is_sent_no_key_but_the_one_that_is_named(name: str) -> None:
    """Neither at first, nor after it said that it wants one."""
    async with serving(response(b'{"error": {"message": "a key, please"}}', "401 No")) as (server, theirs):
        elsewhere = (await theirs.upstream(name)).address
        models = make_factory(
            keys={**dict.fromkeys(PROVIDERS, "real"), "MINE": "mine"},
            base_urls=dict.fromkeys(PROVIDERS, "http://127.0.0.1:1"),
            models={
                name: ModelSection(base_url=elsewhere),
                f"{name}2": ModelSection(base_url=elsewhere, api_key_env="MINE"),
            },
            reload_key=lambda source: f"new-{source}",
        )
        upstream = await models.upstream(name)
        for _ in range(2):
            async with upstream.forward(name, "/x", b"{}") as answer:
                refused = await answer.refusal()
            await upstream.reload_key(upstream.key)
        assert refused.kind is FailureClass.CONFIGURATION, "no attempt mends it"
        assert "no key was sent to it" in refused.why
        assert "a key, please" in refused.why
        assert f'[models."{name}"] api_key_env' in refused.fix
        own = await models.upstream(f"{name}2")
        async with own.forward(f"{name}2", "/x", b"{}") as answer:
            assert (await answer.refusal()).kind is FailureClass.AUTH
        await models.close()
    first, second, named = (head.get(NAMES[name]) for head in server.heads)
    assert (first, second) == (None, None)
    assert str(named).removeprefix("Bearer ") == "mine"
    assert "real" not in str(server.heads)
