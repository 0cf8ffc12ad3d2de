"""Brings together what a piece of work needs: the mirror of its repository, its environment, a sandbox.

Rules
- A sandbox gets the mirror's objects and the environment read-only; only its workspace is its own.
- The environment is the one of the commit's lock files; it is built once and shared.
- A checkout for checks is fresh, and gone afterwards.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from quarterdeck.kernel.config import RunConfig, SandboxSection
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.workplace.afar import Afar, is_remote
from quarterdeck.workplace.depot import Depot
from quarterdeck.workplace.environment import Announce, Environments
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import NO_GEAR, Gear, Limits, Provider, Sandbox, Spec
from quarterdeck.workplace.proxy import Proxies


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
        self._opening = asyncio.Lock()

    async def mirror(self, repository: str) -> Mirror:
        """The mirror of that repository, a path of this machine or a URL. Raises BadRepository, GitFailed."""
        async with self._opening:
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
            raise BadConfiguration(f"there is no sandbox called {name!r}", fix=f"[sandbox] backend is one of: {known}")
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
        return await self.provider(config).attach(spec)

    async def discard(self, config: RunConfig, name: str) -> None:
        """Remove a workspace. Idempotent."""
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
            await sandbox.close()
            await self.discard(run_config, sandbox_id)


def _limits(section: SandboxSection, gear: Gear) -> Limits:
    mega = 1024 * 1024
    return Limits(
        memory_bytes=max(section.memory_mb * mega, gear.memory_bytes),
        disk_bytes=section.disk_mb * mega,
        processes=max(section.processes, gear.processes),
        open_files=max(Limits().open_files, gear.open_files),
        cpu_seconds=section.cpu_seconds,
    )
