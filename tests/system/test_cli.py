"""The command line against real git, in processes of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_kit

from quarterdeck.kernel.failures import Exit
from quarterdeck.settings import DECK_FILE, parse_deck_toml
from quarterdeck.testing.forked import FORKS, QUARTERDECK

PYPROJECT = "[project]\nname = 'x'\n[dependency-groups]\ndev = ['ruff']\n[tool.ruff]\n[tool.pytest.ini_options]\n"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "tests").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "tests" / "test_x.py").write_text("def test_x():\n    pass\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Start")
    return folder


def quarterdeck(*arguments: str, home: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    place = home / "home"
    environment = {**os.environ, "QUARTERDECK_HOME": str(place), **store_kit.told(place / "deck.db")}
    process = FORKS.start(QUARTERDECK, arguments, cwd=cwd, env=environment)
    try:
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.wait(), out, err)
    finally:
        process.kill()
        process.communicate()


def test_init_writes_what_the_repository_shows(repository: Path, tmp_path: Path) -> None:
    done = quarterdeck("init", "--json", home=tmp_path, cwd=repository / "tests")
    assert (done.returncode, [line[:5] for line in done.stderr.splitlines()[-2:]]) == (Exit.DONE, ["next:", "then:"])
    body = json.loads(done.stdout)
    assert body["gate"] == ["ruff check .", "python3 -m pytest -q"]
    files = [Path(file) for file in body["files"]]
    assert files == [repository / ".quarterdeck" / "deck.toml", repository / ".quarterdeck" / "agents" / "README"]
    assert parse_deck_toml(files[0].read_text(), "deck.toml").config.checks.gate == tuple(body["gate"])
    assert git(repository, "status", "--porcelain") == "?? .quarterdeck/\n"


@pytest.mark.parametrize("whose", ["operator", "repository"])
def test_config_tells_why_checks_were_proposed_only_where_they_hold(
    repository: Path, tmp_path: Path, whose: str
) -> None:
    detected = quarterdeck("config", "--json", home=tmp_path, cwd=repository)
    origin = json.loads(detected.stdout)["origin"]
    assert "checks.gate: from what the repository shows" in origin
    assert [line for line in origin if line.startswith("python3 -m pytest -q: ")]
    file = (tmp_path / "home" if whose == "operator" else repository / ".quarterdeck") / DECK_FILE
    file.parent.mkdir(exist_ok=True)
    file.write_text('[checks]\ngate = ["make ok"]\n')
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "checks", "--allow-empty")
    done = quarterdeck("config", "--json", home=tmp_path, cwd=repository)
    body = json.loads(done.stdout)
    assert body["config"]["checks"]["gate"] == ["make ok"]
    assert not [line for line in body["origin"] if line.startswith(("python3 -m pytest", "ruff check"))]
    assert "configured in pyproject.toml" not in quarterdeck("config", home=tmp_path, cwd=repository).stdout


def test_init_overwrites_nothing(repository: Path, tmp_path: Path) -> None:
    (repository / ".quarterdeck").mkdir()
    (repository / ".quarterdeck" / "deck.toml").write_text("# mine\n")
    done = quarterdeck("init", "--repo", str(repository), home=tmp_path)
    assert done.returncode == Exit.STALE
    assert "nothing is overwritten" in done.stderr
    assert (repository / ".quarterdeck" / "deck.toml").read_text() == "# mine\n"
    assert not (repository / ".quarterdeck" / "agents").exists()


def test_init_says_when_there_are_no_checks(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "Start")
    done = quarterdeck("init", home=tmp_path, cwd=folder)
    assert done.returncode == Exit.DONE
    assert "set [checks] gate in" in done.stderr


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    done = quarterdeck("init", home=tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "is not a git repository" in done.stderr


def test_a_reader_that_goes_away_is_no_bug(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "quarterdeck.cli.main", "--help"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (Exit.FAILED, "")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that the agents' user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_process_that_stays_for_other_runs_says_so(repository: Path, tmp_path: Path, reachable: Path) -> None:
    home, plan, command = (
        tmp_path / "home",
        tmp_path / "plan.json",
        "import json,sys,os; t=json.load(sys.stdin)['task']; ",
    )
    command += "open(t['instructions']).read(); open(t['id'], 'w').write('x')"
    (home / "agents").mkdir(parents=True)
    argv = json.dumps(["python3", "-c", command])
    front = f"---\nname: shell\ndescription: waits\nharness: command\ncommand: {argv}\n---\n"
    (home / "agents" / "shell.md").write_text(front)
    deck = '[checks]\ngate = ["ls"]\n[sandbox]\nsetup = []\n[workers]\nwithout_sandbox = true\n'
    (home / "deck.toml").write_text(deck)
    gates, processes = [reachable / name for name in ("a", "b")], []
    for gate in gates:
        os.mkfifo(gate)
        gate.chmod(0o666)
        task = {"id": gate.name, "title": gate.name, "instructions": str(gate), "paths": [gate.name], "agent": "shell"}
        plan.write_text(json.dumps({"v": 1, "goal": gate.name, "tasks": [task]}))
        arguments = ["run", "--plan", str(plan), "--repo", str(repository), "--sandbox", "none", "--json"]
        environment = {**os.environ, "QUARTERDECK_HOME": str(home), **store_kit.told(home / "deck.db")}
        process = FORKS.start(QUARTERDECK, arguments, env=environment)
        processes.append(process)
        assert process.stdout is not None
        assert any('"harness.started"' in line for line in process.stdout)
    gates[0].write_text("go")
    assert processes[0].stderr is not None
    assert any("still works on r-" in line for line in processes[0].stderr)
    gates[1].write_text("go")
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == Exit.DONE


@pytest.mark.parametrize(
    ("program", "code", "why"),
    store_kit.first_on_both(
        "what differs is what the agent does",
        [
            ("open('ready.txt', 'w').write('ready')", Exit.DONE, ""),
            ("print('all done!')", Exit.FAILED, "nothing differs"),
        ],
    ),
)
def test_a_probe_really_puts_the_agent_to_work(
    repository: Path, tmp_path: Path, program: str, code: int, why: str
) -> None:
    definition = f"---\nname: tried\nharness: command\ncommand: {json.dumps(['python3', '-c', program])}\n---\n"
    (repository / ".quarterdeck" / "agents").mkdir(parents=True)
    (repository / ".quarterdeck" / "agents" / "tried.md").write_text(definition)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "An agent")
    done = quarterdeck("agents", "--probe", "tried", "--json", home=tmp_path, cwd=repository)
    assert done.returncode == code, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["kind"], told["agent"], told["ok"]) == ("probe", "tried", code == Exit.DONE)
    assert why in told["why"]
    assert quarterdeck("agents", "--probe", "nobody", home=tmp_path, cwd=repository).returncode == Exit.NOT_FOUND


def test_where_there_is_nothing_of_a_kind_that_is_said(repository: Path, tmp_path: Path) -> None:
    done = quarterdeck("triggers", "fire", "nightly", home=tmp_path, cwd=repository)
    assert done.returncode == Exit.NOT_FOUND
    assert "next: declare it as [triggers.NAME] in deck.toml of the deck's home; there is none yet" in done.stderr
    done = quarterdeck("tools", "check", home=tmp_path, cwd=repository)
    assert done.returncode == Exit.DONE and "no tool server is approved" in done.stderr


def test_an_agent_that_is_a_file_of_the_repository_is_not_said_to_be_broken(repository: Path, tmp_path: Path) -> None:
    (repository / "patch.py").write_text("open('ready.txt', 'w').write('ready')")
    (repository / ".quarterdeck" / "agents").mkdir(parents=True)
    for name, command in (("patcher", '["python3", "patch.py"]'), ("gone", '["nothing-of-that-name", "patch"]')):
        definition = f"---\nname: {name}\nharness: command\ncommand: {command}\n---\n"
        (repository / ".quarterdeck" / "agents" / f"{name}.md").write_text(definition)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Agents")
    done = quarterdeck("agents", "--probe", "patcher", home=tmp_path, cwd=repository)
    assert done.returncode == Exit.USAGE and "its command needs patch.py" in done.stderr
    done = quarterdeck("agents", "--probe", "claude", home=tmp_path, cwd=repository)
    assert done.returncode == Exit.FAILED and done.stdout.count("`claude-agent-acp` is not on PATH") == 1
