"""Tool servers at an address: the headers that are declared go there and nowhere else, and no answer is too much."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from shed_kit import call, shed

from quarterdeck.kernel.failures import BadConfiguration, ToolServerFailed
from quarterdeck.kernel.servers import McpServer
from quarterdeck.tools.shed.answers import Answer
from quarterdeck.tools.shed.port import Link, ServerGone
from quarterdeck.tools.shed.wire.client import SdkLinker

TOKEN = {"Authorization": "Bearer planted"}
Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Web:
    """A server of the older revision, and what reached it."""

    url: str = ""
    heard: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    call: Callable[["Web"], Reply] = lambda web: told({"content": [{"type": "text", "text": "hello"}]})
    session: str = ""
    last: Any = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:]) if name}
            self.last = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"null")
            self.heard.append((head[0].split()[1], headers, self.last))
            status, more, body = self._answer()
            lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in more.items()]
            lines += [f"mcp-session-id: {self.session}"] if self.session else []
            writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    def _answer(self) -> Reply:
        method = self.last.get("method") if isinstance(self.last, dict) else None
        if method == "initialize":
            about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "web", "version": "1"}}
            return self.say({"protocolVersion": "2025-11-25", **about})
        if method == "tools/list":
            return self.say({"tools": [{"name": "hello", "inputSchema": {"type": "object"}}]})
        if method == "tools/call":
            status, headers, body = self.call(self)
            return (status, headers, body) if body[:1] != b"{" else self.say(json.loads(body))
        return (202, {}, b"") if method is not None and "id" not in self.last else (404, {}, b"")

    def say(self, result: Any) -> Reply:
        message = {"jsonrpc": "2.0", "id": self.last["id"], "result": result}
        return 200, {"content-type": "application/json"}, json.dumps(message).encode()


def told(result: Any) -> Reply:
    return 200, {}, json.dumps(result).encode()


@asynccontextmanager
async def web(**given: Any) -> AsyncIterator[Web]:
    made = Web(**given)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        yield made


@asynccontextmanager
async def linked(there: Web) -> AsyncIterator[Link]:
    link = await SdkLinker().to_address(there.url, TOKEN, timeout=20.0)
    try:
        yield link
    finally:
        await link.close()


async def hello(link: Link) -> Answer:
    return await link.call("hello", {}, 20.0)


async def test_every_request_carries_the_declared_headers() -> None:
    async with web() as there, linked(there) as link:
        assert link.revision == "2025-11-25"
        assert [tool.name for tool in await link.tools()] == ["hello"]
        assert (await hello(link)).parts[0].text == "hello"
    assert {headers["authorization"] for _, headers, _ in there.heard} == {"Bearer planted"}
    assert {headers["accept-encoding"] for _, headers, _ in there.heard} == {"identity"}


async def test_an_address_is_called_once_it_is_approved_and_its_secret_stays_here(tmp_path: Path) -> None:
    def echo(there: Web) -> Reply:
        return told({"content": [{"type": "text", "text": there.heard[-1][1]["authorization"]}]})

    async with web(call=echo) as there, shed(tmp_path, known={"T": "planted-secret"}) as desk:
        declared = McpServer(url=there.url, headers={"Authorization": "Bearer ${T}"})
        with pytest.raises(BadConfiguration, match="not approved"):
            await desk.shed.gather(desk.needs("mcp:strange", strange=declared))
        given = await desk.shed.gather(desk.needs("mcp:strange?", "mcp:s*", strange=declared))
        assert (given.shown, there.heard) == ((), [])
        outside = await desk.outside(desk.needs("mcp:known", known=declared))
        assert (await call(outside, "known__hello")).text == "Bearer [T]"
        assert {headers["authorization"] for _, headers, _ in there.heard} == {"Bearer planted-secret"}


async def test_a_redirect_to_somebody_else_is_not_followed() -> None:
    async with web() as thief, web(call=lambda _: (307, {"location": thief.url}, b"")) as there, linked(there) as link:
        answer = await hello(link)
    assert answer.error
    assert "not followed" in answer.parts[0].text
    assert thief.heard == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b" " * 50_000_000),
        ({"content-type": "application/json", "content-encoding": "gzip"}, gzip.compress(b" " * 50_000_000)),
    ],
    ids=["huge", "compressed"],
)
async def test_an_answer_that_is_too_much_ends_the_call(headers: dict[str, str], body: bytes) -> None:
    async with web(call=lambda _: (200, headers, body)) as there, linked(there) as link:
        with pytest.raises(ServerGone) as caught:
            await hello(link)
        assert "longer than it may be" in caught.value.why or "compressed" in caught.value.why
        assert link.ended.is_set()


async def test_an_answer_that_is_no_message_is_an_answer() -> None:
    async with web(call=lambda _: (500, {"content-type": "text/html"}, b"<html>")) as there, linked(there) as link:
        answer = await hello(link)
        assert answer.error
        there.call = lambda web: (200, {"content-type": "text/html"}, b"<html>")
        assert (await hello(link)).error
        there.call = lambda web: told({"content": "no list"})
        assert "no result" in (await hello(link)).parts[0].text


def test_what_a_server_sends_is_not_printed() -> None:
    """The SDK logs it; without a handler Python prints that."""
    code = f"""if True:
        import asyncio, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_toolshed_http import hello, linked, web
        async def main():
            garbage = lambda _: (200, {{"content-type": "application/json"}}, b"planted garbage")
            async with web(call=garbage) as there, linked(there) as link:
                assert (await hello(link)).error
        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_being_refused_is_said_and_ends_the_connection() -> None:
    async with web(call=lambda _: (401, {"www-authenticate": "Bearer"}, b"")) as there, linked(there) as link:
        with pytest.raises(ServerGone) as caught:
            await hello(link)
        assert "HTTP 401" in caught.value.why


async def test_a_session_that_is_over_ends_the_connection() -> None:
    async with web(session="s-1", call=lambda _: (404, {}, b"")) as there, linked(there) as link:
        with pytest.raises(ServerGone) as caught:
            await hello(link)
        assert "session is over" in caught.value.why


async def test_nobody_there_is_said() -> None:
    async with web() as there:
        gone = there.url
    with pytest.raises(ToolServerFailed, match=r"cannot be used"):
        await SdkLinker().to_address(gone, TOKEN, timeout=20.0)
