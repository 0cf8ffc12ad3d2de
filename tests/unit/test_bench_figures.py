"""What the benchmarks compute from what they measured, where it needs no machine."""

import json
from pathlib import Path

import pytest
from bench import __main__ as main
from bench import bench_fleet, bench_footprint, bench_replay, bench_resume, chaos, fleet_load
from bench.bench_footprint import Took
from bench.bench_replay import Pace
from bench.figures import Figure, Target
from bench.history_plan import write_home


def test_the_shortest_makespan_is_the_longest_chain_or_all_work_shared() -> None:
    pace = Pace(work=5.0, gate=2.0)
    chain = tuple(frozenset({number - 1} if number else ()) for number in range(4))
    assert bench_replay.shortest(chain, 8, pace) == 4 * 7.0
    assert bench_replay.shortest((frozenset(),) * 32, 8, pace) == 32 * 5.0 / 8 + 2.0
    assert bench_replay.shortest((), 8, pace) == 0
    assert bench_replay.serial(chain, pace) == 28.0


def test_agents_of_a_replay_take_their_time_and_checks_run_side_by_side(tmp_path: Path) -> None:
    write_home(tmp_path, ["sleep 1"], [""], 8, work=5.0, checks=3)
    assert "sleep 5.0" in (tmp_path / "agents" / "apply-commit.md").read_text()
    assert "\nparallel = 3\n" in (tmp_path / "deck.toml").read_text()


def record(stream: str, kind: str, step: int, at: float) -> dict[str, object]:
    return {"stream": stream, "at": at, "event": {"kind": kind, "step": step}}


def test_a_new_step_is_one_that_this_process_began() -> None:
    steps = bench_resume.Steps(since=100.0)
    steps.take(record("a", "model.asked", 1, 99.0))  # printed late, made by the process that was killed
    steps.take(record("a", "tool.done", 7, 101.0))  # the end of what it had begun
    assert (steps.first, steps.begun, steps.made) == (101.0, None, None)
    steps.take(record("a", "model.asked", 8, 102.0))
    steps.take(record("b", "tool.done", 8, 103.0))
    steps.take(record("a", "model.answered", 8, 104.0))
    assert (steps.begun, steps.made, steps.active) == (102.0, 104.0, {"a": 104.0})


def test_each_answer_of_the_fleets_model_takes_the_same_time() -> None:
    script = fleet_load.scenario(10.0)
    said = {len(turn.text) + len(json.dumps(turn.actions[0].args)) for turn in script.rules[0].turns}
    assert said == {fleet_load.TOKENS * script.chars_per_token}
    assert script.latency.first_byte + script.latency.per_token * fleet_load.TOKENS == pytest.approx(10.0)


def test_what_a_crowd_loses_is_told_beside_what_the_models_latency_allows() -> None:
    load = bench_fleet.Load(1000, 10.0, 4, most=10.0)
    span = fleet_load.Span(40.0, 3400, 13600, 20.0, 4.0, 16.0, 1000, 130_000.0, 22, 1000)
    figures = {figure.name: figure for figure in bench_fleet.crowd_figures(load, span)}
    lost = figures["(q) 1,000 agents at once: lost of the ideal"]
    assert (lost.ours, lost.holds) == (15.0, False)
    assert figures["(q) 1,000 agents at once: CPU of the workers per step"].ours == pytest.approx(5.88)
    assert figures["(q) 1,000 agents at once: memory per agent"].ours == 130.0


def test_a_history_that_fails_is_a_row_with_its_reason_and_one_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()  # no repository
    figure, failed = bench_replay.figure("broken", tmp_path / "broken", Pace(0.0, 0.0))
    assert (figure.ours, failed) == (None, True)
    assert figure.note.startswith("failed: ")
    absent, failed = bench_replay.figure("absent", tmp_path / "absent", Pace(0.0, 0.0))
    assert (absent.ours, failed) == (None, False)


def test_a_benchmark_run_alone_leaves_the_rows_of_the_others() -> None:
    old = {"name": "(b) x", "bench": "steps"}
    other = {"name": "(c) x", "bench": "footprint"}
    rows = main.merged([old, other, {"name": "whose?"}], "steps", [{"name": "(b) y"}])
    assert rows == [other, {"name": "(b) y", "bench": "steps"}]


def test_of_an_import_the_empty_interpreters_time_is_taken_off_but_no_more() -> None:
    many, empty = [Took(60.0, 50.0), Took(90.0, 52.0), Took(70.0, 51.0)], [Took(20.0, 10.0)]
    figure = bench_footprint.waited("import", many, 45.0, empty)
    assert (figure.ours, figure.holds) == (50.0, False)
    assert "best 40; CPU 41" in figure.note
    assert bench_footprint.waited("import", empty, 45.0, many).ours == 0.0


def test_a_campaign_with_fewer_faults_than_wanted_does_not_pass() -> None:
    none = Target("ours", 0)
    good = [Figure("chaos: violations", "violations", 0, target=none), Figure("memory", "KB", 5)]
    assert chaos.exit_code(good) == 0
    assert chaos.exit_code([*good, Figure("chaos: faults missing", "faults", 3, target=none)]) == 1
