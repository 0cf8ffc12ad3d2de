"""Environments: what a repository's commands need installed, built once and shared read-only.

Rules
- An environment belongs to the contents of the files that decide it, to the setup commands and to the interpreter: the
  same key is not built twice, not even by two processes at once, but for the next rule.
- To build one may run code of the commit that it is built at (setup.py, a build back end, `make deps`). It serves that
  commit, and those that have it in their history: nothing that was not merged decides what others run on.
- It is built in a sandbox of its own that reaches only the hosts of `setup_network`; agents never write to it.
- It counts only once its record is written, last: what a killed build left behind is removed and built again.
- A build that fails says which command, the line that says why, the tail of its output, and what the proxy refused. Who
  asks for the same within a minute is told the same: ten tasks of a run do not each wait for what cannot be built.
"""

import asyncio
import hashlib
import json
import os
import platform
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.config import SandboxSection
from quarterdeck.kernel.failures import BadConfiguration, GitFailed, SandboxFailed
from quarterdeck.workplace.ground import worker_uid
from quarterdeck.workplace.lock import held
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.packages import Packages
from quarterdeck.workplace.port import ENVIRONMENT, ExecResult, Limits, Provider, Sandbox, Spec
from quarterdeck.workplace.proxy import Proxies, Proxy
from quarterdeck.workplace.removal import remove_tree
from quarterdeck.workplace.setup import deciding_files, detect_setup
from quarterdeck.workplace.watchdog import occupied

_VERSION: Final = "1"
_MEGA: Final = 1024 * 1024
_FILE_LIMIT: Final = 16 * _MEGA
_TAIL: Final = 4000
_LINE: Final = 300
_FAILED_SECONDS: Final = 60.0
_ERROR: Final = re.compile(r"\berror\b|\bfatal\b", re.IGNORECASE)
_ROOM: Final = 4
"""An environment may take this many times the disk of a workspace."""
_LOCKS: Final = 64
_SERVED: Final = 4096
_VERSION_DEADLINE: Final = 30.0
_CERTIFICATES: Final = "/workspace/.git/quarterdeck-certificates.pem"
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of."""

    files: Mapping[str, bytes]
    setup: tuple[str, ...]
    interpreter: str

    @property
    def key(self) -> str:
        """32 hex characters; another environment has another key."""
        texts = (_VERSION, platform.machine(), platform.system(), self.interpreter, *self.setup)
        files = (part for name, data in sorted(self.files.items()) for part in (name.encode(), data))
        digest = hashlib.sha256(b"%d;" % len(texts))  # else a command could pass for a file
        for part in (*(text.encode() for text in texts), *files):
            digest.update(b"%d:%s" % (len(part), part))
        return digest.hexdigest()[:32]


class _Away(SandboxFailed):
    """What a build needs cannot be reached now."""


Announce = Callable[[tuple[str, ...]], Awaitable[None]]


class Environments:
    """The environments of one deck.

    `root`: where they lie. `proxies`: the ways out for builds. `packages`: what this machine's package tools are
    configured for. `now`: a clock that never goes back, in seconds.
    """

    def __init__(
        self, root: Path, proxies: Proxies, packages: Packages, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._root = root
        self._proxies = proxies
        self._packages = packages
        self._interpreter = ""
        self._building: dict[str, asyncio.Lock] = {}
        self._now = now
        self._failed: dict[tuple[str, str], tuple[float, BadConfiguration | _Away]] = {}
        self._served: dict[tuple[str, str], bool] = {}
        """Whether the first of two commits is in the history of the second."""

    async def get(
        self,
        mirror: Mirror,
        commit: str,
        section: SandboxSection,
        provider: Provider,
        announce: Announce | None = None,
        *,
        gate: Sequence[str] = (),
    ) -> Path | None:
        """The environment for work on a commit of the mirror; built where it is missing. None = none is needed.

        `gate`: the commands that check the work. `announce` is told the commands before a build starts, because it can
        take minutes.
        Raises BadConfiguration where a setup command fails, SandboxFailed (also where it could not reach a host that it
        may), Conflicting.
        """
        recipe = await self._recipe(mirror, commit, section, gate)
        if not recipe.setup:
            return None
        # Without a sandbox nothing can be mounted at a fixed place: such an environment is one of its own.
        key = recipe.key if provider.name != "none" else f"{recipe.key}-none"
        if len(self._building) >= _LOCKS:  # whoever waits for one that is dropped is kept apart by the file lock
            self._building = {each: lock for each, lock in self._building.items() if lock.locked()}
        async with self._building.setdefault(key, asyncio.Lock()):
            path = await self._ready(key, mirror, commit)
            if path is None:
                _make_root(self._root)
                async with held(self._root / f"{key}.lock", timeout=section.setup_timeout + 60):
                    path = await self._ready(key, mirror, commit)
                    if path is None:
                        path = self._root / f"{key}.{commit}"
                        asked = path.name, section.model_dump_json()
                        self._tell(asked)
                        if announce is not None:
                            await announce(recipe.setup)
                        try:
                            await self._build(path, mirror, commit, section, provider, recipe)
                        except (BadConfiguration, _Away) as error:
                            self._failed[asked] = self._now(), error
                            raise
        return path

    def _tell(self, asked: tuple[str, str]) -> None:
        """Raises BadConfiguration or SandboxFailed where the same has just failed, with why."""
        since = self._now() - _FAILED_SECONDS
        self._failed = {each: failed for each, failed in self._failed.items() if failed[0] > since}
        if asked in self._failed:
            error = self._failed[asked][1]
            raise type(error)(error.message, why=error.why, fix=error.fix)

    async def _ready(self, key: str, mirror: Mirror, commit: str) -> Path | None:
        """The environment of that key that a commit may use; None = there is none."""
        for record in sorted(self._root.glob(f"{key}.*.json")):
            if await self._serves(mirror, record.stem.rpartition(".")[2], commit):
                with suppress(FileNotFoundError):  # removed just now
                    os.utime(record)  # its last use, for `prune`
                    return record.with_suffix("")
        return None

    async def _serves(self, mirror: Mirror, built: str, commit: str) -> bool:
        if built == commit:
            return True
        if (known := self._served.get((built, commit))) is None:
            if len(self._served) >= _SERVED:
                self._served.clear()
            try:
                known = await mirror.ancestor(built, commit)
            except GitFailed:  # a commit of another repository, or one that was never merged and is gone
                known = False
            self._served[built, commit] = known
        return known

    async def _recipe(self, mirror: Mirror, commit: str, section: SandboxSection, gate: Sequence[str]) -> Recipe:
        if section.setup == ():
            return Recipe({}, (), "")
        paths = await mirror.files(commit)
        deciding = deciding_files(paths, section.setup or ())
        files = {path: await mirror.show(commit, path, _FILE_LIMIT) or b"" for path in deciding}
        setup = section.setup if section.setup is not None else detect_setup(files, paths, gate)
        if not self._interpreter:
            self._interpreter = await _python_version()
        return Recipe(files, setup, self._interpreter)

    async def _build(
        self,
        path: Path,
        mirror: Mirror,
        commit: str,
        section: SandboxSection,
        provider: Provider,
        recipe: Recipe,
    ) -> None:
        await asyncio.to_thread(remove_tree, path)
        _make_own(path)
        proxy = await self._proxies.proxy(section.setup_network) if section.setup_network else None
        file = await self._packages.certificates()
        confined = provider.name != "none"
        inside = ENVIRONMENT if confined else str(path)
        spec = Spec(
            id=f"env-{recipe.key[:12]}-{secrets.token_hex(4)}",
            objects=mirror.objects,
            environment=path,
            environment_writable=True,
            env=await self._variables(inside, _certificates(file, confined)),
            limits=_limits(section),
            proxy_socket=proxy.path if proxy is not None else None,
        )
        sandbox = await provider.create(spec)
        try:
            await sandbox.import_(commit)
            if file is not None and confined:
                await sandbox.write(_CERTIFICATES, await asyncio.to_thread(file.read_bytes))
            began = time.monotonic()
            for command in recipe.setup:
                left = section.setup_timeout - (time.monotonic() - began)
                result = await sandbox.exec(command, timeout=max(left, 1.0))
                if result.exit_code != 0:
                    raise _failed(command, result, proxy, began)
                await _measure(path, spec.limits.disk_bytes)
            if not confined:
                await _follow_workspace(sandbox)
        except BaseException:
            await sandbox.close()
            await asyncio.to_thread(remove_tree, path)
            raise
        finally:
            await sandbox.close()
            await provider.discard(spec.id)
        self._record(path, recipe, time.monotonic() - began)

    async def _variables(self, inside: str, certificates: str | None) -> dict[str, str]:
        variables = {
            **await self._packages.variables(),
            "QUARTERDECK_ENV": inside,
            "VIRTUAL_ENV": inside,
            "UV_PROJECT_ENVIRONMENT": inside,
            "UV_LINK_MODE": "copy",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        if certificates is not None:
            variables |= dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), certificates)
        return variables

    def _record(self, path: Path, recipe: Recipe, seconds: float) -> None:
        facts = {"v": 1, "setup": recipe.setup, "files": sorted(recipe.files), "seconds": round(seconds, 1)}
        draft = path.with_name(f"{path.name}.json.tmp")
        draft.write_text(json.dumps(facts), encoding="utf-8")
        draft.replace(path.with_name(f"{path.name}.json"))

    def prune(self, keep: int, *, idle_seconds: float = _DAY) -> list[str]:
        """Remove all but the `keep` environments that were used last, and none that was used within `idle_seconds`.

        Returns the names of the removed ones.
        """
        records = sorted(self._root.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        removed = []
        for record in records[keep:]:
            if time.time() - record.stat().st_mtime >= idle_seconds:
                record.unlink()
                remove_tree(self._root / record.stem)
                key = record.stem.partition(".")[0]
                if not any(self._root.glob(f"{key}.*.json")):
                    (self._root / f"{key}.lock").unlink(missing_ok=True)
                removed.append(record.stem)
        return removed


def _make_root(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)


def _make_own(path: Path) -> None:
    path.mkdir(mode=0o755)
    dropped = worker_uid()
    if dropped is not None:
        os.chown(path, *dropped)


def _limits(section: SandboxSection) -> Limits:
    return Limits(
        memory_bytes=section.memory_mb * _MEGA,
        disk_bytes=section.disk_mb * _MEGA * _ROOM,
        processes=section.processes,
        cpu_seconds=section.cpu_seconds,
    )


def _certificates(file: Path | None, confined: bool) -> str | None:
    if file is None:
        return None
    return _CERTIFICATES if confined else str(file)


async def _measure(path: Path, limit: int) -> None:
    """From outside: a program that was just installed would say what it likes."""
    size, unknown = await asyncio.to_thread(occupied, path)
    if unknown:
        raise BadConfiguration("the environment cannot be measured", why=f"{unknown} of its folders cannot be read")
    if size > limit:
        raise BadConfiguration(
            f"the environment takes {size // _MEGA} MB, more than {limit // _MEGA}", fix="raise [sandbox] disk_mb"
        )


def _failed(command: str, result: ExecResult, proxy: Proxy | None, began: float) -> BadConfiguration | SandboxFailed:
    """What a setup command that failed means. began: when the build did, by the monotonic clock."""
    output = (result.stdout + b"\n" + result.stderr).decode("utf-8", "replace").strip()[-_TAIL:]
    ended = (
        f"ended with {result.exit_code}" if result.exit_code is not None else f"was ended ({', '.join(result.flags)})"
    )
    refused = proxy.refusals() if proxy is not None else ()
    if "died" in result.flags:
        return SandboxFailed(f"the sandbox of the environment died in `{command}`", why=output)
    if proxy is not None and (away := proxy.unreached(began)):
        why = f"{', '.join(away[:10])} cannot be reached\n{output}".strip()  # which may say what else is wrong
        return _Away(f"the environment cannot be built now: `{command}` {ended}", why=why)
    fix = "correct [sandbox] setup, or try it in a fresh clone"
    if "timeout" in result.flags:
        fix = "raise [sandbox] setup_timeout"
    elif "disk" in result.flags:
        fix = "raise [sandbox] disk_mb"
    elif refused:
        fix = f"if it needs them, add these hosts to [sandbox] setup_network: {', '.join(refused[:10])}"
    told = telling(output)
    why = output if output.startswith(told) else f"{told}\n{output}"
    return BadConfiguration(f"the environment cannot be built: `{command}` {ended}", why=why, fix=fix)


def telling(output: str) -> str:
    """The line of a build's output that says most likely why it failed: the last that speaks of an error, else the
    last. What follows an error is often advice about something else."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    return (errors or lines or [""])[-1][:_LINE]


async def _python_version() -> str:
    """The version of the python3 that sandboxes have."""
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/env",
        "python3",
        "--version",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    try:
        async with asyncio.timeout(_VERSION_DEADLINE):
            answer, _ = await process.communicate()
    except TimeoutError as error:
        raise SandboxFailed("python3 does not say its version", why=f"{_VERSION_DEADLINE:g} s passed") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return answer.decode("utf-8", "replace").strip()


# Run inside, with the environment's own interpreter: the workspace of the build is not that of an attempt, so what was
# installed editable must find the workspace of whoever runs it.
_FOLLOW: Final = r"""
import os, pathlib, site
here = os.getcwd()
ask = "__import__('os').environ.get('QUARTERDECK_WORKSPACE', __import__('os').getcwd())"
for folder in site.getsitepackages():
    for file in [*pathlib.Path(folder).glob("*.pth"), *pathlib.Path(folder).glob("__editable__*.py")]:
        text = file.read_text()
        if here not in text:
            continue
        if file.suffix == ".pth":
            lines = []
            for line in text.splitlines():
                if line == here or line.startswith(here + "/"):
                    line = f"import sys; sys.path.append({ask} + {line[len(here):]!r})"
                lines.append(line)
            text = "\n".join(lines) + "\n"
        else:
            text = text.replace(f"'{here}", f"{ask} + '").replace(f'"{here}', f'{ask} + "')
        file.write_text(text)
"""


async def _follow_workspace(sandbox: Sandbox) -> None:
    script = 'if [ -x "$QUARTERDECK_ENV/bin/python" ]; then exec "$QUARTERDECK_ENV/bin/python" -; fi'
    result = await sandbox.exec(script, stdin=_FOLLOW.encode(), timeout=60.0)
    if result.exit_code != 0:
        raise SandboxFailed(
            "the environment cannot be adapted to running without a sandbox",
            why=result.stderr.decode("utf-8", "replace")[-_TAIL:],
        )
