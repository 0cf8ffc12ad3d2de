"""Declarations of tool servers: what may stand in them, who may approve them, and what they are given."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quarterdeck.assembly.toolboard import OperatorAccess, approve, check_tools
from quarterdeck.cli.starter import effective
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.servers import McpServer
from quarterdeck.settings import (
    APPROVED_FILE,
    Approval,
    Approvals,
    Partial,
    load_settings,
    merge,
    operator_config,
    parse_deck_toml,
    parse_mcp_json,
    read_approvals,
    wider,
    write_approvals,
)

GITHUB = {"command": "npx", "args": ["-y", "server-github"], "env": {"GITHUB_TOKEN": "${GITHUB_TOKEN}"}}


def parsed(**servers: Any) -> tuple[dict[str, McpServer], str]:
    found, lines = parse_mcp_json(json.dumps({"mcpServers": servers}))
    return dict(found.config.mcp.servers), "\n".join(lines)


# --- what may stand in a declaration ----------------------------------------------------------------------


def test_claude_codes_file_is_understood() -> None:
    servers, lines = parsed(
        github=GITHUB,
        remote={"type": "http", "url": "https://x.test/mcp", "headers": {"Authorization": "Bearer ${T:-none}"}},
        local={"command": "serve", "quarterdeck": {"network": ["x.test"], "timeout": "5s"}},
    )
    assert lines == ""
    assert servers["github"].variables == ("GITHUB_TOKEN",)
    assert servers["remote"].url == "https://x.test/mcp"
    assert servers["local"].network == ("x.test",)
    assert servers["local"].timeout == 5.0


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "sse", "url": "http://x"}, "not supported"),
        ({"command": 5}, "text belongs here"),
        ({}, "either a command or a url"),
        ({"url": "file:///etc/passwd"}, "not of the form"),
        ({"url": "http://user:pw@x/"}, "password"),
        ({"url": "http://x", "headers": {"Authorization": "Bearer abc"}}, "holds a secret as text"),
        ({"url": "http://x", "headers": {"x-api-key": "abc"}}, "holds a secret as text"),
        ({"url": "http://x", "headers": {"a": "1\r\nb: 2"}}, "line break"),
        ({"command": "x", "env": {"GITHUB_TOKEN": "abc"}}, "holds a secret as text"),
        ({"command": "x", "quarterdeck": {"approved": True}}, "no approved"),
        ({"command": "a\0b"}, "no text"),
        ({"command": " "}, "must not be empty"),
        ({"command": "x", "quarterdeck": {"fallback": {"a": "b"}}}, "fallback.'a' is not of the form"),
        ({"command": "x", "quarterdeck": {"fallback": {"a": "-b/c"}}}, "not of the form"),
        ({"command": "x", "quarterdeck": {"fallback": {"a": "b/" + "c" * 300}}}, "not of the form"),
        ({"command": "x", "quarterdeck": {"fallback": {str(n): "b/c" for n in range(101)}}}, "at most 100 fallbacks"),
        ("x", "no object"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_said(entry: Any, said: str) -> None:
    servers, lines = parsed(bad=entry, good={"command": "x"})
    assert list(servers) == ["good"]
    assert said in lines


@pytest.mark.parametrize("text", ["", "[]", "{", '{"mcpServers": []}', "[" * 100_000, "null"])
def test_a_file_that_is_none_declares_nothing(text: str) -> None:
    found, lines = parse_mcp_json(text)
    assert not found.config.mcp.servers
    assert lines


@pytest.mark.parametrize("name", ["", "a__b", "-a", "a b", "a/b", "x" * 33, "a\x1b"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    servers, lines = parsed(**{name: {"command": "x"}})
    assert not servers
    assert "\x1b" not in lines


def test_deck_toml_declares_and_names_the_closest_key() -> None:
    config = parse_deck_toml('[mcp.servers.git]\ncommand = "serve"\nnetwork = ["x.test"]\n', "deck.toml").config
    assert config.mcp.servers["git"].command == "serve"
    text = '[mcp.servers.git]\ncommand = "serve"\nfallback = { log = "mirror/log" }\n'
    assert parse_deck_toml(text, "deck.toml").config.mcp.servers["git"].fallback == {"log": "mirror/log"}
    with pytest.raises(BadConfiguration) as caught:
        parse_deck_toml('[mcp.servers.git]\ncomand = "serve"\n', "deck.toml")
    assert "command" in caught.value.fix
    with pytest.raises(BadConfiguration, match="runs elsewhere"):
        parse_deck_toml('[mcp.servers.git]\nurl = "http://x"\nworkspace = true\n', "deck.toml")


def test_a_printed_configuration_declares_the_same() -> None:
    declared, _ = parse_mcp_json(json.dumps({"mcpServers": {"a": GITHUB, "b": {"url": "http://x.test/y"}}}))
    printed = effective(declared.config, ())
    assert parse_deck_toml(printed, "printed").config.mcp == declared.config.mcp


# --- variables --------------------------------------------------------------------------------------------


def test_variables_are_put_in_once_and_nowhere_else() -> None:
    server = McpServer(command="x", args=("${A}", "$A", "${B:-other}", "${C:-}"), env={"T": "<${A}>"})
    assert server.variables == ("A", "B", "C")
    put = server.expanded({"A": "${B}"})
    assert put.args == ("${B}", "$A", "other", "")
    assert put.env == {"T": "<${B}>"}
    with pytest.raises(KeyError, match="A"):
        server.expanded({})


@given(st.text(max_size=40), st.dictionaries(st.sampled_from("ABC"), st.text(max_size=5)))
def test_whatever_is_written_expanding_it_ends(text: str, values: dict[str, str]) -> None:
    try:
        server = McpServer(command="x", args=(text,))
    except ValidationError:
        return
    try:
        server.expanded(values)
    except KeyError as error:
        assert error.args[0] not in values


# --- who may approve --------------------------------------------------------------------------------------


def partial(origin: str, text: str) -> Partial:
    return parse_deck_toml(text, origin)


def test_a_repository_declares_and_never_approves() -> None:
    server = McpServer(command="evil")
    theirs = f'[mcp]\napproved = {{ evil = "{server.fingerprint}" }}\n[mcp.servers.evil]\ncommand = "evil"\n'
    config, lines = merge(Partial("operator"), partial("theirs", theirs), Partial("detected"))
    assert config.mcp.servers["evil"] == server
    assert config.mcp.approved == {}
    assert any("only the operator approves" in line for line in lines)
    assert Approvals((), config.mcp.model_copy(update={"servers": {}})).given("evil", server) is None


def test_the_operators_declaration_wins_and_mcp_json_comes_last() -> None:
    operator = partial("operator", '[mcp.servers.a]\ncommand = "mine"\n')
    theirs = partial("theirs", '[mcp.servers.a]\ncommand = "theirs"\n[mcp.servers.b]\ncommand = "theirs"\n')
    declared, _ = parse_mcp_json(json.dumps({"mcpServers": {n: {"command": "json"} for n in "abc"}}))
    config, lines = merge(operator, theirs, Partial("detected"), declared)
    assert {name: server.command for name, server in config.mcp.servers.items()} == {
        "a": "mine",
        "b": "theirs",
        "c": "json",
    }
    assert "mcp.servers.a: the one of theirs is not used, there is one of that name" in lines
    assert wider(config, DeckConfig()) == ()


def test_an_approval_is_for_one_declaration() -> None:
    server = McpServer(command="x", env={"T": "${T}"})
    other = server.model_copy(update={"args": ("--evil",)})
    written = Approvals((Approval(name="a", hash=server.fingerprint, env=("T",)),), DeckConfig().mcp)
    assert written.given("a", server) == ("T",)
    assert written.given("a", other) is None
    assert written.given("b", server) is None
    config = partial("operator", f'[mcp]\napproved = {{ a = "{server.fingerprint}" }}\n').config
    assert Approvals((), config.mcp).given("a", server) == ()
    own = partial("operator", '[mcp.servers.a]\ncommand = "x"\nenv = { T = "${T}" }\n').config
    assert Approvals((), own.mcp).given("a", server) == ("T",)
    assert Approvals((), own.mcp).given("a", other) is None


def test_approvals_are_written_whole_and_read_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    approved = (Approval(name="a", hash="0" * 64, env=("T",)), Approval(name="b", hash="1" * 64))
    assert read_approvals(home) == ()
    write_approvals(home, approved)
    assert read_approvals(home) == approved
    assert (home / APPROVED_FILE).stat().st_mode & 0o077 == 0
    (home / APPROVED_FILE).write_text('{"v": 1, "approved": "all"}')
    with pytest.raises(BadConfiguration, match="tools approve"):
        read_approvals(home)


def test_only_named_variables_are_read_and_never_a_providers_key(tmp_path: Path) -> None:
    names = ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY_FILE", "QUARTERDECK_HOME", "MY_MODEL_KEY", "UNSET")
    write_approvals(tmp_path, (Approval(name="a", hash="0" * 64, env=names),))
    (tmp_path / "deck.toml").write_text('[models."chat:x"]\napi_key_env = "MY_MODEL_KEY"\n')
    environ = {"QUARTERDECK_HOME": str(tmp_path), "GITHUB_TOKEN": "gh", "OTHER": "o", "MY_MODEL_KEY": "k"}
    settings = load_settings({**environ, "ANTHROPIC_API_KEY": "sk"})
    assert dict(settings.tool_environment) == {"GITHUB_TOKEN": "gh"}
    assert "gh" not in repr(settings)
    assert operator_config(tmp_path).config.mcp.servers == {}


# --- what a run says before it starts ---------------------------------------------------------------------


def test_an_agent_that_cannot_have_its_tools_keeps_a_run_from_starting(tmp_path: Path) -> None:
    config = RunConfig(
        deck=DeckConfig.model_validate({"mcp": {"servers": {"a": {"command": "x"}, "b": {"command": "x"}}}}),
        agents={agent.name: agent for agent in (_agent("one", "mcp:b", "mcp:a?"), _agent("two", "mcp:a"))},
    )
    one = config.agents["one"].model_copy(update={"delegates_to": ("two",)})
    settings = load_settings({"QUARTERDECK_HOME": str(tmp_path)})
    with pytest.raises(BadConfiguration, match="the agent one names tools") as caught:
        check_tools(OperatorAccess(settings), config, [one])
    assert caught.value.fix == "quarterdeck tools approve b"
    approve(settings, config.deck, "b", ())
    said = "\n".join(check_tools(OperatorAccess(settings), config, [one]))
    assert "one goes without mcp:a?" in said
    assert "two cannot be called in: mcp:a: the tool server `a` is not approved" in said


def _agent(name: str, *tools: str) -> Agent:
    return Agent(name=name, tools=tools)
