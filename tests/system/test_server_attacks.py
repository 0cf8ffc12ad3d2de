"""The server under attack: what other sites, other names, other machines and broken clients try is refused or inert.

One deck is served in this process; nobody works on its runs.
"""

import asyncio
import io
import json
import socket
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from deck_kit import Place, place_at, task
from server_kit import API, served

from quarterdeck.doors import patience
from quarterdeck.doors.api import guard
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings.tokens import Role, add_token, read_tokens, revoke_token

pytestmark = pytest.mark.embedded("what is attacked is the door; test_server and test_server_schema are on both")

JSON = {"content-type": "application/json"}
Client = httpx2.AsyncClient


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as place:
        place.begin()
        yield place


@pytest.fixture
async def client(place: Place) -> AsyncIterator[Client]:
    async with served(place) as (_, client):
        yield client


def order(place: Place, **fields: Any) -> dict[str, Any]:
    plan = place.plan(task("a", "true")).read_text()
    return {"plan": plan, "repository": str(place.repository), "sandbox": "none", **fields}


def refused(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """It is a problem, and says nothing of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status and problem["detail"] and problem["title"]
    assert "Traceback" not in answer.text and "quarterdeck/doors" not in answer.text
    return problem


FOREIGN = (
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "https://127.0.0.1:7373.evil.example"},
    {"origin": "http://["},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
)


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_what_another_site_sends_changes_nothing(headers: dict[str, str], client: Client, place: Place) -> None:
    refused(await client.post(f"{API}/runs", json=order(place), headers=headers), 403)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"])
async def test_a_form_of_another_site_changes_nothing(kind: str, client: Client, place: Place) -> None:
    """A page may send these without being asked whether it may."""
    body = json.dumps(order(place))
    refused(await client.post(f"{API}/runs", content=body, headers={"content-type": kind}), 415)


async def test_our_own_pages_may(client: Client, place: Place) -> None:
    origin = str(client.base_url).rstrip("/")
    headers = {"origin": origin, "sec-fetch-site": "same-origin"}
    answer = await client.post(f"{API}/runs", json=order(place), headers=headers)
    assert answer.status_code == 201, answer.text
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7373", "", "a@127.0.0.1", "[::1", "x/y"]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/v1/models", "/mcp"])
async def test_a_name_that_somebody_else_led_here_is_refused(host: str, path: str, client: Client) -> None:
    refused(await client.get(path, headers={"host": host}), 421)


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:7373", "192.0.2.7:7373"])
async def test_addresses_cannot_be_led_elsewhere(host: str, client: Client) -> None:
    assert (await client.get(f"{API}/me", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../deck.db",
        "/..%2fdeck.db",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../../deck.db",
        "/assets/..%5c..%5cdeck.db",
        "//etc/passwd",
        "/index.html/../../deck.db",
        "/%00",
        "/deck.db",
        f"{API}/runs/..%2f..%2fdeck.db/plan",
        f"{API}/runs/r-0/../../../../etc/passwd",
    ],
)
async def test_no_path_leads_out(path: str, client: Client) -> None:
    host, port = client.base_url.host, client.base_url.port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] in (b"404", b"400"), answer[:200]
    assert b"SQLite format" not in answer and b"root:" not in answer


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"goal": 1, "repository": "/x"}', 422),
        (b'{"goal": "x", "repository": "relative"}', 422),
        (b'{"goal": "x", "repository": "/x", "more": 1}', 422),
        (b'{"goal": "\\u0000", "repository": "/x"}', 422),
        (b'{"goal": "\\ud800", "repository": "/x"}', 422),
        (b'{"goal": "x", "repository": "/x", "budget_usd": 1e400}', 422),
        (b'{"goal": "x", "repository": "/x", "budget_usd": NaN}', 422),
        (b'{"goal": "x", "repository": "/x", "max_parallel": 1e9}', 422),
        (b'{"repository": "/x"}', 422),
        (b'{"goal": " ", "repository": "/x"}', 422),
        (b'{"plan": "v: 1\\ngoal: x", "repository": "/x"}', 422),
        (b'{"plan": "&a [*a, *a]", "repository": "/x"}', 422),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, 400),
        (b"[" * 100_000, 400),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_malformed_body_is_refused(body: bytes, status: int, client: Client) -> None:
    problem = refused(await client.post(f"{API}/runs", content=body, headers=JSON), status)
    assert problem["detail"] != "the trace is in the server's log"


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = f"POST {API}/runs/r-0/pause HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {guard.LARGEST + 1}\r\n\r\n".encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_a_body_without_end_is_refused(client: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(guard.LARGEST // 65536 + 2):
            yield b" " * 65536

    refused(await client.post(f"{API}/runs/r-0/pause", content=endless(), headers=JSON), 413)


async def test_a_body_that_does_not_come_is_given_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    head = f"POST {API}/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 100\r\n\r\n{{".encode())
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nhost: local"])
async def test_a_head_that_does_not_end_is_given_up(
    beginning: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(beginning)
    assert await reader.read() == b""
    writer.close()


async def test_a_head_without_bound_is_given_up(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * (patience.HEAD_LIMIT // 4))
    try:
        answer = await reader.read()
    except ConnectionResetError:
        answer = b""
    assert b"200" not in answer[:40]
    writer.close()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECTED"])
async def test_other_methods_do_nothing(method: str, client: Client) -> None:
    for path in (f"{API}/runs", f"{API}/me", "/"):
        answer = await client.request(method, path, headers=JSON)
        assert answer.status_code in (400, 405), answer.text


async def test_every_answer_forbids_what_pages_could_do_with_it(client: Client) -> None:
    for path in ("/", f"{API}/me", f"{API}/nothing", f"{API}/openapi.json"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert (await client.get(f"{API}/me")).headers["cache-control"] == "no-store"


async def test_with_tokens_a_port_asks_for_one_and_the_role_decides(place: Place, client: Client) -> None:
    names = {role: add_token(place.home, f"the-{role}", role, 0.0) for role in Role}
    assert not any(secret in (place.home / "tokens.json").read_text() for secret in names.values())
    assert (place.home / "tokens.json").stat().st_mode & 0o777 == 0o600

    async def post(path: str, body: Any, secret: str) -> int:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        return (await client.post(f"{API}{path}", json=body, headers=headers)).status_code

    assert refused(await client.get(f"{API}/me"), 401)["fix"].startswith("quarterdeck token add")
    assert await post("/runs", order(place), "") == 401
    assert await post("/runs", order(place), "qd_wrong") == 401
    assert await post("/runs", order(place), names[Role.VIEWER]) == 403
    assert await post("/runs", order(place), names[Role.OPERATOR]) == 403, "sandbox none is the admin's"
    answer = await client.post(
        f"{API}/runs", json=order(place), headers={"authorization": f"Bearer {names[Role.ADMIN]}"}
    )
    run = answer.json()["run"]
    assert await post(f"/runs/{run}/budget", {"usd": 9}, names[Role.OPERATOR]) == 403
    assert await post(f"/runs/{run}/budget", {"usd": 9}, names[Role.ADMIN]) == 202
    assert await post(f"/runs/{run}/pause", {}, names[Role.OPERATOR]) == 202
    headers = {"authorization": f"Bearer {names[Role.VIEWER]}"}
    assert (await client.get(f"{API}/me", headers=headers)).json()["name"] == "the-viewer"
    revoke_token(place.home, "the-viewer")
    refused(await client.get(f"{API}/me", headers=headers), 401)
    assert [token.name for token in read_tokens(place.home)] == ["the-operator", "the-admin"]


async def test_a_way_around_the_role_is_an_admins_too(place: Place, client: Client) -> None:
    names = {
        role: {"authorization": f"Bearer {add_token(place.home, role, role, 0.0)}"}
        for role in (Role.OPERATOR, Role.ADMIN)
    }

    async def post(role: Role, path: str = "/runs", **body: Any) -> int:
        return (await client.post(f"{API}{path}", json=body, headers=names[role])).status_code

    answer = await client.post(f"{API}/runs", json=order(place), headers=names[Role.ADMIN])
    run = answer.json()["run"]
    taken = {key: value for key, value in order(place, config_of=run).items() if key != "sandbox"}
    assert await post(Role.OPERATOR, **taken) == 403, "the sandbox of that run is none"
    assert await post(Role.OPERATOR, f"/runs/{run}/revert") == 403
    assert await post(Role.ADMIN, **taken) == 201
    plain = {**order(place), "sandbox": None}
    assert await post(Role.OPERATOR, **plain, budget_usd=100_000) == 403
    assert await post(Role.OPERATOR, **plain, budget_usd=0.5) != 403


async def test_taking_the_last_token_back_opens_nothing(place: Place, client: Client) -> None:
    assert (await client.get(f"{API}/me")).status_code == 200
    headers = {"authorization": f"Bearer {add_token(place.home, 'ada', Role.VIEWER, 0.0)}"}
    assert (await client.get(f"{API}/me", headers=headers)).status_code == 200
    revoke_token(place.home, "ada")
    for tried in (headers, {}):
        refused(await client.get(f"{API}/me", headers=tried), 401)


async def test_a_name_of_its_own_asks_for_a_token_from_the_start(place: Place) -> None:
    """A proxy that leads others here makes their requests look like ours."""
    with pytest.raises(BadConfiguration, match=r"deck\.example can be reached"):
        async with served(place, "127.0.0.1", "deck.example"):
            pass
    add_token(place.home, "ada", Role.VIEWER, 0.0)
    async with served(place, "127.0.0.1", "deck.example") as (_, client):
        refused(await client.get(f"{API}/me"), 401)


async def test_a_stream_ends_with_its_token(place: Place) -> None:
    headers = {"authorization": f"Bearer {add_token(place.home, 'ada', Role.VIEWER, 0.0)}"}
    async with (
        served(place) as (deck, client),
        client.stream("GET", f"{API}/stream", headers=headers) as answer,
        asyncio.timeout(30),
    ):
        parts = answer.aiter_text()
        seen = ""
        while "snapshot" not in seen:
            seen += await anext(parts)
        revoke_token(place.home, "ada")
        run = await deck.create(place.order(task("a", "true")).model_copy(update={"sandbox": "none"}))
        assert run not in "".join([part async for part in parts]), "it comes to its end, and without what is new"


async def test_tokens_that_cannot_be_read_let_nobody_in(place: Place, client: Client) -> None:
    assert (await client.get(f"{API}/me")).status_code == 200
    (place.home / "tokens.json").write_text('{"v": 1, "tokens": [{"name": "x"}]}')
    assert "tokens.json" in refused(await client.get(f"{API}/me"), 422)["detail"]
    refused(await client.post(f"{API}/runs", json=order(place)), 422)


async def test_a_database_that_does_not_answer_is_no_bug_of_ours(place: Place) -> None:
    async with served(place) as (deck, client):
        await deck._parts.store.close()
        answer = await client.post(f"{API}/runs", json=order(place), headers={"idempotency-key": "k"})
        refused(answer, 503)
        refused(await client.get(f"{API}/runs/r-0"), 503)


async def test_a_browser_exchanges_its_token_for_a_cookie(place: Place, client: Client) -> None:
    secret = add_token(place.home, "ada", Role.OPERATOR, 0.0)
    refused(await client.post(f"{API}/session", json={"token": "qd_wrong"}), 401)
    answer = await client.post(f"{API}/session", json={"token": secret})
    assert answer.status_code == 200, answer.text
    cookie = answer.headers["set-cookie"]
    assert secret not in cookie and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert (await client.get(f"{API}/me")).json()["name"] == "ada"
    refused(await client.post(f"{API}/runs", json={}, headers={"origin": "http://evil.example"}), 403)
    refused(await client.request("DELETE", f"{API}/session", json={}, headers={"origin": "http://evil.example"}), 403)
    assert (await client.get(f"{API}/me")).json()["session"]
    kept = {"cookie": cookie.partition(";")[0]}
    gone = await client.request("DELETE", f"{API}/session", json={})
    assert gone.status_code == 204 and "Max-Age=0" in gone.headers["set-cookie"]
    refused(await client.get(f"{API}/me", headers=kept), 401)
    assert (await client.request("DELETE", f"{API}/session", json={})).status_code == 204, (
        "there is nothing left to end"
    )
    assert (await client.post(f"{API}/session", json={"token": secret})).status_code == 200
    revoke_token(place.home, "ada")
    add_token(place.home, "eve", Role.VIEWER, 0.0)
    refused(await client.get(f"{API}/me"), 401)


async def test_no_secret_is_in_any_answer(place: Place) -> None:
    secret = "sk-very-secret-value"
    place.operator(
        '[models."chat:x"]\nbase_url = "https://u:hidden-word@models.example/v1?key=hidden-word"\n'
        '[mcp.servers.s]\ncommand = "x"\nenv = { NAME = "hidden-word", GIVEN = "${GIVEN}" }\n'
    )
    keyed = Place(place.root, keys={"ANTHROPIC_API_KEY": secret})
    async with served(keyed) as (_, client):
        run = (await client.post(f"{API}/runs", json=order(place))).json()["run"]
        told = ""
        where = str(place.repository)
        paths = [f"/config?repository={where}", f"/definitions?repository={where}", f"/tools?repository={where}"]
        for path in [*paths, "/me", "/doctor", f"/runs/{run}/plan", f"/runs/{run}/result", "/openapi.json"]:
            answer = await client.get(f"{API}{path}")
            assert answer.status_code == 200, (path, answer.text)
            told += answer.text
        packed = await client.get(f"{API}/runs/{run}/export")
        with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
            exported = "".join(archive.read(name).decode() for name in archive.namelist())
        assert "models.example/v1" in exported, "the configuration is a part of it"
        told += exported
    assert secret not in told and "hidden-word" not in told
    assert "${GIVEN}" in told and "models.example/v1" in told


async def test_requests_are_bound_to_the_version_that_was_seen(place: Place) -> None:
    async with served(place) as (deck, client):
        run = (await client.post(f"{API}/runs", json=order(place))).json()["run"]
        version = (await deck.journal.lengths(f"run/{run}"))[f"run/{run}"]
        path = f"{API}/runs/{run}/pause"
        problem = refused(await client.post(path, json={}, headers={"if-match": f'"{version - 1}"'}), 412)
        assert problem["run"] == run
        refused(await client.post(path, json={}, headers={"if-match": "W/x"}), 422)
        assert (await client.post(path, json={}, headers={"if-match": f'"{version}"'})).status_code == 202


async def test_a_key_is_one_persons_and_one_requests(place: Place) -> None:
    async with served(place) as (deck, client):
        headers = {"idempotency-key": "once"}
        first, again = [await client.post(f"{API}/runs", json=order(place), headers=headers) for _ in range(2)]
        assert first.json() == again.json() and again.headers["idempotent-replayed"] == "true"
        run = first.json()["run"]
        refused(await client.post(f"{API}/runs/{run}/pause", json={}, headers=headers), 422)
        both = await asyncio.gather(
            *(client.post(f"{API}/runs", json=order(place), headers={"idempotency-key": "two"}) for _ in range(4))
        )
        made = {answer.json()["run"] for answer in both if answer.status_code == 201}
        assert len(made) == 1 and {answer.status_code for answer in both} <= {201, 409}
        assert len(await deck.views.runs()) == 2
        # What was refused is answered alike too; what blames nobody may be asked again.
        bad = [await client.post(f"{API}/runs", json={}, headers={"idempotency-key": "bad"}) for _ in range(2)]
        assert [answer.status_code for answer in bad] == [422, 422]
        refused(await client.post(f"{API}/runs", json={}, headers={"idempotency-key": "x" * 300}), 422)


async def test_the_socket_is_its_owners_and_says_in_whose_name(place: Place) -> None:
    add_token(place.home, "ada", Role.VIEWER, 0.0)
    async with served(place):
        sock = place.home / "api.sock"
        assert sock.stat().st_mode & 0o777 == 0o600
        async with Client(transport=httpx2.AsyncHTTPTransport(uds=str(sock)), base_url="http://localhost") as own:
            me = (await own.get(f"{API}/me", headers={"quarterdeck-user": "grace"})).json()
            assert (me["name"], me["role"]) == ("grace", "admin")
    assert not sock.exists()


async def test_a_port_of_loopback_is_not_heard_elsewhere(client: Client) -> None:
    with socket.socket() as probe:
        probe.settimeout(1)
        address = next(
            (str(found[4][0]) for found in socket.getaddrinfo(None, 0, socket.AF_INET, flags=socket.AI_PASSIVE)), ""
        )
        assert address == "0.0.0.0"
        probe.bind(("127.0.0.2", client.base_url.port or 0))  # taken if it listened on every address
