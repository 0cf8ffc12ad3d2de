"""What every sandbox provider must do. An adapter's test module calls `conformance(provider)` and runs each check.

Rules
- A check gets an open sandbox of its own over an empty workspace, and fails by assertion.
- Nothing here knows how the provider works: only the port is used.
"""

import asyncio
import inspect
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.port import Limits, Provider, Sandbox, Session, Spec

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

    async def session_echoes_twenty_megabytes(self, sandbox: Sandbox) -> None:
        """NUL bytes and one endless line included, in both directions at once."""
        session = await sandbox.open(["cat"], timeout=120)
        data = bytes(range(256)) * 4096 * 20
        sender = asyncio.create_task(_say(session, data))
        assert await heard(session) == data
        await sender
        ended = (await session.wait(), session.flags)
        assert ended == (0, ()), ended
        await session.kill()
        await session.kill()
        await raises(BrokenPipeError, session.write(b"x"))

    async def session_waits_for_a_slow_reader(self, sandbox: Sandbox) -> None:
        """What nobody reads is not fetched without bound: the process waits, and writes on once it is read."""
        script = "import os\nwhile 1: n = os.write(1, b'x' * 65536); open('count', 'a').write('x' * (n // 4096))"
        session = await sandbox.open(["python3", "-c", script], timeout=60)
        await sandbox.exec("while ! [ -s count ]; do sleep 0.02; done", timeout=30)
        still = "a=-1; b=0; while [ $a -ne $b ]; do a=$b; sleep 0.3; b=$(stat -c %s count); done; echo $b"
        stopped_at = int((await sandbox.exec(still, timeout=30)).stdout) * 4096
        assert stopped_at < 4 * MEBIBYTE
        read = 0
        while read <= stopped_at:
            read += len(await session.read())
        await session.kill(0)
        assert await session.wait() is None

    async def session_that_does_not_read_makes_its_writer_wait(self, sandbox: Sandbox) -> None:
        session = await sandbox.open(["sh", "-c", "read line; echo ready; exec sleep 600"], timeout=60)
        writer = asyncio.create_task(session.write(b"go\n" + b"x" * 4 * MEBIBYTE))
        assert await session.read() == b"ready\n"
        assert (await sandbox.exec("true", timeout=20)).exit_code == 0, "nobody else waits for it"
        assert not writer.done()
        await session.kill(0)
        await raises(BrokenPipeError, writer)

    async def session_ends_with_its_exit_code_and_last_words(self, sandbox: Sandbox) -> None:
        session = await sandbox.open(
            ["sh", "-c", 'echo "$GIVEN"; pwd; echo why >&2; exit 3'], env={"GIVEN": "x"}, timeout=20
        )
        assert await heard(session) == f"x\n{sandbox.where('/workspace')}\n".encode()
        assert (await session.wait(), session.flags, session.ended) == (3, (), True)
        assert session.stderr_tail() == b"why\n"
        await session.kill()
        await raises(FileNotFoundError, sandbox.open(["no-such-program"], timeout=20))

    async def session_kill_reaches_what_ignores_it(self, sandbox: Sandbox) -> None:
        nap = _nap()
        script = f"trap '' TERM; (trap '' TERM; exec {nap}) & echo begun; while :; do sleep 1; done"
        session = await sandbox.open(["sh", "-c", script], timeout=60)
        assert await session.read() == b"begun\n"
        await session.kill(0.2)
        assert (await session.wait(), await session.read()) == (None, b"")
        assert await _processes(sandbox, nap) == 0

    async def session_leaves_no_daemon(self, sandbox: Sandbox) -> None:
        """Neither a child in the group nor one that made itself a session of its own; the leader is long gone."""
        nap = _nap()
        script = f"{nap} & (setsid setsid {nap} > /dev/null 2>&1 < /dev/null &) ; echo left"
        session = await sandbox.open(["sh", "-c", script], timeout=60)
        assert await heard(session) == b"left\n", "a child that holds the pipe is not waited for"
        assert await session.wait() == 0
        assert await _processes(sandbox, nap) == 2
        await session.kill()
        assert await _processes(sandbox, nap) == 0

    async def session_has_a_deadline(self, sandbox: Sandbox) -> None:
        session = await sandbox.open(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], timeout=0.3)
        assert (await session.wait(), session.flags) == (None, ("timeout",))
        assert await session.read() == b""
        await session.kill()

    async def session_is_struck_by_the_watchdog(self, sandbox: Sandbox) -> None:
        """Processes that are each within their limit, and together above the sandbox's."""
        hungry = "import signal; x = b'x' * (100 << 20); signal.pause()"
        script = f'for n in 1 2 3 4; do python3 -c "{hungry}" & done; wait; cat'
        session = await sandbox.open(["sh", "-c", script], timeout=60)
        ended = (await session.wait(), session.flags)
        assert ended == (None, ("memory",)), ended
        await session.kill()
        assert (await sandbox.exec("true", timeout=20)).exit_code == 0

    async def session_that_nobody_waits_for_does_not_stay(self, sandbox: Sandbox) -> None:
        nap = _nap()
        opening = asyncio.create_task(sandbox.open(nap.split(), timeout=60))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        assert opening.cancelled()
        assert await _processes(sandbox, nap) == 0

    async def two_sessions_at_once(self, sandbox: Sandbox) -> None:
        one, two = [await sandbox.open(["cat"], timeout=60) for _ in range(2)]
        await asyncio.gather(one.write(b"one"), two.write(b"two"))
        assert (await one.read(), await two.read()) == (b"one", b"two")
        await one.kill()
        await two.write(b"more")
        assert await two.read() == b"more"
        await two.close_stdin()
        await two.close_stdin()
        assert (await heard(two), await two.wait()) == (b"", 0)
        await two.kill()

    async def sessions_end_with_their_sandbox(self, sandbox: Sandbox) -> None:
        session = await sandbox.open(["cat"], timeout=60)
        await sandbox.close()
        assert (await session.read(), await session.wait(), session.flags) == (b"", None, ("died",))
        await session.kill()
        await raises(SandboxFailed, session.write(b"x"))
        await raises(SandboxFailed, sandbox.open(["cat"], timeout=60))

    async def death_under_a_session_is_told(self, sandbox: Sandbox) -> None:
        nap = _nap()
        session = await sandbox.open(["sh", "-c", f"echo up; {nap}; :"], timeout=60)
        assert await session.read() == b"up\n"
        end_worker(nap)
        assert (await session.read(), await session.wait(), session.flags) == (b"", None, ("died",))
        await session.kill()

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

    async def death_under_a_command_is_told_and_final(self, sandbox: Sandbox) -> None:
        """It may be the command's doing; that is its outcome, not a failure of the machine."""
        nap = _nap()
        await sandbox.exec("mkfifo begun", timeout=20)
        task = asyncio.create_task(sandbox.exec(f"echo x > begun; {nap}; :", timeout=60))
        await sandbox.exec("read x < begun", timeout=20)
        end_worker(nap)
        result = await task
        assert (result.exit_code, result.flags) == (None, ("died",))
        await raises(SandboxFailed, sandbox.exec("true", timeout=20))


def end_worker(command: str) -> None:
    """End the worker of the sandbox in which a shell runs that command, from outside: where it is the first process of
    its sandbox, no signal from inside reaches it."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            program = (entry / "cmdline").read_bytes()
            if command.encode() in program and b"\0-c\0" in program:
                os.kill(int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1]), signal.SIGKILL)
                return
    raise LookupError(f"nobody runs {command}")


async def heard(session: Session) -> bytes:
    """Everything that it prints until its end."""
    parts = []
    while part := await session.read():
        parts.append(part)
    return b"".join(parts)


async def _say(session: Session, data: bytes) -> None:
    await session.write(data)
    await session.close_stdin()


def _nap() -> str:
    """A command that waits, and that no other test on this machine has."""
    return f"sleep 600.{secrets.randbelow(10**9):09}"


async def _processes(sandbox: Sandbox, command: str) -> int:
    """How many processes run exactly that."""
    script = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -o '[s]{command[1:]}' | wc -l"
    return int((await sandbox.exec(script, timeout=20)).stdout)


def checks() -> dict[str, Check]:
    """All checks by name."""
    suite = Checks()
    return {
        name: method
        for name, method in inspect.getmembers(suite, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
