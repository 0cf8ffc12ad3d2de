"""The figures of prompts: what is read of recorded trajectories, and how prompts are billed."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench import bench_context, trajectories

from quarterdeck.kernel.entities import Usage

SPOKEN: list[dict[str, Any]] = [
    {"role": "system", "content": "policy"},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Your id?"},
    {"role": "user", "content": "u1"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"function": {"name": "look", "arguments": '{"id": "u1"}'}},
            {"function": {"name": "look", "arguments": "no json"}},
        ],
    },
    {"role": "tool", "content": "one"},
    {"role": "tool", "content": "two"},
    {"role": "assistant", "content": "Bye"},
]


def test_a_chat_becomes_turns_with_what_came_back() -> None:
    found = trajectories.parse("t", SPOKEN)
    respond, looks = found.turns  # the last answer got nothing back
    assert (found.system, found.task) == ("policy", "Hi")
    assert respond.calls == (trajectories.Call("respond", {"content": "Your id?"}, "u1"),)
    assert [(call.arguments, call.result) for call in looks.calls] == [
        ({"id": "u1"}, "one"),
        ({"text": "no json"}, "two"),
    ]
    assert found.tools == ("look", "respond")


def test_an_action_is_a_call_and_results_without_a_call_of_their_own_belong_to_the_last() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "Do it"}]},
        {"role": "assistant", "content": "I look.\n```ls```", "thought": "I look.", "action": "ls"},
        {"role": "user", "content": "a.py"},
        {"role": "user", "content": "b.py"},
    ]
    (turn,) = trajectories.parse("t", messages).turns
    assert turn == trajectories.Turn("I look.", (trajectories.Call("act", {"command": "ls"}, "a.py\nb.py"),))


def test_in_a_row_nothing_is_lost() -> None:
    one = trajectories.parse("t", SPOKEN)
    long = trajectories.in_a_row([one, one])
    assert len(long.turns) == 2 * len(one.turns)
    assert long.turns[1].calls[-1].result == "two\n\nHi"


def test_what_is_not_there_is_no_family(tmp_path: Path) -> None:
    (tmp_path / "tau-bench").mkdir()
    (tmp_path / "tau-bench" / "x-airline.json").write_text(json.dumps([{"traj": SPOKEN}]))
    assert list(trajectories.load(tmp_path)) == ["tau-bench airline"]


def test_the_perfect_cache_writes_only_what_is_read_again() -> None:
    naive, perfect = bench_context.plain_bills([100, 150])
    assert naive == 250
    assert perfect == pytest.approx(1.25 * 100 + 0.1 * 100 + 50)
    assert bench_context.plain_bills([100]) == (100, 100)
    assert bench_context.billed(Usage(input=1, cache_read=10, cache_write=4)) == pytest.approx(7)


@pytest.mark.embedded("the benchmark makes a file of its own")
async def test_a_replay_bills_more_than_perfect_and_less_than_naive(tmp_path: Path) -> None:
    turns = [
        {"role": "assistant", "content": f"Question {n}"} if n % 2 else {"role": "user", "content": "x" * 3000}
        for n in range(20)
    ]
    chat = [{"role": "system", "content": "s" * 6000}, *turns]
    (tmp_path / "tau-bench").mkdir()
    (tmp_path / "tau-bench" / "airline.json").write_text(json.dumps([{"traj": chat}]))
    found = {figure.name: figure for figure in await bench_context.figures(tmp_path, (200_000,))}
    figure = found["(g) context: tau-bench airline, window 200k"]
    assert figure.holds, figure
    assert figure.ratio["perfect prefix cache"] >= 1 > figure.ratio["naive resending"]
    assert found["(g) context: SWE-agent demonstrations, window 200k"].ours is None
