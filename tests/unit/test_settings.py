"""The environment and deck.toml: what is read, what is refused, and that merging never widens."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings import Partial, ProbeAction, ProbeSpec, load_settings, merge, operator_config, parse_deck_toml

NOTHING = Partial("detected")


# --- the environment ----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "darwin", reason="the platform's data directory differs")
@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HOME": "/h"}, "/h/.local/share/quarterdeck"),
        ({"HOME": "/h", "XDG_DATA_HOME": "/x"}, "/x/quarterdeck"),
        ({"HOME": "/h", "XDG_DATA_HOME": "relative"}, "/h/.local/share/quarterdeck"),
        ({"HOME": "/h", "QUARTERDECK_HOME": "~/deck"}, "/h/deck"),
        ({"HOME": "/h", "QUARTERDECK_HOME": "~"}, "/h"),
        ({"HOME": "/h", "QUARTERDECK_HOME": "/a/../b"}, "/b"),
        ({"HOME": "/h", "QUARTERDECK_HOME": ""}, "/h/.local/share/quarterdeck"),
    ],
)
def test_home(environ: dict[str, str], home: str) -> None:
    assert load_settings(environ).home == Path(home)


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings({"QUARTERDECK_HOME": "deck"}).home == tmp_path / "deck"


def test_a_key_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret-f\n")
    environ = {
        "QUARTERDECK_HOME": str(tmp_path),
        "ANTHROPIC_API_KEY": "secret-a",
        "ANTHROPIC_API_KEY_FILE": str(tmp_path / "key"),
        "OPENAI_API_KEY_FILE": "",
    }
    assert dict(load_settings(environ).keys) == {"ANTHROPIC_API_KEY": "secret-f"}
    with pytest.raises(BadConfiguration, match="OPENAI_API_KEY_FILE names a file that cannot be read"):
        load_settings({**environ, "OPENAI_API_KEY_FILE": str(tmp_path / "none")})


def test_keys_are_read_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "deck.toml").write_text('[models."openai:mine"]\napi_key_env = "MY_KEY"\n')
    environ = {
        "QUARTERDECK_HOME": str(tmp_path),
        "ANTHROPIC_API_KEY": "secret-a",
        "OPENAI_API_KEY": "",
        "MY_KEY": "secret-m",
        "OTHER": "secret-o",
        "QUARTERDECK_DATABASE_URL": "postgresql://u:secret-d@host/db",
        "PIP_INDEX_URL": "https://u:secret-p@index.example/simple",
        "NO_COLOR": "1",
        "USER": "ada",
    }
    settings = load_settings(environ)
    assert dict(settings.keys) == {"ANTHROPIC_API_KEY": "secret-a", "MY_KEY": "secret-m"}
    assert settings.package_environment == {"PIP_INDEX_URL": environ["PIP_INDEX_URL"]}
    assert (settings.no_color, settings.user) == (True, "ada")
    assert "secret" not in repr(settings)


def test_a_probe_is_read(tmp_path: Path) -> None:
    home = {"QUARTERDECK_HOME": str(tmp_path)}
    assert load_settings(home).probe is None
    told = load_settings({**home, "QUARTERDECK_PROBE": "gate.moved:2:kill"}).probe
    assert told == ProbeSpec("gate.moved", 2, ProbeAction.KILL)


@pytest.mark.parametrize("text", ["gate.moved", "gate.moved:0:kill", "gate.moved:1:dance", "nowhere:1:kill", "::"])
def test_a_wrong_probe_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadConfiguration, match="QUARTERDECK_PROBE"):
        load_settings({"QUARTERDECK_HOME": str(tmp_path), "QUARTERDECK_PROBE": text})


# --- deck.toml ----------------------------------------------------------------------------------------------


def test_no_file_sets_nothing(tmp_path: Path) -> None:
    assert operator_config(tmp_path).config.model_fields_set == set()


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "deck.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadConfiguration, match="is not UTF-8 text"):
        operator_config(tmp_path)


def test_every_key_of_the_contract_is_known() -> None:
    text = """
        [deck]
        into = "quarterdeck/{run}"
        max_parallel = 4
        [checks]
        gate = ["ruff check .", "pytest -q"]
        timeout = "10m"
        [review]
        agent = "reviewer"
        [budget]
        run = 5.0
        user_day = 50.0
        deck_day = 200.0
        [limits]
        turns = 60
        wall = "30m"
        attempts = 3
        [tiers]
        brain = ["anthropic:a", "openai:b"]
        [prices]
        "openai:my-local-model" = { input = 0, output = 0 }
        [sandbox]
        backend = "bubblewrap"
        network = []
        setup = ["uv sync"]
        setup_network = ["default"]
    """
    config = parse_deck_toml(text, "deck.toml").config
    assert config.limits.wall == 1800.0
    assert config.prices["openai:my-local-model"].output == 0
    sections = {"deck", "checks", "review", "budget", "limits", "tiers", "prices", "sandbox"}
    assert config.model_fields_set == sections <= set(DeckConfig.model_fields)


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("[budget]\n\nrunn = 1\n", "d.toml:3: unknown key budget.runn", "write budget.run instead"),
        ("# c\n[chekcs]\n", "d.toml:2: unknown key chekcs", "write checks instead"),
        ('[models."a:b"]\ncontex = 5\n', 'd.toml:2: unknown key models."a:b".contex', 'models."a:b".context'),
        ("sandbox.netwrok = []\n", "d.toml:1: unknown key sandbox.netwrok", "write sandbox.network instead"),
        ("sandbox = { netwrok = [] }\n", "d.toml:1: unknown key sandbox.netwrok", "write sandbox.network instead"),
        ("[zzz]\n", "d.toml:1: unknown key zzz", "known here: deck, checks"),
        ('[prices]\n"a:b" = { inputt = 0, output = 1 }\n', 'd.toml:2: unknown key prices."a:b".inputt', '"a:b".input'),
        ('[limits]\nwall = "soon"\n', "d.toml:2: limits.wall is wrong: a duration looks like", "correct it in d.toml"),
        ("[budget]\nrun = -1\n", "d.toml:2: budget.run is wrong", "correct it in d.toml"),
        ('[checks]\ngate = "pytest"\n', "d.toml:2: checks.gate is wrong: a list belongs here", "correct it"),
        ("checks\n", "d.toml is not valid TOML", "correct d.toml"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_repair(text: str, message: str, fix: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_deck_toml(text, "d.toml")
    assert message in str(caught.value)
    assert fix in caught.value.fix


# --- merging ------------------------------------------------------------------------------------------------


def toml(**sections: dict[str, Any]) -> Partial:
    return Partial("a file", DeckConfig.model_validate(sections))


def test_nothing_set_is_the_default() -> None:
    assert merge(NOTHING, None, NOTHING) == (DeckConfig(), ())


def test_the_operator_wins_and_detected_values_fill() -> None:
    operator = toml(checks={"gate": ["make ok"]})
    repository = toml(checks={"gate": ["true"], "timeout": "1m"}, deck={"into": "bot/{run}"})
    detected = toml(checks={"gate": ["pytest -q"], "timeout": "9m"}, review={"rounds": 1})
    config, lines = merge(operator, repository, detected)
    assert (config.checks.gate, config.checks.timeout) == (("make ok",), 60.0)
    assert (config.deck.into, config.review.rounds) == ("bot/{run}", 1)
    assert "checks.gate: from a file" in lines


def test_what_the_repository_may_not_widen_is_said() -> None:
    repository = toml(
        budget={"run": 9.0, "user_day": 2.0},
        sandbox={"backend": "none", "network": ["a.example"], "memory_mb": 99_999, "setup_network": ["default", "b"]},
    )
    config, lines = merge(toml(sandbox={"network": ["a.example", "c.example"]}), repository, NOTHING)
    assert (config.budget.run, config.budget.user_day) == (5.0, 2.0)
    assert (config.sandbox.backend, config.sandbox.network) == ("bubblewrap", ("a.example",))
    assert (config.sandbox.memory_mb, config.sandbox.setup_network) == (2048, ("default",))
    refused = [line.partition(":")[0] for line in lines if "may only narrow" in line]
    assert refused == ["budget.run", "sandbox.backend", "sandbox.setup_network", "sandbox.memory_mb"]


def test_a_repository_takes_ways_of_merging_away_and_adds_none() -> None:
    operator = toml(merge={"ways": ["git", "union"], "driver": "off"})
    config, lines = merge(operator, toml(merge={"ways": ["entity", "git"], "driver": "auto"}), NOTHING)
    assert (config.merge.ways, config.merge.driver) == (("git",), "off")
    assert len([line for line in lines if "may only narrow" in line]) == 2
    config, lines = merge(NOTHING, toml(merge={"ways": ["git", "entity"], "driver": "off"}), NOTHING)
    assert (config.merge.ways, config.merge.driver) == (("git", "entity"), "off")
    assert lines == ("merge.ways: from a file", "merge.driver: from a file")


def test_a_repository_may_only_have_what_landed_taken_back_less_freely() -> None:
    for operators, theirs, holds in (
        ("ask", "auto", "ask"),
        ("auto", "ask", "ask"),
        ("never", "ask", "never"),
        ("ask", "never", "never"),
    ):
        config, lines = merge(toml(merge={"revert": operators}), toml(merge={"revert": theirs}), NOTHING)
        assert config.merge.revert == holds
        assert any("of the repository is not used" in line for line in lines) == (holds != theirs)
    assert merge(NOTHING, toml(merge={"revert": "never"}), NOTHING)[0].merge.revert == "never"
    assert merge(NOTHING, NOTHING, NOTHING)[0].merge.revert == "auto"
    with pytest.raises(BadConfiguration, match="among the ways"):
        parse_deck_toml('[merge]\nways = ["union"]\n', "d.toml")


def test_only_the_operator_says_where_keys_are_sent() -> None:
    repository = toml(
        models={"openai:x": {"context": 4096, "base_url": "http://elsewhere.example", "api_key_env": "HOME_KEY"}}
    )
    config, lines = merge(NOTHING, repository, NOTHING)
    assert config.models["openai:x"].model_dump(exclude_none=True) == {"context": 4096}
    assert any("keys are sent" in line for line in lines)


def test_a_repository_cannot_make_a_model_cheaper() -> None:
    priced = toml(prices={"a:x": {"input": 3, "output": 15, "cache_read": 0.3}})
    repository = toml(
        prices={"a:x": {"input": 0, "output": 20, "cache_read": 0}, "a:unpriced": {"input": 0, "output": 0}}
    )
    config, lines = merge(priced, repository, NOTHING)
    assert list(config.prices) == ["a:x"]
    assert config.prices["a:x"].model_dump(exclude_none=True) == {"input": 3, "output": 20, "cache_read": 0.3}
    assert len([line for line in lines if "repository" in line]) == 2


def test_a_repository_cannot_make_a_long_prompt_cheaper() -> None:
    long = {"above": 200, "until": 900, "input": 6, "output": 20, "cache_read": 0.6}
    cheap = {"above": 500, "until": 700, "input": 1, "output": 30}
    priced = toml(prices={"a:x": {"input": 3, "output": 15, "long": long}})
    for asked, output in ({"input": 3, "output": 15}, 20), ({"input": 3, "output": 15, "long": cheap}, 30):
        config, _ = merge(priced, toml(prices={"a:x": asked}), NOTHING)
        found = config.prices["a:x"].long
        assert found is not None
        assert (found.above, found.until, found.input, found.output) == (200, 900, 6, output)


hosts = st.lists(st.sampled_from(["default", "a.example", "b.example", "c.example"]), unique=True)
money = st.floats(min_value=0, max_value=500, allow_nan=False)
size = st.integers(min_value=64, max_value=100_000)


def section(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


partials = section(
    budget=section(run=money, user_day=money, deck_day=money),
    sandbox=section(
        backend=st.sampled_from(["none", "bubblewrap", "other"]),
        network=hosts,
        setup_network=hosts,
        memory_mb=size,
        disk_mb=size,
        processes=size,
        cpu_seconds=size,
    ),
    checks=section(gate=st.lists(st.sampled_from(["pytest", "true"]))),
    limits=section(attempts=st.integers(1, 9)),
    prices=st.dictionaries(
        st.sampled_from(["a:x", "a:y"]), st.fixed_dictionaries({"input": money, "output": money}), max_size=2
    ),
).map(lambda data: toml(**data))


@given(operator=partials, repository=partials)
def test_a_repository_never_widens(operator: Partial, repository: Partial) -> None:
    alone, _ = merge(operator, None, NOTHING)
    merged, _ = merge(operator, repository, NOTHING)
    for key in ("run", "user_day", "deck_day"):
        assert getattr(merged.budget, key) <= getattr(alone.budget, key)
    for key in ("memory_mb", "disk_mb", "processes", "cpu_seconds"):
        assert getattr(merged.sandbox, key) <= getattr(alone.sandbox, key)
    assert set(merged.sandbox.network) <= set(alone.sandbox.network)
    assert set(merged.sandbox.setup_network) <= set(alone.sandbox.setup_network)
    assert merged.sandbox.backend != "none" or alone.sandbox.backend == "none"
    assert set(merged.prices) == set(alone.prices)
    for model, price in alone.prices.items():
        assert merged.prices[model].input >= price.input
        assert merged.prices[model].output >= price.output


@given(operator=partials, repository=partials)
def test_what_the_operator_set_holds_unless_narrowed(operator: Partial, repository: Partial) -> None:
    merged, _ = merge(operator, repository, NOTHING)
    for name, key in (("checks", "gate"), ("limits", "attempts"), ("sandbox", "backend")):
        if key in getattr(operator.config, name).model_fields_set:
            assert getattr(getattr(merged, name), key) == getattr(getattr(operator.config, name), key)


@given(operator=partials, repository=partials, detected=partials)
def test_detected_values_change_nothing_that_was_set(operator: Partial, repository: Partial, detected: Partial) -> None:
    without, _ = merge(operator, repository, NOTHING)
    merged, _ = merge(operator, repository, detected)
    for name in ("checks", "limits"):
        for layer in (operator, repository):
            for key in getattr(layer.config, name).model_fields_set:
                assert getattr(getattr(merged, name), key) == getattr(getattr(without, name), key)
