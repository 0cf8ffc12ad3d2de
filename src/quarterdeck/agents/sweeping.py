"""What an agent has changed in its workspace whose edits do not pass through our tools: a look at the workspace's diff.

Rules
- It is asked inside the sandbox, with the agent's own git there, against the commit that the attempt began with. What
  it says is believed for warnings only.
- It takes no lock: an agent's git must not stumble over ours.
- What did not change since the last look is not read again. Bounded: files, bytes of a file, seconds.
- Where it cannot be looked at, nothing is known, and nothing fails.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Final

from quarterdeck.agents.touching import ALL_OF_IT, MAX_EVENTS, MAX_PATHS, MAX_TEXT, Trace, changed, settled
from quarterdeck.journal.touches import Spot
from quarterdeck.kernel import events as e
from quarterdeck.workplace.port import WORKSPACE, Sandbox

_log = logging.getLogger(__name__)

AT_ONCE: Final = 20
"""Files that one look reads anew; the next look goes on."""
_SECONDS: Final = 20.0
_LIST_BYTES: Final = 256 * 1024
_LISTED: Final = (
    "git -c core.fsmonitor=false diff --name-only --no-renames --no-ext-diff -z {base} -- "
    "&& git ls-files --others --exclude-standard -z"
)
_ENV: Final = {"GIT_OPTIONAL_LOCKS": "0"}


class Sweep:
    """The looks at one workspace."""

    def __init__(self, sandbox: Sandbox, base: str) -> None:
        """`base`: the commit that the workspace began with; empty = what its HEAD is."""
        self._sandbox = sandbox
        self._base = base or "HEAD"
        self._seen: dict[str, tuple[bytes, tuple[Spot, ...]]] = {}
        """Path to the digest of what was read, and what it came to."""
        self._one = asyncio.Lock()

    async def look(self, trace: Trace) -> list[e.AttemptTouched]:
        """What is new since `trace`. Raises SandboxFailed."""
        async with self._one:
            paths = await self._listed()
            if paths is None:
                return []
            exact = await self._read(paths[:MAX_PATHS])
        if trace.events >= MAX_EVENTS:
            return []
        differ = frozenset(paths)
        known = {path: spots for path, spots in trace.touched.items() if path in exact or path not in differ}
        return settled(known, exact)

    async def _listed(self) -> list[str] | None:
        """The paths that differ; None = that cannot be told."""
        command = _LISTED.format(base=self._base)
        done = await self._sandbox.exec(command, env=_ENV, timeout=_SECONDS, output_limit=_LIST_BYTES)
        if done.exit_code != 0 or done.flags:
            _log.debug("the workspace cannot be looked at: exit %s %s", done.exit_code, done.flags)
            return None
        names = [name.decode("utf-8", "surrogateescape") for name in done.stdout.split(b"\0") if name]
        return [name for name in dict.fromkeys(names) if name.isprintable()]

    async def _read(self, paths: Sequence[str]) -> dict[str, tuple[Spot, ...]]:
        """What is changed in each of them, as far as it was read by now."""
        self._seen = {path: self._seen[path] for path in paths if path in self._seen}
        anew = 0
        for path in paths:
            after = await self._after(path)
            digest = hashlib.sha256(after if after is not None else b"\0").digest()
            if path in self._seen and self._seen[path][0] == digest:
                continue
            anew += 1
            if anew > AT_ONCE:
                break
            self._seen[path] = digest, await self._spots(path, after)
        return {path: spots for path, (_, spots) in self._seen.items() if spots}

    async def _spots(self, path: str, after: bytes | None) -> tuple[Spot, ...]:
        before = await self._before(path)
        if after is None or before is None:
            return (ALL_OF_IT,)
        try:
            return await asyncio.to_thread(changed, path, before.decode(), after.decode())
        except UnicodeDecodeError:
            return (ALL_OF_IT,)

    async def _after(self, path: str) -> bytes | None:
        """The file as it is now; empty = it is not there, None = it is too large or no file."""
        try:
            data = await self._sandbox.read(f"{WORKSPACE}/{path}", limit=MAX_TEXT + 1)
        except FileNotFoundError:
            return b""
        except (OSError, ValueError):
            return None
        return data if len(data) <= MAX_TEXT else None

    async def _before(self, path: str) -> bytes | None:
        """The file as the attempt found it; empty = it was not there, None = it is too large."""
        command = ("git", "cat-file", "blob", f"{self._base}:{path}")
        done = await self._sandbox.exec(command, env=_ENV, timeout=_SECONDS, output_limit=MAX_TEXT)
        if done.flags:
            return None
        return done.stdout if done.exit_code == 0 else b""
