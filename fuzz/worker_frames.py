"""What a subverted worker inside a sandbox answers: frames on its standard output, up to what the tools make of them.

Rules
- Declared: SandboxFailed, and for a well-formed answer that reports an error OSError (its kinds) and ValueError.
- Whatever it says, no request waits for ever once its output ended, and nothing is left behind in the event loop.
- An exported commit is believed only where it is the one that was asked for.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from fuzz.shapes import Choices, as_json
from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.files import Edit, Read
from quarterdeck.tools.port import Desk, Surroundings, ToolResult
from quarterdeck.tools.run import Run
from quarterdeck.tools.search import Search
from quarterdeck.workplace import wire
from quarterdeck.workplace.channel import Channel
from quarterdeck.workplace.port import Spec
from quarterdeck.workplace.sandboxed import WorkerSandbox
from quarterdeck.workplace.worker_git_directory import commit_body, object_id

INSTRUMENTED = ("quarterdeck.workplace", "quarterdeck.tools")
WORDS = (
    *('"id":1', '"ok":{', '"error":"', '"message":', '"errno":', '"path":', '"exit_code":', '"seconds":', '"flags":['),
    *(
        '"stdout":',
        '"entries":[',
        '"matches":[',
        '"truncated":',
        '"line":',
        '"text":',
        '"kind":',
        '"tree":',
        '"commit":',
    ),
    *("FileNotFoundError", "ValueError", "Bug", "OSError", "TimeoutError", "timeout", "directory", "NaN", "\\ud83d"),
)

_BASE: Final = "1" * 40
_TREE: Final = "2" * 40
_SIGNATURE: Final = "a <a@b>"
_COMMIT: Final = object_id(b"commit", commit_body(_BASE, _TREE, "m\n", _SIGNATURE, 1), 40)

_ANSWERS: Final[tuple[dict[str, Any], ...]] = (
    {"id": 1, "ok": {"exit_code": 0, "seconds": 0.1, "flags": ["timeout", "stdout-truncated"], "stdout": 3}},
    {"id": 1, "ok": {"size": 3}},
    {"id": 1, "ok": {"entries": [{"path": "/workspace/a", "kind": "directory", "size": 1}], "truncated": False}},
    {"id": 1, "ok": {"matches": [{"path": "/workspace/a", "line": 3, "text": "x = 1"}], "truncated": True}},
    {"id": 1, "ok": {"tree": _TREE, "commit": _COMMIT}},
    {"id": 1, "ok": {}},
    {"id": 1, "error": "FileNotFoundError", "errno": 2, "message": "no such file", "path": "/workspace/a"},
    {"id": 1, "error": "ValueError", "message": "not that"},
    {"id": 1, "error": "Bug", "message": "Traceback"},
    {"id": 7, "ok": {}},
    {"id": 2, "ok": {"out": 3, "end": False}},
    {"id": 3, "ok": {"ended": True, "exit_code": 0, "late": True}},
)

_DECLARED: Final = (SandboxFailed, OSError, ValueError)


class _Pipe:
    """The worker's standard input: nobody reads it."""

    def write(self, data: bytes) -> None:
        assert data

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


class _Process:
    """A worker that has said all that it will ever say."""

    def __init__(self, said: bytes, complained: bytes) -> None:
        self.stdin = _Pipe()
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        for reader, data in ((self.stdout, said), (self.stderr, complained)):
            reader.feed_data(data)
            reader.feed_eof()

    async def wait(self) -> int:
        return 0


class _Ender:
    async def end(self) -> None: ...


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, context: _STRAY.append(str(context)))
    return loop


_STRAY: Final[list[str]] = []


async def _exec(sandbox: WorkerSandbox) -> object:
    result = await sandbox.exec("true", timeout=1.0, output_limit=100)
    assert len(result.stdout) <= 100
    assert len(result.stderr) <= 100
    assert result.exit_code is None or isinstance(result.exit_code, int)
    assert all(isinstance(flag, str) for flag in result.flags)
    assert 0 <= result.seconds < math.inf, "a time that no event could hold"
    return result


async def _read(sandbox: WorkerSandbox) -> object:
    data = await sandbox.read("/workspace/a", limit=10)
    assert len(data) <= 10
    return data


async def _export(sandbox: WorkerSandbox) -> object:
    done = await sandbox.export(_BASE, "m\n", author=("a", "a@b"), when=1, max_bytes=50)
    if done is not None:
        assert len(done.pack) <= 50
        assert done.commit == object_id(b"commit", commit_body(_BASE, done.tree, "m\n", _SIGNATURE, 1), 40)
    return done


async def _session(sandbox: WorkerSandbox) -> object:
    session = await sandbox.open(["true"], timeout=1.0)
    try:
        while await session.read():
            continue
        code = await session.wait()
        assert code is None or 0 <= code < 256
        assert all(isinstance(flag, str) for flag in session.flags)
        assert len(session.stderr_tail()) <= 16 * 1024
    finally:
        await session.kill(0.0)
    return code


def _tool(tool: Any, **arguments: object) -> Callable[[WorkerSandbox], Awaitable[object]]:
    """The tool's own handling of errors is part of what is fuzzed: from a tool only SandboxFailed may come."""

    async def call(sandbox: WorkerSandbox) -> object:
        where = Surroundings(sandbox, cast(Desk, None), "1.0")  # none of these tools goes to the desk
        try:
            result: ToolResult = await tool.call(arguments, where)
        except (OSError, ValueError) as error:
            raise AssertionError(f"the tool let {error!r} through") from error
        bounded(result.text)[0].encode()
        return result

    return call


_REQUESTS: Final[Sequence[Callable[[WorkerSandbox], Awaitable[object]]]] = (
    _exec,
    _read,
    _export,
    _session,
    lambda sandbox: sandbox.write("/workspace/a", b"x"),
    lambda sandbox: sandbox.import_(_BASE),
    lambda sandbox: sandbox.call("stat", path="/workspace/a"),
    _tool(Search(), glob="*"),
    _tool(Search(), pattern="x"),
    _tool(Read(), path="a"),
    _tool(Edit(), path="a", old="x", new="y"),
    _tool(Run(), command="true"),
)


def one(data: bytes) -> None:
    """A choice of the request and of the form; then the worker's output as it is, or answers mangled."""
    choices = Choices(data)
    request = choices.pick(_REQUESTS)
    if choices.number() % 2:
        said = b"".join(_frame(choices) for _ in range(1 + choices.number() % 3)) + choices.rest()
    else:
        said = choices.rest()
    _loop().run_until_complete(_asked(request, said))
    assert not _STRAY, _STRAY


def _frame(choices: Choices) -> bytes:
    answer = choices.mangled(choices.pick(_ANSWERS))
    payload = choices.chunk()
    if isinstance(answer, dict) and choices.number() < 224:
        return wire.pack(answer, payload)
    text = as_json(answer)
    return wire.LENGTHS.pack(len(text), choices.pick((len(payload), 0, wire.PAYLOAD_LIMIT + 1))) + text + payload


async def _asked(request: Callable[[WorkerSandbox], Awaitable[object]], said: bytes) -> None:
    process = _Process(said, b"worker: \xff" + said[:20])
    channel = Channel(cast(Any, process))  # only its streams are used
    sandbox = WorkerSandbox(Spec(id="f"), channel, _Ender(), Path("/nonexistent"), os.getpid())
    try:
        async with asyncio.timeout(20.0):
            await request(sandbox)
    except TimeoutError as error:
        if error.errno is None and not error.args:
            raise AssertionError("the request waits for ever") from error
    except _DECLARED as error:
        str(error).encode("utf-8", "replace")
    finally:
        await sandbox.close()


def seeds() -> Sequence[bytes]:
    """Each request with each answer, cut frames, and lengths out of bounds."""
    found = []
    for number in range(len(_REQUESTS)):
        found += [bytes([number, 0]) + wire.pack(answer, b"abcdef") for answer in _ANSWERS]
        found.append(bytes([number, 1, 1]) + b"\1\1" * 10 + b"\3abc")
    whole = wire.pack(_ANSWERS[0], b"abcdef")
    talked = b"".join(wire.pack(answer, b"abcdef") for answer in (_ANSWERS[5], *_ANSWERS[-2:]))
    found.append(bytes([_REQUESTS.index(_session), 0]) + talked)
    found += [b"\0\0" + whole[:-1], b"\0\0" + whole[:5], b"\0\0" + b"\xff" * 8, b"\0\0\0\0\0\2\0\0\0\0[]", b"\0\0"]
    return [*dict.fromkeys(found)]
