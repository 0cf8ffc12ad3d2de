"""The git runner and the pure readers of git's output."""

import asyncio
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace.git import Git, decode, encode, git_environment, run_program
from quarterdeck.workplace.history import FileChange, parse_merge, parse_raw, parse_trailers
from quarterdeck.workplace.incoming import forbidden, is_git_directory_name
from quarterdeck.workplace.repository import parse_worktrees

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


def test_nothing_of_our_environment_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("SECRET_KEY", "x")
    environment = git_environment()
    assert not {"GIT_DIR", "SECRET_KEY"} & set(environment)
    assert environment["GIT_TERMINAL_PROMPT"] == "0"


async def test_a_failure_carries_the_command_and_the_complaint() -> None:
    with pytest.raises(GitFailed, match="rev-parse") as caught:
        await Git(f"--git-dir={Path('/nowhere')}").run("rev-parse", "HEAD")
    assert "not a git repository" in caught.value.why


async def test_output_is_bounded() -> None:
    done = await Git().run("help", "-a", limit=10, may_cut=True)
    assert (len(done.stdout), done.cut) == (10, True)
    with pytest.raises(GitFailed, match="more than 10 bytes"):
        await Git().run("help", "-a", limit=10)


async def test_a_program_that_is_stopped_leaves_no_pipe_open() -> None:
    flood = ("sh", "-c", "cat /dev/zero")
    await run_program(flood, b"", git_environment(), -1, 20, 10)  # opens what the event loop needs for good
    before = _open_files()
    for _ in range(100):  # the pipe is only left where it filled faster than it was read
        assert (await run_program(flood, b"", git_environment(), -1, 20, 10)).cut
    assert _open_files() <= before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_the_deadline_kills_git_and_its_children() -> None:
    with pytest.raises(GitFailed, match="longer than"):
        await Git("-c", "alias.wait=!sleep 60").run("wait", timeout=0.2)


async def test_cancelling_ends_the_process() -> None:
    task = asyncio.create_task(Git("-c", "alias.wait=!echo ready; sleep 60").run("wait"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_does_not_read_its_input_still_tells_why() -> None:
    done = await Git().run("no-such-command", stdin=b"x" * 1_000_000, ok=range(256))
    assert "not a git command" in done.complaint


@given(st.binary(max_size=50))
def test_names_are_decoded_losslessly(data: bytes) -> None:
    assert encode(decode(data)) == data


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(["A", "M", "D", "R100", "T"])), max_size=5))
def test_raw_differences_with_any_name(entries: list[tuple[str, str, str]]) -> None:
    output = b""
    for old, new, status in entries:
        output += f":100644 100755 {'1' * 40} {'2' * 40} {status}".encode() + b"\0" + encode(old) + b"\0"
        output += encode(new) + b"\0" if status[0] == "R" else b""
    found = [(c.old_path, c.path, c.status) for c, _ in parse_raw(output)]
    assert found == [(old, new if status[0] == "R" else old, status[0]) for old, new, status in entries]


def test_a_clean_merge_and_a_conflict() -> None:
    assert parse_merge(0, b"1234\0").tree == "1234"
    stages = b"".join(b"100644 %s %d\ta\nb\0" % (b"1" * 40, stage) for stage in (1, 2, 3))
    stages += b"".join(b"100644 %s %d\tc\0" % (b"2" * 40, stage) for stage in (2, 3))
    messages = b"1\0a\nb\0Auto-merging\0Auto-merging a\n\0" + b"2\0c\0d\0CONFLICT (x)\0CONFLICT: c\n\0"
    merge = parse_merge(1, b"1234\0" + stages + b"\0" + messages)
    assert (merge.tree, merge.conflicts, merge.added) == (None, ("a\nb", "c"), ("c",))
    assert merge.detail == "Auto-merging a\nCONFLICT: c\n"


def test_trailers() -> None:
    assert parse_trailers("Quarterdeck-Task: a: b\nX: 1\nX: 2\nnone\n") == {"Quarterdeck-Task": "a: b", "X": "2"}


@pytest.mark.parametrize(
    "name",
    [".git", ".GIT", ".Git ", ".git.", ".git. .", "git~1", "GIT~2", ".g\u200cit", ".git::$INDEX_ALLOCATION", "x\\.git"],
)
def test_names_that_stand_for_a_git_directory(name: str) -> None:
    assert is_git_directory_name(name)


@pytest.mark.parametrize(
    "name", ["git", ".gitignore", ".github", ".gitmodules", "a.git", "git~", "x~1", ".gi", "..git"]
)
def test_names_that_do_not(name: str) -> None:
    assert not is_git_directory_name(name)


@given(st.lists(st.sampled_from(["\u200c", "\u200d", "\ufeff", "\u202e"]), max_size=6), st.integers(0, 4))
def test_characters_that_a_file_system_ignores_do_not_hide_it(ignored: list[str], place: int) -> None:
    assert all(unicodedata.category(c) == "Cf" for c in ignored)
    assert is_git_directory_name(".GiT"[:place] + "".join(ignored) + ".GiT"[place:])


def test_what_a_change_may_not_bring() -> None:
    def change(path: str, old: str = "000000", new: str = "100644") -> FileChange:
        return FileChange(path, path, "A", old, new, 0)

    assert forbidden([change("a/b"), change("link", new="120000")]) is None
    assert forbidden([change(".git/x", old="100644", new="000000")]) is None
    assert forbidden([change("sub", old="160000", new="160000")]) is None
    for bad in (
        change("a/.git/b"),
        change("sub", new="160000"),
        change("sub", old="100644", new="160000"),
        change("\udcff"),
    ):
        assert forbidden([bad])


def test_work_trees_of_a_branch() -> None:
    listing = (
        b"worktree /a b\0HEAD 1\0branch refs/heads/x\0\0"
        b"worktree /c\0HEAD 1\0branch refs/heads/x\0prunable gone\0\0"
        b"worktree /d\0HEAD 1\0detached\0\0worktree /e\0bare\0\0"
    )
    assert parse_worktrees(listing, "x") == (Path("/a b"),)
    assert parse_worktrees(listing, "y") == ()
