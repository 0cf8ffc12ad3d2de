"""The bench script on a real repository: the plan, its program, and the check."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.history_plan import Repository
from bench.real_history import commits, differences, snapshot, unmerged

from quarterdeck.kernel.entities import Plan

SCRIPT = Path(__file__).parents[2] / "bench" / "history_plan.py"
ENVIRONMENT = {
    "PATH": os.defpath,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], env=ENVIRONMENT, capture_output=True, check=True)
    return done.stdout.decode().strip()


def history(path: Path) -> Path:
    """Six commits: edits far apart, a rename with an edit, a binary file, a removal, a file with a strange name."""
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    lines = [f"line {number}\n" for number in range(60)]

    def commit(subject: str) -> None:
        git(path, "add", "-A")
        git(path, "commit", "-qm", subject)

    (path / "a.txt").write_text("".join(lines))
    (path / "old.txt").write_text("old\n")
    commit("Start")
    lines[5] = "five\n"
    (path / "a.txt").write_text("".join(lines))
    commit("Five")
    lines[50] = "fifty\n"
    (path / "a.txt").write_text("".join(lines))
    commit("Fifty")
    (path / "a.txt").rename(path / "b.txt")
    lines[30] = "thirty\n"
    (path / "b.txt").write_text("".join(lines))
    commit("Rename")
    (path / "d[1] ü.bin").write_bytes(bytes(range(256)))
    commit("Binary")
    (path / "old.txt").unlink()
    commit("Remove")
    (path / "d[1] ü.bin").write_bytes(bytes(range(255, -1, -1)))
    commit("Binary again")
    return path


def test_the_plan_replays_the_history(tmp_path: Path) -> None:
    repository = history(tmp_path / "repository")
    before = git(repository, "for-each-ref"), git(repository, "status", "--porcelain")
    command = [
        sys.executable,
        str(SCRIPT),
        str(repository),
        "--commits",
        "6",
        "--out",
        str(tmp_path / "out"),
        "--check",
    ]
    printed = subprocess.run([*command, "--gate", "true"], capture_output=True, text=True, check=True).stdout
    assert "apply in the order of their needs, latest first: 6 of 6" in printed
    assert "history's: yes" in printed
    assert before == (git(repository, "for-each-ref"), git(repository, "status", "--porcelain"))
    plan = Plan.model_validate_json((tmp_path / "out" / "plan.json").read_text())
    shape = {task.title: [plan.task(need).title for need in task.needs] for task in plan.tasks}
    assert shape == {
        "Five": [],
        "Fifty": [],
        "Rename": ["Five", "Fifty"],
        "Binary": [],
        "Remove": [],
        "Binary again": ["Binary"],
    }
    assert plan.tasks[3].paths == ("d[1] ü.bin",)
    replay(repository, plan, tmp_path)


def replay(repository: Path, plan: Plan, tmp_path: Path) -> None:
    """Run the agent's program for each task, as a sandbox would, in another order than the history's."""
    front = (tmp_path / "out" / "home" / "agents" / "apply-commit.md").read_text().split("---\n")[1]
    [line] = [line for line in front.splitlines() if line.startswith("command: ")]
    program = json.loads(line.removeprefix("command: "))
    work = tmp_path / "work"
    git(tmp_path, "clone", "-q", "--no-local", "--depth=1", f"file://{repository}", str(work))
    base = git(repository, "rev-list", "--max-parents=0", "HEAD")
    git(work, "fetch", "-q", "--depth=1", "origin", base)
    git(work, "checkout", "-q", base)
    for title in ("Remove", "Fifty", "Binary", "Five", "Binary again", "Rename"):
        [task] = [task for task in plan.tasks if task.title == title]
        data = json.dumps({"v": 1, "task": task.model_dump(mode="json")}).encode()
        done = subprocess.run(program, input=data, cwd=work, env=ENVIRONMENT, capture_output=True, check=True)
        assert json.loads(done.stdout)["summary"] == title
        git(work, "add", "-A")
        git(work, "commit", "-qm", title)
    assert git(work, "rev-parse", "HEAD^{tree}") == git(repository, "rev-parse", "HEAD^{tree}")


@pytest.mark.sandbox
def test_a_replayed_history_is_verified_from_outside(tmp_path: Path) -> None:
    repository = history(tmp_path / "repository")
    command = [sys.executable, "-m", "bench.real_history", str(repository), "--commits", "6", "--gate", "ls"]
    done = subprocess.run(
        [*command, "--setup", "", "--kill", "0.3", "--kill", "3"],
        cwd=SCRIPT.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = done.stdout.splitlines()[1].split()
    assert row[:5] == ["repository", "6", "6", "0", "6"]
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("ok  ", "BAD "))]
    assert len(verdicts) == 7
    assert all(verdict.startswith("ok  ") for verdict in verdicts)


def test_what_a_run_must_leave_alone_is_noticed(tmp_path: Path) -> None:
    path = history(tmp_path / "repository")
    repository = Repository(path)
    base, before = repository.text("rev-parse", "HEAD~1"), snapshot(repository, path)
    git(path, "branch", "target")
    git(path, "notes", "--ref=quarterdeck", "add", "-m", "note")
    assert differences(before, snapshot(repository, path), "target") == []
    assert differences(before, snapshot(repository, path), "other") == ["refs/heads/target changed"]
    (path / "b.txt").write_text("mine\n")
    git(path, "config", "user.name", "somebody")
    assert differences(before, snapshot(repository, path), "target") == [
        "status changed",
        "files changed",
        "settings changed",
    ]
    result = {"run": "r-1", "target": {"sha": repository.text("rev-parse", "HEAD")}, "tasks": []}
    wrong = commits(repository, base, result)
    assert any("names the run" in line for line in wrong)
    assert wrong[-1].startswith("the commits are of")
    assert unmerged({"tasks": [{"id": "a", "status": "failed", "reason": ""}]}) == ["a is failed: NO REASON"]
