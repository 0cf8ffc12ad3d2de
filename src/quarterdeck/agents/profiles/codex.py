"""Codex, through its ACP adapter.

Rules
- Its own sandbox is off by a permission profile that allows everything: sandboxes do not nest, and ours is around it.
- It then asks only for what its rules name: programs that change something, and scripts that it cannot take apart.
  Those requests come over ACP. Edits of its own are not asked for; the change is checked when it is handed in.
- Its home lies in the agent's, never below /tmp: there it fails every command and says nothing.
- What the repository says in `.codex` is not read: it could allow what we ask for.
- Search and other tools that the vendor runs are off: nothing could bound what they cost.

Source: developers.openai.com/codex (config, rules, permissions), and what `make test-agents` drives.
"""

import json
from collections.abc import Mapping
from typing import Final

from quarterdeck.agents.profiles.port import Context, Launch, Login, Profile

KEY: Final = "QUARTERDECK_KEY"
"""Variable in which Codex finds the virtual key."""

ASKED: Final = (
    *("bash", "sh", "dash", "zsh", "/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/sh"),
    *("python", "python3", "node", "bun", "deno", "perl", "ruby", "php", "lua", "awk", "gawk", "env", "xargs", "nohup"),
    *("rm", "rmdir", "mv", "cp", "mkdir", "touch", "tee", "ln", "chmod", "chown", "install", "dd", "truncate", "patch"),
    *("tar", "unzip", "zip", "gzip", "rsync", "scp", "ssh", "curl", "wget", "nc", "kill", "pkill", "killall", "sudo"),
    *("git", "gh", "make", "npm", "npx", "pnpm", "yarn", "pip", "pip3", "uv", "uvx", "poetry", "cargo", "go", "mvn"),
    *("gradle", "docker", "podman", "kubectl", "systemctl", "crontab", "at"),
)
"""Programs whose start is asked for."""

_CONFIG: Final = """\
approval_policy = "on-request"
approvals_reviewer = "user"
default_permissions = "quarterdeck"
allow_login_shell = false
web_search = "disabled"
check_for_update_on_startup = false
{model}
[analytics]
enabled = false

[feedback]
enabled = false

[permissions.quarterdeck.filesystem]
":root" = "write"

[permissions.quarterdeck.network]
enabled = true

[projects.{workspace}]
trust_level = "untrusted"
{provider}"""

_PROVIDER: Final = """
[model_providers.quarterdeck]
name = "Quarterdeck"
base_url = {url}
env_key = "{key}"
wire_api = "responses"
"""


def _config(context: Context) -> str:
    workspace = json.dumps(context.workspace)
    model = f"model = {json.dumps(context.model)}\n" if context.model else ""
    if context.endpoint is None:
        return _CONFIG.format(model=model, workspace=workspace, provider="")
    provider = _PROVIDER.format(url=json.dumps(f"{context.endpoint}/v1"), key=KEY)
    model += 'model_provider = "quarterdeck"\n'
    if context.window is not None:
        model += f"model_context_window = {context.window}\n"
    return _CONFIG.format(model=model, workspace=workspace, provider=provider)


def _rules() -> str:
    pattern = json.dumps([list(ASKED)])
    return f'prefix_rule(pattern={pattern}, decision="prompt", justification="Quarterdeck decides")\n'


def launch(context: Context) -> Launch:
    """The adapter, with a configuration of its own."""
    env: dict[str, str] = {"NO_BROWSER": "1"}
    if context.installation.companion:
        env["CODEX_PATH"] = context.installation.companion
    if context.endpoint is not None:
        env[KEY] = context.key
    files: Mapping[str, bytes] = {
        ".codex/config.toml": _config(context).encode(),
        ".codex/rules/quarterdeck.rules": _rules().encode(),
    }
    return Launch(argv=(context.installation.program,), env=env, files=files, mode="permission-profile:quarterdeck")


def renewed(before: bytes, after: bytes) -> bool:
    """Whether `after` is the same account's login, renewed later: its refresh token is good for one renewal."""
    old, new = _login(before), _login(after)
    return old is not None and new is not None and new[0] == old[0] and new[1] > old[1]


def _login(data: bytes) -> tuple[str, str] | None:
    """Account, and moment of the last renewal in ISO form."""
    try:
        found = json.loads(data)
        account, moment = found["tokens"]["account_id"], found["last_refresh"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return (account, moment) if isinstance(account, str) and isinstance(moment, str) else None


PROFILE: Final = Profile(
    name="codex",
    title="Codex",
    programs=("codex-acp",),
    adapts=("codex",),
    launch=launch,
    providers=("openai",),
    models=("openai:gpt-6.1-sol",),
    login=Login(
        files=(".codex/auth.json",),
        hosts=("chatgpt.com", "auth.openai.com", "api.openai.com"),
        renewed=renewed,
    ),
    install="npm install -g @openai/codex @agentclientprotocol/codex-acp",
)
