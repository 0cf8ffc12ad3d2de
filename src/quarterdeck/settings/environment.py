"""What the environment says; read here and nowhere else.

Rules
- Read once, at the edge, into a frozen value.
- Keys and passwords never appear in a `repr`.
- A variable that is set wrongly is an error; an empty one counts as unset.
"""

import os
import pwd
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from quarterdeck.kernel import probes
from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.settings.approvals import Approvals, read_approvals
from quarterdeck.settings.files import operator_config


class ProbeAction(StrEnum):
    """What a test does to the process at a probe point."""

    KILL = "kill"
    """SIGKILL."""
    STOP = "stop"
    """SIGSTOP."""
    RAISE = "raise"
    """An exception."""


_LOGINS: Final = ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "GOOGLE_API_KEY", "OPENROUTER_API_KEY")
"""What people's other tools use to speak to models."""
_KEYS: Final = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY")
_PACKAGE_VARIABLES: Final = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_CERT",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "GOPROXY",
    "CARGO_HOME",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


_GIT_VARIABLES: Final = (
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_SSL_CAINFO",
    "KRB5CCNAME",
    "XDG_CONFIG_HOME",
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""By which git finds the operator's credentials, and its way out."""
_PROXIES: Final = ("http", "https", "all", "no")


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """What a test asked for: at the `count`-th time (from 1) that the probe point `name` is reached, do `action`."""

    name: str
    count: int
    action: ProbeAction


@dataclass(frozen=True, slots=True)
class Settings:
    """What this process was told by its environment."""

    home: Path
    """The deck's directory, absolute."""
    user: str
    database_url: str | None = field(default=None, repr=False)
    """None = SQLite in the home."""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    """API keys by the name of their variable."""
    anthropic_base_url: str | None = None
    openai_base_url: str | None = None
    google_base_url: str | None = None
    collector: str = ""
    """Where an OpenTelemetry collector is, for a deck that is told to use one; empty = where the standard has it."""
    collector_headers: str = field(default="", repr=False)
    """What is sent to the collector with each request, as the variable has it. May hold passwords."""
    no_color: bool = False
    probe: ProbeSpec | None = None
    path: str = os.defpath
    """Where programs are looked for."""
    user_home: Path | None = None
    """Where the user's own tools keep their logins."""
    tool_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the operator gave to a tool server, by name. Never a provider's key."""
    package_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Which package indexes, proxies and certificates this machine uses. May hold passwords."""
    git_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What git needs to reach remotes as the operator's own git does. May hold passwords."""
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Proxies' addresses by `http`, `https` or `all`; `no` = the hosts that are reached without one, by commas. May
    hold passwords."""
    cert_file: str | None = None
    """The certificates that are trusted instead of the machine's."""
    cert_folder: str | None = None
    """The same, as a directory."""

    @property
    def logs(self) -> Path:
        """Directory of traces and of what detached runs print."""
        return self.home / "logs"


def _key(environ: Mapping[str, str], name: str) -> str | None:
    """A key: what the file named by `<name>_FILE` holds, else the variable itself. Raises BadConfiguration.

    A file can be changed under a running deck, a variable cannot.
    """
    path = environ.get(f"{name}_FILE")
    if not path:
        return environ.get(name) or None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"{name}_FILE names a file that cannot be read", why=str(error)) from error


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of this environment. Raises BadConfiguration."""
    home = _home(environ)
    operator = operator_config(home).config
    named = [model.api_key_env for model in operator.models.values() if model.api_key_env]
    given = Approvals(read_approvals(home), operator.mcp).variables
    return Settings(
        home=home,
        user=_user(environ),
        database_url=environ.get("QUARTERDECK_DATABASE_URL") or None,
        keys={name: key for name in (*_KEYS, *named) if (key := _key(environ, name))},
        anthropic_base_url=environ.get("ANTHROPIC_BASE_URL") or None,
        openai_base_url=environ.get("OPENAI_BASE_URL") or None,
        google_base_url=environ.get("GOOGLE_GEMINI_BASE_URL") or None,
        collector=environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "",
        collector_headers=environ.get("OTEL_EXPORTER_OTLP_HEADERS") or "",
        no_color=bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb",
        probe=_probe(environ.get("QUARTERDECK_PROBE", "")),
        path=environ.get("PATH") or os.defpath,
        user_home=Path(_user_home(environ)),
        tool_environment={
            name: environ[name] for name in given if not withheld(name, operator.models) and environ.get(name)
        },
        package_environment={name: environ[name] for name in _PACKAGE_VARIABLES if environ.get(name)},
        git_environment={
            "PATH": environ.get("PATH") or os.defpath,
            **{name: environ[name] for name in _GIT_VARIABLES if environ.get(name)},
        },
        proxies={kind: found for kind in _PROXIES if (found := _proxy(environ, kind))},
        cert_file=environ.get("SSL_CERT_FILE") or None,
        cert_folder=environ.get("SSL_CERT_DIR") or None,
    )


def _proxy(environ: Mapping[str, str], kind: str) -> str | None:
    """The lower case counts first, as everywhere."""
    return environ.get(f"{kind}_proxy") or environ.get(f"{kind.upper()}_PROXY")


def read_secret(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A secret or token of the operator's, as it is now, by the name that deck.toml gives; None = it is not set.

    Read when it is needed and kept by nobody, so that a file `<name>_FILE` may be changed under a running deck. Raises
    BadConfiguration.
    """
    return _key(environ, name)


def withheld(name: str, models: Mapping[str, ModelSection]) -> bool:
    """Whether a variable is never given to a tool server: keys and logins of providers, and what is ours. `models`: the
    operator's facts about models, which may name further keys."""
    plain = name.removesuffix("_FILE")
    named = {model.api_key_env for model in models.values()}
    return plain in {*_KEYS, *_LOGINS, *named} or name.startswith("QUARTERDECK_")


def child_environment(changes: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """This environment for a process that is started from here, with `changes`; None takes a variable out."""
    kept = {name: value for name, value in environ.items() if name not in changes}
    return kept | {name: value for name, value in changes.items() if value is not None}


def _user_home(environ: Mapping[str, str]) -> str:
    return environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir


def _home(environ: Mapping[str, str]) -> Path:
    user_home = _user_home(environ)
    if told := environ.get("QUARTERDECK_HOME"):
        if any("\ud800" <= letter <= "\udfff" for letter in told):
            raise BadConfiguration(
                f"QUARTERDECK_HOME is {os.fsencode(told)!r}, which is not UTF-8 text", fix="choose another directory"
            )
        if told == "~" or told.startswith("~/"):
            told = user_home + told[1:]
        return Path(os.path.abspath(told))  # noqa: PTH100 - resolve() would follow links the operator made on purpose
    if sys.platform == "darwin":
        return Path(user_home, "Library", "Application Support", "quarterdeck")
    data = environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative path there is invalid and must be ignored.
    return Path(data if data.startswith("/") else f"{user_home}/.local/share", "quarterdeck")


def _user(environ: Mapping[str, str]) -> str:
    if name := environ.get("USER") or environ.get("LOGNAME"):
        return name.encode("utf-8", "replace").decode()  # it goes into the record of who ordered what
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def _probe(text: str) -> ProbeSpec | None:
    if not text:
        return None
    name, _, rest = text.partition(":")
    count, _, action = rest.partition(":")
    actions = [action.value for action in ProbeAction]
    if name not in probes.NAMES or not re.fullmatch(r"[1-9][0-9]{0,6}", count) or action not in actions:
        raise BadConfiguration(
            f"QUARTERDECK_PROBE is {text!r}",
            why=f"it must be NAME:COUNT:ACTION with a listed probe point and one of {', '.join(actions)}",
            fix="unset QUARTERDECK_PROBE",
        )
    return ProbeSpec(name, int(count), ProbeAction(action))
