"""Names of things.

Rules
- A run id sorts by the time it was made and may stand in a branch name, a file name and a URL.
- Every other id is derived from the run id, so a command repeated after a crash names the same thing
  and can be recognised as already done.
- A stream name says what it belongs to: `run/…`, `attempt/…`, `mail/…`, `approval/…`, `gate/…`, `trigger/…`,
  `publish/…`, `notice/…`, `deck`.
"""

import hashlib
import secrets

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32, lower case: no i, l, o, u

DECK_STREAM = "deck"


def _base32(value: int, width: int) -> str:
    out = []
    for _ in range(width):
        value, digit = divmod(value, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_run_id(now: float) -> str:
    """A fresh run id, `r-` + 7 characters of seconds since the epoch + 4 random ones."""
    return f"r-{_base32(int(now), 7)}{_base32(secrets.randbits(20), 4)}"


def new_owner_id() -> str:
    """One process incarnation. Never reused, so that a dead owner's claims cannot be renewed by its heir."""
    return f"o-{secrets.token_hex(8)}"


def attempt_id(run: str, task: str, number: int) -> str:
    """The `number`-th attempt (from 1) at `task` of `run`."""
    return f"{run}.{task}.{number}"


def run_stream(run: str) -> str:
    return f"run/{run}"


def attempt_stream(attempt: str) -> str:
    return f"attempt/{attempt}"


def mail_stream(attempt: str) -> str:
    """What people have to say to that attempt's agent."""
    return f"mail/{attempt}"


def approval_id(asker: str, action_hash: str, occasion: str) -> str:
    """What `asker` (an attempt) asks on that occasion: the same after a crash, another one when it is asked anew."""
    number = int(digest(f"{asker}\n{action_hash}\n{occasion}".encode())[:16], 16)
    return f"a-{_base32(number, 10)}"


def approval_stream(run: str, approval: str) -> str:
    """What was decided about an approval."""
    return f"approval/{run}.{approval}"


def gate_stream(target: str) -> str:
    return f"gate/{target}"


def trigger_stream(trigger: str) -> str:
    return f"trigger/{trigger}"


def publish_stream(run: str) -> str:
    """What of that run's result is outside."""
    return f"publish/{run}"


def notice_stream(notice: str) -> str:
    return f"notice/{notice}"


def target_id(repository: str, branch: str) -> str:
    """The merge gate of one branch of one repository (`repository`: real path of its common git directory)."""
    return digest(f"{repository}\n{branch}".encode())[:16]


def digest(data: bytes) -> str:
    """Content address: SHA-256 in hex, 64 characters."""
    return hashlib.sha256(data).hexdigest()


def child_attempt(parent: str, role: str, number: int) -> str:
    """An attempt inside another one: its reviewer (`review`) or a sub-agent (`sub`)."""
    return f"{parent}.{role}{number}"


def split_attempt(attempt: str) -> tuple[str, str, int]:
    """(run, task, number) of an attempt or of the attempt that it is part of. Raises ValueError."""
    run, task, number, *_ = attempt.split(".")
    return run, task, int(number)


APPROVAL_TASK = "_approve"
"""Stands for the task where a run's plan is approved."""

_REVERT_TASK = "_revert-"


def revert_attempt(attempt: str) -> str:
    """Stands for an attempt where the merge gate takes back by itself what that attempt landed."""
    run, task, number = split_attempt(attempt)
    return attempt_id(run, f"{_REVERT_TASK}{task}", number)


def reverted_attempt(attempt: str) -> str:
    """The attempt that `revert_attempt` made this one of."""
    run, task, number = split_attempt(attempt)
    return attempt_id(run, task.removeprefix(_REVERT_TASK), number)


def is_revert(attempt: str) -> bool:
    """Whether the merge gate made that change by itself. No task of a plan can have such an id."""
    return f".{_REVERT_TASK}" in attempt


PLANNER_TASK = "_plan"
"""Stands where an attempt belongs to the run itself; no task of a plan can have this id."""
