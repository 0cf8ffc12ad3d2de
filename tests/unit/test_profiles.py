"""Profiles of CLIs: how each is told where the gateway is, and what of a machine is found and has to be seen."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.agents.profiles import GENERIC, PROFILES
from quarterdeck.agents.profiles.installed import look
from quarterdeck.agents.profiles.port import Context, Installation, Launch

GATEWAY = "http://127.0.0.1:8377"
KEY = "qd-virtual"


CONTEXT = Context(
    installation=Installation(program="/opt/x", companion="/opt/own"),
    home="/home/agent",
    workspace="/workspace",
    endpoint=GATEWAY,
    key=KEY,
    model="m-1",
    provider="chat",
)


def launched(name: str, model: str = "m-1", provider: str = "", endpoint: str | None = GATEWAY, **more: Any) -> Launch:
    profile = PROFILES[name]
    context = replace(
        CONTEXT,
        installation=Installation(program=f"/opt/{name}", companion="/opt/own"),
        endpoint=endpoint,
        key=KEY if endpoint else "",
        model=model,
        provider=provider or profile.providers[0],
        **more,
    )
    return profile.launch(context)


@pytest.mark.parametrize("name", list(PROFILES))
def test_a_launch_names_the_gateway_and_the_key_and_nothing_of_the_own_login(name: str) -> None:
    with_gateway = launched(name)
    told = " ".join([*with_gateway.env.values(), *(data.decode() for data in with_gateway.files.values())])
    assert GATEWAY in told
    assert KEY in with_gateway.env.values(), "the key is in the environment alone"
    assert KEY not in " ".join([*with_gateway.argv, *(data.decode() for data in with_gateway.files.values())])
    assert "m-1" in told
    own = launched(name, endpoint=None)
    told = " ".join([*own.argv, *own.env, *own.env.values(), *(data.decode() for data in own.files.values())])
    assert GATEWAY not in told
    assert "127.0.0.1" not in told
    assert own.argv[0] == f"/opt/{name}"


@pytest.mark.parametrize("name", list(PROFILES))
def test_files_lie_in_the_home_and_are_what_they_say(name: str) -> None:
    for path, data in launched(name).files.items():
        assert not path.startswith("/")
        assert ".." not in path
        if path.endswith(".json"):
            json.loads(data)
        if path.endswith(".toml"):
            tomllib.loads(data.decode())


def test_every_name_of_claude_means_the_routed_model() -> None:
    env = launched("claude", "claude-opus-5").env
    models = {value for name, value in env.items() if "MODEL" in name}
    assert models == {"claude-opus-5"}
    assert env["CLAUDE_CODE_EXECUTABLE"] == "/opt/own"
    assert "ANTHROPIC_SMALL_FAST_MODEL" not in launched("claude", endpoint=None).env, "its own choice"


def test_codex_asks_us_and_has_no_sandbox_of_its_own() -> None:
    made = launched("codex", 'odd"name')
    config = tomllib.loads(made.files[".codex/config.toml"].decode())
    assert config["model"] == 'odd"name'
    assert config["model_providers"]["quarterdeck"]["base_url"] == f"{GATEWAY}/v1"
    assert made.env[config["model_providers"]["quarterdeck"]["env_key"]] == KEY
    assert config["permissions"][config["default_permissions"]]["filesystem"] == {":root": "write"}
    assert "sandbox_mode" not in config, "it would win over the permissions"
    assert made.mode == f"permission-profile:{config['default_permissions']}"
    assert b'"rm"' in made.files[".codex/rules/quarterdeck.rules"]
    assert "model_provider" not in tomllib.loads(launched("codex", endpoint=None).files[".codex/config.toml"].decode())


def test_a_repository_s_own_settings_do_not_answer_in_our_place() -> None:
    """What of it really holds is `make test-agents`' to find out: it plays a repository that allows everything."""
    options = launched("claude").meta["claudeCode"]["options"]
    assert options["managedSettings"]["allowManagedPermissionRulesOnly"] is True
    assert options["managedSettings"]["allowManagedHooksOnly"] is options["strictMcpConfig"] is True
    assert "allow" not in options["managedSettings"]["permissions"]
    config = tomllib.loads(launched("codex").files[".codex/config.toml"].decode())
    assert config["projects"] == {"/workspace": {"trust_level": "untrusted"}}
    gemini = launched("gemini")
    policy = gemini.argv[gemini.argv.index("--admin-policy") + 1].removeprefix("/home/agent/")
    rules = tomllib.loads(gemini.files[policy].decode())["rule"]
    decisions = {(str(rule["toolName"]), rule.get("mcpName")): rule["decision"] for rule in rules}
    assert (decisions["*", "quarterdeck"], decisions["*", "*"]) == ("allow", "deny")
    (asking,) = (rule for rule in rules if rule["decision"] == "ask_user")
    assert {"run_shell_command", "write_file", "replace"} <= set(asking["toolName"])
    system = gemini.env["GEMINI_CLI_SYSTEM_SETTINGS_PATH"].removeprefix("/home/agent/")
    assert json.loads(gemini.files[system])["hooksConfig"] == {"enabled": False}
    assert launched("opencode").env["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"


@pytest.mark.parametrize(
    ("provider", "package", "path"),
    [
        ("anthropic", "@ai-sdk/anthropic", "/v1"),
        ("openai", "@ai-sdk/openai", "/v1"),
        ("google", "@ai-sdk/google", "/v1beta"),
        ("chat", "@ai-sdk/openai-compatible", "/v1"),
    ],
)
def test_opencode_speaks_the_format_of_the_routed_model(provider: str, package: str, path: str) -> None:
    config = json.loads(launched("opencode", provider=provider).files[".config/opencode/opencode.json"])
    ours = config["provider"]["quarterdeck"]
    assert (ours["npm"], ours["options"]["baseURL"]) == (package, GATEWAY + path)
    assert config["model"] == config["small_model"] == "quarterdeck/m-1"
    assert config["permission"]["bash"] == config["permission"]["edit"] == "ask"


@pytest.mark.parametrize(
    ("window", "longest", "limit"),
    [
        (8_192, 2_048, {"context": 8_192, "output": 2_048}),
        (100_000, 64_000, {"context": 100_000, "output": 32_000}),
        (40_000, None, {"context": 40_000, "output": 10_000}),
        (None, None, {"context": 200_000, "output": 32_000}),
    ],
)
def test_a_client_is_told_its_model_s_window(window: int | None, longest: int | None, limit: dict[str, int]) -> None:
    def told(name: str) -> Launch:
        return launched(name, provider="chat" if name == "opencode" else "", window=window, longest=longest)

    config = json.loads(told("opencode").files[".config/opencode/opencode.json"])
    assert config["provider"]["quarterdeck"]["models"]["m-1"]["limit"] == limit
    codex = tomllib.loads(told("codex").files[".codex/config.toml"].decode())
    assert codex.get("model_context_window") == window
    large = str(window) if window is not None and window >= 100_000 else None
    assert told("claude").env.get("CLAUDE_CODE_AUTO_COMPACT_WINDOW") == large
    assert GENERIC.launch(CONTEXT).env.keys().isdisjoint({"QUARTERDECK_MODEL_CONTEXT"})
    env = GENERIC.launch(replace(CONTEXT, window=window, longest=longest)).env
    assert env.get("QUARTERDECK_MODEL_CONTEXT") == (None if window is None else str(window))


def test_gemini_trusts_the_workspace_and_sends_nothing_home() -> None:
    settings = json.loads(launched("gemini").files[".gemini/settings.json"])
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["privacy"]["usageStatisticsEnabled"] is False
    assert settings["model"]["name"] == "m-1"
    assert {each["modelConfig"]["model"] for each in settings["modelConfigs"]["customOverrides"]} == {"m-1"}
    own = json.loads(launched("gemini", model="", endpoint=None).files[".gemini/settings.json"])
    assert own["security"]["auth"]["selectedType"] == "oauth-personal"
    assert not {"model", "modelConfigs"} & own.keys()


def program(file: Path, head: bytes = b"\x7fELF") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(head)
    file.chmod(0o755)
    return file


def package(folder: Path, name: str, version: str, script: str, head: bytes = b"#!/usr/bin/env node\n") -> Path:
    file = program(folder / "node_modules" / name / script, head)
    (folder / "node_modules" / name / "package.json").write_text(json.dumps({"name": name, "version": version}))
    return file


def link(folder: Path, name: str, to: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(to)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that no sandbox has one of its own for, as far as the names go."""
    monkeypatch.setattr("quarterdeck.agents.profiles.installed._OURS", ("/proc",))
    return tmp_path


def test_an_adapter_its_cli_and_its_runtime_are_found_and_seen(place: Path) -> None:
    adapter = package(place / "lib", "@x/claude-agent-acp", "0.9.0", "dist/index.js")
    own = package(place / "lib", "claude-code", "2.1.7", "bin/claude.exe", b"\x7fELF")
    node = program(place / "node-24" / "bin" / "node")
    link(place / "bin", "claude-agent-acp", adapter)
    link(place / "bin", "claude", own)
    link(place / "bin", "node", node)
    found = look(PROFILES["claude"], f"{place}/none:{place}/bin")
    assert found.installation is not None
    assert found.installation.program == str(adapter)
    assert found.installation.companion == str(own)
    assert found.installation.version == "2.1.7", "of the vendor's CLI"
    packages = place / "lib" / "node_modules"
    assert found.installation.mounts == {str(packages): packages, str(node): node}
    assert found.installation.path == (str(node.parent),)


def test_what_lies_where_a_sandbox_has_its_own_is_seen_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.agents.profiles.installed._OURS", (str(tmp_path),))
    own = package(tmp_path, "opencode-ai", "1.18.0", "bin/opencode", b"\x7fELF")
    link(tmp_path / "bin", "opencode", own)
    found = look(PROFILES["opencode"], str(tmp_path / "bin"))
    assert found.installation is not None
    assert found.installation.program == "/opt/agents/0/node_modules/opencode-ai/bin/opencode"
    assert found.installation.mounts == {"/opt/agents/0/node_modules": tmp_path / "node_modules"}


def test_a_program_of_its_own_is_seen_alone(place: Path) -> None:
    own = program(place / "versions" / "2.1.330")
    link(place / "bin", "opencode", own)
    found = look(PROFILES["opencode"], str(place / "bin"))
    assert found.installation is not None
    assert (found.installation.mounts, found.installation.version) == ({str(own): own}, "")


def test_what_is_missing_is_said(place: Path) -> None:
    folder = place / "bin"
    assert "`gemini` is not on PATH" in look(PROFILES["gemini"], str(folder)).missing
    link(folder, "codex", program(place / "codex"))
    assert look(PROFILES["codex"], str(folder)).missing == "`codex-acp`, the adapter for `codex`, is not on PATH"
    link(folder, "gemini", package(place / "lib", "gemini", "1.0.0", "gemini.js"))
    assert "`node`" in look(PROFILES["gemini"], str(folder)).missing


def test_any_other_agent_is_told_under_the_usual_names() -> None:
    context = Context(
        Installation("/opt/x"), "/home/agent", "/workspace", GATEWAY, KEY, "m-1", "openai", arguments=("--acp",)
    )
    made = GENERIC.launch(context)
    assert made.argv == ("/opt/x", "--acp")
    assert made.env["OPENAI_BASE_URL"] == f"{GATEWAY}/v1"
    assert made.env["ANTHROPIC_API_KEY"] == KEY
