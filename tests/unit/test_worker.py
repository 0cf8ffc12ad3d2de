"""The worker's parts that run without a sandbox: bounded output, files, git objects."""

import json
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
from quarterdeck.workplace.worker_git_command import Cancelled, GitError, PrivateGit
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


def test_the_start_of_a_sandbox_loads_nothing_that_is_slow_to_load(tmp_path: Path) -> None:
    """Each of them takes milliseconds of every sandbox, and together they took longer than all the rest."""
    program = f"""
import sys
before = set(sys.modules)
import os
sys.path.insert(0, sys.argv[1])
from quarterdeck.workplace import wire, worker
from quarterdeck.workplace.worker_exec import Run
source, sink = os.pipe()
worker.Worker(source, sink)
assert wire.header_of(wire.pack({{"op": "read"}})[8:]) == {{"op": "read"}}
answer, said = Run()(["sh", "-c", "echo said"], stdin=b"", env={{}}, cwd={str(tmp_path)!r}, timeout=20, limit=100)
assert (answer["exit_code"], said) == (0, b"said\\n"), (answer, said)
slow = {{"collections", "contextlib", "ctypes", "enum", "functools", "json", "re", "selectors", "signal", "subprocess",
         "tempfile", "threading", "typing"}}
print(*sorted(slow & (set(sys.modules) - before)))
"""
    source = Path(wire.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program, str(source)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("\n", "")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
@example([float("nan"), float("inf"), -0.0, 1e300, 10**30, '\ud83d \U0001f600 \x7f\0"\\/', {"": []}])
def test_frames_hold_what_json_would(value: object) -> None:
    text = wire.written(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert repr(wire.understood(text)) == repr(json.loads(text))
    assert repr(wire.understood(f" \n{json.dumps(value, indent=1)}\t")) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text", ["", " ", "{", "{} {}", "1 2", "nul", "'a'", '{"a":1,}', '"\n"', "[" * 100_000, "9" * 9999]
)
def test_what_is_no_json_is_refused_as_json_refuses_it(text: str) -> None:
    for read in (wire.understood, json.loads):
        with pytest.raises((ValueError, RecursionError)):
            read(text)


def test_a_python_without_the_compiled_half_of_json_reads_and_writes_the_same() -> None:
    write, read = wire._plain()
    value = {"id": 1, "ok": [1.5, None, "é"]}
    assert write(value) == wire.written(value)
    assert read(write(value)) == value


@pytest.mark.parametrize("way", ["as here", "where no session can be asked for"])
@pytest.mark.parametrize(
    ("argv", "folder", "code", "said"),
    [
        (["sh", "-c", "pwd"], ".", 0, "{}"),
        (["./own"], ".", 0, "own"),
        (["own"], ".", 0, "on the path"),
        (["sh", "-c", "kill -PIPE $$"], ".", 141, ""),
        (["sh", "-c", 'ps -o sid= -p $$ | grep -qx " *$$" && echo leads'], ".", 0, "leads"),
        (["nothing"], ".", 127, "cannot start 'nothing': [Errno 2] No such file or directory: 'nothing'"),
        (["./no interpreter"], ".", 127, "cannot start './no interpreter': [Errno 2] No such file or directory: './no"),
        (["sh"], "missing", 127, "cannot start 'sh': [Errno 2] No such file or directory: '{}/missing'"),
        (["./plain"], ".", 126, "cannot start './plain': [Errno 13] Permission denied: './plain'"),
        (["hidden"], ".", 126, "cannot start 'hidden': [Errno 13] Permission denied: 'hidden'"),
        (["a\0b"], ".", 126, "cannot start 'a\\x00b': embedded null byte"),
    ],
)
def test_a_program_is_found_and_started_as_a_shell_would(
    way: str, argv: list[str], folder: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for name, text, mode in (
        ("own", "#!/bin/sh\necho own\n", 0o755),
        ("bin/own", "#!/bin/sh\necho on the path\n", 0o755),
        ("no interpreter", "#!/nowhere\n", 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("bin/hidden", "#!/bin/sh\n", 0o644),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    if way != "as here":

        def unknown(*_: object, **__: object) -> int:
            raise NotImplementedError

        monkeypatch.setattr(os, "posix_spawn", unknown)
    before = Path.cwd()
    env = {"PATH": f"{tmp_path / 'none'}:{tmp_path / 'bin'}:{os.defpath}"}
    where = str(tmp_path if folder == "." else tmp_path / folder)
    answer, output = Run()(argv, stdin=b"", env=env, cwd=where, timeout=20, limit=1000)
    assert (answer["exit_code"], output.decode().strip()[: len(said.format(tmp_path))]) == (code, said.format(tmp_path))
    assert Path.cwd() == before


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_what_is_started_is_given_its_three_streams_alone(tmp_path: Path) -> None:
    """What the host passes on to who makes the sandbox is not the agent's."""
    program = f"""
import os, sys
sys.path.insert(0, sys.argv[1])
from quarterdeck.workplace.worker_exec import Run
from quarterdeck.workplace.worker_processes import keep_to_itself
kept = os.open({str(tmp_path)!r}, os.O_RDONLY)
os.set_inheritable(kept, True)
def seen():
    return Run()(["sh", "-c", "echo /proc/$$/fd/*"], stdin=b"", env={{}}, cwd="/", timeout=20, limit=1000)[1].split()
before = len(seen())
keep_to_itself()
print(before - len(seen()))
"""
    source = Path(wire.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program, str(source)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def _stand_in(folder: Path, does: str, *, cancelled: bool = False) -> PrivateGit:
    program = folder / "git"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    return PrivateGit(str(folder), str(folder), {"PATH": f"{folder}:/usr/bin:/bin"}, lambda: cancelled)


def test_git_is_told_and_tells_more_than_a_pipe_holds(tmp_path: Path) -> None:
    told = bytes(range(256)) * 4000
    git = _stand_in(tmp_path, "tee /dev/stderr")
    assert git("cat", stdin=told) == told
    assert git.said == told.decode("utf-8", "replace")
    assert git("cat", stdin=told, bound=len(told)) == told
    with pytest.raises(ValueError, match=f"the change is larger than {len(told) - 1} bytes"):
        git("cat", stdin=told, bound=len(told) - 1)
    assert _stand_in(tmp_path, "exec 0<&-; echo deaf")("cat", stdin=told) == b"deaf\n"


@pytest.mark.parametrize("bound", [None, 10])
def test_git_ends_when_nobody_wants_its_answer(bound: int | None, tmp_path: Path) -> None:
    git = _stand_in(tmp_path, "echo $$ > pid; exec sleep 600", cancelled=True)
    with pytest.raises(Cancelled):
        git("pack-objects", stdin=bytes(1_000_000), bound=bound)
    pid = (tmp_path / "pid").read_text() if (tmp_path / "pid").exists() else "0"
    assert pid == "0" or not Path(f"/proc/{int(pid)}").exists()


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("kill -9 $$", "git add: it was killed, as is what needs more memory or disk than this sandbox has"),
        ("exit 3", "git add: it ended with 3"),
        ("echo no room >&2; exit 128", "git add: no room"),
    ],
)
def test_a_git_that_ends_says_why_or_how(tmp_path: Path, does: str, says: str) -> None:
    with pytest.raises(GitError) as caught:
        _stand_in(tmp_path, does)("add", "-A")
    assert str(caught.value) == says
