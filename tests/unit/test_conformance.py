"""What the runner of the conformance tool makes of what the tool found."""

from typing import Any

import pytest
from conformance.__main__ import verdict
from conformance.scenarios import APPLY, Scenario, reason, unknown


def check(name: str, status: str) -> dict[str, Any]:
    return {"id": name, "status": status, "errorMessage": "why"}


@pytest.mark.parametrize(
    ("found", "passed", "wrong"),
    [
        ([check("a", "SUCCESS"), check("b", "INFO"), check("x", "FAILURE")], 1, []),
        ([check("a", "SUCCESS"), check("x", "FAILURE"), check("b", "FAILURE")], 1, ["b: why"]),
        ([check("a", "SUCCESS"), check("x", "SUCCESS")], 2, ["x: is excused and does not fail"]),
        ([check("x", "FAILURE")], 0, ["no check succeeded"]),
        ([], 0, ["x: is excused and does not fail", "no check succeeded"]),
    ],
)
def test_a_scenario_passes_where_nothing_failed_but_the_excused(
    found: list[dict[str, Any]], passed: int, wrong: list[str]
) -> None:
    assert verdict(Scenario("s", excused={"x": "because"}), found) == (passed, wrong)


def test_every_scenario_is_accounted_for_once() -> None:
    names = [scenario.name for scenario in APPLY["server"]]
    assert len(set(names)) == len(names)
    assert unknown("server", [*names, "prompts-list", "tasks-lifecycle"]) == []
    assert unknown("server", [*names, "brand-new"]) == ["brand-new"]
    assert unknown("server", names[1:]) == [names[0]]
    assert "sound" in (reason("server", "tools-call-audio") or "")
