"""Claude Code, through its ACP adapter.

Rules
- Every name under which it asks for a model (its aliases, its small model, its subagents) means the routed one, so that
  nothing is asked for that the key may not.
- It asks before it acts (`default` mode); its permission requests come over ACP.
- What costs calls without serving the task is off: suggestions of what to type, summaries while away, session titles.
- A repository's settings, and whatever the agent writes into its home, allow nothing: rules and hooks that answer in
  our place are not heard, servers that the repository declares are not started. What else it says (CLAUDE.md, skills)
  holds.

Source: code.claude.com/docs (environment variables), and what `make test-agents` drives.
"""

from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.agents.profiles.port import Context, Launch, Login, Profile

_QUIET: Final[Mapping[str, str]] = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "CLAUDE_CODE_ENABLE_AWAY_SUMMARY": "0",
    "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "false",
    "CLAUDE_CODE_ENABLE_TELEMETRY": "0",
    "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
    # Our tools are few, and an agent that has to search for `submit` may not find it.
    "ENABLE_TOOL_SEARCH": "false",
    # It looks for a sandbox before it runs as root; the agent's user here is none, and the sandbox is ours.
    "IS_SANDBOX": "1",
    "NO_BROWSER": "1",
}

_MODELS: Final = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_CUSTOM_MODEL_OPTION",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)

_LEAST_WINDOW: Final = 100_000
"""Tokens: a smaller window cannot be told."""

_CLOSED: Final[Mapping[str, Any]] = {
    # Like an organisation's policy: no file that the agent can write comes before it.
    "managedSettings": {
        "allowManagedPermissionRulesOnly": True,
        "allowManagedHooksOnly": True,
        "permissions": {"disableBypassPermissionsMode": "disable"},
        "disableAutoMode": "disable",
    },
    # These come before the files' own: a sandbox of its own would be a reason not to ask.
    "settings": {"sandbox": {"enabled": False, "autoAllowBashIfSandboxed": False}},
    "strictMcpConfig": True,
}
"""Options of a session, as its SDK calls them."""


def launch(context: Context) -> Launch:
    """The adapter, told where the gateway is."""
    env = dict(_QUIET)
    if context.installation.companion:
        env["CLAUDE_CODE_EXECUTABLE"] = context.installation.companion
    if context.endpoint is not None:
        env |= {"ANTHROPIC_BASE_URL": context.endpoint, "ANTHROPIC_API_KEY": context.key}
    if context.model:
        names = _MODELS if context.endpoint is not None else _MODELS[:1]
        env |= dict.fromkeys(names, context.model)
    if context.endpoint is not None and context.window is not None and context.window >= _LEAST_WINDOW:
        env["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(context.window)
    return Launch(
        argv=(context.installation.program,), env=env, mode="default", meta={"claudeCode": {"options": _CLOSED}}
    )


PROFILE: Final = Profile(
    name="claude",
    title="Claude Code",
    programs=("claude-agent-acp", "claude-code-acp"),
    adapts=("claude",),
    launch=launch,
    providers=("anthropic",),
    models=("anthropic:claude-sonnet-5-5",),
    login=Login(
        files=(".claude/.credentials.json", ".claude.json"),
        hosts=("api.anthropic.com", "claude.ai", "platform.claude.com"),
        # Beside it lie keys, tokens of tool servers, and the history of all projects.
        parts={
            ".claude/.credentials.json": ("claudeAiOauth", "organizationUuid"),
            ".claude.json": ("oauthAccount", "hasCompletedOnboarding", "lastOnboardingVersion"),
        },
    ),
    install="npm install -g @anthropic-ai/claude-code @agentclientprotocol/claude-agent-acp",
)
