"""Gemini CLI, which speaks ACP itself.

Rules
- It asks before it acts (`default` mode) and trusts the workspace, whose bounds are the sandbox's.
- A policy of the highest tier says what it asks about: no rule and no setting of the repository comes before it. Tools
  of our own server need no leave, because they have a gate of their own; those of other servers it may not use.
- Whatever model it would choose for work beside the task (compression, checks, repairs), it asks the routed one.
- It runs in one process: it otherwise starts itself again to get more memory than its sandbox has.
- It does not end with its input; whoever started it ends it.

Source: geminicli.com/docs (configuration), and what `make test-agents` drives.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.agents.profiles.port import Context, Launch, Login, Profile

_QUIET: Final[Mapping[str, str]] = {
    "GEMINI_CLI_NO_RELAUNCH": "true",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "GEMINI_SANDBOX": "false",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "NO_BROWSER": "true",
}


_BESIDE: Final = (
    "base",
    "agent-history-provider-summarizer",
    "chat-compression-default",
    "chat-compression-2.5-flash",
    "chat-compression-2.5-flash-lite",
    "chat-compression-2.5-pro",
    "chat-compression-3-flash",
    "chat-compression-3-pro",
    "chat-compression-3.1-flash-lite",
)
"""Its own names for what it asks models for: nearly all derive from `base`."""


def _settings(context: Context) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "general": {
            "disableAutoUpdate": True,
            "disableUpdateNag": True,
            "enableAutoUpdate": False,
            "enableAutoUpdateNotification": False,
            "checkpointing": {"enabled": False},
        },
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "tools": {"sandbox": False, "useRipgrep": False, "exclude": ["google_web_search", "web_fetch"]},
        "security": {
            "auth": {"selectedType": "gemini-api-key" if context.endpoint is not None else "oauth-personal"},
            "folderTrust": {"enabled": False},
        },
    }
    if context.model:
        settings["model"] = {"name": context.model}
    if context.model and context.endpoint is not None:
        routed = {"model": context.model}
        overrides = [{"match": {"model": name}, "modelConfig": routed} for name in _BESIDE]
        settings["modelConfigs"] = {"customOverrides": overrides}
    return settings


POLICY: Final = ".gemini/quarterdeck/policy.toml"
SYSTEM: Final = ".gemini/quarterdeck/settings.json"

_RULES: Final = """\
[[rule]]
toolName = ["run_shell_command", "write_file", "replace", "save_memory", "activate_skill", "discovered_tool_*"]
decision = "ask_user"
priority = 900

[[rule]]
toolName = ["google_web_search", "web_fetch"]
decision = "deny"
priority = 900

[[rule]]
toolName = "*"
mcpName = "*"
decision = "deny"
priority = 800

[[rule]]
toolName = "*"
mcpName = "quarterdeck"
decision = "allow"
priority = 950
"""

_CLOSED: Final[Mapping[str, Any]] = {
    # What runs unasked, or answers in our place, if a repository's settings name it.
    "tools": {"discoveryCommand": "", "callCommand": ""},
    "hooksConfig": {"enabled": False},
    "general": {"defaultApprovalMode": "default"},
}
"""Settings of the system's tier: they come before a repository's."""


def launch(context: Context) -> Launch:
    """Gemini CLI's own ACP server, with settings of its own."""
    env = {**_QUIET, "GEMINI_CLI_SYSTEM_SETTINGS_PATH": f"{context.home}/{SYSTEM}"}
    if context.endpoint is not None:
        env |= {"GOOGLE_GEMINI_BASE_URL": context.endpoint, "GEMINI_API_KEY": context.key}
    if context.model:
        env["GEMINI_MODEL"] = context.model
    return Launch(
        argv=(context.installation.program, "--acp", "--skip-trust", "--admin-policy", f"{context.home}/{POLICY}"),
        env=env,
        files={
            ".gemini/settings.json": json.dumps(_settings(context), indent=1).encode(),
            SYSTEM: json.dumps(_CLOSED, indent=1).encode(),
            POLICY: _RULES.encode(),
        },
        mode="default",
    )


PROFILE: Final = Profile(
    name="gemini",
    title="Gemini CLI",
    programs=("gemini",),
    launch=launch,
    providers=("google",),
    models=("google:gemini-3.1-pro-preview",),
    login=Login(
        files=(".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
        hosts=("cloudcode-pa.googleapis.com", "oauth2.googleapis.com", "www.googleapis.com", "accounts.google.com"),
    ),
    install="npm install -g @google/gemini-cli",
)
