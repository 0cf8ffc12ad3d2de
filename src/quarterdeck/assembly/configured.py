"""What a process is configured for beside the work of runs, and how the others of its deck know.

Rules
- A process offers what stands in the file of its own home, with what its own environment holds for that: its triggers;
  messages to people, where their secret is set; the GitHub server, where its token is set.
- Whether somebody is to be told of something is said in the database as limits are (`agreed`), where several machines
  share it: what needs a person may be put on record by one that knows nothing of messages. So is which triggers there
  are. Both count for a day after they were said last, so that nothing is forgotten while the machine is away.
"""

from collections.abc import Callable
from typing import Final

from quarterdeck.govern.agreeing import Kind
from quarterdeck.kernel.config import OperatorConfig
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.store.port import Tx
from quarterdeck.triggers.port import GITHUB, NOTICES, Configured, Secrets, trigger_wanted

_NOTIFY: Final[Kind] = "notify"
_TRIGGER: Final[Kind] = "trigger"
_COUNTS: Final = 24 * 3600.0
"""Seconds."""


def offers(config: OperatorConfig, has: Callable[[str], bool]) -> tuple[str, ...]:
    """What a process with that file is configured for. has: whether a variable with a secret is set. Pure."""
    found = [trigger_wanted(name) for name in config.triggers]
    if config.notify.url is not None and has(config.notify.secret_env or ""):
        found.append(NOTICES)
    if has(config.github.token_env):
        found.append(GITHUB)
    return tuple(found)


def offering(configured: Configured, secrets: Secrets) -> Callable[[], tuple[str, ...]]:
    """The same of this process, as it is now."""

    def has(name: str) -> bool:
        try:
            return bool(name) and bool(secrets(name))
        except BadConfiguration:  # a file that cannot be read now; `doctor` says so
            return False

    return lambda: offers(configured(), has)


def wanted(tx: Tx, kind: str) -> bool:
    """Whether some process of the deck tells people of that kind of need."""
    return _said(tx, _NOTIFY, kind)


def had(tx: Tx, trigger: str) -> bool:
    """Whether that trigger stands in the file of some machine, at work or lately so."""
    return _said(tx, _TRIGGER, trigger)


def _said(tx: Tx, kind: Kind, name: str) -> bool:
    since = float(tx.run("deck_now")[0]["now"]) - _COUNTS
    return bool(tx.run("told_of", kind=kind, provider=name, since=since))
