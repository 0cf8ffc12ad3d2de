"""The scripted model over HTTP without any SDK: scenarios by path, and a process of its own."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from quarterdeck.models.scripted.scenario import Scenario
from quarterdeck.models.scripted.server import ScriptedServer


async def raw(server: ScriptedServer, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One request without any SDK."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    status, _, rest = answered.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(rest)


async def test_scenarios_are_told_apart_by_their_path() -> None:
    scenarios = [Scenario(name=name, done=f"I am {name}.") for name in ("one", "two")]
    async with ScriptedServer(scenarios) as server:
        for name in ("one", "two"):
            body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "who?"}]}
            status, said = await raw(server, f"/s/{name}/v1/messages", body)
            assert (status, said["content"][0]["text"]) == (200, f"I am {name}.")
            status, counted = await raw(server, f"/s/{name}/v1/messages/count_tokens", body)
            assert counted == {"input_tokens": said["usage"]["input_tokens"]}
        assert (await raw(server, "/s/three/v1/messages", {}))[0] == 404
        assert (await raw(server, "/s/one/v1/messages", {"no": "messages"}))[0] == 400
        status, said = await raw(server, "/s/one/v1/responses", {"model": "m", "input": "who?"})
        assert said["output"][0]["content"][0]["text"] == "I am one."
        await server.served(4)
        assert [asked.scenario for asked in server.requests] == ["one", "two", "one", "one"]


async def test_it_runs_alone_and_ends_with_its_stdin(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("done: Over.")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "quarterdeck.models.scripted",
        "--scenario",
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(30):
        ready = json.loads(await process.stdout.readline())
        assert ready["kind"] == "ready"
        here = ScriptedServer(Scenario(), port=int(ready["url"].rsplit(":", 1)[1]))
        status, said = await raw(
            here, "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Do the task."}]}
        )
        assert (status, said["choices"][0]["message"]["content"]) == (200, "Over.")
        process.stdin.close()
        billed = json.loads(await process.stdout.readline())
        assert (billed["kind"], billed["requests"]) == ("billed", 1)
        assert await process.wait() == 0
