"""The worker's parts that run without a sandbox: bounded output, files, git objects."""

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quarterdeck.workplace import wire
from quarterdeck.workplace.removal import remove_tree
from quarterdeck.workplace.shipping import FILES
from quarterdeck.workplace.worker import Worker
from quarterdeck.workplace.worker_exec import Keeper, Run
from quarterdeck.workplace.worker_files import Files
from quarterdeck.workplace.worker_git_command import GitError, PrivateGit
from quarterdeck.workplace.worker_git_directory import commit_body, object_id, remove, scratch_directory


@given(st.lists(st.binary(max_size=60), max_size=20), st.integers(min_value=0, max_value=200))
@example([bytes(47)], 46)
def test_output_is_whole_or_head_and_tail(chunks: list[bytes], limit: int) -> None:
    keeper = Keeper(limit)
    for chunk in chunks:
        keeper.add(chunk)
    everything = b"".join(chunks)
    kept = keeper.value()
    assert len(kept) <= limit
    assert keeper.truncated is (len(everything) > limit)
    if not keeper.truncated:
        assert kept == everything
    else:
        head = limit // 2
        assert kept[:head] == everything[:head]
        if limit >= 120:
            assert f"{len(everything) - limit} bytes cut".encode() in kept
            assert kept[-10:] == everything[-10:]


def test_memory_for_output_is_bounded() -> None:
    keeper = Keeper(1000)
    for _ in range(10_000):
        keeper.add(b"x" * 60_000)
    assert sum(map(len, keeper._tail)) <= 1000 + 60_000  # the bound is the point of the class


def test_run_in_a_thread_can_be_cancelled(tmp_path: Path) -> None:
    run = Run()
    os.mkfifo(tmp_path / "begun")
    answers = []

    def act() -> None:
        command = ["/bin/sh", "-c", "echo x > begun; exec sleep 600"]
        answers.append(run(command, stdin=b"", env={"PATH": os.defpath}, cwd=str(tmp_path), timeout=900, limit=100))

    thread = threading.Thread(target=act)
    thread.start()
    assert (tmp_path / "begun").read_text() == "x\n"
    run.cancel()
    thread.join(timeout=20)
    header, _ = answers[0]
    assert header["exit_code"] is None
    assert header["flags"] == []


@pytest.mark.parametrize("way", ["as here", "as on macOS before Python 3.13"])
@pytest.mark.parametrize(
    ("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -TERM $$; sleep 600", 143), ("true", 0)]
)
def test_an_exit_code_is_that_of_a_shell(
    way: str, script: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way != "as here":
        monkeypatch.delattr(os, "waitid", raising=False)
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    header, output = Run()(
        ["/bin/sh", "-c", f"echo said; {script}"], stdin=b"", env={}, cwd=str(tmp_path), timeout=20, limit=100
    )
    assert (header["exit_code"], header["flags"], output) == (code, [], b"said\n")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "w").mkdir()
    return Files(str(tmp_path / "w"), {"/workspace": str(tmp_path / "w")}, confined=True)


def test_confined_files_stay_in_the_workspace(files: Files, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "w" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "w" / "dir").symlink_to(tmp_path)
    for path in ("../secret", "link", "dir/secret", str(tmp_path / "secret"), "/workspace/../secret"):
        with pytest.raises(PermissionError):
            files.read(path, 0, 10)
        with pytest.raises(PermissionError):
            files.write(path, b"x", None)
    with pytest.raises(ValueError, match="NUL"):
        files.read("a\0b", 0, 10)
    assert (tmp_path / "secret").read_text() == "s"


def test_writing_through_a_link_inside_keeps_the_link(files: Files, tmp_path: Path) -> None:
    files.write("AGENTS.md", b"one", 0o640)
    (tmp_path / "w" / "CLAUDE.md").symlink_to("AGENTS.md")
    files.write("CLAUDE.md", b"two", None)
    assert (tmp_path / "w" / "CLAUDE.md").is_symlink()
    assert files.read("AGENTS.md", 0, 10) == b"two"
    assert (tmp_path / "w" / "AGENTS.md").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in (tmp_path / "w").iterdir()) == ["AGENTS.md", "CLAUDE.md"]


def test_globs(files: Files) -> None:
    for path in ("a.py", "src/b.py", "src/deep/c.py", "src/d.txt"):
        files.write(path, b"x\n", None)

    def listed(glob: str) -> list[str]:
        return [entry["path"] for entry in files.list(".", 9, 100, glob)["entries"]]

    assert listed("*.py") == ["a.py", "src/b.py", "src/deep/c.py"]
    assert listed("src/**/*.py") == ["src/b.py", "src/deep/c.py"]
    assert listed("src/d.*") == ["src/d.txt"]
    assert files.search("x", ".", "*.txt", 10, False)["files"] == 1


def test_names_that_are_no_text_are_shown(files: Files, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/w/\xff")).write_text("x")
    assert [entry["path"] for entry in files.list(".", 1, 10, None)["entries"]] == ["\ufffd"]


def test_commit_is_gits(tmp_path: Path) -> None:
    body = commit_body("1" * 40, "2" * 40, "Títle\n\nBody\n\n", "A <a@b>", 1_700_000_000)
    done = subprocess.run(
        ["git", "hash-object", "-t", "commit", "--stdin"], input=body, capture_output=True, check=True, cwd=tmp_path
    )
    assert done.stdout.decode().strip() == object_id(b"commit", body, 40)
    assert len(object_id(b"commit", body, 64)) == 64
    for bad in ("a\0b",):
        with pytest.raises(ValueError, match="cannot hold"):
            commit_body("1" * 40, "2" * 40, bad, "A <a@b>", 1)


def test_folders_without_end_in_a_scratch_directory_are_left(tmp_path: Path) -> None:
    scratch = scratch_directory(str(tmp_path))
    inner = os.open(scratch, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=inner)
        deeper = os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = deeper
    os.close(inner)
    remove(scratch)
    remove_tree(Path(scratch))


def test_a_scratch_directory_goes_with_all_that_is_in_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    first, second = (Path(scratch_directory(str(tmp_path))) for _ in range(2))
    assert first.stat().st_mode & 0o777 == 0o700
    (first / "objects" / "ab").mkdir(parents=True)
    (first / "objects" / "ab" / "cd").touch(mode=0o400)
    (first / "file").symlink_to(tmp_path / "kept" / "file")
    remove(str(first))
    remove(str(first))
    assert sorted(tmp_path.iterdir()) == sorted((tmp_path / "kept", second))
    assert (tmp_path / "kept" / "file").exists()
    (second / "link").symlink_to(tmp_path / "kept")
    remove(str(second))
    assert (tmp_path / "kept" / "file").exists(), "a link to a directory is not followed"


def test_work_is_done_also_where_the_machine_lets_nobody_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refused)
    answers, ours = os.pipe()
    theirs, orders = os.pipe()
    os.write(orders, wire.pack({"op": "search", "id": 1}))
    os.close(orders)
    Worker(theirs, ours).serve()
    assert select.select([answers], [], [], 10)[0], "whatever comes of it, there is an answer"
    assert b'"id":' in os.read(answers, 65_536)
    for end in (answers, ours, theirs):
        os.close(end)


def test_shipped_files_need_only_the_standard_library(tmp_path: Path) -> None:
    """They are started by an interpreter that knows nothing of this installation."""
    source = Path(sys.modules["quarterdeck.workplace"].__file__ or "").parent
    package = tmp_path / "quarterdeck" / "workplace"
    package.mkdir(parents=True)
    for name in FILES:
        (package / name).write_bytes((source / name).read_bytes())
    code = "import sys; sys.path.insert(0, sys.argv[1]); import quarterdeck.workplace.worker"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code, str(tmp_path)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("kill -9 $$", "git add: it was killed, as is what needs more memory or disk than this sandbox has"),
        ("exit 3", "git add: it ended with 3"),
        ("echo no room >&2; exit 128", "git add: no room"),
    ],
)
def test_a_git_that_ends_says_why_or_how(tmp_path: Path, does: str, says: str) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    git = PrivateGit(str(tmp_path), str(tmp_path), {"PATH": f"{tmp_path}:/usr/bin:/bin"}, lambda: False)
    with pytest.raises(GitError) as caught:
        git("add", "-A")
    assert str(caught.value) == says
