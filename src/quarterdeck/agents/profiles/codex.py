"""Codex, through its ACP adapter.

Rules
- Its own sandbox is off by a permission profile that allows everything: sandboxes do not nest, and ours is around it.
- It then asks only for what its rules name: programs that change something, and scripts that it cannot take apart.
  Those requests come over ACP. Edits of its own are not asked for; the change is checked when it is handed in.
- Its home lies in the agent's, never below /tmp: there it fails every command and says nothing.
- What the repository says in `.codex` is not read: it could allow what we ask for.
- Of its login, what the attempt leaves behind is a claim: tokens are taken of it, and nothing else.
- Search and other tools that the vendor runs are off: nothing could bound what they cost.

Source: developers.openai.com/codex (config, rules, permissions), and what `make test-agents` drives.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from quarterdeck.agents.profiles.port import Context, Launch, Login, Profile

KEY: Final = "QUARTERDECK_KEY"
"""Variable in which Codex finds the virtual key."""

_TOKENS: Final = ("id_token", "access_token", "refresh_token")
_REPLACED: Final = ("access_token", "refresh_token")
"""What each renewal that makes the old token worthless gives anew; an id token does not always come with it."""
_CLAIM: Final = "https://api.openai.com/auth"
_AHEAD: Final = 60.0
"""Seconds that the sandbox's clock may be ahead."""

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


@dataclass(frozen=True, slots=True)
class _Login:
    """What of `auth.json` a renewal is told by."""

    whole: Mapping[str, Any]
    tokens: Mapping[str, str]
    account: tuple[str | None, str | None, str | None]
    """As it stands beside the tokens, inside of the id token and inside of the access token."""
    moment: float
    """Of the last renewal, seconds since the epoch."""


def renewed(before: bytes, after: bytes, now: float) -> bytes | None:
    """`before` with the tokens of `after`, where these are a later renewal of the same account's; None = they are not.

    Whatever runs in the sandbox can write `after`: nothing but tokens is taken of it, and only where all are there,
    those that a renewal replaces are others, and its moment is not later than `now` (seconds since the epoch).
    """
    old, new = _login(before), _login(after)
    if old is None or new is None or new.account != old.account or old.account[1] is None:
        return None
    if any(new.tokens[name] == old.tokens[name] for name in _REPLACED):
        return None
    # One of ours that lies in the future is that of a clock which was wrong: it bars nothing.
    if new.moment > now + _AHEAD or (old.moment <= now and new.moment <= old.moment):
        return None
    tokens = {**old.whole["tokens"], **new.tokens}
    return json.dumps({**old.whole, "tokens": tokens, "last_refresh": new.whole["last_refresh"]}, indent=2).encode()


def _login(data: bytes) -> _Login | None:
    try:
        whole = json.loads(data)
        kept = whole["tokens"]
        tokens, moment = {name: kept[name] for name in _TOKENS}, datetime.fromisoformat(whole["last_refresh"])
        account = kept["account_id"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not all(isinstance(token, str) and token for token in (*tokens.values(), account)) or moment.tzinfo is None:
        return None
    inside = (_account(tokens[name]) for name in ("id_token", "access_token"))
    return _Login(whole, tokens, (account, *inside), moment.timestamp())


def _account(token: str) -> str | None:
    """Whose token it says it is. Its signature is the vendor's to check."""
    try:
        claims = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))[_CLAIM]["chatgpt_account_id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return found if isinstance(found, str) else None


PROFILE: Final = Profile(
    name="codex",
    title="Codex",
    programs=("codex-acp",),
    adapts=("codex",),
    launch=launch,
    providers=("openai",),
    models=("openai:gpt-6.1-sol",),
    tool_fields=True,
    login=Login(
        files=(".codex/auth.json",),
        hosts=("chatgpt.com", "auth.openai.com", "api.openai.com"),
        renewed=renewed,
    ),
    install="npm install -g @openai/codex @agentclientprotocol/codex-acp",
)
