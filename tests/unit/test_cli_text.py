"""How text, amounts and tables look on a terminal."""

import unicodedata
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.cli.amounts import duration, size, tokens, usd
from quarterdeck.cli.call import format_line
from quarterdeck.cli.lines import Line
from quarterdeck.cli.showing import next_step, place
from quarterdeck.cli.text import Column, Tone, cells, clean, fit, pad, paint, table
from quarterdeck.delivery.order import RunResult, Target, TaskResult
from quarterdeck.kernel.events import RunStatus, TaskStatus


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0s"), (0.44, "0.4s"), (12, "12s"), (185, "3m 05s"), (7800, "2h 10m"), (273600, "3d 4h")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("nusd", "text"),
    [(0, "$0.00"), (42_100_000, "$0.0421"), (1_200_000_000, "$1.20"), (1_234_560_000_000, "$1,234.56")],
)
def test_usd(nusd: int, text: str) -> None:
    assert usd(nusd) == text


def test_counts() -> None:
    assert [tokens(950), tokens(12_345), tokens(999_999), tokens(4_100_000)] == ["950", "12.3k", "1.0M", "4.1M"]
    assert [size(512), size(3482), size(1_258_291)] == ["512 B", "3.4 KiB", "1.2 MiB"]


def test_nothing_that_steers_a_terminal_survives() -> None:
    assert clean("a\x1b[2Jb\rc\nd\u202ee\x00") == "a[2Jbc de"
    assert clean("a\r\nb\nc", lines=True) == "a\nb\nc"


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert not {unicodedata.category(char) for char in clean(text)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {char for char in clean(text, lines=True) if unicodedata.category(char) == "Cc"} <= {"\n"}


@given(st.text(alphabet="ab表 é\u0301"), st.integers(0, 20))
def test_fit_and_pad_count_cells(text: str, width: int) -> None:
    assert cells(fit(text, width)) <= width
    assert cells(pad(text, width)) == max(width, cells(text))
    if cells(text) <= width:
        assert fit(text, width) == text


def test_a_table_is_aligned_and_cut_to_the_terminal() -> None:
    columns = [Column("id"), Column("n", right=True), Column("what")]
    rows = [("表", "1", "short"), ("abcdef", "22", "a long text that does not fit")]
    assert table(columns, rows, width=30) == [
        "ID       N  WHAT",
        "表       1  short",
        "abcdef  22  a long text that…",
    ]
    assert table(columns, rows)[2].endswith("does not fit")


def test_a_narrow_terminal_is_shown_less_of_what_can_be_spared() -> None:
    columns = [Column("run"), Column("branch", spare=True), Column("agent", spare=True), Column("goal")]
    rows = [("r-1", "quarterdeck/r-1", "implementer", "what should be true afterwards, in words")]
    assert table(columns, rows)[0].split() == ["RUN", "BRANCH", "AGENT", "GOAL"]
    assert table(columns, rows, width=62)[0].split() == ["RUN", "BRANCH", "AGENT", "GOAL"]
    assert table(columns, rows, width=50)[0].split() == ["RUN", "BRANCH", "GOAL"]
    assert table(columns, rows, width=30) == ["RUN  GOAL", "r-1  what should be true afte…"]
    short = [("r-1", "quarterdeck/r-1", "implementer", "Fix it")]
    assert table(columns, short, width=46)[0].split() == ["RUN", "BRANCH", "AGENT", "GOAL"], "it needs no room"


def test_a_log_says_which_day_it_is_about_where_that_is_not_today() -> None:
    now = datetime(2026, 11, 22, 9, 0).timestamp()
    night = datetime(2026, 11, 21, 23, 59, 58).timestamp()
    told = [format_line(Line(at, "docs.1", "step 3"), color=False, now=now) for at in (night, now - 60)]
    assert told == ["2026-11-21 23:59:58  docs.1            step 3", "08:59:00  docs.1            step 3"]
    year = format_line(Line(datetime(2025, 11, 22, 9, 0).timestamp(), "run", "x"), color=False, now=now)
    assert year.startswith("2025-11-22 09:00:00  run")


def test_colour_only_where_it_is_wanted() -> None:
    assert paint("x", Tone.BAD, color=False) == "x"
    assert paint("x", Tone.BAD, color=True) == "\x1b[31mx\x1b[0m"
    lines = table([Column("status", status=True)], [("merged",)], color=True)
    assert lines[1] == "\x1b[32mmerged\x1b[0m"


@pytest.mark.parametrize(
    ("run", "task", "text"),
    [
        (RunStatus.WAITING, TaskStatus.MERGED, "work at 3f2a91c0de"),
        (RunStatus.PARTIAL, TaskStatus.MERGED, "work at 3f2a91c0de"),
        (RunStatus.WAITING, TaskStatus.WAITING, "nothing landed on work yet"),
        (RunStatus.FAILED, TaskStatus.FAILED, "nothing landed on work"),
    ],
)
def test_a_branch_stands_where_a_run_brought_it_or_nothing_landed(run: RunStatus, task: TaskStatus, text: str) -> None:
    target = Target(branch="work", sha="3f2a91c0de5b" + "0" * 28)
    tasks = (TaskResult(id="a", status=task), TaskResult(id="b", status=TaskStatus.PENDING))
    assert place(RunResult(run="r-1", status=run, target=target, tasks=tasks, exit_code=0)) == text


def test_what_waits_goes_on_by_itself_only_where_a_server_works_on_it() -> None:
    waits = RunResult(run="r-1", status=RunStatus.WAITING, target=Target(branch="work", sha=""), exit_code=3)
    assert next_step(waits, served=False).endswith("then quarterdeck resume r-1")
    assert next_step(waits, served=True).endswith("then it goes on by itself")


def test_a_branch_that_is_elsewhere_is_looked_at_with_what_fetches_it() -> None:
    there = Target(branch="quarterdeck/r-1", sha="3f2a", remote="file:///srv/up stream.git")
    tasks = (TaskResult(id="a", status=TaskStatus.MERGED),)
    done = RunResult(run="r-1", status=RunStatus.DONE, target=there, exit_code=0, tasks=tasks)
    seen = next_step(done, served=False)
    assert seen == "next: git fetch 'file:///srv/up stream.git' quarterdeck/r-1 && git log --oneline FETCH_HEAD"
    here = done.model_copy(update={"target": Target(branch="quarterdeck/r-1", sha="3f2a")})
    assert next_step(here, served=False) == "next: git log --oneline quarterdeck/r-1"
    only_planned = here.model_copy(update={"tasks": ()})
    assert next_step(only_planned, served=False) == "next: quarterdeck show r-1", "there is no such branch"
