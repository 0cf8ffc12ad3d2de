"""What a run says at its end."""

from dataclasses import replace

import pytest

from quarterdeck.delivery.report import Ending, Setback, TaskLine, report, retrospective
from quarterdeck.kernel.events import TaskStatus

MERGED = TaskLine("a", "Add a", TaskStatus.MERGED, 2, "c" * 40, "", "did it", ("only ASCII",))
FAILED = TaskLine("b", "Add b", TaskStatus.FAILED, 3, None, "3 attempts, the last one: `pytest` failed: exit 1", "", ())
BLOCKED = TaskLine("c", "Add c", TaskStatus.BLOCKED, 0, None, "needs b, which did not merge", "", ())
ENDING = Ending(
    run="r-1", goal="Add things\nin detail", branch="work", sha="f" * 40, tasks=(MERGED, FAILED, BLOCKED),
    setbacks=(
        Setback("a", "r-1.a.1", "gate conflict", "does not\nmerge"), Setback("b", "r-1.b.1", "check failed", "no"),
    ),
    cost_nusd=1_234_500_000, budget_nusd=5_000_000_000, seconds=3_725.2, warnings=("a and b overlap",), flakes=1,
)  # fmt: skip


def test_the_report_says_what_merged_and_what_needs_a_human() -> None:
    text = report(ENDING)
    assert text.startswith("# Add things\n")
    assert "1 of 3 tasks merged into `work` at `ffffffffffff`, in 1 h 2 min, for $1.2345 of $5.00." in text
    assert "- `cccccccccccc` **a**: Add a (2 attempts)\n  - limitation: only ASCII" in text
    assert "- **b** is failed: 3 attempts, the last one: `pytest` failed: exit 1" in text
    assert "- **c** is blocked: needs b, which did not merge" in text
    assert "quarterdeck resume r-1 --retry" in text
    assert "- a and b overlap" in text
    assert text.index("## Merged") < text.index("## Needs a human") < text.index("## Warnings")


def test_nothing_open_needs_no_human() -> None:
    text = report(replace(ENDING, tasks=(MERGED,), warnings=()))
    assert "human" not in text
    assert "resume" not in text


def test_a_plan_alone_leaves_nothing_open() -> None:
    text = report(replace(ENDING, tasks=(BLOCKED,), plan_only=True))
    assert "## Planned\n\n- **c**: Add c" in text
    assert "human" not in text


def test_a_goal_without_words_is_called_by_its_run() -> None:
    assert report(replace(ENDING, goal=" \n")).startswith("# r-1\n")


@pytest.mark.parametrize(("seconds", "says"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min")])
def test_durations(seconds: float, says: str) -> None:
    assert f", in {says}, " in report(replace(ENDING, seconds=seconds))


def test_the_retrospective_holds_what_went_wrong() -> None:
    text = retrospective(ENDING)
    assert "- `r-1.a.1` gate conflict: does not merge" in text
    assert "`a` merged after 2 attempts (gate conflict)." in text
    assert "`b` ended failed after 3 attempts (check failed)." in text
    assert "Order or divide the work of: a;" in text
    assert "1 check(s) failed and then passed on the same tree: flaky." in text


def test_a_smooth_run_has_nothing_to_tell() -> None:
    text = retrospective(replace(ENDING, setbacks=(), flakes=0, tasks=(MERGED,)))
    assert "Nothing went wrong" in text
