"""What every sandbox provider must do. An adapter's test module calls `conformance(provider)` and runs each check.

Rules
- A check gets an open sandbox of its own over an empty workspace, and fails by assertion.
- Nothing here knows how the provider works: only the port is used.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.port import Limits, Provider, Sandbox, Spec

MEBIBYTE: Final = 1024 * 1024
LIMITS: Final = Limits(
    memory_bytes=256 * MEBIBYTE, disk_bytes=64 * MEBIBYTE, processes=256, open_files=256, cpu_seconds=60
)
Check = Callable[[Sandbox], Awaitable[None]]


@asynccontextmanager
async def opened(provider: Provider, spec: Spec) -> AsyncIterator[Sandbox]:
    """A sandbox that is closed and discarded at the end."""
    sandbox = await provider.create(spec)
    try:
        yield sandbox
    finally:
        await sandbox.close()
        await provider.discard(spec.id)


async def raises(kind: type[BaseException], call: Awaitable[object]) -> str:
    """The message of the failure that `call` must end in."""
    try:
        await call
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} was expected")


class Checks:
    """One method a check."""

    async def command_and_argv(self, sandbox: Sandbox) -> None:
        shell = await sandbox.exec("echo out; echo err >&2; exit 3", timeout=20)
        assert (shell.exit_code, shell.stdout, shell.stderr, shell.flags) == (3, b"out\n", b"err\n", ())
        argv = await sandbox.exec(["printf", "%s|", "a b", "$HOME"], timeout=20)
        assert argv.stdout == b"a b|$HOME|"

    async def missing_program_is_an_exit_code(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec(["no-such-program"], timeout=20)
        assert result.exit_code == 127
        assert b"no-such-program" in result.stderr

    async def a_signal_is_128_plus_its_number(self, sandbox: Sandbox) -> None:
        assert (await sandbox.exec("kill -SEGV $$", timeout=20)).exit_code == 139

    async def stdin_and_environment(self, sandbox: Sandbox) -> None:
        data = bytes(range(256)) * 8192
        echoed = await sandbox.exec(["cat"], stdin=data, timeout=20, output_limit=len(data))
        assert echoed.stdout == data
        ignored = await sandbox.exec("true", stdin=data, timeout=20)
        assert ignored.exit_code == 0
        assert (await sandbox.exec('echo "$GIVEN"', env={"GIVEN": "x"}, timeout=20)).stdout == b"x\n"

    async def timeout_that_is_ignored(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec("trap '' TERM; (trap '' TERM; sleep 600) & echo begun; sleep 600", timeout=0.5)
        assert (result.exit_code, result.stdout, result.flags) == (None, b"begun\n", ("timeout",))
        assert result.seconds < 10
        assert (await sandbox.exec("true", timeout=20)).exit_code == 0

    async def fifty_megabytes_of_output(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec("echo first; head -c 60000000 /dev/zero; echo last", timeout=60, output_limit=4096)
        assert result.exit_code == 0
        assert result.flags == ("stdout-truncated",)
        assert len(result.stdout) <= 4096
        assert result.stdout.startswith(b"first\n\0")
        assert result.stdout.endswith(b"\0last\n")
        assert b"bytes cut" in result.stdout

    async def bytes_that_are_no_text(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec(r"printf 'a\0b\377\376\n'", timeout=20)
        assert result.stdout == b"a\0b\xff\xfe\n"
        await sandbox.write("raw", b"\0\xff")
        assert await sandbox.read("raw") == b"\0\xff"

    async def background_child_does_not_hang(self, sandbox: Sandbox) -> None:
        result = await sandbox.exec("sleep 600 & echo done", timeout=60)
        assert result.stdout == b"done\n"
        assert result.seconds < 10

    async def background_child_may_go_on_printing(self, sandbox: Sandbox) -> None:
        await sandbox.exec("mkfifo go; (read x < go; echo said; echo $? > result) &", timeout=20)
        result = await sandbox.exec("echo x > go; while ! [ -s result ]; do sleep 0.02; done; cat result", timeout=20)
        assert result.stdout == b"0\n"

    async def thirty_five_at_once(self, sandbox: Sandbox) -> None:
        results = await asyncio.gather(*(sandbox.exec(f"echo {n} | cat", timeout=60) for n in range(35)))
        failed = [one for one in results if one.exit_code != 0]
        assert not failed, failed
        assert [result.stdout for result in results] == [b"%d\n" % n for n in range(35)]

    async def cancel_ends_the_command(self, sandbox: Sandbox) -> None:
        await sandbox.exec("mkfifo begun", timeout=20)
        task = asyncio.create_task(sandbox.exec("echo $$ > pid; echo x > begun; sleep 600", timeout=900))
        await sandbox.exec("read x < begun", timeout=20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        gone = await sandbox.exec("while kill -0 $(cat pid) 2>/dev/null; do sleep 0.02; done", timeout=30)
        assert gone.exit_code == 0

    async def files(self, sandbox: Sandbox) -> None:
        await sandbox.write("a/b/c.txt", b"one\n")
        await sandbox.write("/workspace/a/run.sh", b"#!/bin/sh\n", mode=0o755)
        assert await sandbox.read("/workspace/a/b/c.txt") == b"one\n"
        assert await sandbox.read("a/b/c.txt", offset=1, limit=2) == b"ne"
        await sandbox.write("a/run.sh", b"#!/bin/sh\necho ran\n")
        assert (await sandbox.exec("a/run.sh", timeout=20)).stdout == b"ran\n"
        await raises(FileNotFoundError, sandbox.read("missing"))
        await raises(IsADirectoryError, sandbox.read("a"))
        await raises(IsADirectoryError, sandbox.write("a", b""))
        assert (await sandbox.call("stat", path="a/b/c.txt"))["size"] == 4

    async def fifo_is_not_waited_for(self, sandbox: Sandbox) -> None:
        await sandbox.exec("mkfifo pipe", timeout=20)
        assert "not a regular file" in await raises(ValueError, sandbox.read("pipe"))
        assert "not a regular file" in await raises(ValueError, sandbox.write("pipe", b""))

    async def writing_stays_in_the_workspace(self, sandbox: Sandbox) -> None:
        await sandbox.exec("ln -s /tmp out; ln -s ../../x up", timeout=20)
        for path in ("out/file", "up", "../file", "/tmp/file", "/etc/passwd"):
            await raises(PermissionError, sandbox.write(path, b"x"))

    async def list_and_search(self, sandbox: Sandbox) -> None:
        await sandbox.exec("mkdir -p .git d; echo needle > d/b; echo none > a; printf 'needle\\0' > bin", timeout=20)
        await sandbox.exec("echo needle > .git/config; ln -s /etc link", timeout=20)
        listed = await sandbox.call("list", path=".", depth=2)
        entries = listed["entries"]
        assert isinstance(entries, list)
        assert [(entry["path"], entry["kind"]) for entry in entries] == [
            ("a", "file"),
            ("bin", "file"),
            ("d", "directory"),
            ("d/b", "file"),
            ("link", "link"),
        ]
        found = await sandbox.call("search", pattern="need.e")
        assert found["matches"] == [{"path": "d/b", "line": 1, "text": "needle"}]
        bounded = await sandbox.call("list", path=".", depth=2, limit=2)
        assert bounded["truncated"] is True
        await raises(ValueError, sandbox.call("search", pattern="("))

    async def endless_pattern_blocks_nothing(self, sandbox: Sandbox) -> None:
        await sandbox.write("text", b"a" * 64 + b"!\n")
        search = asyncio.create_task(sandbox.call("search", pattern="^(a+)+$", timeout=2.0))
        assert await sandbox.read("text", limit=1) == b"a"
        await raises(TimeoutError, search)

    async def limits_hold(self, sandbox: Sandbox) -> None:
        shown = await sandbox.exec("ulimit -Hn; ulimit -Hc; ulimit -Ht; ulimit -Hf", timeout=20)
        descriptors, core, seconds, blocks = map(int, shown.stdout.split())
        assert (descriptors, core, seconds) == (LIMITS.open_files, 0, LIMITS.cpu_seconds)
        assert blocks * 512 == LIMITS.disk_bytes
        hungry = await sandbox.exec(["python3", "-c", "bytearray(1 << 30)"], timeout=60)
        assert hungry.exit_code != 0
        raised = await sandbox.exec(f"ulimit -n {LIMITS.open_files + 1}", timeout=20)
        assert raised.exit_code != 0

    async def statistics(self, sandbox: Sandbox) -> None:
        await sandbox.write("big", b"x" * MEBIBYTE)
        stats = await sandbox.stats()
        assert stats.disk_bytes >= MEBIBYTE
        assert stats.processes >= 0

    async def close_is_idempotent_and_final(self, sandbox: Sandbox) -> None:
        await sandbox.exec("setsid sleep 600 & (setsid setsid sleep 600 &)", timeout=20)
        await asyncio.gather(sandbox.close(), sandbox.close())
        await sandbox.close()
        await raises(SandboxFailed, sandbox.exec("true", timeout=20))
        await raises(SandboxFailed, sandbox.read("x"))

    async def close_ends_a_running_command(self, sandbox: Sandbox) -> None:
        await sandbox.exec("mkfifo begun", timeout=20)
        task = asyncio.create_task(sandbox.exec("echo x > begun; sleep 600", timeout=900))
        await sandbox.exec("read x < begun", timeout=20)
        await sandbox.close()
        await raises(SandboxFailed, task)

    async def death_inside_is_told_and_final(self, sandbox: Sandbox) -> None:
        """An agent may end its own sandbox; that is its command's outcome, not a failure of the machine."""
        result = await sandbox.exec("kill -9 $PPID; sleep 600", timeout=60)
        assert (result.exit_code, result.flags) == (None, ("died",))
        await raises(SandboxFailed, sandbox.exec("true", timeout=20))


def checks() -> dict[str, Check]:
    """All checks by name."""
    suite = Checks()
    return {
        name: method
        for name, method in inspect.getmembers(suite, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
