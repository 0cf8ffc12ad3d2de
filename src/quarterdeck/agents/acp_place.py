"""What the ACP harness asks of the place in which its agent works.

Rules
- It is asked inside the sandbox. What cannot be looked at counts as changed: it is the diff that judges in the end.
"""

import asyncio
from typing import Final

from quarterdeck.workplace.port import Sandbox, Session

_LAST: Final = 5.0
"""Seconds for a process that has closed its pipes to end."""
_LOOK: Final = 120.0
_STATE: Final = (
    "{ git rev-parse HEAD; git status --porcelain -uall; git diff HEAD; "
    "git ls-files -o --exclude-standard -z | xargs -0 -r cat; } 2>/dev/null | git hash-object --stdin"
)
"""Names the state of the workspace."""


async def state(sandbox: Sandbox) -> str:
    """Names the state of the workspace; one that cannot be looked at is like no other."""
    done = await sandbox.exec(_STATE, timeout=_LOOK)
    found = done.stdout.decode("ascii", "replace").strip()
    return found if done.exit_code == 0 and found else f"unknown after {done.seconds}"


async def untouched(sandbox: Sandbox, base: str) -> str:
    """What `state` is while nothing differs from `base`."""
    done = await sandbox.exec("git hash-object --stdin", stdin=f"{base}\n".encode(), timeout=_LOOK)
    return done.stdout.decode("ascii", "replace").strip()


async def end_of(session: Session) -> str:
    """How the process ended, in words; empty where it has not."""
    try:
        async with asyncio.timeout(_LAST):
            code = await session.wait()
    except TimeoutError:
        return ""
    if code is not None:
        return f"ended with exit code {code}" if code <= 128 else f"was ended by signal {code - 128}"
    return f"was killed ({', '.join(session.flags) or 'no reason known'})"
