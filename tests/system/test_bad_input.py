"""Input that cannot be used: what happened, why and what to do is said, with the right exit code, and nothing is done.

Each row was tried by hand first, and its message read as a user would.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import store_kit
from cli_kit import assert_refused, call
from deck_kit import GATE, Place, git, place_at, task

from quarterdeck.assembly import open_deck, planfile
from quarterdeck.kernel.failures import Exit

ANYWHERE = pytest.mark.embedded("it is refused before anything depends on where the deck lies")
pytestmark = pytest.mark.xdist_group("bad-input")


def state(repository: Path) -> tuple[str, str, str]:
    """What must stay as it was in a user's repository."""
    return (
        git(repository, "for-each-ref"),
        git(repository, "rev-parse", "HEAD"),
        git(repository, "status", "--porcelain"),
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One repository and one deck for every row that must leave both as they are."""
    with place_at(tmp_path_factory.mktemp("shared")) as place:
        place.begin()
        (place.root / "good.json").write_text(text(PLAN))
        before = state(place.repository)
        yield place
        assert state(place.repository) == before
        assert call(place, "ps", "--json").out == ""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin()
        (made.root / "good.json").write_text(text(PLAN))
        yield made


TASK = task("a", "echo a > a.txt")
PLAN: dict[str, Any] = {"v": 1, "goal": "the goal", "tasks": [TASK]}


def text(value: Any) -> str:
    return json.dumps(value)


def plan(*tasks: dict[str, Any], **fields: Any) -> str:
    return text({**PLAN, "tasks": list(tasks) or [TASK], **fields})


def with_(**fields: Any) -> str:
    return plan({**TASK, **fields})


# --- plan files ---------------------------------------------------------------------------------------------

LONG_PATHS = text(["x" * 1000] * 1000)
HEAD = "v: 1\ngoal: x\ntasks:\n"
ONE = HEAD + "- {id: a, title: t, paths: [a]"
BOMB = "k0: &b0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"k{i}: &b{i} [{','.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 30)
)

PLANS: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    ("syntax", "v: 1\ngoal: [x\ntasks:\n", ("line 3, column 6", "not valid YAML")),
    ("syntax-json.json", '{"v": 1,', ("line 1, column 9", "not valid JSON")),
    ("prose", "just text", ("line 1, column 1", "a mapping with the keys v, goal, tasks belongs here")),
    ("empty", "", ("the file is empty",)),
    ("comment", "# later\n", ("the file is empty",)),
    ("version", plan(v=2), ("only version 1",)),
    ("no-tasks", text({**PLAN, "tasks": []}), ("there are no tasks",)),
    ("missing-key", text({"v": 1, "goal": "x"}), ("the key `tasks` is missing",)),
    ("goal-empty", plan(goal=""), ("goal: it must not be empty",)),
    ("goal-number", plan(goal=7), ("goal: text belongs here, not number `7`",)),
    ("goal-long", plan(goal="x" * 1_000_000), ("goal: it must have at most 100000 characters",)),
    ("unknown-key", plan(task=[]), ("unknown key `task`, did you mean `tasks`?",)),
    ("unknown-task-key", with_(instuctions="x"), ("task a: unknown key `instuctions`, did you mean `instructions`?",)),
    ("tasks-text", text({**PLAN, "tasks": "no"}), ("tasks: a list belongs here",)),
    ("paths-text", with_(paths="a.txt"), ("task a, paths: a list belongs here",)),
    ("paths-empty", with_(paths=[]), ("task a, paths: it must not be empty",)),
    ("paths-absolute", with_(paths=["/etc/passwd"]), ("an absolute path", "`/etc/passwd`")),
    ("paths-up", with_(paths=["../x"]), ("`..` in a path",)),
    ("paths-git", with_(paths=[".git/hooks/x"]), ("which no task may change",)),
    ("id-form", with_(id="A b"), ("an id is 1 to 64 of a-z, 0-9 and `-`",)),
    ("id-number", with_(id=5), ("text belongs here, not number `5`",)),
    ("id-twice", plan(TASK, TASK), ("task a, id: this id stands twice",)),
    ("need-unknown", with_(needs=["parse"], id="parser"), ("unknown task `parse`, did you mean `parser`?",)),
    ("need-form", with_(needs=["B 1"]), ("task a, needs: an id is 1 to 64",)),
    ("cycle", plan({**TASK, "needs": ["b"]}, {**TASK, "id": "b", "needs": ["a"]}), ("a cycle: `a` needs `b`",)),
    ("agent", with_(agent="nobody"), ("unknown agent `nobody` (known: ", "critic", "implementer")),
    ("verify-empty", with_(verify=[" "]), ("task a, verify: an empty command",)),
    ("verify-nul", with_(verify=["a\0b"]), ("task a, verify: a NUL character",)),
    ("budget-negative", with_(budget_usd=-1), ("task a, budget_usd: it must be at least 0",)),
    ("budget-text", with_(budget_usd="x"), ("task a, budget_usd: a number belongs here",)),
    ("budget-nan", ONE + ", budget_usd: .nan}\n", ("budget_usd): a number belongs here",)),
    ("budget-huge", with_(budget_usd=1e300), ("budget_usd: it must be at most 1000000000",)),
    ("key-twice", ONE + ", id: b}\n", ("the key `id` stands twice",)),
    ("two-documents", ONE + "}\n---\nv: 1\n", ("a second document starts",)),
    ("tag", "v: 1\ngoal: !!python/object/apply:os.system [ls]\ntasks: []\n", ("line 2, column 7: the tag",)),
    ("bomb", BOMB, ("unknown key `k0`",)),
    ("amplified", HEAD + f"- &t {{id: a, title: t, paths: {LONG_PATHS}}}\n" + "- *t\n" * 900, ("with its aliases",)),
    ("deep-yaml", "[" * 100_000, ("nested deeper than 50",)),
    ("deep-json.json", '{"a":' * 100_000, ("nested deeper than 50",)),
    ("not-utf8", b"v: 1\ngoal: \xff\n", ("byte 11: this is not UTF-8 text",)),
    ("utf16", "v: 1\n".encode("utf-16"), ("this is not UTF-8 text",)),
    ("nul", b"\0\1\2", ("not valid YAML", "control characters are not allowed")),
    ("half-a-character.json", '{"v": 1, "goal": "\\ud800", "tasks": []}', ("alone is not a character",)),
    ("too-long", b"x" * (8 * 1024 * 1024 + 1), ("longer than the 8388608 bytes",)),
    ("too-many", HEAD + "".join(f"- {{id: t{i}, title: t, paths: [a]}}\n" for i in range(1001)), ("1001 tasks",)),
]


@ANYWHERE
@pytest.mark.parametrize(("name", "content", "words"), PLANS, ids=[row[0] for row in PLANS])
def test_a_broken_plan(shared: Place, name: str, content: str | bytes, words: tuple[str, ...]) -> None:
    file = shared.root / (name if "." in name else f"{name}.yaml")
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = call(shared, "run", "--plan", str(file), "--repo", str(shared.repository))
    assert_refused(said, Exit.USAGE, f"{file} cannot be used", *words)
    assert len(said.err) < 2000


@ANYWHERE
@pytest.mark.parametrize(
    ("named", "words"),
    [
        (".", ("is a directory, not a plan file",)),
        ("", ("is a directory, not a plan file",)),
        ("none.yaml", ("none.yaml cannot be read", "No such file", 'quarterdeck plan "GOAL"')),
        ("good.json/x", ("cannot be read", "Not a directory")),
        ("x" * 300, ("File name too long",)),
        ("a\nb", ("a b cannot be read", "No such file")),
        ("/dev/zero", ("longer than the 8388608 bytes",)),
        ("/dev/null", ("the file is empty",)),
    ],
    ids=ascii,
)
def test_what_is_no_plan_file(shared: Place, named: str, words: tuple[str, ...]) -> None:
    said = call(shared, "run", "--plan", named, "--repo", str(shared.repository))
    assert_refused(said, Exit.USAGE, *words)


@ANYWHERE
def test_a_pipe_is_read_but_not_waited_for_without_end(shared: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = shared.root / "pipe"
    os.mkfifo(pipe)
    arguments = ("run", "--plan", str(pipe), "--repo", str(shared.repository))
    with monkeypatch.context() as patch:
        patch.setattr(planfile, "PATIENCE", 0.1)
        assert_refused(call(shared, *arguments), Exit.USAGE, "pipe stays empty", "nobody wrote into this pipe")
    # Opening it for writing waits for the reader, so what it says comes while the plan is being read.
    writer = threading.Thread(target=pipe.write_text, args=(plan(goal=""),))
    writer.start()
    assert_refused(call(shared, *arguments), Exit.USAGE, "goal: it must not be empty")
    writer.join()


def test_scripts_get_the_same_as_one_line(shared: Place) -> None:
    said = call(shared, "run", "--plan", "none.yaml", "--repo", str(shared.repository), "--json")
    line = json.loads(said.out)
    assert (said.code, line["v"], line["kind"], line["exit_code"]) == (Exit.USAGE, 1, "error", Exit.USAGE)
    assert all(line[key] for key in ("message", "why", "fix"))


# --- deck.toml ----------------------------------------------------------------------------------------------

GATED = f'[checks]\ngate = ["{GATE}"]\n'
DECKS: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    ("syntax", "[deck\n", ("is not valid TOML", "line 1, column 6")),
    ("key", "[checks]\ngat = []\n", ("deck.toml:2: unknown key checks.gat", "write checks.gate instead")),
    ("section", "[chekcs]\n", ("unknown key chekcs", "write checks instead")),
    ("far-off-key", "[zzz]\n", ("unknown key zzz", "known here: deck, checks")),
    ("type", "[checks]\ngate = 'x'\n", ("checks.gate is wrong", "a list belongs here, not 'x'")),
    ("no-table", "checks = 3\n", ("checks is wrong", "keys with values belong here, not 3")),
    ("whole-number", "[limits]\nturns = 1.5\n", ("limits.turns is wrong", "not 1.5")),
    ("range", "[limits]\nattempts = 0\n", ("limits.attempts is wrong", "it must be at least 1, not 0")),
    ("huge", "[sandbox]\nmemory_mb = 99999999999999999999\n", ("memory_mb is wrong", "at most 16777216")),
    ("duration", "[limits]\nwall = 'soon'\n", ("limits.wall is wrong", "looks like 90s, 10m or 1h, not 'soon'")),
    ("duration-endless", "[limits]\nwall = inf\n", ("limits.wall is wrong",)),
    ("duration-huge", "[limits]\nwall = '99999999999999d'\n", ("limits.wall is wrong", "at most 31536000")),
    ("money-negative", "[budget]\nrun = -1\n", ("budget.run is wrong", "it must be at least 0, not -1")),
    ("money-nan", "[budget]\nrun = nan\n", ("budget.run is wrong", "not nan")),
    ("money-endless", "[budget]\nrun = inf\n", ("budget.run is wrong", "not inf")),
    ("money-huge", "[budget]\nrun = 1e300\n", ("budget.run is wrong", "it must be at most 1000000000")),
    ("gate-empty", "[checks]\ngate = ['']\n", ("checks.gate.0 is wrong", "a command must not be empty")),
    ("gate-nul", '[checks]\ngate = ["a\\u0000b"]\n', ("a command cannot hold a NUL character",)),
    ("into-empty", "[deck]\ninto = ''\n", ("deck.into is wrong", "it must not be empty")),
    ("into-placeholder", "[deck]\ninto = 'q/{rum}'\n", ("deck.into is wrong", "the only placeholder is {run}")),
    ("into-form", GATED + "[deck]\ninto = 'a b'\n", ("'a b' is not a possible name of a branch", "[deck] into")),
    ("backend", GATED + "[sandbox]\nbackend = 'docker'\n", ("no sandbox called 'docker'", "bubblewrap, none")),
    ("reviewer", GATED + "[review]\nagent = 'nobody'\n", ("no agent called nobody ([review] agent)", "use one of")),
    ("not-utf8", b"# ok\n# \xff\n", ("is not UTF-8 text", "see line 2")),
    ("deep", "x = " + "[" * 100_000, ("is nested too deeply",)),
    ("huge-number", "x = " + "1" * 5000, ("is not valid TOML",)),
    ("too-long", "#" * 1_100_000, ("is longer than the 1048576 bytes that are read",)),
]


@contextmanager
def operator_file(place: Place, name: str, content: str | bytes) -> Iterator[Path]:
    """A file in the home of the deck, for a while."""
    file = place.home / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        yield file
    finally:
        file.unlink()


def run_good(place: Place, *more: str) -> tuple[str, ...]:
    return ("run", "--plan", str(place.root / "good.json"), "--repo", str(place.repository), *more)


@ANYWHERE
@pytest.mark.parametrize(("content", "words"), [row[1:] for row in DECKS], ids=[row[0] for row in DECKS])
def test_a_broken_deck(shared: Place, content: str | bytes, words: tuple[str, ...]) -> None:
    with operator_file(shared, "deck.toml", content):
        assert_refused(call(shared, *run_good(shared)), Exit.USAGE, *words)


@ANYWHERE
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[checks]\ngat = []\n", ("unknown key checks.gat", "write checks.gate instead; then commit the file")),
        ("# \udcff", ("is not UTF-8 text", "then commit the file")),
        ("[triggers.x]\nkind = 'cron'\n", ("move it to deck.toml in the deck's home", "then commit the file")),
        ("#" * 1_100_000, ("is longer than the 1048576 bytes", "then commit the file")),
        ("", ("there is nothing that checks the merged result", "set [checks] gate", "and commit it")),
    ],
    ids=["key", "not-utf8", "operators", "too-long", "no-gate"],
)
def test_a_broken_deck_of_the_repository(place: Place, content: str, words: tuple[str, ...]) -> None:
    (place.repository / ".quarterdeck" / "deck.toml").write_bytes(os.fsencode(content))
    place.commit({})
    assert_refused(call(place, *run_good(place)), Exit.USAGE, *words)


# --- agent files --------------------------------------------------------------------------------------------

AGENTS: list[tuple[str, str | bytes, tuple[str, ...]]] = [
    ("no-front-matter", "do things\n", ("line 1: it must begin with `---`",)),
    ("not-closed", "---\nname: x\n", ("no closing `---` line",)),
    ("empty", "", ("it must begin with `---`",)),
    ("unknown-key", "---\ntool: [a]\n---\n", ("unknown key `tool`, did you mean `tools`?",)),
    ("far-off-key", "---\nzzz: 1\n---\n", ("unknown key `zzz`; known keys: command,",)),
    ("yaml", "---\nname: [x\n---\n", ("line 3: not valid YAML",)),
    ("colon", "---\nname: x\ndescription: a: b\n---\n", ("line 3: not valid YAML: mapping values",)),
    ("alias", "---\na: &a [1]\nb: *a\n---\n", ("line 3: aliases (`*name`) are not allowed",)),
    ("tag", "---\nname: !!python/name:os.system x\n---\n", ("the tag",)),
    ("key-twice", "---\nname: x\nname: y\n---\n", ("line 3: the key `name` stands twice",)),
    ("nul", "---\nname: '\0'\n---\n", ("not valid YAML: unacceptable character",)),
    ("date", "---\ndescription: 2024-99-99\n---\n", ("not valid YAML: month must be in 1..12",)),
    ("name-number", "---\nname: 3\n---\n", ("name: must be text",)),
    ("name-form", "---\nname: A/b\n---\n", ("name: it must be 1 to 63 of a-z, 0-9, `-` and `_`",)),
    ("harness", "---\nharness: docker\n---\n", ("harness: it must be 'native', 'acp' or 'command'",)),
    ("no-command", "---\nharness: command\n---\n", ("a command agent needs `command: [program, argument, ...]`",)),
    ("command-type", "---\ncommand: [a, {b: c}]\n---\n", ("command: must be a list",)),
    ("command-quote", '---\ncommand: "a \'b"\n---\n', ("command: No closing quotation",)),
    ("wall", "---\nlimits: {wall: soon}\n---\n", ("limits.wall: a duration looks like 90s",)),
    ("limit-key", "---\nlimits: {turn: 3}\n---\n", ("limits.turn: this key is not known, did you mean `turns`?",)),
    ("limit-range", "---\nlimits: {turns: 0}\n---\n", ("limits.turns: it must be at least 1",)),
    ("limit-money", "---\nlimits: {usd: .nan}\n---\n", ("limits.usd:",)),
    ("limits-type", "---\nlimits: 3\n---\n", ("limits: must be a mapping",)),
    ("tool", "---\ntools: [Fly]\n---\n", ("there is no tool `Fly`; tools: read,",)),
    ("handoff", "---\nexpects: dinner\n---\n", ("expects: `dinner` is no handoff",)),
    ("model", "---\nmodel: gpt\n---\n", ("model: `gpt` is neither `provider:model` nor",)),
    ("delegate", "---\nname: x\ndelegates_to: [nobody]\n---\n", ("there is no agent `nobody`", "mend the file of")),
    ("delegate-self", "---\nname: x\ndelegates_to: [x]\n---\n", ("delegates_to: it names itself", "mend the file of")),
    ("escalate", "---\nescalates_to: nobody\n---\n", ("escalates_to: there is no agent `nobody`",)),
    ("not-utf8", b"---\nname: \xff\n---\n", ("is not UTF-8 text", "see line 2")),
    ("too-long", "---\nname: x\n---\n" + "y" * 300_000, ("it is larger than 262144 bytes",)),
]


@ANYWHERE
@pytest.mark.parametrize(("content", "words"), [row[1:] for row in AGENTS], ids=[row[0] for row in AGENTS])
def test_a_broken_agent(shared: Place, content: str | bytes, words: tuple[str, ...]) -> None:
    with operator_file(shared, "agents/x.md", content):
        assert_refused(call(shared, *run_good(shared)), Exit.USAGE, *words)


def test_two_agents_of_one_name(shared: Place) -> None:
    content = "---\nname: twin\n---\n"
    with operator_file(shared, "agents/x.md", content), operator_file(shared, "agents/y.md", content):
        said = call(shared, *run_good(shared))
        assert_refused(said, Exit.USAGE, "y.md cannot be used", "name: `twin` is also the name of", "x.md")


@ANYWHERE
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "---\nharnes: command\n---\n",
            ("did you mean `harness`?", "mend .quarterdeck/agents/x.md; then commit the file"),
        ),
        ("---\nname: shell\n---\n", ("`shell` is also the name of .quarterdeck/agents/shell.md",)),
        ("# \udcff", (".quarterdeck/agents/x.md is not UTF-8 text", "then commit the file")),
    ],
    ids=["key", "twin", "not-utf8"],
)
def test_a_broken_agent_of_the_repository(place: Place, content: str, words: tuple[str, ...]) -> None:
    (place.repository / ".quarterdeck" / "agents" / "x.md").write_bytes(os.fsencode(content))
    place.commit({})
    assert_refused(call(place, *run_good(place)), Exit.USAGE, *words)


# --- the command line ---------------------------------------------------------------------------------------

OPTIONS: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    *((("--budget", amount), ("'--budget'",)) for amount in ("-1", "nan", "inf", "1e300", "5 USD", "")),
    *((("--max-parallel", number), ("'--max-parallel'",)) for number in ("0", "1001", "x", "1.5")),
    (("--sandbox", "docker"), ("no sandbox called 'docker'", "bubblewrap, none")),
    (("--sandbox", ""), ("no sandbox called ''",)),
    (("--agent", "nobody"), ("there is no agent 'nobody'", "--agent with one of: ", "critic")),
    (("--agent", ""), ("there is no agent ''",)),
    *(
        (("--base", base), ("names no commit in", "git log"))
        for base in ("", "nope", "--all", "HEAD^{tree}", "HEAD:check.sh", "HEAD..HEAD", "a\nb", "a\0b", "\udcff")
    ),
    *(
        (("--into", into), ("is not a possible name of a branch", "--into NAME"))
        for into in ("", "-x", "a b", "a..b", "HEAD", "@", "x.lock", "a/", "refs/tags/x", "x" * 250, "a\0b", "\udcff")
    ),
    (("--into", "main/x"), ("there can be no branch main/x beside the branch main",)),
    (("--jsn",), ("No such option: --jsn", "--json", "quarterdeck run --help")),
    (("and", "another"), ("Got unexpected extra argument", "a goal of several words needs quotes", 'run "GOAL"')),
]


@ANYWHERE
@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=[ascii(" ".join(row[0])[:40]) for row in OPTIONS])
def test_options_that_cannot_be_used(shared: Place, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(call(shared, *run_good(shared, *options)), Exit.USAGE, *words)


@ANYWHERE
def test_a_plan_on_standard_input(shared: Place) -> None:
    command = [sys.executable, "-m", "quarterdeck.cli.main", "run", "--plan", "-", "--repo", str(shared.repository)]
    environment = {**os.environ, "QUARTERDECK_HOME": str(shared.home), **store_kit.told(shared.home / "deck.db")}
    done = subprocess.run(
        command,
        cwd=shared.root,
        env=environment,
        input=plan(v=2),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "only version 1" in done.stderr) == (Exit.USAGE, True), done.stderr


@ANYWHERE
@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("", ("The goal is empty",)),
        (" \n", ("The goal is empty",)),
        ("x" * 1_000_000, ("The goal cannot be used", "at most 100000 characters", "put the long part into a file")),
        ("\udcff", ("The goal cannot be used", "it is not UTF-8 text")),
    ],
    ids=["empty", "blank", "huge", "not-utf8"],
)
def test_goals_that_cannot_be_used(shared: Place, command: str, goal: str, words: tuple[str, ...]) -> None:
    assert_refused(call(shared, command, goal, "--repo", str(shared.repository)), Exit.USAGE, *words)


def test_a_goal_without_a_model(shared: Place) -> None:
    said = call(shared, "run", "do it", "--repo", str(shared.repository))
    assert_refused(said, Exit.USAGE, "agent planner (plans the goal) has no model", "set [tiers] brain")


COMMANDS: list[tuple[tuple[str, ...], int, tuple[str, ...]]] = [
    *(((name, "nope"), Exit.NOT_FOUND, ("nope", "quarterdeck ps")) for name in ("show", "logs", "export", "cost")),
    *(((name, "nope"), Exit.NOT_FOUND, ("nope", "quarterdeck ps")) for name in ("resume", "cancel", "pause")),
    *(((name, ""), Exit.NOT_FOUND, ("the id is empty",)) for name in ("show", "logs", "resume", "cancel", "pause")),
    *((("show", odd), Exit.NOT_FOUND, ("there is no run",)) for odd in ("../../etc", "a\nb", "%", "\udcff", "r-")),
    (("show",), Exit.USAGE, ("Missing argument 'ID'",)),
    (("rum", "x"), Exit.USAGE, ("There is no command rum", "quarterdeck run")),
    (("frobnicate",), Exit.USAGE, ("There is no command frobnicate", "quarterdeck --help")),
    (("run",), Exit.USAGE, ("There is neither a goal nor a plan",)),
    (("run", "x", "--config-of", "nope"), Exit.NOT_FOUND, ("there is no run",)),
    (("budget", "nope", "nan"), Exit.USAGE, ("nan is no amount between 0 and",)),
    (("resume", "nope", "--budget", "nan"), Exit.USAGE, ("nan is no amount between 0 and",)),
    (("audit", "verify", "nope"), Exit.NOT_FOUND, ("nope",)),
]


@pytest.mark.parametrize(("arguments", "code", "words"), COMMANDS, ids=[ascii(" ".join(row[0])) for row in COMMANDS])
def test_commands_about_nothing(shared: Place, arguments: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    assert_refused(call(shared, *arguments), code, *words)


# --- streams of the process ---------------------------------------------------------------------------------


@pytest.mark.sandbox
def test_closed_streams_harm_nothing(place: Place) -> None:
    """As in `quarterdeck run >&- 2>&-`: no file of the deck gets the number of a standard stream."""
    plan = place.plan(task("a", "echo a > a.txt"))
    command = '"$0" -m quarterdeck.cli.main "$@" <&- >&- 2>&-'
    environment = {**os.environ, "QUARTERDECK_HOME": str(place.home), **store_kit.told(place.home / "deck.db")}
    for arguments in (("run", "--plan", str(plan)), ("show", "r-nothing")):
        ends = Exit.NOT_FOUND if "show" in arguments else Exit.DONE
        done = subprocess.run(
            ["sh", "-c", command, sys.executable, *arguments],
            cwd=place.repository,
            env=environment,
            check=False,
            timeout=60,
        )
        assert done.returncode == ends, arguments
    code, out, _ = place.call("audit", "verify")
    assert (code, out.startswith("intact")) == (Exit.DONE, True)
    assert not list((place.home / "logs").glob("trace-*"))


async def test_whoever_follows_a_run_that_nobody_works_on_is_told(place: Place) -> None:
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(task("a", "echo a > a.txt")))
    with place.quarterdeck("logs", run, "--follow") as process:
        assert process.stderr is not None
        told = await asyncio.to_thread(process.stderr.readline)
    assert told == f"no process works on it; go on with: quarterdeck resume {run}\n"


# --- the home of the deck -----------------------------------------------------------------------------------


def _a_file(home: Path) -> None:
    home.write_text("x")


def _a_device(home: Path) -> None:
    home.symlink_to("/dev/null")


def _a_link_to_nothing(home: Path) -> None:
    home.symlink_to("nowhere/deep")


def _a_deck_that_is_a_directory(home: Path) -> None:
    (home / "deck.toml").mkdir(parents=True)


def _a_deck_that_is_a_pipe(home: Path) -> None:
    home.mkdir()
    os.mkfifo(home / "deck.toml")


def _a_deck_without_end(home: Path) -> None:
    home.mkdir()
    (home / "deck.toml").symlink_to("/dev/zero")


def _an_agent_that_is_a_pipe(home: Path) -> None:
    (home / "agents").mkdir(parents=True)
    os.mkfifo(home / "agents" / "x.md")


def _an_agent_that_leads_nowhere(home: Path) -> None:
    (home / "agents").mkdir(parents=True)
    (home / "agents" / "x.md").symlink_to("nowhere")


def _no_database(home: Path) -> None:
    home.mkdir()
    (home / "deck.db").write_text("not a database" * 100)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (_a_file, Exit.USAGE, ("is not a directory", "set QUARTERDECK_HOME")),
        (_a_device, Exit.USAGE, ("is not a directory", "set QUARTERDECK_HOME")),
        (_a_link_to_nothing, Exit.USAGE, ("cannot be written", "QUARTERDECK_HOME")),
        (_a_deck_that_is_a_directory, Exit.USAGE, ("deck.toml is not a file",)),
        (_a_deck_that_is_a_pipe, Exit.USAGE, ("deck.toml is not a file",)),
        (_a_deck_without_end, Exit.USAGE, ("deck.toml is not a file",)),
        (_an_agent_that_is_a_pipe, Exit.USAGE, ("x.md is not a file",)),
        (_an_agent_that_leads_nowhere, Exit.USAGE, ("x.md leads nowhere",)),
        pytest.param(
            _no_database,
            Exit.FAILED,
            ("is not a database", "move it away"),
            marks=pytest.mark.embedded("is about SQLite's file"),
        ),
    ],
)
def test_a_home_that_cannot_be_used(place: Place, make: Any, code: int, words: tuple[str, ...]) -> None:
    make(place.home)
    assert_refused(call(place, *run_good(place)), code, *words)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A directory that any user can enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.embedded("is about addresses of databases")
@pytest.mark.parametrize("url", ["mysql://ada:secret@host/deck", "sqlite:///deck.db"])
def test_a_database_that_no_deck_lies_in(shared: Place, url: str) -> None:
    kind = url.partition(":")[0]
    for command in ("ps", "up"):
        said = call(shared, command, QUARTERDECK_DATABASE_URL=url)
        assert_refused(said, Exit.USAGE, f"of the kind {kind!r}", "QUARTERDECK_DATABASE_URL=postgresql://")
        assert "secret" not in said.err
    code, out, _ = _doctor(shared, url)
    assert (code, "✗ deck" in out, "git version" in out) == (Exit.FAILED, True, True)


@pytest.mark.embedded("is about a client that is not there")
def test_doctor_looks_at_the_machine_without_the_client_of_postgresql(
    shared: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "quarterdeck.store.postgres", raising=False)
    monkeypatch.delitem(sys.modules, "quarterdeck.store.session", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    code, out, _ = _doctor(shared, "postgresql://host/deck")
    assert (code, "pip install" in out, "git version" in out) == (Exit.FAILED, True, True)


def test_doctor_says_which_models_of_the_tiers_no_run_could_ask(place: Place) -> None:
    tiers = '[tiers]\nhands = ["chat:m", "openai:gpt-5.4", "anthropic:unheard-of"]\n'
    own = '[models."chat:m"]\nbase_url = "http://localhost:1/v1"\n[prices]\n"chat:m" = { input = 0, output = 0 }\n'
    place.operator(tiers + own)
    said = call(place, "doctor", ANTHROPIC_API_KEY="sk-a")
    told = " ".join(said.out.split())
    assert told, said
    assert "! tiers openai:gpt-5.4 needs a key: OPENAI_API_KEY is not set fix: export OPENAI_API_KEY=" in told, told
    assert "! tiers the price of anthropic:unheard-of is not known" in told, told
    assert 'fix: set [prices] "anthropic:unheard-of" = { input = …, output = … }' in told, told
    assert "! tiers chat:m" not in told, told


def test_an_agent_that_is_not_committed_is_said_not_to_be_used(place: Place) -> None:
    folder = place.repository / ".quarterdeck" / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.md").write_text("---\nname: mine\ncommand: [sh]\n---\n")
    for arguments in ((), ("--probe", "mine")):
        told = call(place, "agents", "--repo", str(place.repository), *arguments)
        assert "mine.md is not committed as it is, and not used" in " ".join(told.err.split()), told
        assert "mine" not in told.out


@pytest.mark.embedded("asks no database anything")
@pytest.mark.parametrize(
    ("host", "what", "fix"),
    [
        ("", "there is no address to listen on", "--host 127.0.0.1"),
        ("300.1.1.1", "cannot be listened on", "--host 127.0.0.1"),
        ("192.0.2.1", "cannot be listened on", "--host 127.0.0.1"),
    ],
)
def test_where_nobody_can_listen(place: Place, host: str, what: str, fix: str) -> None:
    said = call(
        place, "gateway", "--host", host, "--port", "0", "--model", "anthropic:claude-sonnet-5", ANTHROPIC_API_KEY="k"
    )
    assert_refused(said, Exit.USAGE, what, f"next: quarterdeck gateway {fix}")


def _doctor(place: Place, url: str) -> tuple[int, str, str]:
    said = call(place, "doctor", QUARTERDECK_DATABASE_URL=url)
    return said.code, said.out, said.err


def test_a_home_whose_name_is_no_text(shared: Place) -> None:
    assert_refused(call(shared, "ps", QUARTERDECK_HOME="/tmp/\udcff"), Exit.USAGE, "is not UTF-8 text")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("mode", "words"), [(0o700, "cannot be read"), (0o755, "cannot be written")])
def test_the_home_of_another_user(reachable: Path, shared: Place, mode: int, words: str) -> None:
    assert call(shared, "ps").code == Exit.DONE  # everything is imported before the rights are gone
    home = reachable / "home"
    home.mkdir()
    home.chmod(mode)
    with contextlib.chdir(reachable):  # the checkout may lie where only root can go back to
        os.seteuid(65534)
        try:
            said = call(shared, "ps", cwd=reachable, QUARTERDECK_HOME=str(home))
        finally:
            os.seteuid(0)
    assert_refused(said, Exit.USAGE, words, "Permission denied", "QUARTERDECK_HOME")
