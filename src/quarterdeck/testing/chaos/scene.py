"""A repository, a plan and a scripted model whose outcome is known beforehand, byte by byte.

Rules
- Tasks commute or are ordered, so that every order in which they may merge ends in the same tree.
- Every effect appends a line: one that is repeated shows in the tree, as does one that is lost.
- A native agent that is told that an outcome is unknown looks, and does only what is missing.
- Command agents work for a while before their effect, so that a kill finds them at work.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.models.scripted.scenario import Latency, Match, Rule, Scenario, Turn, act
from quarterdeck.settings import child_environment
from quarterdeck.testing.chaos.caps import NO_CAPS, Caps
from quarterdeck.testing.told import READS
from quarterdeck.workplace.ground import Ground

_AGENT: Final = f"""\
{READS}import time
task = d["task"]
time.sleep(float(sys.argv[1]))
with open(task["paths"][0], "a") as file:
    file.write(task["id"] + "\\n")
print('{{"summary": "wrote ' + task["paths"][0] + '"}}')
"""

_JOINER: Final = f"""\
{READS}import time
task = d["task"]
time.sleep(float(sys.argv[1]))
with open(task["paths"][0]) as file:
    text = file.read()
name = '"' + task["id"] + '"'
with open(task["paths"][0], "w") as file:
    file.write(text.replace("[", "[" + name + ", ") if name == '"j1"' else text.replace("]", ", " + name + "]"))
print('{{"summary": "joined ' + task["paths"][0] + '"}}')
"""
"""All on one line: git's own merge of two of them is a conflict, entry by entry they are none. One joins at the
beginning and one at the end, so that it does not matter who lands first."""
_NAMES: Final = "parts/names.py"

_DECK: Final = """\
[deck]
max_parallel = {parallel}
[checks]
gate = ["sleep {checks}; test -f parts/README", "! sort parts/*.txt | uniq -d | grep ."]
timeout = "60s"
[sandbox]
setup = []
[budget]
run = {budget}
[tiers]
hands = ["anthropic:scripted"]
brain = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = {{ input = 3.0, output = 15.0 }}
[models."anthropic:scripted"]
context = 200000
"""
_WORKERS: Final = '[workers]\ntakeover = "3s"\ndrain = "5s"\n'
_CAPS: Final = """\
[workers.calls_per_minute]
anthropic = {caps.calls}
[limits]
agents_at_once = {caps.agents}
one_agent_at_once = {caps.one_agent}
repository_at_once = {caps.repository}
spawn_per_minute = {caps.starts}
runs_per_hour = 1000
"""
_REVIEW: Final = '[review]\nagent = "reviewer"\n'
_PRICE: Final = Price(input=3.0, output=15.0)
_UNKNOWN: Final = "The outcome of this call is unknown"


@dataclass(frozen=True, slots=True)
class Size:
    """How much work a scene holds."""

    commands: int
    """Tasks of command agents, in parallel."""
    chained: int = 0
    """Tasks of command agents that each go on with what one of those wrote."""
    natives: int = 0
    """Tasks of the native loop."""
    joining: int = 0
    """Tasks of command agents that add a name to one list: none, or two."""
    seconds: float = 1.0
    """How long a command agent works."""
    parallel: int = 8
    review: bool = False
    checks: float = 0.0
    """How long the gate's checks and those of a task take at least."""

    @property
    def tasks(self) -> int:
        return self.commands + self.chained + self.natives + self.joining


@dataclass(frozen=True, slots=True)
class Scene:
    """What a campaign of kills works on."""

    folder: Path
    size: Size
    tree: str
    """The tree in which every run ends."""
    base: str
    state: str
    """The user's checkout as it was in the beginning (`checkout_state`)."""
    name: str = "home"
    """Which of the homes beside each other."""
    caps: Caps = NO_CAPS
    database: str = ""
    """URL of the database that the homes share; empty = there is one home, with its own."""

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def landing(self) -> Path:
        """Where the branches are that runs land on."""
        return self.folder / "remote.git" if self.database else self.repository

    @property
    def home(self) -> Path:
        return self.folder / self.name

    def ground_of(self, name: str) -> Ground:
        """Where workspaces of another home lie."""
        return Ground(self.folder / name)

    def at(self, name: str) -> "Scene":
        """The same for another home, with the same operator's files."""
        other = replace(self, name=name)
        if not (other.home / "deck.toml").exists():
            (other.home / "agents").mkdir(parents=True)
            for path in ("deck.toml", "agents/slow.md"):
                (other.home / path).write_text((self.home / path).read_text())
        return other

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def scenario(self) -> Path:
        return self.folder / "scenario.json"

    @property
    def ground(self) -> Ground:
        return Ground(self.home)

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(task.id for task in _tasks(self.size))

    def environment(self, model_url: str = "", probe: str = "") -> dict[str, str]:
        """The environment of this scene's processes. `probe`: `NAME:COUNT:ACTION`."""
        model = {"ANTHROPIC_BASE_URL": model_url, "ANTHROPIC_API_KEY": "a-key"} if model_url else {}
        probing = {"QUARTERDECK_PROBE": probe} if probe else {}
        shared = {"QUARTERDECK_DATABASE_URL": self.database} if self.database else {}
        return child_environment({"QUARTERDECK_HOME": str(self.home), **shared, **model, **probing})


def git(folder: Path, *arguments: str) -> str:
    """Run git in `folder`; its standard output. Raises CalledProcessError."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_scene(folder: Path, size: Size, database: str = "", caps: Caps = NO_CAPS, address: str = "") -> Scene:
    """Write everything that a scene of that size needs below `folder`. `database`: URL of one that several homes share;
    they share a remote then, too. `address`: how the remote is reached; empty = by its path."""
    repository, home = folder / "repository", folder / "home"
    (repository / "parts").mkdir(parents=True)
    (repository / "parts" / "README").write_text("What the agents wrote.\n")
    (repository / _NAMES).write_text(_names(0))
    git(repository, "init", "-q")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Start")
    if database:
        git(folder, "init", "-q", "--bare", str(folder / "remote.git"))
        git(repository, "remote", "add", "origin", address or str(folder / "remote.git"))
        git(repository, "push", "-q", str(folder / "remote.git"), "HEAD:refs/heads/main")
    (home / "agents").mkdir(parents=True)
    (home / "deck.toml").write_text(
        _DECK.format(parallel=size.parallel, checks=size.checks, budget=caps.run_usd)
        + (_REVIEW if size.review else "")
        + (_WORKERS if database else "")
        + (_CAPS.format(caps=caps) if caps is not NO_CAPS else "")
    )
    for name, program in (("slow", _AGENT), ("joiner", _JOINER)):
        (home / "agents" / f"{name}.md").write_text(_agent_file(name, program, size.seconds))
    plan = Plan(goal="Many parts", tasks=tuple(_tasks(size)))
    (folder / "plan.json").write_text(plan.model_dump_json() + "\n")
    (folder / "scenario.json").write_text(_scenario(size).model_dump_json())
    base = git(repository, "rev-parse", "HEAD")
    tree = _expected_tree(folder, repository, _contents(size))
    return Scene(folder, size, tree, base, checkout_state(repository), caps=caps, database=database)


def checkout_state(repository: Path) -> str:
    """Everything of a user's checkout that a run must leave as it is."""
    parts = [
        git(repository, "symbolic-ref", "HEAD"),
        git(repository, "rev-parse", "HEAD"),
        git(repository, "reflog", "show", "HEAD"),
        git(repository, "status", "--porcelain", "--ignored"),
        git(repository, "stash", "list"),
        (repository / ".git" / "config").read_text(),
        "\n".join(sorted(path.name for path in (repository / ".git" / "hooks").glob("*"))),
        git(repository, "worktree", "list", "--porcelain"),
    ]
    return "\n--\n".join(parts)


def _agent_file(name: str, program: str, seconds: float) -> str:
    command = json.dumps(["python3", "-IS", "-c", program, str(seconds)])
    return f"---\nname: {name}\ndescription: adds its line\nharness: command\ncommand: {command}\n---\n"


def _names(joined: int) -> str:
    return f"NAMES = {json.dumps(['j1', 'a', 'j2'] if joined else ['a'])}\n"


def _tasks(size: Size) -> list[Task]:
    def numbers(count: int) -> range:
        return range(1, count + 1)

    return [
        *(_task(size, f"c{number}", f"c{number}", agent="slow") for number in numbers(size.commands)),
        *(
            _task(size, f"d{number}", f"c{number}", agent="slow", needs=(f"c{number}",))
            for number in numbers(size.chained)
        ),
        *(
            _task(size, f"n{number}", f"n{number}", f"parts/n{number}.md", check=f"n{number} second")
            for number in numbers(size.natives)
        ),
        *(_joining(f"j{number}") for number in numbers(size.joining)),
    ]


def _task(size: Size, name: str, part: str, *more: str, check: str = "", **fields: Any) -> Task:
    path = f"parts/{part}.txt"
    return Task(
        id=name,
        title=f"Append {name}",
        instructions=f"Append a line to {path}.",
        paths=(path, *more),
        verify=(f"sleep {size.checks}; grep -qx '{check or name}' {path}",),
        **fields,
    )


def _joining(name: str) -> Task:
    return Task(
        id=name,
        title=f"Join {name}",
        instructions=f"Add {name} to the names.",
        paths=(_NAMES,),
        verify=(f"grep -q '\"{name}\"' {_NAMES}",),
        agent="joiner",
    )


def _contents(size: Size) -> Mapping[str, str]:
    """What the tasks leave behind, by path."""
    files = {f"parts/c{number}.txt": f"c{number}\n" for number in range(1, size.commands + 1)}
    for number in range(1, size.chained + 1):
        files[f"parts/c{number}.txt"] += f"d{number}\n"
    for number in range(1, size.natives + 1):
        files[f"parts/n{number}.txt"] = f"n{number} first\nn{number} second\n"
        files[f"parts/n{number}.md"] = f"# n{number}\n"
    return {**files, _NAMES: _names(size.joining)}


def _expected_tree(folder: Path, repository: Path, files: Mapping[str, str]) -> str:
    scratch = folder / "expected"
    git(folder, "clone", "-q", str(repository), str(scratch))
    for path, text in files.items():
        (scratch / path).write_text(text)
    git(scratch, "add", "-A")
    return git(scratch, "write-tree")


# --- the model --------------------------------------------------------------------------------------------


def _scenario(size: Size) -> Scenario:
    rules = [rule for number in range(1, size.natives + 1) for rule in _native(f"n{number}")]
    accept = Turn(actions=(act("submit", verdict="accept", summary="It appends its line."),))
    review = Rule(name="review", match=Match(first=r"(?m)^Role: reviewer$"), turns=(accept,), repeat=True)
    return Scenario(rules=(review, *rules), latency=Latency(first_byte=0.02), prices={"scripted": _PRICE}, models={})


def _native(name: str) -> tuple[Rule, Rule]:
    """Its conversation, and what it does instead of a turn whenever an outcome is unknown: look, then do the rest."""
    path = f"parts/{name}.txt"
    first, second = (f"echo '{name} {word}' >> {path}" for word in ("first", "second"))
    write = act("write", path=f"parts/{name}.md", content=f"# {name}\n")
    submit = Turn(actions=(act("submit", summary=f"Appended {name}."),))
    look = "; ".join(
        f"grep -qsx '{name} {word}' {path} || {command}" for word, command in (("first", first), ("second", second))
    )
    mine = Match(first=rf"(?m)^Task: {re.escape(name)}$")
    turns = (
        Turn(actions=(act("todo", items=["first", "second"]), act("note", text=f"{name} has two lines"))),
        Turn(text="The first.", actions=(act("run", command=f"sleep 0.3; {first}"),)),
        Turn(text="The second.", actions=(act("run", command=second),)),
        Turn(actions=(write,)),
        submit,
    )
    unsure = Rule(
        name=f"{name} unsure",
        match=mine.model_copy(update={"last": _UNKNOWN}),
        turns=(Turn(text="I look.", actions=(act("run", command=look), write)),),
        repeat=True,
    )
    return unsure, Rule(name=name, match=mine, turns=turns, repeat=True)
