"""The allow-list proxy on loopback: who passes, who does not, and what is said about it."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.workplace.callers import Callers, caller
from quarterdeck.workplace.hosts import Refused, Target, is_inner, is_listed, parse_target
from quarterdeck.workplace.proxy import Bounds, Indexes, Proxies, Proxy


@pytest.mark.parametrize(
    ("host", "port", "entry", "passes"),
    [
        ("a.example", 443, "a.example", True),
        ("A.Example.", 443, "a.example", True),
        ("a.example", 80, "a.example", True),
        ("a.example", 22, "a.example", False),
        ("a.example", 8443, "a.example:8443", True),
        ("a.example", 443, "a.example:8443", False),
        ("b.a.example", 443, "*.a.example", True),
        ("c.b.a.example", 443, "*.a.example", True),
        ("a.example", 443, "*.a.example", False),
        ("xa.example", 443, "*.a.example", False),
        ("b.a.example", 443, "a.example", False),
        ("a.example.evil", 443, "a.example", False),
        ("10.0.0.1", 443, "10.0.0.1", True),
        ("::1", 443, "[::1]", True),
        ("::1", 99, "[::1]:99", True),
        ("anything", 443, "*", False),
        ("anything", 443, "", False),
    ],
)
def test_the_list(host: str, port: int, entry: str, passes: bool) -> None:
    assert is_listed(host, port, [entry]) is passes


INNER = """
127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255
::1 :: fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 2002:7f00:1::1 64:ff9b::a00:1 nonsense
"""


@pytest.mark.parametrize("address", INNER.split())
def test_inner_addresses(address: str) -> None:
    assert is_inner(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "100.128.0.1"])
def test_outer_addresses(address: str) -> None:
    assert not is_inner(address)


@given(st.text(max_size=40))
def test_any_target_is_read_or_refused(text: str) -> None:
    for method in ("CONNECT", "GET"):
        with contextlib.suppress(Refused):
            assert parse_target(method, text).host


def test_targets() -> None:
    assert parse_target("CONNECT", "a.example:443") == Target("a.example", 443)
    assert parse_target("CONNECT", "[::1]:99") == Target("::1", 99)
    assert parse_target("GET", "http://a.example/x?y=1") == Target("a.example", 80, "/x?y=1")
    for bad in ("https://a.example/", "/path", "http://u:p@a.example/", "http://ä.example/"):
        with pytest.raises(Refused):
            parse_target("GET", bad)
    for empty in ("", " ", ".", ":443"):
        with pytest.raises(Refused):
            parse_target("CONNECT", empty)


@contextlib.asynccontextmanager
async def far_server() -> AsyncIterator[int]:
    """A server that answers every request with what it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")]
            body = head + await reader.readexactly(length[0] if length else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(proxy: Proxy, data: bytes, then: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(proxy.path)
    with contextlib.closing(writer):
        writer.write(data)
        answer = b""
        if then:
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
        writer.write_eof()
        return answer + await reader.read()


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *allow: str, trusted: tuple[str, ...] = (), **more: object) -> AsyncIterator[Proxy]:
    proxy = Proxy(tmp_path / "p", allow, trusted=trusted, **more)  # type: ignore[arg-type]  # `more` is for one test each
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


async def test_a_tunnel_to_a_listed_address(tmp_path: Path) -> None:
    async with far_server() as port, running(tmp_path, f"127.0.0.1:{port}") as proxy:
        answer = await ask(
            proxy, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"GET / HTTP/1.1\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 200 OK")
        assert [access.refused for access in proxy.log] == [""]


async def test_too_many_connections_are_not_a_host_that_is_not_on_the_list(tmp_path: Path) -> None:
    async with running(tmp_path, "a.example", bounds=Bounds(connections=0)) as proxy:
        answer = await ask(proxy, b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"more than 0 connections at once" in answer
        assert proxy.refusals() == proxy.unreached(0.0) == ()


async def test_a_host_that_is_away_is_told_until_there_is_a_connection_to_it(tmp_path: Path) -> None:
    async with far_server() as port:
        pass  # nobody listens any more
    request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with running(tmp_path, f"127.0.0.1:{port}") as proxy:
        assert (await ask(proxy, request)).startswith(b"HTTP/1.1 502 ")
        assert proxy.unreached(0.0) == ("127.0.0.1",)
        assert proxy.unreached(time.monotonic()) == proxy.refusals() == ()
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port):
            assert (await ask(proxy, request)).startswith(b"HTTP/1.1 200 ")
        assert proxy.unreached(0.0) == ()


async def test_a_plain_request_is_forwarded_without_what_was_meant_for_the_proxy(tmp_path: Path) -> None:
    async with far_server() as port, running(tmp_path, f"127.0.0.1:{port}") as proxy:
        head = f"POST http://127.0.0.1:{port}/a?b HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: secret\r\n"
        answer = await ask(proxy, head.encode() + b"Content-Length: 4\r\nX-Mine: 1\r\n\r\nbody")
        assert b"POST /a?b HTTP/1.1" in answer
        assert answer.endswith(b"body")
        assert b"secret" not in answer
        assert b"evil" not in answer
        assert b"x-mine: 1" in answer.lower()


async def test_a_name_that_leads_inside_is_refused_unless_the_operator_configured_it(tmp_path: Path) -> None:
    async with far_server() as port:
        request = f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        async with running(tmp_path, f"localhost:{port}") as proxy:
            assert b"403" in await ask(proxy, request)
            assert proxy.refusals() == ("localhost",)
        async with running(tmp_path, f"localhost:{port}", trusted=("localhost",)) as proxy:
            assert b"200 OK" in await ask(proxy, request, b"GET / HTTP/1.1\r\n\r\n")


async def test_what_is_not_listed_is_refused_and_written_down(tmp_path: Path) -> None:
    async with running(tmp_path, "a.example") as proxy:
        for request in (
            b"CONNECT b.example:443 HTTP/1.1",
            b"GET http://b.example/ HTTP/1.1",
            b"CONNECT a.example:22 HTTP/1.1",
        ):
            answer = await ask(proxy, request + b"\r\nHost: a.example\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 403")
        assert proxy.refusals() == ("b.example", "a.example")


async def test_nonsense_ends_only_its_own_connection(tmp_path: Path) -> None:
    async with far_server() as port, running(tmp_path, f"127.0.0.1:{port}") as proxy:
        assert await ask(proxy, b"\x16\x03\x01 nonsense\r\n\r\n") == b""
        assert await ask(proxy, b"x" * 100_000) == b""
        assert b"200 OK" in await ask(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_an_idle_connection_ends(tmp_path: Path) -> None:
    async with running(tmp_path, bounds=Bounds(idle_seconds=0.05)) as proxy:
        reader, writer = await asyncio.open_unix_connection(proxy.path)
        with contextlib.closing(writer):
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_the_machines_own_proxy_is_used_where_there_is_one(tmp_path: Path) -> None:
    async with far_server() as port, running(tmp_path, "far.example", upstream=f"http://u:p@127.0.0.1:{port}") as proxy:
        answer = await ask(proxy, b"CONNECT far.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"hello")
        assert b"CONNECT far.example:443" not in answer.split(b"\r\n\r\n")[0]
        plain = await ask(proxy, b"GET http://far.example/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"GET http://far.example/x HTTP/1.1" in plain
        assert b"proxy-authorization: Basic dTpw" in plain


@pytest.mark.parametrize(
    ("says", "away"), [("403 Forbidden", ()), ("407 Who are you?", ()), ("503 Later", ("far.example",))]
)
async def test_a_host_that_the_machines_own_proxy_denies_is_not_away(
    tmp_path: Path, says: str, away: tuple[str, ...]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {says}\r\n\r\n".encode())

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        own = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with running(tmp_path, "far.example", upstream=own) as proxy:
            told = await ask(proxy, b"CONNECT far.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert f"the upstream proxy says 'HTTP/1.1 {says}'".encode() in told
            assert (proxy.unreached(0.0), proxy.refusals()) == (away, ())


async def test_one_proxy_for_each_list_and_default_means_the_indexes(tmp_path: Path) -> None:
    async with far_server() as port:

        async def indexes() -> Indexes:
            return Indexes((f"localhost:{port}",), ("localhost",))

        proxies = Proxies(tmp_path, indexes)
        try:
            first = await proxies.proxy(("default", "b.example"))
            assert first is await proxies.proxy(["b.example", "default"])
            other = await proxies.proxy(("b.example",))
            request = f"GET http://localhost:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            assert b"200 OK" in await ask(first, request)
            assert b"403" in await ask(other, request)
        finally:
            await proxies.close()
            await proxies.close()
        assert first.path.parent != other.path.parent, "a sandbox sees the whole folder"
        assert not first.path.exists()
        assert not first.path.parent.exists()


async def test_a_name_server_that_does_not_answer_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over = threading.Semaphore(0), threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        asked.release()
        over.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    async with running(tmp_path, "*.example") as proxy:
        asking = [
            asyncio.create_task(ask(proxy, f"CONNECT n{n}.example:443 HTTP/1.1\r\nHost: x\r\n\r\n".encode()))
            for n in range(64)
        ]
        try:
            while not asked.acquire(blocking=False):
                await asyncio.sleep(0)
            async with asyncio.timeout(20):
                assert await asyncio.gather(*(asyncio.to_thread(str, n) for n in range(40)))
        finally:
            over.set()
            await asyncio.gather(*asking)


def test_connections_are_counted_for_each_caller() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert caller(one) == "", "this process is in no sandbox"
        assert caller(None) == ""
        callers = Callers(each=1, others=2)
        assert [callers.enter(one), callers.enter(one), callers.enter(one)] == ["", "", None]
        callers.leave("")
        assert callers.enter(other) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="credentials of a peer are Linux's")
def test_who_left_a_connection_to_others_is_counted_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=True)
        accepted, _ = listener.accept()
        with accepted:
            callers = Callers(each=1)
            assert [callers.enter(accepted), callers.enter(accepted)] == [caller(accepted), None]
            assert caller(accepted) != ""
