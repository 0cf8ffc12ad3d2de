"""Faults of an agent's tools, made to happen: the agent is told, goes on, and nothing is left behind.

What a tool of a native agent does wrong, or the machine under it: each result is on record and reaches the model.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_kit import Kit, kit, scenario
from test_faults_host import MEBIBYTE, small

from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Agent, AgentLimits, Submission
from quarterdeck.kernel.events import Outcome
from quarterdeck.models.scripted.scenario import Action, Turn, act
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Limits, Spec

pytestmark = pytest.mark.sandbox

WORKER = Agent(name="implementer", prompt="You implement.", limits=AgentLimits(turns=40))
HUNGRY = "import time; b = bytearray(60 << 20); b[::4096] = b'x' * len(b[::4096]); time.sleep(600)"
TOOLS: dict[str, tuple[str, int, bool, set[str], str]] = {
    "hangs and ignores SIGTERM": (
        "trap '' TERM; (trap '' TERM; sleep 600) & echo begun; sleep 600",
        1,
        False,
        {"timeout"},
        "begun\n[stopped after 1 s: give it more time, or less to do]",
    ),
    "50 MB": ("echo first; head -c 52428800 /dev/zero | tr '\\0' x; echo last", 60, True, {"truncated"}, "last"),
    "NUL bytes": (r"printf 'a\0b'", 20, True, set(), "a\ufffdb\n[exit code 0]"),
    "invalid UTF-8": (r"printf '\377\376ok'", 20, True, set(), "\ufffd\ufffdok\n[exit code 0]"),
    "killed by the kernel": ("kill -9 $$", 20, False, set(), "[exit code 137: ended by signal 9]"),
    "killed by the watchdog": (
        f'for i in 1 2 3; do python3 -c "{HUNGRY}" & done; wait',
        60,
        False,
        {"memory"},
        "[stopped: it used more memory than this sandbox has]",
    ),
}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Kit]:
    async with kit(tmp_path) as made:
        yield made


async def test_whatever_a_tool_does_the_agent_is_told_and_goes_on(bench: Kit, tmp_path: Path) -> None:
    """One turn each. The result is bounded, is text, says what happened, and reaches the model as it is on record."""
    turns = [Turn(actions=(act("run", command=row[0], timeout=row[1]),)) for row in TOOLS.values()]
    turns += [
        Turn(actions=(act("write", path="hello.txt", content="hello\n"),)),
        Turn(actions=(act("submit", summary="done"),)),
    ]
    ground = Ground(tmp_path / "tools")
    provider = Bubblewrap(ground)
    sandbox = await provider.create(Spec("tools", limits=Limits(memory_bytes=120 * MEBIBYTE)))
    try:
        async with replace(bench, sandbox=sandbox).native(scenario(*turns)) as wire:
            finished = await wire.work(WORKER)
            assert (finished.outcome, finished.handoff) == (Outcome.OK, Submission(summary="done"))
            assert len(wire.server.requests) == len(turns)
        alive = await sandbox.exec("cat /proc/[0-9]*/stat | grep sleep | grep -v ') Z '", timeout=20)
        assert alive.stdout == b"", "what hung is gone"
    finally:
        await sandbox.close()
        ground.destroy()
    done = [event for event in await bench.events() if isinstance(event, e.ToolDone) and event.tool == "run"]
    for (name, row), event in zip(TOOLS.items(), done, strict=True):
        text = (await bench.journal.get(event.result_blob)).decode()
        assert (event.ok, set(event.flags)) == (row[2], row[3]), (name, text)
        assert row[4] in text, (name, text[-300:])
        assert len(text.encode()) <= 40 * 1024, name
        assert text.isprintable() or {c for c in text if not c.isprintable()} <= {"\n"}, name


async def test_tools_on_a_full_disk_say_so_and_work_again_when_there_is_room(bench: Kit, tmp_path: Path) -> None:
    calls: tuple[tuple[Action, bool, str], ...] = (
        (act("run", command="head -c 4000000 /dev/zero > junk"), False, "No space left on device"),
        (act("write", path="hello.txt", content="hello\n" * 2000), False, "No space left on device"),
        (act("run", command="rm junk; ls"), True, "[exit code 0]"),
        (act("write", path="hello.txt", content="hello\n"), True, "Wrote `hello.txt`"),
    )
    turns = [Turn(actions=(call,)) for call, _, _ in calls] + [Turn(actions=(act("submit", summary="done"),))]
    ground = Ground(tmp_path / "tools").prepare()
    with small(ground.workspaces, "1m"):
        sandbox = await Bubblewrap(ground).create(Spec("tools"))
        try:
            async with replace(bench, sandbox=sandbox).native(scenario(*turns)) as wire:
                assert (await wire.work(WORKER)).outcome is Outcome.OK
                assert len(wire.server.requests) == len(turns)
            assert (await sandbox.exec("ls; cat hello.txt", timeout=20)).stdout == b"hello.txt\nhello\n"
        finally:
            await sandbox.close()
    ground.destroy()
    done = [event for event in await bench.events() if isinstance(event, e.ToolDone)]
    for (call, ok, says), event in zip(calls, done, strict=False):
        text = (await bench.journal.get(event.result_blob)).decode()
        assert (event.tool, event.ok) == (call.do, ok), text
        assert says in text


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_the_clock_is_no_work_time_of_an_agent(
    hours: int, bench: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, looked = time.time, [0]

    def stepping() -> float:
        looked[0] += 1
        return real() + looked[0] * hours * 3600.0

    monkeypatch.setattr(time, "time", stepping)
    turns = (
        Turn(actions=(act("run", command="echo one"),)),
        Turn(actions=(act("write", path="hello.txt", content="hello\n"),)),
        Turn(actions=(act("submit", summary="done"),)),
    )
    agent = replace_limits(WORKER, wall=60)
    async with bench.native(scenario(*turns)) as wire:
        finished = await wire.work(agent)
    assert finished.outcome is Outcome.OK
    assert looked[0] >= 3
    found = await bench.events()
    assert not [event for event in found if isinstance(event, e.LimitReached)]
    assert all(0 <= event.seconds < 60 for event in found if isinstance(event, e.ToolDone | e.ModelAnswered))


def replace_limits(agent: Agent, **limits: Any) -> Agent:
    return agent.model_copy(update={"limits": agent.limits.model_copy(update=limits)})
