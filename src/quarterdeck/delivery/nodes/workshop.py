"""Brings together what a piece of work needs: the mirror of its repository, its environment, a sandbox.

Rules
- A sandbox gets the mirror's objects and the environment read-only; only its workspace is its own.
- The environment is the one of the commit's lock files; it is built once and shared by what is merged.
- A checkout for checks is fresh, and gone afterwards.
- A repository whose server does not answer keeps nobody from another one.
- Nobody waits while a sandbox is closed and its workspace removed, save whoever asks for the same one again, the deck's
  end, and work that was cancelled: another process goes on with that, in the same workspace.
- Few are removed at a time, and a new sandbox waits where many are being left. What a closing that failed leaves behind
  is reaped by the next process that takes the home over.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from quarterdeck.kernel.config import RunConfig, SandboxSection
from quarterdeck.kernel.failures import BadConfiguration, QuarterdeckError
from quarterdeck.workplace.afar import Afar, is_remote
from quarterdeck.workplace.depot import Depot
from quarterdeck.workplace.environment import Announce, Environments
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import NO_GEAR, Gear, Limits, Provider, Sandbox, Spec
from quarterdeck.workplace.proxy import Proxies

_log = logging.getLogger(__name__)

_REMOVING: Final = 2
"""Workspaces that are removed at the same time: each takes a thread."""
_LEAVING: Final = 64
"""Sandboxes that may be on their way out when another one is made."""


class Workshop:
    """Mirrors, environments and sandboxes of one deck."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        mirrors: Path,
        environments: Environments,
        proxies: Proxies,
        *,
        depot: Depot | None = None,
        seats: Path = Path(),
        git: Mapping[str, str] | None = None,
    ) -> None:
        """`depot`: where other workers' objects are; None = there are no other homes. `seats`: where it is noted who
        worked last in a workspace of this home. `git`: environment of the git processes that speak with remotes."""
        self._depot = depot
        self._seats = seats
        self._git = dict(git or {})
        self._providers = providers
        self._mirrors = mirrors
        self._environments = environments
        self._proxies = proxies
        self._open: dict[str, Mirror] = {}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By repository."""
        self._leaving: dict[str, asyncio.Task[None]] = {}
        """By workspace: what is done about it beside everything else."""
        self._removing = asyncio.Semaphore(_REMOVING)

    async def mirror(self, repository: str) -> Mirror:
        """The mirror of that repository, a path of this machine or a URL. Raises BadRepository, GitFailed."""
        async with self._opening[repository]:
            mirror = self._open.get(repository)
            if mirror is None or not mirror.path.is_dir():  # somebody removed it: what it is made from is still there
                mirror = self._open[repository] = await self._opened(repository)
            return mirror

    async def _opened(self, repository: str) -> Mirror:
        if is_remote(repository):
            return await Mirror.of_remote(self._mirrors, Afar(repository, self._git), self._depot)
        return await Mirror.open(self._mirrors, Path(repository), self._depot)

    @property
    def shared(self) -> bool:
        """Whether workers with other homes may go on with what is done here."""
        return self._depot is not None

    def take_seat(self, workspace: str, epoch: int) -> None:
        """Note that work in this workspace goes on under that claim of its attempt."""
        self._seats.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._seats / workspace).write_text(str(epoch), encoding="ascii")

    def sat_last(self, workspace: str, epoch: int) -> bool:
        """Whether the claim before `epoch` was taken from this home: else another worker may have gone on elsewhere,
        and what lies here is old."""
        try:
            return int((self._seats / workspace).read_text(encoding="ascii")) == epoch - 1
        except (FileNotFoundError, ValueError):  # ValueError: cut by a crash
            return False

    def provider(self, config: RunConfig) -> Provider:
        """The sandbox provider of a run. Raises BadConfiguration."""
        name = config.deck.sandbox.backend
        if name not in self._providers:
            known = ", ".join(sorted(self._providers))
            raise BadConfiguration(
                f"there is no sandbox called {name!r}", fix=f"--sandbox, or [sandbox] backend, is one of: {known}"
            )
        return self._providers[name]

    async def spec(
        self,
        config: RunConfig,
        mirror: Mirror,
        name: str,
        commit: str,
        *,
        network: bool,
        announce: Announce | None = None,
        gear: Gear = NO_GEAR,
    ) -> Spec:
        """What a sandbox for work on `commit` needs; builds the environment where it is missing."""
        section = config.deck.sandbox
        hosts = tuple(dict.fromkeys((*section.network, *gear.hosts)))
        environment = await self._environments.get(
            mirror, commit, section, self.provider(config), announce, gate=config.deck.checks.gate
        )
        return Spec(
            id=name,
            objects=mirror.objects,
            environment=environment,
            limits=_limits(section, gear),
            proxy_socket=await self._proxies.socket(hosts) if network and hosts else None,
            bridges=gear.bridges,
            mounts=gear.mounts,
            home=gear.home,
        )

    async def create(self, config: RunConfig, spec: Spec, commit: str, tree: str | None = None) -> Sandbox:
        """A sandbox with `commit` checked out (with the files of `tree`, where given). What a process that died while
        creating the same one left behind is replaced."""
        provider = self.provider(config)
        await self._left(spec.id)
        while len(self._leaving) > _LEAVING:
            await asyncio.wait(self._leaving.values(), return_when=asyncio.FIRST_COMPLETED)
        try:
            sandbox = await provider.create(spec)
        except FileExistsError:
            await provider.discard(spec.id)
            sandbox = await provider.create(spec)
        try:
            await sandbox.import_(commit, tree=tree)
        except BaseException:
            await sandbox.close()
            await provider.discard(spec.id)  # nobody knows of it yet: the next try makes its own
            raise
        return sandbox

    async def attach(self, config: RunConfig, spec: Spec) -> Sandbox | None:
        """A fresh sandbox over the workspace that is there already; None where there is none."""
        await self._left(spec.id)
        return await self.provider(config).attach(spec)

    async def discard(self, config: RunConfig, name: str) -> None:
        """Remove a workspace. Idempotent."""
        await self._left(name)
        await self._discard(config, name)

    async def leave(
        self, config: RunConfig, name: str, sandbox: Sandbox | None = None, *, discard: bool = False
    ) -> None:
        """Close a sandbox, remove its workspace, or both, while others go on. Waits for it where the caller was
        cancelled: its job is given to another process as soon as it returns."""
        self._leaving[name] = asyncio.create_task(self._leave(config, name, sandbox, discard, self._leaving.get(name)))
        caller = asyncio.current_task()
        if caller is not None and caller.cancelling():
            await self._left(name)

    async def close(self) -> None:
        """Wait for what is still being closed and removed."""
        while self._leaving:
            await asyncio.wait(self._leaving.values())

    async def _leave(
        self, config: RunConfig, name: str, sandbox: Sandbox | None, discard: bool, before: asyncio.Task[None] | None
    ) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            if sandbox is not None:
                await sandbox.close()
            if discard:
                await self._discard(config, name)
        except (QuarterdeckError, OSError) as error:
            _log.warning("the workspace %s was left behind: %s: %s", name, type(error).__name__, error)
        finally:
            if self._leaving.get(name) is asyncio.current_task():
                del self._leaving[name]

    async def _left(self, name: str) -> None:
        while task := self._leaving.get(name):
            await asyncio.wait({task})

    async def _discard(self, config: RunConfig, name: str) -> None:
        async with self._removing:
            await self.provider(config).discard(name)
        if self._depot is not None:
            (self._seats / name).unlink(missing_ok=True)

    @asynccontextmanager
    async def checking(
        self, run_config: RunConfig, mirror: Mirror, sandbox_id: str, commit: str, announce: Announce | None = None
    ) -> AsyncIterator[Sandbox]:
        """A fresh checkout of `commit` for checks, without network."""
        spec = await self.spec(run_config, mirror, sandbox_id, commit, network=False, announce=announce)
        sandbox = await self.create(run_config, spec, commit)
        try:
            yield sandbox
        finally:
            await self.leave(run_config, sandbox_id, sandbox, discard=True)


def _limits(section: SandboxSection, gear: Gear) -> Limits:
    mega = 1024 * 1024
    return Limits(
        memory_bytes=max(section.memory_mb * mega, gear.memory_bytes),
        disk_bytes=section.disk_mb * mega,
        processes=max(section.processes, gear.processes),
        open_files=max(Limits().open_files, gear.open_files),
        cpu_seconds=section.cpu_seconds,
    )
