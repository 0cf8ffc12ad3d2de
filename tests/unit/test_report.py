"""The report of a run, from what is on record."""

from dataclasses import replace
from pathlib import Path

from quarterdeck.delivery.report import Ending, TaskLine, report
from quarterdeck.demo.screen import next_steps
from quarterdeck.kernel.events import TaskStatus

COMMITS = {"one": "1" * 40, "two": "2" * 40}


def ending(*gone: str) -> Ending:
    return Ending(
        run="r-1abcdefghjk",
        goal="Do it",
        branch="work",
        sha="f" * 40,
        tasks=tuple(
            TaskLine(name, f"The {name}", TaskStatus.MERGED, 1, commit, "", "", (), name in gone)
            for name, commit in COMMITS.items()
        ),
        setbacks=(),
        cost_nusd=0,
        budget_nusd=5_000_000_000,
        seconds=61.0,
        warnings=(),
        flaky=(),
    )


def test_what_is_no_longer_on_the_branch_is_said() -> None:
    text = report(ending("two"))
    _, _, section = text.partition("## No longer on `work`")
    assert "- `222222222222` **two**: The two" in section
    assert "**one**" not in section


def test_a_branch_that_nothing_landed_on_is_nowhere() -> None:
    assert "2 of 2 tasks merged into `work` at `ffffffffffff`, in" in report(ending())
    failed = tuple(replace(line, status=TaskStatus.FAILED, commit=None) for line in ending().tasks)
    assert "0 of 2 tasks merged into `work`, in" in report(replace(ending(), tasks=failed))


def test_money_and_counts_are_written_as_elsewhere() -> None:
    assert "for $0.00 of $5.00." in report(ending())
    assert "for $0.0421 of $5.00." in report(replace(ending(), cost_nusd=42_100_000))
    assert "for $0.18 of $5.00." in report(replace(ending(), cost_nusd=179_100_000))
    assert "1 of 1 task merged into" in report(replace(ending(), tasks=ending().tasks[:1]))


def test_who_has_reviewed_nothing_is_said_in_plain_words() -> None:
    two = replace(ending(), unseen=("one", "two"))
    assert "Nobody has reviewed 2 of these 2 changes: one, two." in report(two)
    assert "Nobody has reviewed this change: one." in report(replace(two, tasks=two.tasks[:1], unseen=("one",)))


def test_the_demo_ends_with_commands_that_can_be_typed(tmp_path: Path) -> None:
    there = next_steps("/usr/bin/quarterdeck", tmp_path)
    first, *rest = next_steps(None, tmp_path)
    assert first[0] == f'export PATH="{tmp_path}:$PATH"' and tuple(rest) == there


def test_nothing_is_said_where_the_branch_holds_everything() -> None:
    assert "No longer on" not in report(ending())


def test_how_a_change_was_merged_is_said_where_git_alone_did_not_do() -> None:
    plain = ending()
    by_entity = replace(plain.tasks[1], merged="merged by entity (git: conflict in a.py)")
    text = report(replace(plain, tasks=(plain.tasks[0], by_entity)))
    assert "**two**: The two\n  - merged by entity (git: conflict in a.py)\n" in text
    assert text.count("merged by") == 1
