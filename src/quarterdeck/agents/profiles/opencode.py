"""OpenCode, which speaks ACP itself.

Rules
- It knows one provider, ours, in the wire format of the routed model; big and small model are the same.
- It asks for edits and commands; what reaches out of the sandbox is denied.
- Configuration that the repository brings is not read: it could allow what we ask for.

Source: opencode.ai/docs (config, permissions), and what `make test-agents` drives.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.agents.profiles.port import Context, Launch, Login, Profile

KEY: Final = "QUARTERDECK_KEY"

_QUIET: Final[Mapping[str, str]] = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    "OPENCODE_DISABLE_SHARE": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
}

_PACKAGES: Final[Mapping[str, tuple[str, str]]] = {
    "anthropic": ("@ai-sdk/anthropic", "/v1"),
    "openai": ("@ai-sdk/openai", "/v1"),
    "google": ("@ai-sdk/google", "/v1beta"),
}
"""By provider: the client that OpenCode carries for its format, and where below the gateway it asks."""

_COMPATIBLE: Final = ("@ai-sdk/openai-compatible", "/v1")

_WINDOW: Final = 200_000
"""Tokens, where nobody says how large the model's is: it has to be told a number."""
_OUTPUT: Final = 32_000
"""Tokens: more it asks of no model."""


def _provider(context: Context, endpoint: str) -> dict[str, Any]:
    package, path = _PACKAGES.get(context.provider, _COMPATIBLE)
    window = context.window or _WINDOW
    limit = {"context": window, "output": min(context.longest or window // 4, _OUTPUT)}
    model = {"name": context.model, "limit": limit, "tool_call": True}
    return {
        "npm": package,
        "name": "Quarterdeck",
        "options": {"baseURL": f"{endpoint}{path}", "apiKey": f"{{env:{KEY}}}"},
        "models": {context.model: model},
    }


def _config(context: Context) -> dict[str, Any]:
    config: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        # What is refused is a failed tool call; it would end the turn.
        "experimental": {"continue_loop_on_deny": True},
        "permission": {"edit": "ask", "bash": "ask", "webfetch": "deny", "websearch": "deny", "doom_loop": "deny"},
    }
    if context.endpoint is not None:
        name = f"quarterdeck/{context.model}"
        config |= {"model": name, "small_model": name, "enabled_providers": ["quarterdeck"]}
        config["provider"] = {"quarterdeck": _provider(context, context.endpoint)}
    elif context.model:
        config["model"] = context.model
    return config


def launch(context: Context) -> Launch:
    """OpenCode's own ACP server, with a configuration of its own."""
    env = dict(_QUIET)
    if context.endpoint is not None:
        env[KEY] = context.key
    files = {".config/opencode/opencode.json": json.dumps(_config(context), indent=1).encode()}
    return Launch(argv=(context.installation.program, "acp"), env=env, files=files)


PROFILE: Final = Profile(
    name="opencode",
    title="OpenCode",
    programs=("opencode",),
    launch=launch,
    providers=("anthropic", "openai", "google", "chat"),
    models=("anthropic:claude-sonnet-5-5", "openai:gpt-6.1-sol"),
    login=Login(
        files=(".local/share/opencode/auth.json",),
        hosts=("opencode.ai", "api.anthropic.com", "api.openai.com", "models.dev"),
    ),
    install="npm install -g opencode-ai",
)
