"""The HTTP client of the models' servers: what goes out, what an answer is, and what each way to fail means."""

import asyncio
import contextlib
import gzip
import math
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.models.http import client as client_module
from quarterdeck.models.http import coding, route
from quarterdeck.models.http.client import HttpClient
from quarterdeck.models.http.line import Line
from quarterdeck.models.http.port import Broken, HttpFailed, Network, NotPickedUp, Unsent

CERTIFICATE = str(Path(__file__).parent / "http_localhost.pem")
"""Of `localhost` and 127.0.0.1, signed by itself; its key guards nothing."""
DEADLINE = 10.0
"""Seconds; for what takes milliseconds."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers each request on a connection with the next answer; closes when there is none."""

    def __init__(self, *answers: bytes, stay: bool = True) -> None:
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.left = asyncio.Event()
        """A client has closed its connection."""
        self.closed = asyncio.Event()
        """This server has closed one."""
        self._answers = list(answers)
        self._stay = stay

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await self._one(reader, writer)
                if not self._answers and not self._stay:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.closed.set()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            self.left.set()
            raise
        self.heads.append(head)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
        await reader.readexactly(int(lengths[0].partition(b":")[2]) if lengths else 0)
        if self._answers:
            writer.write(self._answers.pop(0))
            await writer.drain()


@asynccontextmanager
async def listening(serve: Serve, secure: bool = False) -> AsyncIterator[int]:
    context = None
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
    served = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with served:
        yield served.sockets[0].getsockname()[1]


@asynccontextmanager
async def calling(address: str, network: Network | None = None, connect: float = 5.0) -> AsyncIterator[HttpClient]:
    client = HttpClient(address, connect, (("user-agent", "us"), ("accept", "*/*")), network or Network())
    try:
        yield client
    finally:
        await client.close()


async def whole(line: Line) -> bytes:
    body = b""
    while chunk := await asyncio.wait_for(line.chunk(), DEADLINE):
        body += chunk
    return body


async def asked(client: HttpClient, body: bytes = b"{}") -> tuple[int, bytes]:
    """One exchange: status and body."""
    line = await asyncio.wait_for(client.begin("POST", "/x", (), body), DEADLINE)
    try:
        return line.status, await whole(line)
    finally:
        await client.end(line)


def answer(body: bytes, head: str = "", status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


PLAIN = answer(b"abc")
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\ntrailer: t\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nabc"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + PLAIN
OLD = b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc"


# --- answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept"),
    [(PLAIN, True), (CHUNKED, True), (INTERIM, True), (OLD, False), (answer(b"abc", "connection: close\r\n"), False)],
)
async def test_a_connection_is_used_again_where_both_sides_are_done(said: bytes, kept: bool) -> None:
    server = Server(said, PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert [await asked(client), await asked(client)] == [(200, b"abc")] * 2
    assert server.connections == (1 if kept else 2)


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    server = Server(TO_THE_END, stay=False)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert await asked(client) == (200, b"abc")


async def test_an_answer_without_a_body_ends_with_its_head() -> None:
    server = Server(b"HTTP/1.1 204 No Content\r\n\r\n", PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert [await asked(client), await asked(client)] == [(204, b""), (200, b"abc")]
    assert server.connections == 1


async def test_what_is_said_after_an_answer_is_not_taken_for_the_next() -> None:
    server = Server(PLAIN + answer(b"forged"), PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert [await asked(client), await asked(client)] == [(200, b"abc")] * 2
    assert server.connections == 2


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    server = Server(PLAIN, stay=False)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert await asked(client) == (200, b"abc")
        server._answers.append(PLAIN)
        await asyncio.wait_for(server.closed.wait(), DEADLINE)
        assert await asked(client) == (200, b"abc")
    assert server.connections == 2


async def test_a_connection_that_rested_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_FRESH", -1.0)
    server = Server(PLAIN, PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert [await asked(client), await asked(client)] == [(200, b"abc")] * 2
    assert server.connections == 2


class Sink(asyncio.Transport):
    """A transport that leads nowhere."""

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass


@given(st.sampled_from([PLAIN, CHUNKED, INTERIM, OLD]), st.lists(st.integers(0, 200), max_size=6))
def test_it_does_not_matter_how_an_answer_is_cut_to_pieces(said: bytes, cuts: list[int]) -> None:
    async def fed() -> tuple[int, bytes]:
        line = Line()
        line.connection_made(Sink())
        line.send(b"", b"")
        ends = [*sorted(cuts), len(said)]
        for start, end in zip([0, *ends], ends, strict=False):
            if said[start:end]:
                line.data_received(said[start:end])
        await line.answered()
        return line.status, await whole(line)

    assert asyncio.run(fed()) == (200, b"abc")


@given(st.binary(max_size=200))
def test_whatever_a_server_says_is_an_answer_or_a_failure(said: bytes) -> None:
    async def fed() -> None:
        line = Line()
        line.connection_made(Sink())
        line.send(b"", b"")
        line.data_received(said)
        line.eof_received()
        with contextlib.suppress(HttpFailed):
            await line.answered()
            await whole(line)

    asyncio.run(fed())


async def test_a_server_is_held_up_by_who_reads_slowly() -> None:
    size = 16 * 1024 * 1024
    server = Server(answer(bytes(size)))
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        line = await client.begin("POST", "/x", (), b"")
        while not line._paused:
            await asyncio.sleep(0)
        assert line._held < 2 * 1024 * 1024
        assert len(await whole(line)) == size
        await client.end(line)


def poured(*parts: bytes, ended: bytes = b"") -> bytes:
    """Parts of a body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + ended


async def streaming() -> Line:
    """A line whose answer has begun, with nothing of its body."""
    line = Line()
    line.connection_made(Sink())
    line.send(b"", b"")
    line.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    await line.answered()
    return line


async def pouring(
    line: Line, sink: Callable[[bytes], bool], due: Callable[[], float] = lambda: math.inf
) -> "asyncio.Task[None]":
    task = asyncio.create_task(line.pour(sink, due))
    await asyncio.sleep(0)
    return task


def kept(found: list[bytes], *, more: bool = True) -> Callable[[bytes], bool]:
    """A sink that keeps what comes."""

    def sink(piece: bytes) -> bool:
        found.append(piece)
        return more

    return sink


async def test_pieces_are_poured_in_the_turn_in_which_they_come_and_the_last_is_left() -> None:
    line, found = await streaming(), list[bytes]()
    pour = await pouring(line, kept(found))
    line.data_received(poured(b"a", b"b"))
    line.data_received(b"1\r\nc")
    assert found == [b"ab", b"c"], "nobody had a turn between"
    line.data_received(b"\r\n" + poured(b"the last", ended=b"0\r\n\r\n"))
    await asyncio.wait_for(pour, DEADLINE)
    assert found == [b"ab", b"c"]
    assert await line.chunk() == b"the last"
    assert line.over


async def test_while_pieces_come_the_deadline_moves_on() -> None:
    now = asyncio.get_running_loop().time
    line, found, asked = await streaming(), list[bytes](), asyncio.Event()
    heard = now()

    def due() -> float:
        if found:
            asked.set()
        return heard + (0.03 if not found else DEADLINE)

    pour = await pouring(line, kept(found), due)
    line.data_received(poured(b"a"))
    await asyncio.wait_for(asked.wait(), DEADLINE)
    assert not pour.done()
    line.data_received(poured(b"the last", ended=b"0\r\n\r\n"))
    await asyncio.wait_for(pour, DEADLINE)


async def test_who_has_enough_gets_the_rest_when_he_asks() -> None:
    line, found = await streaming(), list[bytes]()
    pour = await pouring(line, kept(found, more=False))
    line.data_received(poured(b"a"))
    line.data_received(poured(b"b"))
    await asyncio.wait_for(pour, DEADLINE)
    assert (found, await line.chunk()) == ([b"a"], b"b")
    line.data_received(poured(b"c"))
    await asyncio.wait_for(line.pour(kept(found)), DEADLINE)
    assert (found, await line.chunk()) == ([b"a"], b"c"), "what waits already is not poured"


async def test_what_is_poured_ends_with_a_break_a_deadline_or_a_failure_of_the_sink() -> None:
    now = asyncio.get_running_loop().time
    line, found = await streaming(), list[bytes]()
    pour = await pouring(line, kept(found))
    line.data_received(poured(b"a"))
    line.eof_received()
    await asyncio.wait_for(pour, DEADLINE)
    with pytest.raises(Broken):
        await line.chunk()

    line, dues = await streaming(), [now() + 0.02, now() + 0.05, now() - 1]
    pour = await pouring(line, lambda piece: True, lambda: dues.pop(0))
    line.data_received(poured(b"a"))
    assert len(dues) == 2, "a piece alone costs no question"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pour, DEADLINE)
    assert not dues

    def fails(piece: bytes) -> bool:
        raise ValueError(piece)

    line = await streaming()
    pour = await pouring(line, fails)
    line.data_received(poured(b"a"))
    with pytest.raises(ValueError, match="a"):
        await asyncio.wait_for(pour, DEADLINE)
    line.data_received(poured(b"b"))
    assert await line.chunk() == b"b"


@given(st.lists(st.integers(0, 60), max_size=8), st.lists(st.booleans(), max_size=8))
def test_pouring_loses_and_repeats_nothing_however_the_answer_is_cut(cuts: list[int], more: list[bool]) -> None:
    said = poured(b"one ", b"two ", b"three ", b"four", ended=b"0\r\n\r\n")

    async def fed() -> bytes:
        line, found, wishes = await streaming(), list[bytes](), [*more]

        def sink(piece: bytes) -> bool:
            found.append(piece)
            return wishes.pop() if wishes else True

        async def read() -> None:
            while piece := await line.chunk():
                found.append(piece)
                await line.pour(sink)

        reader = asyncio.create_task(read())
        ends = [*sorted(cuts), len(said)]
        for start, end in zip([0, *ends], ends, strict=False):
            if said[start:end]:
                line.data_received(said[start:end])
            if start % 2:
                await asyncio.sleep(0)
        await asyncio.wait_for(reader, DEADLINE)
        return b"".join(found)

    assert asyncio.run(fed()) == b"one two three four"


# --- failures ---------------------------------------------------------------------------------------------


async def test_nobody_there() -> None:
    async with listening(Server()) as port:
        pass
    async with calling(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unsent) as caught:
            await asked(client)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_all_addresses_of_a_name_are_tried() -> None:
    async with listening(Server(PLAIN)) as port, calling(f"http://localhost:{port}") as client:
        assert await asked(client) == (200, b"abc")


async def test_a_name_that_is_none() -> None:
    async with calling(f"http://{'a' * 64}.invalid") as client:
        with pytest.raises(Unsent):
            await asked(client)


async def test_nobody_picks_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as port, calling(f"https://127.0.0.1:{port}", connect=0.1) as client:
        with pytest.raises(NotPickedUp):
            await asked(client)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, "no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP"),
    ],
)
async def test_what_is_no_answer_is_a_broken_connection(said: bytes, why: str) -> None:
    server = Server(said, stay=False)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Broken, match=why):
            await asked(client)
        assert client._slots._value == client_module._CONNECTIONS


async def test_what_came_before_a_break_is_handed_on_first() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", stay=False)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        line = await client.begin("POST", "/x", (), b"")
        while line._error is None:
            await asyncio.sleep(0)
        assert await line.chunk() == b"abc"
        with pytest.raises(Broken):
            await line.chunk()
        await client.end(line)


async def test_a_deadline_passes_at_the_head_and_in_the_body() -> None:
    now = asyncio.get_running_loop().time
    server = Server(b"", stay=True)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(TimeoutError) as caught:
            await client.begin("POST", "/x", (), b"", now() + 0.05)
        assert not isinstance(caught.value, HttpFailed)
        await asyncio.wait_for(server.left.wait(), DEADLINE)
    server = Server(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        line = await client.begin("POST", "/x", (), b"", now() + DEADLINE)
        assert await line.chunk(now() + DEADLINE) == b"abc"
        with pytest.raises(TimeoutError):
            await line.chunk(now() + 0.05)
        await client.end(line)
        await asyncio.wait_for(server.left.wait(), DEADLINE)


async def test_whoever_is_cancelled_closes_his_connection() -> None:
    server = Server(b"")
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        call = asyncio.create_task(asked(client))
        while not server.heads:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait((call,))
        assert call.cancelled()
        await asyncio.wait_for(server.left.wait(), DEADLINE)
        assert client._slots._value == client_module._CONNECTIONS


async def test_calls_beyond_the_bound_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_CONNECTIONS", 2)
    server = Server(*[PLAIN] * 20)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert await asyncio.gather(*(asked(client) for _ in range(20))) == [(200, b"abc")] * 20
    assert server.connections == 2


# --- what goes out ----------------------------------------------------------------------------------------


async def test_a_request_to_the_byte() -> None:
    server = Server(PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}/base/") as client:
        headers = (("beta", "a"), ("beta", "b"), ("user-agent", "them"))
        line = await client.begin("POST", "/v1/a b?q=\xe4%20", headers, b"{}")
        await client.end(line)
    assert server.heads[0].decode("latin-1") == (
        f"POST /base/v1/a%20b?q=%E4%20 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: */*\r\n"
        "beta: a\r\nbeta: b\r\nuser-agent: them\r\ncontent-length: 2\r\n\r\n"
    )


@pytest.mark.parametrize("header", [("a", "b\r\nx: y"), ("a b", "c"), ("", "c"), ("a", "\u20ac"), ("a", "b\0")])
async def test_a_header_that_would_be_two_is_not_sent(header: tuple[str, str]) -> None:
    server = Server(PLAIN)
    async with listening(server) as port, calling(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(Unsent):
            await client.begin("POST", "/x", (header,), b"")
    assert server.connections == 0


async def test_a_long_body_arrives_whole() -> None:
    got = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        got.set_result(len(await reader.readexactly(5_000_000)))
        writer.write(PLAIN)
        await writer.drain()
        writer.close()

    async with listening(count) as port, calling(f"http://127.0.0.1:{port}") as client:
        assert await asked(client, b"x" * 5_000_000) == (200, b"abc")
    assert got.result() == 5_000_000


# --- TLS and proxies --------------------------------------------------------------------------------------


async def test_the_operators_certificates_are_trusted_and_others_are_not() -> None:
    server = Server(PLAIN)
    async with listening(server, secure=True) as port:
        async with calling(f"https://127.0.0.1:{port}", Network(cert_file=CERTIFICATE)) as client:
            assert await asked(client) == (200, b"abc")
        async with calling(f"https://127.0.0.1:{port}") as client:
            with pytest.raises(Unsent) as caught:
                await asked(client)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


def tunnel(port: int, seen: list[bytes]) -> Serve:
    """A proxy that leads to a port of this machine, whatever it is asked for."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    return serve


@pytest.mark.parametrize("secure", [False, True])
async def test_tls_through_a_proxy(secure: bool) -> None:
    server, seen = Server(PLAIN, PLAIN), list[bytes]()
    scheme = "https" if secure else "http"
    async with listening(server, secure=True) as port, listening(tunnel(port, seen), secure=secure) as by:
        network = Network({"https": f"{scheme}://me:p%40ss@127.0.0.1:{by}"}, cert_file=CERTIFICATE)
        async with calling(f"https://localhost:{port}/v1", network) as client:
            assert [await asked(client), await asked(client)] == [(200, b"abc")] * 2
    assert seen == [
        f"CONNECT localhost:{port} HTTP/1.1\r\nhost: localhost:{port}\r\n"
        "proxy-authorization: Basic bWU6cEBzcw==\r\n\r\n".encode()
    ]
    assert server.heads[0].startswith(b"POST /v1/x HTTP/1.1\r\n")
    assert b"proxy" not in server.heads[0]


async def test_a_proxy_that_refuses() -> None:
    proxy = Server(answer(b"no", status="407 Proxy Authentication Required"))
    async with listening(proxy) as by:
        network = Network({"all": f"127.0.0.1:{by}"}, cert_file=CERTIFICATE)
        async with calling("https://a.example", network) as client:
            with pytest.raises(Unsent, match="HTTP 407"):
                await asked(client)
        await asyncio.wait_for(proxy.left.wait(), DEADLINE)


async def test_a_plain_address_through_a_proxy() -> None:
    proxy = Server(PLAIN)
    async with (
        listening(proxy) as by,
        calling("http://u:w@a.example/v1", Network({"http": f"http://me@127.0.0.1:{by}"})) as client,
    ):
        assert await asked(client) == (200, b"abc")
    head = proxy.heads[0].decode().split("\r\n")
    assert head[:2] == ["POST http://a.example/v1/x HTTP/1.1", "host: a.example"]
    assert "authorization: Basic dTp3" in head
    assert "proxy-authorization: Basic bWU6" in head


@pytest.mark.parametrize(
    ("address", "no", "direct"),
    [
        ("https://api.example.com", "", False),
        ("https://api.example.com", "*", True),
        ("https://api.example.com", "example.com", True),
        ("https://api.example.com", ".example.com", True),
        ("https://example.com", ".example.com", False),
        ("https://notexample.com", "example.com", False),
        ("https://API.example.com", "other.org, *.example.COM", True),
        ("https://api.example.com", "example.com:443", True),
        ("https://api.example.com", "example.com:8443", False),
        ("https://api.example.com", "http://example.com", False),
        ("https://api.example.com", "https://example.com", True),
        ("http://10.1.2.3:8000", "10.0.0.0/8", True),
        ("http://11.1.2.3:8000", "10.0.0.0/8,::1", False),
        ("http://[::1]:8000", "::1", True),
        ("http://localhost:11434", "localhost", True),
    ],
)
def test_who_is_reached_without_a_proxy(address: str, no: str, direct: bool) -> None:
    found = route.proxy(route.place(address), Network({"all": "http://proxy:3128", "no": no}))
    assert (found is None) == direct
    assert route.proxy(route.place(address), Network({"no": no})) is None


def test_a_kind_of_address_has_its_own_proxy() -> None:
    network = Network({"https": "https://secure", "all": "http://plain:8080"})
    found = [route.proxy(route.place(address), network) for address in ("https://a", "http://a")]
    assert found == [route.Place(True, "secure", 443, ""), route.Place(False, "plain", 8080, "")]


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "http://", "http://a:99999"])
def test_a_proxy_that_cannot_be_used_is_said(address: str) -> None:
    with pytest.raises(BadConfiguration, match="proxy cannot be used"):
        HttpClient("http://a.example", 1.0, (), Network({"all": address}))


# --- codings ----------------------------------------------------------------------------------------------


def _raw(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


@pytest.mark.parametrize(
    ("named", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", _raw),
        ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    ],
)
def test_a_packed_body_is_unpacked(named: str, pack: Callable[[bytes], bytes]) -> None:
    body = bytes(range(256)) * 20_000
    packed = pack(body)
    for size in (1, 1000, len(packed)):
        unpacker = coding.Unpacker(named)
        parts = [packed[start : start + size] for start in range(0, len(packed), size)]
        pieces = [piece for part in parts for piece in unpacker.feed(part)]
        assert b"".join(pieces) == body
        assert max(map(len, pieces)) <= 1024 * 1024
    assert coding.known(named)


def test_what_cannot_be_unpacked() -> None:
    assert [coding.known(named) for named in ("", "identity", "br", "gzip, br")] == [False] * 4
    with pytest.raises(ValueError, match="unpacked"):
        list(coding.Unpacker("gzip").feed(b"no gzip"))


@pytest.mark.parametrize("noise", [b"\x00" * 10, b"\x78\x9cgarbage"])
def test_noise_is_no_packed_body(noise: bytes) -> None:
    with pytest.raises(ValueError, match="unpacked"):
        list(coding.Unpacker("deflate").feed(noise))
