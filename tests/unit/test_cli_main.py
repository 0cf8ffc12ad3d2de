"""The edge of the command line: help, errors, exit codes, JSON; and the files it writes."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import store_kit
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agents.roster import parse_agent
from quarterdeck.assembly.doctor import keys_of_models
from quarterdeck.cli import faults, registry
from quarterdeck.cli.call import Call, drive, json_line
from quarterdeck.cli.deck import report
from quarterdeck.cli.main import main
from quarterdeck.cli.money import By, sums
from quarterdeck.cli.starter import AGENTS_README, effective, starter, toml_value
from quarterdeck.delivery.detect import Detected
from quarterdeck.delivery.order import Check, RunResult, Target, TaskResult
from quarterdeck.govern.chain import DayCaps
from quarterdeck.govern.days import Held, held
from quarterdeck.journal.views import CostView, PurseView
from quarterdeck.kernel.config import DeckConfig, ModelSection, Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import BadPlan, BudgetExhausted, Exit, MissingPart, Stop, StoreUnreachable
from quarterdeck.kernel.prices import price_of
from quarterdeck.settings import Partial, merge, parse_deck_toml

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path / "home"))
    for name, value in store_kit.told(tmp_path / "home" / "deck.db").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


# --- help -----------------------------------------------------------------------------------------------------


def test_help_names_every_command_without_loading_one() -> None:
    script = (
        "import sys; from quarterdeck.cli.main import main; code = main(['--help']);"
        "heavy = {'pydantic', 'rich', 'yaml', 'sqlite3', 'anthropic', 'openai', 'httpx2'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    for command in registry.COMMANDS:
        assert f"\n  {command.name} " in done.stdout
    assert done.stderr == "[]\n", "something that --help needs imports these; put the import under TYPE_CHECKING"


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import quarterdeck; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['quarterdeck']\n"


@pytest.mark.parametrize("command", [command.name for command in registry.COMMANDS])
def test_every_command_has_help_and_json(command: str, capsys: Capture) -> None:
    words = [command, *{"audit": ["verify"], "token": ["list"], "db": ["check"]}.get(command, [])]
    assert main([*words, "--help"]) == Exit.DONE
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "--no-input" in shown


def test_no_command_shows_help(capsys: Capture) -> None:
    assert main([]) == Exit.DONE
    assert "Usage: quarterdeck" in capsys.readouterr().out


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["frobnicate"],
        ["run", "--wrong"],
        ["show"],
        ["run"],
        ["run", "  "],
        ["plan"],
        ["cost", "--by", "moon"],
        ["up", "--port", "-1"],
    ],
)
def test_wrong_usage_is_explained(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == Exit.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("quarterdeck: ")
    assert "next: quarterdeck" in shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "x", "--budget", "abc"], "Invalid value for '--budget': should be a valid number\n"),
        (
            ["run", "x", "--max-parallel", "0"],
            "Invalid value for '--max-parallel': should be greater than or equal to 1\n",
        ),
        (
            ["cost", "--by", "moon"],
            "Invalid value for '--by': 'moon' is not one of 'run', 'agent', 'model', 'task', 'user', 'day', 'key'.\n",
        ),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(arguments: list[str], said: str, capsys: Capture) -> None:
    assert main(arguments) == Exit.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("group", "first"), [("token", "add"), ("db", "upgrade"), ("audit", "verify")])
def test_a_group_alone_names_its_commands(group: str, first: str, capsys: Capture) -> None:
    assert main([group]) == Exit.USAGE
    head, why, fix = capsys.readouterr().err.splitlines()
    assert head == f"quarterdeck: `quarterdeck {group}` alone does nothing"
    assert why.split()[:4] == ["why:", "its", "commands:", f"{first},"] or why.endswith(f": {first}")
    assert fix.endswith(f"next: quarterdeck {group} --help")


def test_no_triggers_are_no_table(home: Path, capsys: Capture) -> None:
    assert main(["triggers"]) == Exit.DONE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "there are no triggers" in shown.err


def test_lengths_of_time_are_shown_as_they_are_written() -> None:
    shown = effective(DeckConfig(), ())
    assert 'expires = "1d"' in shown
    assert 'interval = "15s"' in shown
    assert 'wall = "30m"' in shown


@pytest.mark.parametrize("arguments", [["approve", "a"], ["deny", "a", "--reason", "no"], ["inbox", "a"]])
def test_what_does_not_wait_is_not_found(arguments: list[str], home: Path, capsys: Capture) -> None:
    assert main([*arguments, "--json"]) == Exit.NOT_FOUND
    shown = capsys.readouterr()
    body = json.loads(shown.out)
    assert (body["v"], body["kind"], body["exit_code"], body["fix"]) == (1, "error", 6, "quarterdeck inbox")
    assert "there is no approval a" in shown.err


def test_a_wrong_configuration_is_an_error_for_every_command(home: Path, capsys: Capture) -> None:
    home.mkdir()
    (home / "deck.toml").write_text("[budget]\nrunn = 1\n")
    assert main(["ps"]) == Exit.USAGE
    shown = capsys.readouterr().err
    assert "deck.toml:2: unknown key budget.runn" in shown
    assert "next: write budget.run instead" in shown


def test_a_broken_installation_is_not_a_missing_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingPart, match="not here"):
        registry.load("quarterdeck.nowhere.at_all", "x", "not here")
    (tmp_path / "a_part_of_ours.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        registry.load("a_part_of_ours", "x", "not here")


def test_faults_say_what_why_and_next() -> None:
    fault = faults.of_error(BadPlan("plan.yaml: tasks.0.id is missing", why="every task has one", fix="add it"), None)
    assert faults.paragraphs(fault) == [
        ("", "plan.yaml: tasks.0.id is missing"),
        ("why", "every task has one"),
        ("next", "add it"),
    ]
    assert faults.of_error(BudgetExhausted(), "r-1").fix == "quarterdeck show r-1"
    assert faults.of_error(BudgetExhausted(), "r-1").exit_code == Exit.BUDGET
    away = StoreUnreachable("it cannot be reached", fix="see whether it runs")
    assert faults.of_error(away, "r-1").fix == "see whether it runs; then: quarterdeck show r-1"
    assert faults.of_error(away, None).fix == "see whether it runs"
    assert faults.of_interrupt("r-1").fix == "quarterdeck resume r-1"
    assert faults.of_interrupt(None).exit_code == Exit.INTERRUPTED


def test_a_sentence_goes_on_with_its_reason() -> None:
    assert str(BudgetExhausted(why="$2.00 are left")).endswith("of this call: $2.00 are left")
    assert str(BudgetExhausted()).endswith("of this call.")


def test_a_bug_is_written_down_and_named(tmp_path: Path) -> None:
    try:
        raise RuntimeError("first line\nsecond line")
    except RuntimeError as error:
        written = faults.write_trace(error, tmp_path / "logs", 0.0)
        fault = faults.of_bug(error, "r-1", written)
    assert written.path is not None
    assert "second line" in written.path.read_text()
    assert fault.message == "a bug in Quarterdeck: RuntimeError: first line"
    assert str(written.path) in fault.why
    assert faults.write_trace(RuntimeError(), Path("/dev/null/x"), 0.0).path is None


@pytest.fixture
def signals() -> Iterator[None]:
    """What is done about signals: as in a terminal, also where the tests were begun in the background; put back
    afterwards."""
    found = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for each in found:
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    yield
    for each, handler in found.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("signals")
def test_being_asked_to_end_becomes_stop() -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    with pytest.raises(Stop):
        drive(work())


async def _ended_under(number: int, tidied: list[str]) -> None:
    """Work that is asked to end, and again while it ends."""
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        await asyncio.Event().wait()
    finally:
        os.kill(os.getpid(), number)
        tidied.append("everything")


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_echo_of_a_signal_is_the_same_signal(number: int) -> None:
    """`timeout` sends one to the process and then to its group."""
    tidied: list[str] = []
    with pytest.raises(Stop):
        drive(_ended_under(number, tidied))
    assert tidied == ["everything"]


@pytest.mark.usefixtures("signals")
def test_whoever_asks_twice_does_not_want_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.cli.call.ECHO_SECONDS", -1.0)
    tidied: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        drive(_ended_under(signal.SIGINT, tidied))
    assert tidied == []


# --- values ---------------------------------------------------------------------------------------------------


def test_the_last_line_of_a_run_is_as_promised() -> None:
    result = RunResult(
        run="r-1",
        status=RunStatus.DONE,
        target=Target(branch="b", sha="s"),
        tasks=(TaskResult(id="a", status=TaskStatus.MERGED, attempts=2, commit="c"),),
        cost_usd=0.5,
        tokens=Usage(input=3),
        wall_s=1.5,
        exit_code=0,
    )
    body = json.loads(json_line(None, result))
    promised = ["v", "kind", "run", "status", "target", "tasks", "limitations", "cost_usd", "tokens", "wall_s"]
    assert set(promised) <= set(body)
    assert list(body)[:2] == ["v", "kind"]
    assert body["kind"] == "run.finished"
    assert body["tasks"] == [{"id": "a", "status": "merged", "attempts": 2, "commit": "c", "reason": ""}]


def test_json_carries_no_prose_and_prose_no_json(capsys: Capture) -> None:
    call = Call()
    call.emit("x", {"a": 1})
    call.data("prose")
    assert capsys.readouterr().out == "prose\n"
    call.json = True
    call.emit("x", {"a": 1})
    call.data("prose")
    call.say("said")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ('{"v": 1, "kind": "x", "a": 1}\n', "said\n")


def cost(run: str, model: str, nusd: int) -> CostView:
    return CostView(run, "t", f"{run}.t.1", "bee", model, 1, Usage(input=10), nusd, 0)


costs = st.lists(
    st.builds(cost, st.sampled_from(["r-1", "r-2"]), st.sampled_from(["a:x", "b:y"]), st.integers(0, 10**12))
)


@given(costs, st.sampled_from([By.RUN, By.AGENT, By.MODEL, By.TASK]))
def test_sums_lose_no_money(spent: list[CostView], by: By) -> None:
    totals = sums(spent, by)
    assert sum(total.cost_nusd for total in totals) == sum(each.cost_nusd for each in spent)
    assert [total.cost_nusd for total in totals] == sorted((total.cost_nusd for total in totals), reverse=True)


def test_days_are_shown_with_the_cap_that_holds_today() -> None:
    purses = [
        PurseView("deck/2026-11-20", None, 9, 1),
        PurseView("deck/2026-11-21", None, 5, 2),
        PurseView("run/r-1", 7, 5, 2),
        PurseView("task/r-1/t", None, 5, 2),
        PurseView("user/a/b/2026-11-21", None, 3, 0),
    ]
    assert held(purses, DayCaps(user=2.0, deck=4.0), "2026-11-21") == [
        Held("2026-11-21", "", 5, 2, 4_000_000_000),
        Held("2026-11-21", "a/b", 3, 0, 2_000_000_000),
        Held("2026-11-20", "", 9, 1, None),
    ]


def test_doctor_puts_the_fix_below_the_problem() -> None:
    checks = [
        Check(name="git", ok=True, detail="2.43"),
        Check(name="sandbox", ok=False, detail="no bubblewrap", fix="apt-get install bubblewrap"),
        Check(name="key", ok=False, detail="none", fix="export X", level="warning"),
    ]
    assert report(checks, color=False) == [
        "✓ git      2.43",
        "✗ sandbox  no bubblewrap",
        "           fix: apt-get install bubblewrap",
        "! key      none",
        "           fix: export X",
    ]


def test_doctor_says_whose_key_a_model_with_an_address_of_its_own_is_sent() -> None:
    models = {
        "chat:own": ModelSection(base_url="http://localhost:8000/v1"),
        "chat:named": ModelSection(base_url="http://localhost:8000/v1", api_key_env="MINE"),
        "openai:usual": ModelSection(context=4096),
        "nobodys:x": ModelSection(base_url="http://localhost:8000/v1"),
    }
    none = "chat:own is sent none: its address is its own, without an api_key_env"
    assert report(keys_of_models(models, {}, {"OPENAI_API_KEY"}), color=False) == [
        "! keys  MINE is not set, which [models] names",
        "        fix: export MINE=…",
        f"✓ keys  {none}",
    ]
    assert report(keys_of_models(models, {}, {"MINE"}), color=False) == [f"✓ keys  {none}"]
    assert not keys_of_models(models, {"chat": "http://localhost:8000"}, {"MINE"})


# --- the files that are written -------------------------------------------------------------------------------


def test_a_starter_file_sets_what_was_detected_and_nothing_else() -> None:
    found = Detected(gate=("pytest -q", 'echo "a\\b"'), lines=("pytest -q: x",))
    read = parse_deck_toml(starter(found), "deck.toml").config
    assert read == DeckConfig.model_validate({"checks": {"gate": found.gate}})
    assert parse_deck_toml(starter(Detected()), "deck.toml").config == DeckConfig()


def test_the_examples_in_the_agents_readme_are_agents() -> None:
    examples = re.findall(r"(?:^    .*\n)+", AGENTS_README, re.MULTILINE)
    read = [parse_agent(textwrap.dedent(example), "README") for example in examples]
    assert [(agent.name, agent.harness) for agent in read] == [("implementer", "native"), ("formatter", "command")]


def test_what_a_starter_file_mentions_is_known() -> None:
    text = "\n".join(
        line.removeprefix("# ")
        for line in starter(Detected()).splitlines()
        if not line.startswith("# ") or (" = " in line and "gate" not in line)
    )
    config = parse_deck_toml(text, "deck.toml").config
    assert config.limits == DeckConfig().limits
    assert config.review.agent == "reviewer"
    named = [model for tier in config.tiers.values() for model in tier]
    assert named
    assert all(price_of(model, {}) for model in named)


def test_every_duration_is_printed_with_its_unit() -> None:
    printed = effective(DeckConfig(), [".quarterdeck/deck.toml is read at 3f2a91c0de"])
    assert 'first_byte = "2m"' in printed
    assert 'connect = "10s"' in printed
    assert printed.endswith("# .quarterdeck/deck.toml is read at 3f2a91c0de")


def test_a_printed_configuration_can_be_read_again() -> None:
    operator = Partial(
        "op",
        DeckConfig.model_validate(
            {
                "checks": {"gate": ["a"], "timeout": 90.5},
                "tiers": {"brain": ["a:b"]},
                "prices": {"a:b": Price(input=1, output=2)},
                "models": {"a:b": ModelSection(context=4096)},
            }
        ),
    )
    config, origin = merge(operator, None, Partial("nothing"))
    text = effective(config, origin)
    assert parse_deck_toml(text, "deck.toml").config == config
    assert 'gate = ["a"]  # from op' in text
    assert '"a:b" = { input = 1.0, output = 2.0 }  # from op' in text
    assert "# agent is not set" in text


@given(st.text())
def test_any_text_is_a_toml_string(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode()  # TOML has no lone surrogates
    assert tomllib.loads(f"x = {toml_value(text)}") == {"x": text}


# --- the gateway alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("usd", ["inf", "nan", "1e12"])
@pytest.mark.parametrize(
    "command",
    [["gateway", "--port", "0", "--budget"], ["run", "goal", "--budget"], ["resume", "r", "--budget"], ["budget", "r"]],
)
def test_a_budget_is_an_amount_of_money(command: list[str], usd: str, capsys: Capture) -> None:
    assert main([*command, usd]) == Exit.USAGE
    assert f"{float(usd):g} is no amount between 0 and 1,000,000,000 USD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("foo", "there is no model 'foo'"),
        ("nobody:foo", "the providers are"),
        ("ollama:qwen", 'base_url = "http://localhost:11434/v1"'),
        ("chat:unpriced", "the price of chat:unpriced is not known"),
    ],
)
def test_the_gateway_says_at_its_start_which_model_it_cannot_serve(
    model: str, said: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert main(["gateway", "--port", "0", "--model", model]) != 0
    assert said in " ".join(capsys.readouterr().err.split())
